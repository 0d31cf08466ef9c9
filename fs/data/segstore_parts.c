/* segstore_parts.c: what is known of segments that were looked at lately, besides their rows. */
#include "segstore_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "pieces.h"

/* So many, if not more are in use. */
#define PARTS_MAX 16384u

struct part *
segstore_find_part(struct segstore *ss, uint64_t seg)
{
	struct part *p;

	HASH_FIND(hh, ss->parts, &seg, sizeof(seg), p);
	return p;
}

/* Nothing is known of it but what its row says, and when it was read. */
static bool
is_as_its_row(const struct part *p)
{
	return !p->users && !p->leaving && !p->outrun && !p->fresh && !p->ahead && p->here == p->row_here &&
	    p->whole == p->row_whole && p->has_file == (p->whole || p->here);
}

static int
compare_use(const void *a, const void *b)
{
	const struct part *const *x = a;
	const struct part *const *y = b;

	return ((*x)->used > (*y)->used) - ((*x)->used < (*y)->used);
}

/*
 * [pieces_lock] When there are many, those go that nobody has read for the longest time: they come again from their rows.  Without
 * memory for the choice all stay.
 */
static void
make_room(struct segstore *ss)
{
	size_t count = HASH_COUNT(ss->parts), idle = 0;

	if (count < PARTS_MAX || count < ss->parts_next)
		return;

	CLEANUP(free_ptr) struct part **v = calloc(count, sizeof(*v));

	for (struct part *p = ss->parts; p && v; p = p->hh.next)
		if (is_as_its_row(p))
			v[idle++] = p;
	if (idle)
		qsort(v, idle, sizeof(*v), compare_use);
	for (size_t k = 0; k < idle && k < PARTS_MAX / 4; k++) {
		HASH_DEL(ss->parts, v[k]);
		free(v[k]);
	}
	/* Where few can go the next look is a while away. */
	ss->parts_next = HASH_COUNT(ss->parts) + PARTS_MAX / 4;
}

static uint64_t
row_pieces(const struct segment *row)
{
	return row->local ? pieces_all(row->size) : row->present & pieces_all(row->size);
}

/* [pieces_lock] */
static struct part *
part_add(struct segstore *ss, const struct segment *row)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	make_room(ss);
	p->seg = row->id;
	p->size = row->size;
	p->hot = row->kind == SEGMENT_HOT;
	p->here = row_pieces(row);
	p->has_file = row->local || p->here;
	p->whole = p->row_whole = row->local;
	p->row_here = p->here;
	HASH_ADD(hh, ss->parts, seg, sizeof(p->seg), p);
	if (p->hh.tbl)
		return p;
	free(p);
	return NULL;
}

err_t
segstore_lock_part(struct segstore *ss, uint64_t seg, struct part **out)
{
	struct segment row;

	pthread_mutex_lock(&ss->pieces_lock);
	*out = segstore_find_part(ss, seg);
	if (*out)
		return 0;
	pthread_mutex_unlock(&ss->pieces_lock);
	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, seg, &row);

	if (!e) {
		pthread_mutex_lock(&ss->pieces_lock);
		*out = segstore_find_part(ss, seg);
		if (!*out)
			*out = part_add(ss, &row);
		if (!*out)
			pthread_mutex_unlock(&ss->pieces_lock);
	}
	meta_unlock(ss->meta);
	if (e)
		return e == -ENOENT ? -ENODATA : e;
	return *out ? 0 : -ENOMEM;
}

void
segstore_leave_part(struct segstore *ss, struct part *p)
{
	if (--p->users == 0)
		segstore_drop_lent(ss, p);
	if (p->users == 0 && p->removed)
		free(p);
	pthread_cond_broadcast(&ss->pieces_moved);
}

/* [meta lock] */
static void
note_followed(struct segstore *ss, uint64_t seg, const struct segment *row)
{
	pthread_mutex_lock(&ss->pieces_lock);

	struct part *p = segstore_find_part(ss, seg);

	if (p) {
		p->row_whole = row->local;
		p->row_here = row_pieces(row);
	}
	pthread_mutex_unlock(&ss->pieces_lock);
}

err_t
segstore_follow_part(struct segstore *ss, uint64_t seg)
{
	struct segment row;

	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, seg, &row);

	if (!e) {
		pthread_mutex_lock(&ss->pieces_lock);

		struct part *p = segstore_find_part(ss, seg);
		bool whole = p && p->whole;
		uint64_t present = p && !whole ? p->here & ~p->fresh : 0;

		pthread_mutex_unlock(&ss->pieces_lock);
		if (p && (row.local != whole || row.present != present)) {
			row.local = whole;
			row.present = present;
			e = meta_segment_put(ss->meta, &row);
		}
		if (!e)
			note_followed(ss, seg, &row);
	}
	meta_unlock(ss->meta);
	if (e != -ENOENT)
		return e;
	segstore_forget_part(ss, seg); /* the sums of rows do not have it, so nothing is to be taken off them */
	return 0;
}

void
segstore_forget_part(struct segstore *ss, uint64_t seg)
{
	pthread_mutex_lock(&ss->pieces_lock);

	struct part *p = segstore_find_part(ss, seg);

	if (p) {
		HASH_DEL(ss->parts, p);
		p->removed = true;
		if (!p->users)
			free(p);
	}
	pthread_mutex_unlock(&ss->pieces_lock);
}

void
segstore_free_parts(struct segstore *ss)
{
	struct part *p, *next;

	HASH_ITER (hh, ss->parts, p, next) {
		HASH_DEL(ss->parts, p);
		free(p);
	}
}

size_t
segstore_parts_in_memory(struct segstore *ss)
{
	pthread_mutex_lock(&ss->pieces_lock);

	size_t count = HASH_COUNT(ss->parts);

	pthread_mutex_unlock(&ss->pieces_lock);
	return count;
}
