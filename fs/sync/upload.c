/*
 * Content on its way out: pending files are settled, and the segments that this makes go to the store, some at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine.h"
#include "log.h"
#include "settle.h"

/* Pending content is settled and uploaded in portions of about this size, so that progress is kept and space given back. */
#define PORTION_LEN (256u << 20)
#define PORTION_FILES 20000u
#define UPLOAD_THREADS 4u
/* The meta lock is let go after so many inodes. */
#define LOCK_SLICE 1000u

struct candidate {
	uint64_t ino;
	uint64_t parent;
	uint64_t size;
};

static int
by_parent(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static bool
has_pending_content(const struct inode *i)
{
	return S_ISREG(i->mode) && i->nlink > 0 && (i->pending & (PENDING_CONTENT | PENDING_NEW)) != 0;
}

/* Pending files with content, those of one directory together. */
static err_t
find_candidates(struct meta *m, struct candidate **out, size_t *count_out)
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
		if (err == 0 && has_pending_content(i))
			v[n++] = (struct candidate){ i->ino, i->parent, i->size };
		err = err == -ENOENT ? 0 : err;
	}
	meta_unlock(m);
	if (err != 0)
		return err;
	qsort(v, n, sizeof(*v), by_parent);
	*out = STEAL(v);
	*count_out = n;
	return 0;
}

/* Settles candidates from *at on until a portion is full. */
static err_t
settle_portion(struct sync *s, const struct candidate *v, size_t count, size_t *at)
{
	struct vault *vault = s->v;
	struct settle *st = NULL;
	uint64_t len = 0, settled = 0;
	size_t start = *at;
	err_t err;

	if ((err = settle_begin(vault->content, vault->meta, vault->segments, vault->keys, &st)) != 0)
		return err;
	while (*at < count && len < PORTION_LEN && *at - start < PORTION_FILES) {
		err = engine_is_interrupted(s) ? -ECANCELED : settle_inode(st, v[*at].ino);
		if (err != 0 && err != -EAGAIN && err != -ENOENT) { /* written to meanwhile, or gone: not now */
			settle_abandon(st);
			return err;
		}
		len += v[*at].size;
		(*at)++;
	}
	if ((err = settle_finish(st, &settled)) != 0)
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
list_chunk(struct meta *m, const struct chunk *c, struct segment_list *l)
{
	struct segment seg;
	err_t err;

	for (uint32_t k = 0; k < c->current.count; k++) {
		uint64_t id = c->current.v[k].seg;

		if (numset_has(l->seen, id))
			continue;
		if ((err = meta_segment_get(m, id, &seg)) != 0 || (err = numset_add(&l->seen, id)) != 0)
			return err;
		if (seg.kind == SEGMENT_SETTLED && !seg.in_store && (err = list_segment(l, &seg)) != 0)
			return err;
	}
	return 0;
}

/* [meta lock] */
static err_t
list_inode(struct meta *m, uint64_t ino, struct segment_list *l)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	struct inode *i;
	struct chunk *c;
	size_t count = 0;
	err_t err = meta_inode_get(m, ino, &i);

	if (err != 0 || !S_ISREG(i->mode))
		return err == -ENOENT ? 0 : err;
	if ((err = meta_pending_chunks(m, i, &nos, &count)) != 0)
		return err;
	for (size_t k = 0; k < count; k++) {
		err = meta_chunk_get(m, i, nos[k], false, &c);
		if (err == 0)
			err = list_chunk(m, c, l);
		if (err != 0 && err != -ENOENT)
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
		err = list_inode(m, v[k].ino, l);
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
	err_t err; /* the first */
};

static err_t
upload_one(struct sync *s, const struct segment *seg)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	char name[CHAIN_NAME_MAX];
	err_t err = segstore_read_whole(s->v->segments, seg, &b);

	if (err == -ENODATA || err == -EBADMSG || err == -ENOENT) {
		/* What points into it stays here, unpushed; the rest goes on. */
		chain_segment_object_name(seg->name, name);
		log_error("the local segment %llu (%s) is damaged: what is in it can't be sent to the store",
		    (unsigned long long)seg->id, name);
		return -ENODATA;
	}
	if (err != 0)
		return err;
	return report_store(s, chain_write_segment(s->chain, seg->name, b.data, b.len));
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
		if (numset_has(u->s->uploaded, seg->id))
			seg = NULL;
	}
	pthread_mutex_unlock(&u->lock);
	return seg;
}

static void *
upload_worker(void *arg)
{
	struct upload *u = arg;
	const struct segment *seg;

	while ((seg = upload_next(u)) != NULL) {
		err_t err = upload_one(u->s, seg);

		pthread_mutex_lock(&u->lock);
		if (err == 0)
			err = numset_add(&u->s->uploaded, seg->id);
		if (err != 0 && err != -ENODATA && u->err == 0)
			u->err = err;
		pthread_mutex_unlock(&u->lock);
		pthread_mutex_lock(&u->s->lock);
		u->s->status.bytes_done += seg->size;
		if (err == 0)
			u->s->status.last_contact = time(NULL);
		pthread_mutex_unlock(&u->s->lock);
	}
	return NULL;
}

static err_t
upload_segments(struct sync *s, const struct segment *v, size_t count)
{
	struct upload u = { .s = s, .v = v, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t threads[UPLOAD_THREADS];
	size_t thread_count = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < count; i++)
		s->status.bytes_total += v[i].size;
	pthread_mutex_unlock(&s->lock);
	while (thread_count + 1 < UPLOAD_THREADS && thread_count + 1 < count &&
	       pthread_create(&threads[thread_count], NULL, upload_worker, &u) == 0)
		thread_count++;
	(void)upload_worker(&u); /* this thread works, too, so that it goes on even if no other can be had */
	while (thread_count > 0)
		pthread_join(threads[--thread_count], NULL);
	return u.err;
}

err_t
upload_pending(struct sync *s)
{
	CLEANUP(free_ptr) struct candidate *v = NULL;
	size_t count = 0, at = 0;
	err_t err = find_candidates(s->v->meta, &v, &count);

	while (err == 0 && at < count) {
		CLEANUP(segment_list_clear) struct segment_list l = { 0 };
		size_t start = at;

		s->swept = false; /* what is settled now may be overwritten before a commit names it */
		if ((err = settle_portion(s, v, count, &at)) == 0 &&
		    (err = list_portion(s, v + start, at - start, &l)) == 0)
			err = upload_segments(s, l.v, l.count);
	}
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
		err = list_inode(m, inos[k], &used);
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
