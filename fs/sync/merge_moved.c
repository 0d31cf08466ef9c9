/*
 * merge_moved.c: a collector puts what is left in a sparse segment into another one, and who rekeys (rekey.h) seals anew what is
 * under old keys.  Their commits say so by naming the chunks anew: the same extents, by their ids, at other places; or, as such
 * a commit says of itself, extent for extent the same bytes.  That is no edit: what is pending here stays pending, follows, and
 * conflicts with nothing; times stay; the kernel need not know.
 */
#include <errno.h>
#include <stdlib.h>
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
same_bytes(const struct extent *a, const struct extent *b, bool resealed)
{
	return a->off == b->off && a->len == b->len &&
	    (same_sealed(a, b) || (resealed && a->x_off == b->x_off && a->x_len == b->x_len));
}

static bool
same_content(const struct extent_list *a, const struct extent_list *b, bool resealed)
{
	if (a->count != b->count)
		return false;
	for (uint32_t k = 0; k < a->count; k++) {
		if (!same_bytes(&a->v[k], &b->v[k], resealed))
			return false;
	}
	return true;
}

/* What the chain has of the chunk. */
static const struct extent_list *
chain_of(const struct chunk *c)
{
	return c->pending ? &c->chain : &c->current;
}

static err_t
chunk_is_move(struct merge *m, struct inode *i, const struct change_chunk *from, bool resealed, bool *out)
{
	const struct extent_list none = {0};
	struct chunk *c = NULL;
	err_t e = meta_chunk_get(m->meta, i, from->no, false, &c);

	if (e && e != -ENOENT)
		return e;
	*out = same_content(e ? &none : chain_of(c), &from->extents, resealed);
	return 0;
}

/* Does a chunk of the commit need that key?  It may list one that its author has made and not used yet. */
static bool
is_used(const struct change_inode *ch, const struct file_key *key)
{
	for (uint32_t k = 0; k < ch->chunk_count; k++) {
		const struct extent_list *l = &ch->chunks[k].extents;

		for (uint32_t n = 0; n < l->count; n++) {
			if (l->v[n].key_version == key->version)
				return true;
		}
	}
	return false;
}

err_t
merge_is_move(struct merge *m, struct inode *i, const struct change_inode *ch, bool *out)
{
	bool resealed = (ch->fields & CHANGE_RESEALED) != 0;
	bool same = (ch->fields & ~(uint32_t)CHANGE_RESEALED) == CHANGE_CONTENT && ch->chunk_count > 0 &&
	    !(i->pending & PENDING_NEW) && ch->size == (i->pending & PENDING_CONTENT ? i->chain_size : i->size);
	err_t e = 0;

	for (uint32_t k = 0; same && !resealed && k < ch->key_count; k++)
		same = content_has_key(i, &ch->keys[k]) || !is_used(ch, &ch->keys[k]);
	for (uint32_t k = 0; same && !e && k < ch->chunk_count; k++)
		e = chunk_is_move(m, i, &ch->chunks[k], resealed, &same);
	if (!e)
		*out = same;
	return e;
}

/* Keys. */

static bool
is_given(const struct change_inode *ch, const struct file_key *key)
{
	for (uint32_t k = 0; k < ch->key_count; k++) {
		if (ch->keys[k].epoch == key->epoch && memcmp(ch->keys[k].wrapped, key->wrapped, KEYWRAP_LEN) == 0)
			return true;
	}
	return false;
}

/* What is pending here under one version of a key says another one from now on; the number is no part of what is sealed. */
static err_t
renumber(struct merge *m, struct inode *i, uint32_t from, uint32_t to)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = meta_pending_chunks(m->meta, i, &nos, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct chunk *c = NULL;

		if ((e = meta_chunk_get(m->meta, i, nos[k], false, &c)))
			return e;
		for (uint32_t n = 0; n < c->current.count; n++) {
			if (c->current.v[n].key_version == from)
				c->current.v[n].key_version = to;
		}
		meta_chunk_dirty(m->meta, i, c);
	}
	return e;
}

/* Our own keys go behind the chain's; if one has a number that is the chain's now, all get other ones. */
static err_t
add_own_keys(struct merge *m, struct inode *i, const struct change_inode *ch, struct file_key *v, uint32_t *count)
{
	uint32_t given_last = ch->key_count ? ch->keys[ch->key_count - 1].version : 0;
	uint32_t own_last = i->key_count ? i->keys[i->key_count - 1].version : 0;
	uint32_t last = given_last > own_last ? given_last : own_last;
	bool meets = false;
	err_t e = 0;

	if (last > UINT32_MAX - i->key_count)
		return -EBADMSG;
	for (uint32_t k = 0; k < i->key_count && !e; k++) {
		if (is_given(ch, &i->keys[k]))
			continue;
		meets = meets || i->keys[k].version <= given_last;
		v[*count] = i->keys[k];
		if (meets) {
			v[*count].version = ++last;
			e = renumber(m, i, i->keys[k].version, last);
		}
		++*count;
	}
	return e;
}

err_t
merge_take_keys(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	CLEANUP(free_ptr) struct file_key *v = calloc((size_t)ch->key_count + i->key_count + 1, sizeof(*v));
	uint32_t count = ch->key_count;
	err_t e = 0;

	if (!v)
		return -ENOMEM;
	if (!(ch->fields & CHANGE_RESEALED))
		return 0; /* a move has none that are not here */
	if (count)
		memcpy(v, ch->keys, count * sizeof(*v));
	/* Of what is not pending the commit has all keys; one that only a write under way has is found missing by that. */
	if (i->pending & PENDING_CONTENT)
		e = add_own_keys(m, i, ch, v, &count);
	if (e)
		return e;
	free(i->keys);
	i->keys = STEAL(v);
	i->key_count = count;
	meta_inode_dirty(m->meta, i);
	return 0;
}

/* Places. */

/* x is stored as `to` says from now on. */
static bool
store_as(struct extent *x, const struct extent *to)
{
	bool moved = x->seg != to->seg || x->seg_off != to->seg_off || !same_sealed(x, to);

	x->x_encoding = to->x_encoding;
	x->key_version = to->key_version;
	memcpy(x->x_id, to->x_id, sizeof(x->x_id));
	x->seg = to->seg;
	x->seg_off = to->seg_off;
	x->stored_len = to->stored_len;
	return moved;
}

/* What was sealed as was[n] is what to[n] is now. */
static bool
follow(struct extent_list *l, const struct extent_list *was, const struct extent_list *to)
{
	bool moved = false;

	for (uint32_t k = 0; k < l->count; k++) {
		struct extent *x = &l->v[k];
		uint64_t end = x->x_off + x->x_len;

		for (uint32_t n = extent_list_find(was, x->x_off); n < was->count && was->v[n].off < end; n++) {
			if (!same_sealed(x, &was->v[n]))
				continue;
			moved = store_as(x, &to->v[n]) || moved;
			break;
		}
	}
	return moved;
}

static err_t
follow_chunk(struct merge *m, struct inode *i, const struct change_chunk *cc, bool resealed)
{
	CLEANUP(extent_list_clear) struct extent_list to = {0};
	CLEANUP(extent_list_clear) struct extent_list was = {0};
	struct chunk *c = NULL;
	bool current, chain;
	err_t e = meta_chunk_get(m->meta, i, cc->no, false, &c);

	if (e)
		return e == -ENOENT ? 0 : e;
	if ((e = merge_localize(m, cc, &to)))
		return e;
	resealed = resealed && same_content(chain_of(c), &to, true);
	if ((e = extent_list_copy(resealed ? chain_of(c) : &to, &was)))
		return e;
	current = follow(&c->current, &was, &to);
	chain = follow(&c->chain, &was, &to);
	if (current || chain)
		meta_chunk_dirty(m->meta, i, c);
	return 0;
}

err_t
merge_follow_moves(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	err_t e = 0;

	for (uint32_t k = 0; k < ch->chunk_count && !e; k++)
		e = follow_chunk(m, i, &ch->chunks[k], (ch->fields & CHANGE_RESEALED) != 0);
	return e;
}
