/*
 * Content on its way out: pending files are settled in portions, and the segments that this makes go to the store meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gc_internal.h"
#include "settle.h"
#include "upload_internal.h"
#include "usage.h"

/* Pending content is settled and uploaded in portions of about this size, so that progress is kept and space given back. */
#define PORTION_LEN (256u << 20)
#define PORTION_FILES 20000u
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

/* Segments that pending chunks point at. */

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
		if (seg.kind == SEGMENT_SETTLED && !seg.in_store && seg.local && (err = upload_list_add(l, &seg)) != 0)
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

/* Settling, while what is full already goes. */

struct portion {
	struct sync *s;
	struct settle *settle; /* the same for all portions: what one leaves behind is filled up by the next */
	struct upload *upload;
	uint64_t before; /* settle_progress, when it began */
	bool last;       /* there will be no segment but what is left of all */
};

static bool
is_full(const struct portion *p)
{
	return settle_progress(p->settle) - p->before >= PORTION_LEN;
}

/* Between two chunks of a file.  -EINPROGRESS: the rest of it is for another portion. */
static err_t
end_portion_in_time(void *ctx)
{
	const struct portion *p = ctx;

	if (engine_is_interrupted(p->s))
		return -ECANCELED;
	return is_full(p) || push_interlude_is_due(p->s) || upload_has_failed(p->upload) ? -EINPROGRESS : 0;
}

/* Its row lasts before the store has it: after a crash it keeps its name, and is no orphan. */
static err_t
send_full(void *ctx, const struct segment *seg, struct bytes *object)
{
	struct portion *p = ctx;
	err_t err = meta_sync(p->s->v->meta);

	if (err == 0)
		err = upload_add(p->upload, seg, object);
	if (err == 0)
		upload_start(p->upload, !p->last);
	return err;
}

static err_t
begin_portions(struct portion *p)
{
	struct vault *v = p->s->v;
	err_t err = settle_begin(v->content, v->meta, v->segments, v->keys, &p->settle);

	if (err != 0)
		return err;
	settle_set_pause(p->settle, end_portion_in_time, p);
	settle_set_full(p->settle, send_full, p);
	return 0;
}

/* What can't be read stays here, and the rest goes on: whoever collects it tells. */
static err_t
settle_candidate(struct portion *p, uint64_t ino)
{
	struct sync *s = p->s;
	err_t err = engine_is_interrupted(s) ? -ECANCELED : settle_inode(p->settle, ino);

	if (err == 0)
		numset_remove(&s->damaged, ino);
	if (err == -EBADMSG)
		return numset_add(&s->damaged, ino);
	return err == -EAGAIN || err == -ENOENT ? 0 : err; /* written to meanwhile, or gone: not now */
}

/* Settles candidates from *at on until a portion is full. */
static err_t
settle_portion(struct portion *p, const struct candidate *v, size_t count, size_t *at)
{
	size_t start = *at;
	err_t err;

	p->before = settle_progress(p->settle);
	while (*at < count && !is_full(p) && *at - start < PORTION_FILES) {
		err = settle_candidate(p, v[*at].ino);
		if (err == -EINPROGRESS)
			break;
		if (err != 0)
			return err;
		(*at)++;
	}
	if ((err = settle_catch_up(p->settle)) != 0)
		return err;
	return meta_sync(p->s->v->meta);
}

/* What of these files is to go, and is not on its way. */
static err_t
add_portion(struct upload *u, const struct candidate *v, size_t count, bool more)
{
	CLEANUP(upload_list_clear) struct segment_list l = { 0 };
	struct bytes none = { 0 };
	err_t err = list_portion(u->s, v, count, &l);

	for (size_t k = 0; err == 0 && k < l.count; k++)
		err = upload_add(u, &l.v[k], &none);
	if (err == 0 && l.count > 0)
		upload_start(u, more);
	return err;
}

/* *at: the first candidate that is left. */
static err_t
upload_portion(struct portion *p, const struct candidate *v, size_t count, size_t *at)
{
	size_t start = *at, end;
	err_t err;

	p->s->swept = false; /* what is settled now may be overwritten before a commit names it */
	err = settle_portion(p, v, count, at);
	end = *at < count ? *at + 1 : count; /* of the last one perhaps a part */
	return err != 0 ? err : add_portion(p->upload, v + start, end - start, *at < count);
}

/* What is settled stays only a little ahead of what is sent: until then it may change again. */
static err_t
upload_portions(struct portion *p, const struct candidate *v, size_t count)
{
	uint64_t settled = 0;
	size_t at = 0;
	err_t err = 0;

	while (err == 0 && at < count) {
		err = upload_portion(p, v, count, &at);
		if (err == 0 && at < count)
			err = upload_catch_up(p->upload);
		if (err == 0 && at < count)
			err = push_interlude(p->s);
	}
	if (err != 0)
		return err;
	p->last = true;
	return settle_finish(STEAL(p->settle), &settled);
}

static err_t
upload_candidates(struct sync *s, const struct candidate *v, size_t count)
{
	struct upload u = { .s = s, .lock = PTHREAD_MUTEX_INITIALIZER, .added = PTHREAD_COND_INITIALIZER,
		.moved = PTHREAD_COND_INITIALIZER };
	struct portion p = { .s = s, .upload = &u };
	err_t err = 0, sent;

	if (count > 0 && (err = begin_portions(&p)) == 0)
		err = upload_portions(&p, v, count);
	if (err != 0)
		upload_fail(&u, err);
	settle_abandon(p.settle); /* what it has under way is still handed to u */
	sent = upload_end(&u);
	return err != 0 ? err : sent;
}

err_t
upload_pending(struct sync *s)
{
	CLEANUP(free_ptr) struct candidate *v = NULL;
	size_t count = 0;
	err_t err = find_candidates(s->v->meta, 0, UINT64_MAX, &v, &count);

	return err != 0 ? err : upload_candidates(s, v, count);
}

err_t
upload_recent(struct sync *s, time_t since)
{
	CLEANUP(free_ptr) struct candidate *v = NULL;
	size_t count = 0, n = 0;
	uint64_t len = 0;
	err_t err = find_candidates(s->v->meta, since, RECENT_FILE_LEN, &v, &count);

	while (n < count && n < RECENT_FILES && len < RECENT_LEN)
		len += v[n++].size;
	return err != 0 ? err : upload_candidates(s, v, n);
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
	return upload_list_add(&w->unused, seg);
}

static err_t
find_unused(struct meta *m, struct segment_list *unused_out)
{
	CLEANUP(upload_list_clear) struct segment_list used = { 0 };
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	struct sweep w = { 0 };
	size_t count = 0;
	err_t err;

	meta_lock(m);
	err = meta_pending_inodes(m, &inos, &count);
	for (size_t k = 0; err == 0 && k < count; k++)
		err = usage_pending_chunks(m, inos[k], list_chunk, &used);
	w.used = used.seen;
	for (uint64_t after = 0; err == 0 && after != UINT64_MAX;)
		err = meta_segment_scan_some(m, true, &after, sweep_segment, &w);
	meta_unlock(m);
	if (err != 0)
		upload_list_clear(&w.unused);
	else
		*unused_out = w.unused;
	return err;
}

/*
 * Nobody else knows their names, and no commit of this device will have them: they need not wait until they are taken for orphans.
 * Before the first commit nobody could find these out, nor drop them.
 */
static err_t
doom_unused(struct sync *s, const struct segment_list *unused)
{
	struct gc_names names = { 0 };
	struct meta *m = s->v->meta;
	err_t err;

	meta_lock(m);
	err = gc_doomed_get(m, &names);
	for (size_t i = 0; err == 0 && i < unused->count; i++)
		if (!s->v->has_head || upload_is_done(s, unused->v[i].id))
			err = gc_names_add(&names, unused->v[i].name);
	if (err == 0)
		err = gc_doomed_put(m, &names);
	meta_unlock(m);
	free(names.v);
	return err;
}

err_t
upload_sweep(struct sync *s)
{
	CLEANUP(upload_list_clear) struct segment_list unused = { 0 };
	struct meta *m = s->v->meta;
	err_t err;

	if (s->swept)
		return 0;
	if ((err = find_unused(m, &unused)) != 0)
		return err;
	/* A row on the disk may still point there: only when it is overwritten may the bytes go. */
	if (unused.count > 0 && ((err = meta_sync(m)) != 0 || (err = doom_unused(s, &unused)) != 0))
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
