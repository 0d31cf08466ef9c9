/* tidy.c: one pass: which segments, whose extents, and what becomes of the segments. */
#include "tidy.h"

#include <errno.h>
#include <stdlib.h>

/* All sparse segments together may waste one such part of what is live, and in each so little is not worth while. */
#define WASTE_SHARE 64
#define WASTE_MIN (8u << 10)
/* While there are changes all the time, only much waste is worth while. */
#define WASTE_SHARE_BUSY 4
/* So many bytes to copy for each that comes back need a second of quiet more. */
#define COST_PER_SECOND 8
/* Segments that are short, and not of more things than fit one, are put together when there are so many of about the same length
 * (within a factor of 8). */
#define SHORT_LEN (8u << 20)
#define SHORT_COUNT 8
#define SHORT_CLASSES 24
/* Inode numbers that are read from the database at once. */
#define NUMBERS 256

struct pass {
	const struct tidy_place *p;
	struct hot_segment *all;
	size_t count;
	struct settle_source *sources;
	size_t source_count;
	struct settle *settle;
	uint64_t moves; /* meta_segment_moves at the beginning */
};

static void
pass_clear(struct pass *t)
{
	if (t->settle)
		settle_abandon(t->settle);
	hot_segments_free(t->all, t->count);
	free(t->sources);
}

/* Choosing segments. */

static uint64_t
waste_of(const struct hot_segment *h)
{
	return h->allocated > h->live ? h->allocated - h->live : 0;
}

/* Is it worth its price to empty those that are sparse? */
static bool
waste_is_due(const struct pass *t, uint64_t quiet_ms)
{
	uint64_t live = 0, waste = 0, cost = 0;

	for (size_t k = 0; k < t->count; k++) {
		const struct hot_segment *h = &t->all[k];

		live += h->live;
		if (h->open || waste_of(h) <= h->live / WASTE_SHARE + WASTE_MIN)
			continue;
		waste += waste_of(h);
		cost += h->live;
	}
	if (waste <= live / (quiet_ms ? WASTE_SHARE : WASTE_SHARE_BUSY))
		return false;
	return quiet_ms / 1000 >= cost / waste / COST_PER_SECOND || waste > live / WASTE_SHARE_BUSY;
}

static unsigned
length_class(const struct hot_segment *h)
{
	return h->live ? (63 - (unsigned)__builtin_clzll(h->live)) / 3 : 0;
}

static bool
is_short(const struct hot_segment *h)
{
	return h->tidied && !h->open && !h->full && h->live < SHORT_LEN;
}

/* What of it is to be done: nothing (false), or *empty_out. */
static bool
is_to_do(const struct hot_segment *h, bool waste_due, const unsigned short_count[static SHORT_CLASSES], bool *empty_out)
{
	bool sparse = waste_due && waste_of(h) > h->live / WASTE_SHARE + WASTE_MIN;
	bool bitty = is_short(h) && short_count[length_class(h)] >= SHORT_COUNT;
	bool gone = h->live == 0;

	*empty_out = sparse || bitty || gone;
	return !h->open && (*empty_out || !h->tidied);
}

static err_t
choose_sources(struct pass *t, uint64_t quiet_ms)
{
	unsigned short_count[SHORT_CLASSES] = {0};
	bool waste_due = waste_is_due(t, quiet_ms);
	bool empty;

	t->sources = calloc(t->count + 1, sizeof(*t->sources));
	if (!t->sources)
		return -ENOMEM;
	for (size_t k = 0; k < t->count; k++) {
		if (is_short(&t->all[k]))
			short_count[length_class(&t->all[k])]++;
	}
	for (size_t k = 0; k < t->count; k++) {
		if (is_to_do(&t->all[k], waste_due, short_count, &empty))
			t->sources[t->source_count++] = (struct settle_source){.seg = t->all[k].seg, .empty = empty};
	}
	return 0;
}

/* Whose extents are in them. */

struct range {
	uint64_t first;
	uint64_t last;
};

struct ranges {
	struct range *v;
	size_t count;
	size_t cap;
};

static void
ranges_clear(struct ranges *r)
{
	free(r->v);
}

static err_t
ranges_add(struct ranges *r, uint64_t first, uint64_t last)
{
	if (r->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct range *grown = reallocarray(r->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->v = grown;
		r->cap = cap;
	}
	r->v[r->count++] = (struct range){first, last};
	return 0;
}

static int
compare_ranges(const void *a, const void *b)
{
	const struct range *x = a;
	const struct range *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* Sorted, those that overlap as one. */
static void
ranges_merge(struct ranges *r)
{
	size_t kept = 0;

	if (r->count)
		qsort(r->v, r->count, sizeof(*r->v), compare_ranges);
	for (size_t k = 0; k < r->count; k++) {
		struct range *at = kept ? &r->v[kept - 1] : NULL;

		if (at && r->v[k].first <= at->last) {
			at->last = r->v[k].last > at->last ? r->v[k].last : at->last;
			continue;
		}
		r->v[kept++] = r->v[k];
	}
	r->count = kept;
}

static err_t
add_owners(const struct hot_segment *h, struct ranges *r)
{
	err_t e = 0;

	if (!h->first_ino || (!h->earlier && !h->live))
		return 0;
	if (!h->owners)
		return ranges_add(r, h->first_ino, h->last_ino);
	for (uint32_t k = 0; k < h->owner_count && !e; k++)
		e = ranges_add(r, h->owners[k], h->owners[k]);
	return e;
}

static err_t
find_owners(const struct pass *t, struct ranges *r)
{
	err_t e = 0;

	for (size_t k = 0, n = 0; k < t->count && n < t->source_count && !e; k++) {
		if (t->all[k].seg == t->sources[n].seg) {
			e = add_owners(&t->all[k], r);
			n++;
		}
	}
	ranges_merge(r);
	return e;
}

/* Working. */

static err_t
tidy_inode(struct pass *t, uint64_t ino)
{
	err_t e = settle_inode(t->settle, ino);

	/* Gone, damaged (then it stays where it is), or changed meanwhile (then the segment is not emptied yet). */
	return e == -ENOENT || e == -EBADMSG || e == -EAGAIN ? 0 : e;
}

static err_t
tidy_range(struct pass *t, const struct range *r)
{
	uint64_t numbers[NUMBERS];
	uint64_t from = r->first;
	size_t count = 0;

	if (r->first == r->last)
		return tidy_inode(t, r->first);
	do {
		meta_lock(t->p->meta);

		err_t e = meta_inode_numbers(t->p->meta, from, r->last, numbers, NUMBERS, &count);

		meta_unlock(t->p->meta);
		for (size_t k = 0; k < count && !e; k++)
			e = tidy_inode(t, numbers[k]);
		if (e)
			return e;
		from = count ? numbers[count - 1] + 1 : from;
	} while (count == NUMBERS && from <= r->last);
	return 0;
}

static err_t
work(struct pass *t, settle_pause_fn *pause, void *pause_ctx, uint64_t *moved_out)
{
	CLEANUP(ranges_clear) struct ranges owners = {0};
	const struct tidy_place *p = t->p;
	err_t e = find_owners(t, &owners);

	/* Which inodes there are is read from the disk. */
	if (!e)
		e = meta_sync(p->meta);
	if (!e)
		e = settle_begin_local(p->content, p->meta, p->segments, p->keys, t->sources, t->source_count, &t->settle);
	if (e)
		return e;
	settle_set_pause(t->settle, pause, pause_ctx);
	for (size_t k = 0; k < owners.count && !e; k++)
		e = tidy_range(t, &owners.v[k]);
	/* What is done is done, also when it was interrupted. */
	if (e && e != -ECANCELED)
		return e;

	err_t finished = settle_finish(STEAL(t->settle), moved_out);

	return finished ? finished : e;
}

/* Those of this run that are empty go by themselves, when the last of their bytes is released. */
static err_t
conclude(struct pass *t, bool *progress_out)
{
	const struct tidy_place *p = t->p;
	/* Nothing in memory points at what was emptied, but the last durable commit may. */
	err_t e = meta_sync(p->meta);

	meta_lock(p->meta);

	bool moves = meta_segment_moves(p->meta) != t->moves;

	meta_unlock(p->meta);
	for (size_t k = 0, n = 0; k < t->count && n < t->source_count && !e; k++) {
		const struct settle_source *from = &t->sources[n];

		if (t->all[k].seg != from->seg)
			continue;
		n++;
		if (from->unsure)
			continue;
		if (t->all[k].earlier && from->left == 0 && !moves)
			e = segstore_remove_emptied(p->segments, from->seg);
		else
			e = segstore_set_tidied(p->segments, from->seg, t->all[k].earlier ? from->left : UINT64_MAX);
		*progress_out |= !t->all[k].tidied;
	}
	return e;
}

/* What takes appends can't be emptied: if there is something to do in it, the next append begins another one. */
static void
roll(struct pass *t)
{
	for (size_t k = 0; k < t->count; k++) {
		struct hot_segment *h = &t->all[k];

		if (!h->open || (h->live == 0 && waste_of(h) <= WASTE_MIN && !h->ahead))
			continue;
		segstore_roll(t->p->segments);
		h->open = false;
	}
}

err_t
tidy_pass(const struct tidy_place *p, uint64_t quiet_ms, settle_pause_fn *pause, void *pause_ctx, uint64_t *moved_out,
    bool *done_out)
{
	CLEANUP(pass_clear) struct pass t = {.p = p};
	bool progress = false;
	uint64_t moved = 0;

	meta_lock(p->meta);
	t.moves = meta_segment_moves(p->meta);
	meta_unlock(p->meta);

	err_t e = segstore_list_hot(p->segments, &t.all, &t.count);

	if (!e && quiet_ms)
		roll(&t);
	if (!e)
		e = choose_sources(&t, quiet_ms);
	if (!e && t.source_count)
		e = work(&t, pause, pause_ctx, &moved);
	if (!e && t.source_count)
		e = conclude(&t, &progress);
	if (e)
		return e;
	*moved_out = moved;
	*done_out = moved == 0 && !progress && (waste_is_due(&t, quiet_ms) || !waste_is_due(&t, UINT64_MAX));
	return 0;
}
