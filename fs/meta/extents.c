/* extents.c: cutting, mapping and comparing the extents of one chunk.  Pure list work; a list is changed whole or not at all. */
#include "extents.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"

static uint64_t
end_of(const struct extent *x)
{
	return x->off + x->len;
}

/*
 * The same sealed bytes in the same place.  The place counts: an extent that was carried over to another segment keeps
 * its id, and its old bytes are dead all the same.
 */
static bool
same_sealed(const struct extent *a, const struct extent *b)
{
	return memcmp(a->x_id, b->x_id, EXTENT_ID_LEN) == 0 && a->seg == b->seg && a->seg_off == b->seg_off;
}

static bool
same(const struct extent *a, const struct extent *b)
{
	return a->off == b->off && a->len == b->len && same_sealed(a, b) && a->x_off == b->x_off && a->x_len == b->x_len &&
	    a->x_encoding == b->x_encoding && a->key_version == b->key_version && a->stored_len == b->stored_len;
}

void
extent_list_clear(struct extent_list *l)
{
	free(l->v);
	*l = (struct extent_list){0};
}

err_t
extent_list_copy(const struct extent_list *from, struct extent_list *to_out)
{
	struct extent *v = NULL;

	if (from->count) {
		v = malloc(from->count * sizeof(*v));
		if (!v)
			return -ENOMEM;
		memcpy(v, from->v, from->count * sizeof(*v));
	}
	*to_out = (struct extent_list){v, from->count, from->count};
	return 0;
}

bool
extent_list_equal(const struct extent_list *a, const struct extent_list *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++) {
		if (!same(&a->v[i], &b->v[i]))
			return false;
	}
	return true;
}

/* Ranges do not overlap and a chunk has CHUNK_LEN bytes, so that need stays far below what would overflow. */
static err_t
reserve(struct extent_list *l, uint32_t need)
{
	if (need <= l->cap)
		return 0;

	uint32_t cap = l->cap * 2 > need ? l->cap * 2 : need;
	struct extent *v = realloc(l->v, cap * sizeof(*v));

	if (!v)
		return -ENOMEM;
	l->v = v;
	l->cap = cap;
	return 0;
}

err_t
extent_list_append(struct extent_list *l, const struct extent *x)
{
	assert(x->len > 0 && (l->count == 0 || end_of(&l->v[l->count - 1]) <= x->off));

	err_t e = reserve(l, l->count + 1);

	if (e)
		return e;
	l->v[l->count++] = *x;
	return 0;
}

uint32_t
extent_list_find(const struct extent_list *l, uint64_t off)
{
	uint32_t lo = 0;
	uint32_t hi = l->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (end_of(&l->v[mid]) > off)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

err_t
extent_list_make_room(struct extent_list *l, uint32_t more)
{
	return reserve(l, l->count + more);
}

void
extent_list_insert(struct extent_list *l, const struct extent_list *more)
{
	uint32_t at;

	if (more->count == 0)
		return;
	assert(l->cap - l->count >= more->count);
	at = extent_list_find(l, more->v[0].off);
	if (l->count > at)
		memmove(&l->v[at + more->count], &l->v[at], (l->count - at) * sizeof(*l->v));
	memcpy(&l->v[at], more->v, more->count * sizeof(*l->v));
	l->count += more->count;
}

static uint32_t
first_from(const struct extent_list *l, uint64_t off)
{
	uint32_t k = extent_list_find(l, off);

	return k < l->count && l->v[k].off < off ? k + 1 : k;
}

struct extent_list
extent_list_part(const struct extent_list *l, uint64_t from, uint64_t to)
{
	uint32_t first = first_from(l, from);
	uint32_t count = first_from(l, to) - first;

	return (struct extent_list){count ? l->v + first : NULL, count, count};
}

/* A mapped range lies within what was sealed, so that only the entries there need looking at. */
bool
extent_list_lacks(const struct extent_list *l, const struct extent *x)
{
	for (uint32_t i = extent_list_find(l, x->x_off); i < l->count && l->v[i].off < x->x_off + x->x_len; i++) {
		if (same_sealed(&l->v[i], x))
			return false;
	}
	return true;
}

err_t
extent_list_replace(struct extent_list *l, uint64_t off, uint32_t len, const struct extent *x)
{
	assert(!x || (x->len > 0 && x->off >= off && end_of(x) <= off + len));

	uint32_t first = extent_list_find(l, off);
	uint32_t last = first;

	if (len == 0)
		return 0;
	while (last < l->count && l->v[last].off < off + len)
		last++;

	struct extent piece[3]; /* what will stand in place of v[first..last): a cut head, x, a cut tail */
	uint32_t count = 0;

	if (first < last && l->v[first].off < off) {
		piece[count] = l->v[first];
		piece[count++].len = (uint32_t)(off - l->v[first].off);
	}
	if (x)
		piece[count++] = *x;
	if (first < last && end_of(&l->v[last - 1]) > off + len) {
		piece[count] = l->v[last - 1];
		piece[count].off = off + len;
		piece[count++].len = (uint32_t)(end_of(&l->v[last - 1]) - (off + len));
	}

	uint32_t new_count = l->count - (last - first) + count;
	err_t e = reserve(l, new_count);

	if (e)
		return e;
	if (l->count > last)
		memmove(&l->v[first + count], &l->v[last], (l->count - last) * sizeof(*l->v));
	if (count)
		memcpy(&l->v[first], piece, count * sizeof(*piece));
	l->count = new_count;
	return 0;
}

/* What is given back at once: a frame, or of a packed extent all of it. */
static uint32_t
unit_len(const struct extent *x)
{
	return x->x_encoding == FRAME_RAW ? FRAME_RAW_LEN : x->x_len;
}

/* The number of the unit that holds the byte at off. */
static uint32_t
unit_at(const struct extent *x, uint64_t off)
{
	return (uint32_t)((off - x->x_off) / unit_len(x));
}

/* Where the unit begins among the stored bytes; of the one behind the last: their end. */
static uint32_t
unit_stored_at(const struct extent *x, uint32_t unit)
{
	if ((uint64_t)unit * unit_len(x) >= x->x_len)
		return x->stored_len;
	return unit * (FRAME_RAW_LEN + AEAD_TAG_LEN);
}

/* Is a byte of that unit of x among v[from..to)? */
static bool
unit_mapped(const struct extent_list *l, uint32_t from, uint32_t to, const struct extent *x, uint32_t unit)
{
	uint64_t start = x->x_off + (uint64_t)unit * unit_len(x);
	uint32_t i = extent_list_find(l, start);

	for (i = i > from ? i : from; i < to && l->v[i].off < start + unit_len(x); i++) {
		if (same_sealed(&l->v[i], x))
			return true;
	}
	return false;
}

/* Units first..last of x are gone unless `after` maps them. */
static void
tell_units(const struct extent *x, const struct extent_list *after, uint32_t first, uint32_t last, extent_gone_fn *gone,
    void *ctx)
{
	bool lacks = extent_list_lacks(after, x);

	for (uint32_t u = first; u <= last; u++) {
		uint32_t start = u;

		while (u <= last && (lacks || !unit_mapped(after, 0, after->count, x, u)))
			u++;
		if (u > start)
			gone(ctx, x, x->seg_off + unit_stored_at(x, start), unit_stored_at(x, u) - unit_stored_at(x, start));
	}
}

void
extent_list_gone(const struct extent_list *before, const struct extent_list *after, uint64_t from, uint64_t to,
    extent_gone_fn *gone, void *ctx)
{
	uint32_t begin = extent_list_find(before, from);

	for (uint32_t k = begin; k < before->count && before->v[k].off < to; k++) {
		const struct extent *x = &before->v[k];
		uint32_t first = unit_at(x, x->off > from ? x->off : from);
		uint32_t last = unit_at(x, (end_of(x) < to ? end_of(x) : to) - 1);

		/* Only the first one can be shared with a range further ahead, which has told it then. */
		if (unit_mapped(before, begin, k, x, first))
			first++;
		if (first <= last)
			tell_units(x, after, first, last, gone, ctx);
	}
}
