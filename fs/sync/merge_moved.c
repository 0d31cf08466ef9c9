/*
 * merge_moved.c: a collector puts what is left in a sparse segment into another one.  Its commit says so by naming the chunks
 * anew: the same extents, by their ids, at other places.  That is no edit: what is pending here stays pending, follows, and
 * conflicts with nothing; times stay; the kernel need not know.
 */
#include <errno.h>
#include <string.h>

#include "extents.h"
#include "merge_state.h"

static bool
same_sealed(const struct extent *a, const struct extent *b)
{
	return memcmp(a->x_id, b->x_id, sizeof(a->x_id)) == 0 && a->x_off == b->x_off && a->x_len == b->x_len &&
	    a->x_encoding == b->x_encoding && a->key_version == b->key_version && a->stored_len == b->stored_len;
}

static bool
same_but_place(const struct extent_list *a, const struct extent_list *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t k = 0; k < a->count; k++) {
		if (a->v[k].off != b->v[k].off || a->v[k].len != b->v[k].len || !same_sealed(&a->v[k], &b->v[k]))
			return false;
	}
	return true;
}

static bool
has_key(const struct inode *i, const struct file_key *key)
{
	for (uint32_t k = 0; k < i->key_count; k++) {
		if (i->keys[k].version == key->version)
			return i->keys[k].epoch == key->epoch && memcmp(i->keys[k].wrapped, key->wrapped, KEYWRAP_LEN) == 0;
	}
	return false;
}

static err_t
chunk_is_move(struct merge *m, struct inode *i, const struct change_chunk *from, bool *out)
{
	const struct extent_list none = {0};
	const struct extent_list *chain = &none;
	struct chunk *c = NULL;
	err_t e = meta_chunk_get(m->meta, i, from->no, false, &c);

	if (e && e != -ENOENT)
		return e;
	if (!e)
		chain = c->pending ? &c->chain : &c->current;
	*out = same_but_place(chain, &from->extents);
	return 0;
}

err_t
merge_is_move(struct merge *m, struct inode *i, const struct change_inode *ch, bool *out)
{
	bool same = ch->fields == CHANGE_CONTENT && ch->chunk_count > 0 && !(i->pending & PENDING_NEW) &&
	    ch->size == (i->pending & PENDING_CONTENT ? i->chain_size : i->size);
	err_t e = 0;

	for (uint32_t k = 0; same && k < ch->key_count; k++)
		same = has_key(i, &ch->keys[k]);
	for (uint32_t k = 0; same && !e && k < ch->chunk_count; k++)
		e = chunk_is_move(m, i, &ch->chunks[k], &same);
	if (!e)
		*out = same;
	return e;
}

static bool
follow(struct extent_list *l, const struct extent_list *to)
{
	bool moved = false;

	for (uint32_t k = 0; k < l->count; k++) {
		struct extent *x = &l->v[k];

		for (uint32_t n = extent_list_find(to, x->x_off); n < to->count && to->v[n].off < x->x_off + x->x_len; n++) {
			if (!same_sealed(x, &to->v[n]) || (x->seg == to->v[n].seg && x->seg_off == to->v[n].seg_off))
				continue;
			x->seg = to->v[n].seg;
			x->seg_off = to->v[n].seg_off;
			moved = true;
			break;
		}
	}
	return moved;
}

err_t
merge_follow_moves(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	for (uint32_t k = 0; k < ch->chunk_count; k++) {
		CLEANUP(extent_list_clear) struct extent_list to = {0};
		struct chunk *c = NULL;
		bool current, chain;
		err_t e = meta_chunk_get(m->meta, i, ch->chunks[k].no, false, &c);

		if (e == -ENOENT)
			continue;
		if (e || (e = merge_localize(m, &ch->chunks[k], &to)))
			return e;
		current = follow(&c->current, &to);
		chain = follow(&c->chain, &to);
		if (current || chain)
			meta_chunk_dirty(m->meta, i, c);
	}
	return 0;
}
