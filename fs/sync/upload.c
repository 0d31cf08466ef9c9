/*
 * Content on its way out: pending files are settled, and the segments that this makes go to the store, some at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "engine.h"
#include "hash.h"
#include "log.h"
#include "settle.h"
#include "usage.h"

/* Pending content is settled and uploaded in portions of about this size, so that progress is kept and space given back. */
#define PORTION_LEN (256u << 20)
#define PORTION_FILES 20000u
#define UPLOAD_THREADS 4u
/* What takes longer than this to upload is looked after meanwhile. */
#define LONG_UPLOAD_LEN (32u << 20)
#define LOOK_INTERVAL_MS 250
/* Files up to this size go first, and the most of what goes while something larger is under way. */
#define SMALL_LEN (1u << 20)
#define RECENT_FILE_LEN (8u << 20)
#define RECENT_LEN (32u << 20)
#define RECENT_FILES 2000u
/* The meta lock is let go after so many inodes. */
#define LOCK_SLICE 1000u

struct candidate {
	uint64_t ino;
	uint64_t parent;
	uint64_t size;
};

/* Small files first, those of one directory together; then the others, the smallest first. */
static int
by_urgency(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	bool x_small = x->size <= SMALL_LEN, y_small = y->size <= SMALL_LEN;

	if (x_small != y_small)
		return x_small ? -1 : 1;
	if (!x_small && x->size != y->size)
		return x->size < y->size ? -1 : 1;
	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static bool
has_pending_content(const struct inode *i)
{
	return S_ISREG(i->mode) && i->nlink > 0 && (i->pending & (PENDING_CONTENT | PENDING_NEW)) != 0;
}

/* Pending files with content that have changed since a time, and are no larger than that. */
static err_t
find_candidates(struct meta *m, time_t since, uint64_t max, struct candidate **out, size_t *count_out)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	CLEANUP(free_ptr) struct candidate *v = NULL;
	size_t ino_count = 0, n = 0;
	struct inode *i;
	err_t err;

	meta_lock(m);
	err = meta_pending_inodes(m, &inos, &ino_count);
	if (err == 0 && (v = calloc(ino_count + 1, sizeof(*v))) == NULL)
		err = -ENOMEM;
	for (size_t k = 0; err == 0 && k < ino_count; k++) {
		if (k % LOCK_SLICE == LOCK_SLICE - 1) {
			meta_unlock(m);
			meta_lock(m);
		}
		err = meta_inode_get(m, inos[k], &i);
		if (err == 0 && has_pending_content(i) && i->ctime.tv_sec >= since && i->size <= max)
			v[n++] = (struct candidate){ i->ino, i->parent, i->size };
		err = err == -ENOENT ? 0 : err;
	}
	meta_unlock(m);
	if (err != 0)
		return err;
	qsort(v, n, sizeof(*v), by_urgency);
	*out = STEAL(v);
	*count_out = n;
	return 0;
}

struct portion {
	struct sync *s;
	struct settle *settle;
};

static bool
is_full(const struct portion *p)
{
	return settle_progress(p->settle) >= PORTION_LEN;
}

/* Between two chunks of a file.  -EINPROGRESS: the rest of it is for another portion. */
static err_t
end_portion_in_time(void *ctx)
{
	const struct portion *p = ctx;

	if (engine_is_interrupted(p->s))
		return -ECANCELED;
	return is_full(p) || push_interlude_is_due(p->s) ? -EINPROGRESS : 0;
}

/* Settles candidates from *at on until a portion is full. */
static err_t
settle_portion(struct sync *s, const struct candidate *v, size_t count, size_t *at)
{
	struct portion p = { .s = s };
	struct vault *vault = s->v;
	uint64_t settled = 0;
	size_t start = *at;
	err_t err;

	if ((err = settle_begin(vault->content, vault->meta, vault->segments, vault->keys, &p.settle)) != 0)
		return err;
	settle_set_pause(p.settle, end_portion_in_time, &p);
	while (*at < count && !is_full(&p) && *at - start < PORTION_FILES) {
		err = engine_is_interrupted(s) ? -ECANCELED : settle_inode(p.settle, v[*at].ino);
		if (err == -EINPROGRESS)
			break;
		if (err != 0 && err != -EAGAIN && err != -ENOENT) { /* written to meanwhile, or gone: not now */
			settle_abandon(p.settle);
			return err;
		}
		(*at)++;
	}
	if ((err = settle_finish(p.settle, &settled)) != 0)
		return err;
	return meta_sync(vault->meta);
}

/* Segments that pending chunks point at. */

struct segment_list {
	struct segment *v;
	size_t count;
	size_t cap;
	struct numset *seen;
};

static void
segment_list_clear(struct segment_list *l)
{
	free(l->v);
	numset_clear(&l->seen);
}

static err_t
list_segment(struct segment_list *l, const struct segment *seg)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct segment *v = reallocarray(l->v, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = *seg;
	return 0;
}

/* [meta lock] */
static err_t
list_chunk(void *ctx, struct meta *m, const struct chunk *c)
{
	struct segment_list *l = ctx;
	struct segment seg;
	err_t err;

	for (uint32_t k = 0; k < c->current.count; k++) {
		uint64_t id = c->current.v[k].seg;

		if (numset_has(l->seen, id))
			continue;
		if ((err = meta_segment_get(m, id, &seg)) != 0 || (err = numset_add(&l->seen, id)) != 0)
			return err;
		/* One that is not whole here either stays, and what points into it: its object was deleted (drops.c). */
		if (seg.kind == SEGMENT_SETTLED && !seg.in_store && seg.local && (err = list_segment(l, &seg)) != 0)
			return err;
	}
	return 0;
}

static err_t
list_portion(struct sync *s, const struct candidate *v, size_t count, struct segment_list *l)
{
	struct meta *m = s->v->meta;
	err_t err = 0;

	meta_lock(m);
	for (size_t k = 0; err == 0 && k < count; k++) {
		if (k % LOCK_SLICE == LOCK_SLICE - 1) {
			meta_unlock(m);
			meta_lock(m);
		}
		err = usage_pending_chunks(m, v[k].ino, list_chunk, l);
	}
	meta_unlock(m);
	return err;
}

/* Uploading. */

struct upload {
	struct sync *s;
	const struct segment *v;
	size_t count;
	pthread_mutex_t lock;
	/* under lock */
	size_t next;
	size_t working; /* threads */
	err_t err; /* the first */
	pthread_cond_t ended; /* one of the threads */
};

bool
upload_is_done(struct sync *s, uint64_t seg)
{
	bool done;

	pthread_mutex_lock(&s->lock);
	done = numset_has(s->uploaded, seg);
	pthread_mutex_unlock(&s->lock);
	return done;
}

static bool
is_sound(const struct segment *seg, const struct bytes *object)
{
	uint8_t sha256[32];

	return hash_sha256(object->data, object->len, sha256) != 0 || memcmp(sha256, seg->sha256, sizeof(sha256)) == 0;
}

static err_t
upload_one(struct sync *s, const struct segment *seg)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	char name[CHAIN_NAME_MAX];
	err_t err = segstore_read_whole(s->v->segments, seg, &b);

	if (err == 0) {
		err = chain_write_segment(s->chain, seg->name, seg->sha256, b.data, b.len);
		/* What is damaged here is refused there for its hash; but so is an answer that is not understood. */
		if (err != -EBADMSG || is_sound(seg, &b))
			return report_store(s, err);
	}
	if (err != -ENODATA && err != -EBADMSG && err != -ENOENT)
		return err;
	/* What points into it stays here, unpushed; the rest goes on. */
	chain_segment_object_name(seg->name, name);
	log_error("the local segment %llu (%s) is damaged: what is in it can't be sent to the store",
	    (unsigned long long)seg->id, name);
	return -ENODATA;
}

/* It may have got another name while it was on its way. */
static err_t
note_done(struct sync *s, const struct segment *seg)
{
	struct segment row;
	err_t err;

	meta_lock(s->v->meta);
	err = meta_segment_get(s->v->meta, seg->id, &row);
	meta_unlock(s->v->meta);
	if (err != 0 || memcmp(row.name, seg->name, sizeof(row.name)) != 0)
		return err == -ENOENT ? 0 : err;
	pthread_mutex_lock(&s->lock);
	err = numset_add(&s->uploaded, seg->id);
	pthread_mutex_unlock(&s->lock);
	return err;
}

err_t
upload_segment(struct sync *s, const struct segment *seg)
{
	err_t err = upload_one(s, seg);

	return err != 0 ? err : note_done(s, seg);
}

static const struct segment *
upload_next(struct upload *u)
{
	const struct segment *seg = NULL;

	pthread_mutex_lock(&u->lock);
	if (u->err == 0 && engine_is_interrupted(u->s))
		u->err = -ECANCELED;
	while (u->err == 0 && seg == NULL && u->next < u->count) {
		seg = &u->v[u->next++];
		if (upload_is_done(u->s, seg->id))
			seg = NULL;
	}
	pthread_mutex_unlock(&u->lock);
	return seg;
}

static void
upload_fail(struct upload *u, err_t err)
{
	pthread_mutex_lock(&u->lock);
	if (u->err == 0)
		u->err = err;
	pthread_mutex_unlock(&u->lock);
}

static void
upload_all(struct upload *u)
{
	const struct segment *seg;

	while ((seg = upload_next(u)) != NULL) {
		err_t err = upload_segment(u->s, seg);

		pthread_mutex_lock(&u->s->lock);
		u->s->status.bytes_done += seg->size;
		if (err == 0)
			u->s->status.last_contact = time(NULL);
		pthread_mutex_unlock(&u->s->lock);
		if (err != 0 && err != -ENODATA)
			upload_fail(u, err);
	}
}

static void *
upload_worker(void *arg)
{
	struct upload *u = arg;

	upload_all(u);
	pthread_mutex_lock(&u->lock);
	u->working--;
	pthread_cond_signal(&u->ended);
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* Waits a moment; false: they have all ended. */
static bool
are_working(struct upload *u)
{
	const struct timespec until = clock_deadline(LOOK_INTERVAL_MS);
	bool working;

	pthread_mutex_lock(&u->lock);
	while (u->working > 0 && pthread_cond_clockwait(&u->ended, &u->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		;
	working = u->working > 0;
	pthread_mutex_unlock(&u->lock);
	return working;
}

/* While the others work: what shall not wait for them. */
static void
look_after(struct upload *u)
{
	err_t err = 0;

	while (err == 0 && are_working(u))
		err = push_interlude(u->s);
	if (err != 0)
		upload_fail(u, err);
}

static err_t
upload_segments(struct sync *s, const struct segment *v, size_t count)
{
	struct upload u = { .s = s, .v = v, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER,
		.ended = PTHREAD_COND_INITIALIZER };
	pthread_t threads[UPLOAD_THREADS];
	size_t thread_count = 0, wanted;
	uint64_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += v[i].size;
	pthread_mutex_lock(&s->lock);
	s->status.bytes_total += len;
	pthread_mutex_unlock(&s->lock);
	/* Unless it looks after the others this thread works, too, so that it goes on even if no other can be had. */
	wanted = len > LONG_UPLOAD_LEN ? UPLOAD_THREADS : UPLOAD_THREADS - 1;
	while (thread_count < wanted && thread_count + 1 < count) {
		pthread_mutex_lock(&u.lock);
		u.working++;
		pthread_mutex_unlock(&u.lock);
		if (pthread_create(&threads[thread_count], NULL, upload_worker, &u) != 0) {
			pthread_mutex_lock(&u.lock);
			u.working--;
			pthread_mutex_unlock(&u.lock);
			break;
		}
		thread_count++;
	}
	if (len > LONG_UPLOAD_LEN && thread_count > 0)
		look_after(&u);
	else
		upload_all(&u);
	while (thread_count > 0)
		pthread_join(threads[--thread_count], NULL);
	return u.err;
}

/* *at: the first candidate that is left. */
static err_t
upload_portion(struct sync *s, const struct candidate *v, size_t count, size_t *at)
{
	CLEANUP(segment_list_clear) struct segment_list l = { 0 };
	size_t start = *at, end;
	err_t err;

	s->swept = false; /* what is settled now may be overwritten before a commit names it */
	if ((err = settle_portion(s, v, count, at)) != 0)
		return err;
	end = *at < count ? *at + 1 : count; /* of the last one perhaps a part */
	err = list_portion(s, v + start, end - start, &l);
	return err != 0 ? err : upload_segments(s, l.v, l.count);
}

err_t
upload_pending(struct sync *s)
{
	CLEANUP(free_ptr) struct candidate *v = NULL;
	size_t count = 0, at = 0;
	err_t err = find_candidates(s->v->meta, 0, UINT64_MAX, &v, &count);

	while (err == 0 && at < count) {
		err = upload_portion(s, v, count, &at);
		if (err == 0 && at < count)
			err = push_interlude(s);
	}
	return err;
}

err_t
upload_recent(struct sync *s, time_t since)
{
	CLEANUP(free_ptr) struct candidate *v = NULL;
	size_t count = 0, n = 0, at = 0;
	uint64_t len = 0;
	err_t err = find_candidates(s->v->meta, since, RECENT_FILE_LEN, &v, &count);

	while (n < count && n < RECENT_FILES && len < RECENT_LEN)
		len += v[n++].size;
	while (err == 0 && at < n)
		err = upload_portion(s, v, n, &at);
	return err;
}

/* Left-overs: what was settled, and changed or deleted before a commit could name it. */

struct sweep {
	const struct numset *used;
	struct segment_list unused;
};

static err_t
sweep_segment(void *ctx, const struct segment *seg)
{
	struct sweep *w = ctx;

	if (seg->kind != SEGMENT_SETTLED || seg->in_store || numset_has(w->used, seg->id))
		return 0;
	return list_segment(&w->unused, seg);
}

static err_t
find_unused(struct meta *m, struct segment_list *unused_out)
{
	CLEANUP(segment_list_clear) struct segment_list used = { 0 };
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	struct sweep w = { 0 };
	size_t count = 0;
	err_t err;

	meta_lock(m);
	err = meta_pending_inodes(m, &inos, &count);
	for (size_t k = 0; err == 0 && k < count; k++)
		err = usage_pending_chunks(m, inos[k], list_chunk, &used);
	w.used = used.seen;
	if (err == 0)
		err = meta_segment_scan(m, sweep_segment, &w);
	meta_unlock(m);
	if (err != 0)
		segment_list_clear(&w.unused);
	else
		*unused_out = w.unused;
	return err;
}

err_t
upload_sweep(struct sync *s)
{
	CLEANUP(segment_list_clear) struct segment_list unused = { 0 };
	struct meta *m = s->v->meta;
	err_t err;

	if (s->swept)
		return 0;
	if ((err = find_unused(m, &unused)) != 0)
		return err;
	/* A row on the disk may still point there: only when it is overwritten may the bytes go. */
	if (unused.count > 0 && (err = meta_sync(m)) != 0)
		return err;
	for (size_t i = 0; i < unused.count; i++) {
		err = segstore_drop(s->v->segments, unused.v[i].id);
		if (err != 0 && err != -ENOENT)
			return err;
		meta_lock(m);
		err = meta_segment_remove(m, unused.v[i].id);
		meta_unlock(m);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	s->swept = true;
	return 0;
}
