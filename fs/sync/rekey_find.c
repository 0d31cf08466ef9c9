/* What is under old keys. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"
#include "pieces.h"
#include "rekey_internal.h"

/* Most that one commit takes: its size, and that of the maps in memory. */
#define ITEMS_MAX 8192u
#define EXTENTS_MAX 65536u

static bool
is_old(const struct rekey *r, const struct inode *i, const struct extent *x)
{
	for (uint32_t k = 0; k < i->key_count; k++)
		if (i->keys[k].version == x->key_version)
			return i->keys[k].epoch < r->epoch;
	return false;
}

/* Its ranges lie within it, one behind the other, with what it was overwritten with between them. */
bool
rekey_has_twin(const struct extent_list *l, uint32_t k, uint32_t *twin_out)
{
	const struct extent *x = &l->v[k];

	for (uint32_t n = k; n-- > 0 && l->v[n].off + l->v[n].len > x->x_off;) {
		if (memcmp(l->v[n].x_id, x->x_id, EXTENT_ID_LEN) != 0)
			continue;
		*twin_out = n;
		return true;
	}
	return false;
}

/* Bytes in segments that are under old keys. */
static uint64_t
old_len(const struct rekey *r, const struct inode *i, const struct extent_list *l)
{
	uint64_t sum = 0;
	uint32_t twin;

	for (uint32_t k = 0; k < l->count; k++)
		if (is_old(r, i, &l->v[k]) && !rekey_has_twin(l, k, &twin))
			sum += l->v[k].stored_len;
	return sum;
}

/* Uses. */

static err_t
add_use(struct rekey *r, uint64_t seg)
{
	struct rekey_use *u;

	HASH_FIND(hh, r->uses, &seg, sizeof(seg), u);
	if (u == NULL) {
		u = calloc(1, sizeof(*u));
		if (u == NULL)
			return -ENOMEM;
		u->seg = seg;
		HASH_ADD(hh, r->uses, seg, sizeof(u->seg), u);
		if (u->hh.tbl == NULL) {
			free(u);
			return -ENOMEM;
		}
	}
	u->count++;
	return 0;
}

static err_t
add_uses(struct rekey *r, const struct extent_list *l)
{
	err_t err = 0;

	for (uint32_t k = 0; err == 0 && k < l->count; k++)
		err = add_use(r, l->v[k].seg);
	return err;
}

/* [no lock] */
static void
look_what_is_here(struct rekey *r)
{
	struct rekey_use *u, *next;
	uint64_t missing;

	HASH_ITER (hh, r->uses, u, next)
		if (segstore_missing(r->s->v->segments, u->seg, UINT64_MAX, &missing) == 0)
			u->here = ~missing;
}

bool
rekey_was_here(struct rekey *r, const struct extent *x)
{
	struct meta *m = r->s->v->meta;
	struct rekey_use *u;
	struct segment row;
	err_t err;

	HASH_FIND(hh, r->uses, &x->seg, sizeof(x->seg), u);
	meta_lock(m);
	err = meta_segment_get(m, x->seg, &row);
	meta_unlock(m);
	return err == 0 && u != NULL && (pieces_touching(row.size, x->seg_off, x->stored_len) & ~u->here) == 0;
}

void
rekey_unuse(struct rekey *r, uint64_t seg, bool *last_out)
{
	struct rekey_use *u;

	HASH_FIND(hh, r->uses, &seg, sizeof(seg), u);
	*last_out = u != NULL && u->count == 1;
	if (u != NULL && u->count > 0)
		u->count--;
}

void
rekey_forget_uses(struct rekey *r)
{
	struct rekey_use *u, *next;

	HASH_ITER (hh, r->uses, u, next) {
		HASH_DEL(r->uses, u);
		free(u);
	}
}

/* Counting. */

static err_t
count_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct rekey *r = ctx;
	err_t err = add_uses(r, &c->current);

	if (err == 0)
		err = add_uses(r, &c->chain);
	if (i->nlink > 0)
		r->left += old_len(r, i, c->pending ? &c->chain : &c->current);
	return err;
}

err_t
rekey_count(struct rekey *r)
{
	struct walk w = { 0 };
	err_t err = 0;

	rekey_forget_uses(r);
	r->left = 0;
	while (err == 0 && !w.ended) {
		err = walk_some(r->s->v->meta, &w, count_chunk, r);
		if (err == 0)
			err = rekey_step(r);
	}
	if (err == 0)
		look_what_is_here(r);
	return err;
}

/* The next batch. */

static err_t
add_item(struct rekey_batch *b, const struct inode *i, const struct chunk *c)
{
	struct rekey_item it = { .ino = i->ino, .no = c->no };
	err_t err;

	if (b->count == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;
		struct rekey_item *v = reallocarray(b->v, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		b->v = v;
		b->cap = cap;
	}
	if ((err = extent_list_copy(&c->current, &it.before)) != 0)
		return err;
	b->v[b->count++] = it;
	b->extents += c->current.count;
	for (uint32_t k = 0; k < c->current.count; k++)
		b->len += is_old(b->r, i, &c->current.v[k]) ? c->current.v[k].x_len : 0;
	return 0;
}

static err_t
find_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct rekey_batch *b = ctx;

	if (i->nlink == 0 || old_len(b->r, i, c->pending ? &c->chain : &c->current) == 0)
		return 0;
	/* What the chain says of the times of such a file is not known here: when it has been pushed. */
	if (i->pending != 0 || c->pending) {
		b->r->busy++;
		return 0;
	}
	b->full = b->count >= ITEMS_MAX || b->extents >= EXTENTS_MAX || b->len >= b->r->batch_len;
	return b->full ? -ECANCELED : add_item(b, i, c);
}

err_t
rekey_find(struct rekey_batch *b)
{
	struct rekey *r = b->r;
	err_t err = 0;

	while (err == 0 && !b->full && !r->walk.ended) {
		err = walk_some(r->s->v->meta, &r->walk, find_chunk, b);
		if (err == 0)
			err = rekey_step(r);
	}
	return err;
}
