/*
 * segstore_leaving.c: pieces are given up, in the order that segstore_pieces.c explains; and what of all segments is here, for who
 * chooses.
 */
#include "segstore_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "log.h"
#include "pieces.h"

/* [meta lock, pieces_lock] Nobody finds them any more. */
static err_t
mark_leaving(struct segstore *ss, struct segstore_leaving *l)
{
	struct part *p = segstore_find_part(ss, l->seg);

	if (p)
		l->mask = p->hot ? 0 : l->strays ? pieces_all(p->size) & ~p->here : l->mask & p->here;
	if (!p || p->users || p->leaving || !l->mask)
		return -EBUSY;
	p->leaving = true;
	p->users++;
	p->here &= ~l->mask;
	p->fresh &= ~l->mask;
	p->ahead &= ~l->mask;
	p->whole = false;
	l->size = p->size;
	l->part = p;
	return 0;
}

/* -EBUSY: somebody is reading, or the store has it no more: a commit may have dropped it since it was chosen. */
static err_t
begin_leaving(struct segstore *ss, struct segstore_leaving *l)
{
	struct segment row;
	struct part *p;
	err_t e = segstore_lock_part(ss, l->seg, &p);

	if (e)
		return e;
	pthread_mutex_unlock(&ss->pieces_lock);
	meta_lock(ss->meta);
	e = meta_segment_get(ss->meta, l->seg, &row);
	if (!e && !row.in_store)
		e = -EBUSY;
	if (!e) {
		pthread_mutex_lock(&ss->pieces_lock);
		e = mark_leaving(ss, l);
		pthread_mutex_unlock(&ss->pieces_lock);
	}
	meta_unlock(ss->meta);
	return e;
}

/* [leaving] */
static err_t
give_back(struct segstore *ss, const struct segstore_leaving *l, bool empty)
{
	uint64_t len = pieces_len(l->size), rest = l->mask;
	unsigned first, count;
	struct segfile *f;
	err_t e;

	if (empty)
		return segfiles_remove(ss->files, l->seg);
	e = segfiles_get(ss->files, l->seg, &f);
	if (e)
		return e;
	while (!e && (count = pieces_first_run(rest, PIECES_MAX, &first))) {
		e = disk_punch(segfile_fd(f), first * len, pieces_bytes(l->size, pieces_run(first, count)));
		rest &= ~pieces_run(first, count);
	}
	segfiles_put(ss->files, f);
	return e;
}

static void
end_leaving(struct segstore *ss, struct segstore_leaving *l, bool durable)
{
	struct part *p = l->part;

	pthread_mutex_lock(&ss->pieces_lock);

	bool empty = !p->here;

	pthread_mutex_unlock(&ss->pieces_lock);

	/* As long as a durable row speaks of them, the bytes stay: they are written over, or given up another time. */
	err_t e = durable ? give_back(ss, l, empty) : -ECANCELED;

	if (e && e != -ECANCELED && e != -ENODATA)
		log_warn("space of segment %016llx was not given back: %s", (unsigned long long)l->seg, strerror(-e));
	pthread_mutex_lock(&ss->pieces_lock);
	p->leaving = false;
	p->outrun |= !durable && l->strays;
	/* All of it is where it was, and nobody has written there. */
	if (!durable && !l->strays) {
		p->here |= l->mask;
		p->fresh |= l->mask;
	}
	if (!e && empty)
		p->has_file = false;
	segstore_leave_part(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
	l->done = !e;
}

void
segstore_cut_torn(struct segstore *ss, struct part *p)
{
	struct segstore_leaving l = {.seg = p->seg, .mask = p->torn & ~p->here, .size = p->size, .part = p};

	p->torn = 0;
	if (!l.mask)
		return;
	p->leaving = true;
	p->users++;
	pthread_mutex_unlock(&ss->pieces_lock);
	end_leaving(ss, &l, true); /* the row was made to catch up before they were written */
	pthread_mutex_lock(&ss->pieces_lock);
}

err_t
segstore_drop_pieces(struct segstore *ss, struct segstore_leaving *v, size_t count)
{
	bool any = false;
	err_t e = 0;

	for (size_t k = 0; k < count; k++) {
		v[k].done = false;
		v[k].part = NULL;
		any |= !begin_leaving(ss, &v[k]);
	}
	for (size_t k = 0; k < count && !e; k++)
		if (v[k].part)
			e = segstore_follow_part(ss, v[k].seg);
	if (any && !e)
		e = meta_sync(ss->meta);
	for (size_t k = 0; k < count; k++)
		if (v[k].part)
			end_leaving(ss, &v[k], !e);
	return e;
}

err_t
segstore_drop(struct segstore *ss, uint64_t seg)
{
	struct part *p;
	err_t e = segstore_lock_part(ss, seg, &p);
	bool known = !e;

	if (known) {
		p->here = p->fresh = p->ahead = 0;
		p->whole = p->has_file = false;
		p->outrun = true;
		pthread_mutex_unlock(&ss->pieces_lock);
	}
	if (e && e != -ENODATA)
		return e;
	e = segfiles_remove(ss->files, seg);
	if (!e && known)
		e = segstore_follow_part(ss, seg);
	return e;
}

/* What there is. */

struct kept {
	struct segstore *ss;
	struct segstore_kept_list *l;
};

/* [meta lock] */
static err_t
list_row(void *ctx, const struct segment *row)
{
	struct kept *k = ctx;
	struct segstore_kept_list *l = k->l;
	struct segstore_kept one = {.seg = row->id, .size = row->size, .in_store = row->in_store,
		.here = row->local ? pieces_all(row->size) : row->present};

	if (row->kind != SEGMENT_SETTLED)
		return 0;
	pthread_mutex_lock(&k->ss->pieces_lock);

	const struct part *p = segstore_find_part(k->ss, row->id);

	if (p) {
		one.here = p->here;
		one.used = p->used;
	}
	pthread_mutex_unlock(&k->ss->pieces_lock);
	if (!one.here)
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct segstore_kept *grown = reallocarray(l->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->v = grown;
		l->cap = cap;
	}
	l->v[l->count++] = one;
	return 0;
}

void
segstore_kept_clear(struct segstore_kept_list *l)
{
	free(l->v);
	*l = (struct segstore_kept_list){0};
}

err_t
segstore_list_kept(struct segstore *ss, struct segstore_kept_list *out)
{
	CLEANUP(segstore_kept_clear) struct segstore_kept_list l = {0};
	struct kept k = {ss, &l};
	err_t e = meta_segment_scan(ss->meta, false, list_row, &k);

	if (e)
		return e;
	*out = l;
	l = (struct segstore_kept_list){0};
	return 0;
}

err_t
segstore_count_kept(struct segstore *ss, struct meta_segment_totals *out)
{
	struct meta_segment_totals sum;
	uint64_t more = 0, less = 0;
	err_t e = meta_segments_learn(ss->meta, false);

	if (e)
		return e;
	meta_lock(ss->meta);
	e = meta_segments_total(ss->meta, &sum);
	pthread_mutex_lock(&ss->pieces_lock);
	for (const struct part *p = ss->parts; p; p = p->hh.next) {
		more += pieces_bytes(p->size, p->here & ~p->row_here);
		less += pieces_bytes(p->size, p->row_here & ~p->here);
	}
	pthread_mutex_unlock(&ss->pieces_lock);
	meta_unlock(ss->meta);
	if (e)
		return e;
	/* Pieces come only of what the store has, too, and but for a moment in which a segment is removed go only of that. */
	sum.here += more - less;
	sum.cached += more;
	sum.cached -= less < sum.cached ? less : sum.cached;
	*out = sum;
	return 0;
}
