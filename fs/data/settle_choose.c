/* settle_choose.c: which extents of a chunk are worth being sealed anew. */
#include "settle_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A chunk that is mostly in order is left so, and only what is not is settled, unless it is in that many pieces. */
#define DUE_SHARE 8
#define PIECES_MAX 64
/* On this computer, neighbours are joined if they are shorter than that on average. */
#define PIECE_LEN (64u << 10)

void
settle_selection_clear(struct selection *l)
{
	free(l->keys);
	free(l->chosen);
}

const struct file_key *
settle_find_key(const struct selection *l, uint32_t version)
{
	for (uint32_t k = 0; k < l->key_count; k++) {
		if (l->keys[k].version == version)
			return &l->keys[k];
	}
	return NULL;
}

static struct settle_source *
source_of(const struct settle *s, uint64_t seg)
{
	size_t lo = 0, hi = s->source_count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->sources[mid].seg < seg)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->source_count && s->sources[lo].seg == seg ? &s->sources[lo] : NULL;
}

bool
settle_is_source(const struct settle *s, const struct extent_list *list)
{
	for (uint32_t k = 0; k < list->count; k++) {
		if (source_of(s, list->v[k].seg))
			return true;
	}
	return false;
}

/* [meta lock] Is it what settling is about: hot, or in a source? */
static bool
is_due(struct settle *s, const struct extent *x)
{
	return s->local ? source_of(s, x->seg) != NULL : segstore_is_hot(s->ss, x->seg);
}

/*
 * [meta lock] Could it be taken along with what is due, to make one of it?  On its way to the store, whatever is at hand; on
 * this computer, what is hot: the store has the rest.
 */
static bool
may_join(struct settle *s, const struct extent *x)
{
	struct segment row;

	if (s->local)
		return segstore_is_hot(s->ss, x->seg);
	return !meta_segment_get(s->m, x->seg, &row) && row.local;
}

/* [meta lock] All of the chunk that may be, unless little of it is due; else only what is. */
static bool
choose_all(struct settle *s, const struct extent_list *list)
{
	uint64_t due_len = 0, len = 0;

	for (uint32_t k = 0; k < list->count; k++) {
		const struct extent *x = &list->v[k];

		if (is_due(s, x))
			due_len += x->len;
		else if (!may_join(s, x) && !s->local)
			return false;
		len += x->len;
	}
	return due_len >= len / DUE_SHARE || list->count > PIECES_MAX;
}

err_t
settle_choose(struct settle *s, const struct inode *i, const struct chunk *ch, bool only_hot, struct selection *out)
{
	bool all = !only_hot && choose_all(s, &ch->current);

	out->origin = i->origin;
	out->chosen = calloc((size_t)ch->current.count + 1, sizeof(*out->chosen));
	out->keys = calloc((size_t)i->key_count + 1, sizeof(*out->keys));
	if (!out->chosen || !out->keys)
		return -ENOMEM;
	if (i->key_count)
		memcpy(out->keys, i->keys, i->key_count * sizeof(*out->keys));
	out->key_count = i->key_count;
	for (uint32_t k = 0; k < ch->current.count; k++) {
		const struct extent *x = &ch->current.v[k];
		bool due = is_due(s, x);

		out->chosen[k] = due || (all && may_join(s, x));
		out->any |= due;
	}
	return 0;
}

/* v[from..to) is a run of neighbours that were chosen.  *gains_out: is it better off as one, elsewhere? */
static err_t
judge_run(struct settle *s, struct chunk_work *w, const struct extent_list *list, uint32_t from, uint32_t to,
    const struct selection *l, settle_read_fn *read, bool *gains_out)
{
	const struct extent *sample = NULL;
	uint64_t len = 0;

	*gains_out = true;
	for (uint32_t k = from; k < to; k++) {
		const struct settle_source *source = source_of(s, list->v[k].seg);

		if (source && source->empty)
			return 0;
		if (source && list->v[k].x_encoding == FRAME_RAW && !sample)
			sample = &list->v[k];
		len += list->v[k].len;
	}
	if (to - from > 1 && len < (uint64_t)(to - from) * PIECE_LEN)
		return 0;
	*gains_out = false;
	if (!sample)
		return 0;

	uint32_t sample_len = sample->len < FRAME_ZSTD_LEN ? sample->len : FRAME_ZSTD_LEN;
	err_t e = read(s, w, l, sample, sample_len);

	if (!e)
		*gains_out = packer_would_shrink(&w->packer, sample->off % CHUNK_LEN, sample_len);
	return e;
}

err_t
settle_leave_good(struct settle *s, struct chunk_work *w, const struct extent_list *list, struct selection *l,
    settle_read_fn *read)
{
	l->any = false;
	for (uint32_t k = 0, from; k < list->count;) {
		bool gains = false;

		from = k++;
		if (!l->chosen[from])
			continue;
		while (k < list->count && l->chosen[k] && list->v[k].off == list->v[k - 1].off + list->v[k - 1].len)
			k++;

		err_t e = judge_run(s, w, list, from, k, l, read, &gains);

		if (e)
			return e;
		if (!gains)
			memset(&l->chosen[from], 0, (k - from) * sizeof(*l->chosen));
		l->any |= gains;
	}
	return 0;
}

void
settle_count_left(struct settle *s, const struct extent_list *list, const struct selection *l)
{
	for (uint32_t k = 0; k < list->count; k++) {
		struct settle_source *source = source_of(s, list->v[k].seg);

		if (source && !l->chosen[k])
			source->left += list->v[k].x_encoding == FRAME_RAW ? frame_raw_stored_len(list->v[k].len) : list->v[k].stored_len;
	}
}

void
settle_note_unsure(struct settle *s, const struct extent_list *list)
{
	for (uint32_t k = 0; k < list->count; k++) {
		struct settle_source *source = source_of(s, list->v[k].seg);

		if (source)
			source->unsure = true;
	}
}

void
settle_note_all_unsure(struct settle *s)
{
	for (size_t k = 0; k < s->source_count; k++)
		s->sources[k].unsure = true;
}
