/*
 * merge_content.c: the chunks of one file in a merge.  What the chain has of a chunk only ever points into settled segments, so
 * that only bytes that stood here alone are ever given back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"
#include "merge_state.h"

static uint64_t
mapped_len(const struct extent_list *l)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < l->count; k++)
		sum += l->v[k].len;
	return sum;
}

err_t
merge_localize(const struct merge *m, const struct change_chunk *from, struct extent_list *out)
{
	err_t e = extent_list_copy(&from->extents, out);

	if (e)
		return e;
	for (uint32_t k = 0; k < out->count; k++)
		out->v[k].seg = m->segments[out->v[k].seg];
	return 0;
}

static void
set_current(struct inode *i, struct chunk *c, struct extent_list *list)
{
	i->mapped += mapped_len(list) - mapped_len(&c->current);
	extent_list_clear(&c->current);
	c->current = *list;
	*list = (struct extent_list){0};
}

/* What the chain has of the chunk is what is here; the list is taken over. c may be gone afterwards. */
static void
agree(struct merge *m, struct inode *i, struct chunk *c, struct extent_list *list)
{
	set_current(i, c, list);
	extent_list_clear(&c->chain);
	c->pending = false;
	meta_chunk_dirty(m->meta, i, c);
	meta_chunk_tidy(m->meta, i, c);
}

static err_t
copy_keys(const struct file_key *keys, uint32_t count, struct inode *to)
{
	struct file_key *v = NULL;

	if (count) {
		v = malloc(count * sizeof(*v));
		if (!v)
			return -ENOMEM;
		memcpy(v, keys, count * sizeof(*v));
	}
	free(to->keys);
	to->keys = v;
	to->key_count = count;
	return 0;
}

static err_t
take_chunk(struct merge *m, struct inode *i, const struct change_chunk *from)
{
	CLEANUP(extent_list_clear) struct extent_list list = {0};
	struct chunk *c = NULL;
	err_t e;

	if ((e = merge_localize(m, from, &list)) || (e = meta_chunk_get(m->meta, i, from->no, true, &c)))
		return e;
	agree(m, i, c, &list);
	return 0;
}

/* All from one on; listed first, since what follows makes and drops chunks. */
static err_t
list_chunks(struct merge *m, struct inode *i, uint64_t from, uint64_t **nos_out, size_t *count_out)
{
	return meta_chunk_numbers(m->meta, i, from, SIZE_MAX, nos_out, count_out);
}

err_t
merge_leave(struct merge *m, struct inode *i, uint64_t from, bool *later_out)
{
	*later_out = false;
	return m->mc->content && m->mc->left ? content_cut_later(m->mc->content, i, from, later_out) : 0;
}

static err_t
drop_chunks_behind(struct merge *m, struct inode *i, uint64_t size)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	bool later;
	err_t e = merge_leave(m, i, inode_chunks(size), &later);

	if (!e && !later)
		e = list_chunks(m, i, inode_chunks(size), &nos, &count);
	for (size_t k = 0; k < count && !e; k++) {
		struct extent_list none = {0};
		struct chunk *c = NULL;

		e = meta_chunk_get(m->meta, i, nos[k], false, &c);
		if (!e)
			agree(m, i, c, &none);
	}
	return e;
}

err_t
merge_take_content(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	err_t e = copy_keys(ch->keys, ch->key_count, i);

	for (uint32_t k = 0; k < ch->chunk_count && !e; k++)
		e = take_chunk(m, i, &ch->chunks[k]);
	if (e || (e = drop_chunks_behind(m, i, ch->size)))
		return e;
	i->size = ch->size;
	meta_inode_dirty(m->meta, i);
	return 0;
}

err_t
merge_drop_content(struct merge *m, struct inode *i)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = meta_pending_chunks(m->meta, i, &nos, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct chunk *c = NULL;

		if ((e = meta_chunk_get(m->meta, i, nos[k], false, &c)))
			return e;
		if (!c->pending)
			continue;
		if ((e = meta_release_gone(m->meta, &c->current, &c->chain)))
			return e;

		struct extent_list chain = c->chain;

		c->chain = (struct extent_list){0};
		agree(m, i, c, &chain);
	}
	if (e)
		return e;
	i->size = i->chain_size;
	i->chain_size = 0;
	i->pending &= ~(uint32_t)PENDING_CONTENT;
	meta_inode_dirty(m->meta, i);
	return 0;
}

/* The inode that they are moved to has bytes in hot segments now that were written for another. */
static err_t
note_owner(struct merge *m, const struct inode *i, const struct extent_list *l)
{
	for (uint32_t k = 0; k < l->count; k++) {
		struct segment s;
		err_t e = meta_segment_get(m->meta, l->v[k].seg, &s);

		if (!e && s.kind == SEGMENT_HOT) {
			meta_segment_note_move(m->meta);
			e = meta_segment_widen(m->meta, s.id, i->ino);
		}
		if (e && e != -ENOENT)
			return e;
	}
	return 0;
}

static err_t
move_chunk(struct merge *m, struct inode *from, struct inode *to, uint64_t no)
{
	CLEANUP(extent_list_clear) struct extent_list list = {0};
	struct chunk *c = NULL, *copy = NULL;
	err_t e;

	if ((e = meta_chunk_get(m->meta, from, no, false, &c)) || (e = extent_list_copy(&c->current, &list)))
		return e;
	/* What is behind the end is there only until it is given back. */
	bool cut = no >= inode_chunks(from->size);

	if (list.count && !cut) {
		if ((e = note_owner(m, to, &list)) || (e = meta_chunk_get(m->meta, to, no, true, &copy)))
			return e;
		set_current(to, copy, &list);
		copy->pending = true;
		meta_chunk_dirty(m->meta, to, copy);
	}
	if (!c->pending)
		return 0;
	if (cut && (e = meta_release_gone(m->meta, &c->current, &c->chain)))
		return e;

	struct extent_list chain = c->chain;

	c->chain = (struct extent_list){0};
	agree(m, from, c, &chain);
	return 0;
}

err_t
merge_move_content(struct merge *m, struct inode *from, struct inode *to)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e;

	if ((e = copy_keys(from->keys, from->key_count, to)) || (e = list_chunks(m, from, 0, &nos, &count)))
		return e;
	for (size_t k = 0; k < count && !e; k++)
		e = move_chunk(m, from, to, nos[k]);
	if (e)
		return e;
	to->size = from->size;
	from->size = from->chain_size;
	from->chain_size = 0;
	from->pending &= ~(uint32_t)PENDING_CONTENT;
	meta_inode_dirty(m->meta, from);
	meta_inode_dirty(m->meta, to);
	return 0;
}

err_t
merge_make_content_new(struct merge *m, struct inode *i)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = list_chunks(m, i, 0, &nos, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct chunk *c = NULL;

		if ((e = meta_chunk_get(m->meta, i, nos[k], false, &c)))
			return e;
		extent_list_clear(&c->chain);
		c->pending = c->current.count > 0;
		meta_chunk_dirty(m->meta, i, c);
		meta_chunk_tidy(m->meta, i, c);
	}
	i->chain_size = 0;
	return e;
}

/* The chain has this list for the chunk now. */
static err_t
own_chunk(struct merge *m, struct inode *i, uint64_t no, struct extent_list *list)
{
	struct chunk *c = NULL;
	err_t e = meta_chunk_get(m->meta, i, no, true, &c);

	if (e)
		return e;
	extent_list_clear(&c->chain);
	c->pending = !extent_list_equal(&c->current, list);
	if (c->pending) {
		c->chain = *list;
		*list = (struct extent_list){0};
	}
	meta_chunk_dirty(m->meta, i, c);
	meta_chunk_tidy(m->meta, i, c);
	return 0;
}

/* Of chunks from `gone` on it has nothing, and there is nothing here. */
static err_t
own_chunks_behind(struct merge *m, struct inode *i, uint64_t size, uint64_t gone)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	bool later;
	err_t e = merge_leave(m, i, gone, &later);

	if (!e)
		e = list_chunks(m, i, inode_chunks(size), &nos, &count);
	for (size_t k = 0; k < count && !e; k++) {
		struct extent_list none = {0};

		if (later && nos[k] >= gone)
			break;
		e = own_chunk(m, i, nos[k], &none);
	}
	return e;
}

/* Of those before `gone`. */
static err_t
has_pending_chunks(struct merge *m, struct inode *i, uint64_t gone, bool *out)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = meta_pending_chunks(m->meta, i, &nos, &count);

	if (!e)
		*out = count && nos[0] < gone;
	return e;
}

err_t
merge_own_content(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	uint64_t gone = inode_chunks(ch->size > i->size ? ch->size : i->size);
	bool pending = false;
	err_t e = merge_follow_moves(m, i, ch);

	for (uint32_t k = 0; k < ch->chunk_count && !e; k++) {
		CLEANUP(extent_list_clear) struct extent_list list = {0};

		if (!(e = merge_localize(m, &ch->chunks[k], &list)))
			e = own_chunk(m, i, ch->chunks[k].no, &list);
	}
	if (e || (e = own_chunks_behind(m, i, ch->size, gone)) || (e = has_pending_chunks(m, i, gone, &pending)))
		return e;
	if (!pending && i->size == ch->size) {
		i->pending &= ~(uint32_t)PENDING_CONTENT;
		i->chain_size = 0;
	} else {
		i->pending |= PENDING_CONTENT;
		i->chain_size = ch->size;
	}
	meta_inode_dirty(m->meta, i);
	return 0;
}
