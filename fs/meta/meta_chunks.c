/* Chunks: a file's extents, 1 MiB of it at a time.  Chunk 0 lives in the inode's own row. */
#include <errno.h>
#include <stdlib.h>

#include "meta_internal.h"

#define SCAN_ROWS 64u

static struct cached_chunk *
chunk_cached(struct meta *m, uint64_t ino, uint64_t no)
{
	uint64_t key[2] = { ino, no };
	struct cached_chunk *cc;

	HASH_FIND(hh, m->chunks, key, sizeof(key), cc);
	return cc;
}

_Static_assert(offsetof(struct node, b) == offsetof(struct node, a) + 8, "a and b are one hash key");

static struct cached_chunk *
chunk_insert(struct meta *m, uint64_t ino, uint64_t no, bool stored)
{
	struct cached_chunk *cc = calloc(1, sizeof(*cc));

	if (cc == NULL)
		return NULL;
	cache_init(&cc->node, DB_CHUNK, ino, no, stored);
	cc->chunk.ino = ino;
	cc->chunk.no = no;
	HASH_ADD(hh, m->chunks, node.a, 16, cc);
	cache_insert_clean(m, &cc->node);
	return cc;
}

static err_t
chunk_adopt_row(struct meta *m, uint64_t ino, uint64_t no, const uint8_t *data, size_t len, struct cached_chunk **out)
{
	struct chunk *c;
	struct cached_chunk *cc;
	err_t err = record_get_chunk(data, len, ino, no, &c);

	if (err != 0)
		return err;
	cc = chunk_insert(m, ino, no, true);
	if (cc == NULL) {
		chunk_free(c);
		return -ENOMEM;
	}
	cc->chunk = *c;
	free(c); /* the shell only */
	cc->chunk.change = ++m->stamp;
	*out = cc;
	return 0;
}

static err_t
chunk0_get(struct inode *i, bool create, struct chunk **out)
{
	if (i->chunk0 == NULL && create) {
		i->chunk0 = calloc(1, sizeof(*i->chunk0));
		if (i->chunk0 == NULL)
			return -ENOMEM;
		i->chunk0->ino = i->ino;
	}
	if (i->chunk0 == NULL)
		return -ENOENT;
	*out = i->chunk0;
	return 0;
}

err_t
meta_chunk_get(struct meta *m, struct inode *i, uint64_t no, bool create, struct chunk **out)
{
	struct cached_inode *ci = CONTAINER(i, struct cached_inode, inode);
	struct cached_chunk *cc;
	struct bytes b = { 0 };
	err_t err;

	if (no == 0)
		return chunk0_get(i, create, out);
	cc = chunk_cached(m, i->ino, no);
	if (cc == NULL && (ci->node.stored || ci->node.frozen)) {
		err = db_get(m->db, DB_CHUNK, i->ino, no, &b);
		if (err == 0)
			err = chunk_adopt_row(m, i->ino, no, b.data, b.len, &cc);
		bytes_clear(&b);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	if (cc != NULL && cc->node.deleted) {
		if (!create)
			return -ENOENT;
		extent_list_clear(&cc->chunk.current);
		extent_list_clear(&cc->chunk.chain);
		cc->chunk.pending = false;
		cc->node.deleted = false; /* dirty as a tombstone is: stays so */
	}
	if (cc == NULL && !create)
		return -ENOENT;
	if (cc == NULL && (cc = chunk_insert(m, i->ino, no, false)) == NULL)
		return -ENOMEM;
	cache_touch(&cc->node);
	*out = &cc->chunk;
	return 0;
}

void
meta_chunk_dirty(struct meta *m, struct inode *i, struct chunk *c)
{
	c->change = ++m->stamp;
	if (c == i->chunk0)
		meta_inode_dirty(m, i);
	else if (cache_dirty(m, &CONTAINER(c, struct cached_chunk, chunk)->node) != 0)
		meta_poison(m, -ENOMEM);
}

void
meta_chunk_tidy(struct meta *m, struct inode *i, struct chunk *c)
{
	if (c->pending || c->current.count != 0)
		return;
	if (c == i->chunk0) {
		chunk_free(c);
		i->chunk0 = NULL;
		meta_inode_dirty(m, i);
	} else {
		cache_delete(m, &CONTAINER(c, struct cached_chunk, chunk)->node);
	}
}

/* Finds the existing chunk with the least number >= from, other than 0. */
struct next_chunk {
	struct meta *m;
	uint64_t found; /* UINT64_MAX: none */
};

static err_t
next_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct next_chunk *nc = ctx;
	struct cached_chunk *cc = chunk_cached(nc->m, a, b);
	err_t err;

	(void)mark;
	(void)state;
	if (cc != NULL && cc->node.deleted)
		return 0;
	if (cc == NULL && (err = chunk_adopt_row(nc->m, a, b, data, len, &cc)) != 0)
		return err;
	nc->found = b;
	return -ECANCELED;
}

static err_t
next_stored(struct meta *m, uint64_t ino, uint64_t from, uint64_t *found_out)
{
	struct next_chunk nc = { .m = m, .found = UINT64_MAX };
	/* Tombstones hide rows: go on behind them until the table ends. */
	err_t err = db_scan(m->db, DB_CHUNK, ino, from, UINT32_MAX, next_row, &nc);

	if (err != 0 && err != -ECANCELED)
		return err;
	*found_out = nc.found;
	return 0;
}

static uint64_t
next_pinned(struct meta *m, uint64_t ino, uint64_t from)
{
	struct node *n;

	while ((n = pins_next(m, DB_CHUNK, ino, from)) != NULL) {
		if (!n->deleted)
			return n->b;
		from = n->b + 1;
	}
	return UINT64_MAX;
}

err_t
meta_chunk_scan(struct meta *m, struct inode *i, uint64_t from, meta_chunk_fn *fn, void *ctx)
{
	struct cached_inode *ci = CONTAINER(i, struct cached_inode, inode);
	uint64_t stored = 0;
	err_t err;

	if (from == 0) {
		if (i->chunk0 != NULL && (err = fn(ctx, i, i->chunk0)) != 0)
			return err;
		from = 1;
	}
	while (stored != UINT64_MAX || next_pinned(m, i->ino, from) != UINT64_MAX) {
		uint64_t no = next_pinned(m, i->ino, from);
		struct chunk *c;

		/* Look further in the database only when its last find is behind us. */
		if (stored != UINT64_MAX && stored < from) {
			stored = UINT64_MAX;
			if ((ci->node.stored || ci->node.frozen) && (err = next_stored(m, i->ino, from, &stored)) != 0)
				return err;
		}
		if (stored < no)
			no = stored;
		if (no == UINT64_MAX)
			break;
		if ((err = meta_chunk_get(m, i, no, false, &c)) != 0 || (err = fn(ctx, i, c)) != 0)
			return err;
		from = no + 1;
	}
	return 0;
}

static err_t
collect_pending(void *ctx, struct inode *i, struct chunk *c)
{
	(void)i;
	return c->pending ? pending_add_number(ctx, c->no) : 0;
}

err_t
meta_pending_chunks(struct meta *m, struct inode *i, uint64_t **nos_out, size_t *count_out)
{
	struct number_list l = { 0 };
	err_t err = meta_chunk_scan(m, i, 0, collect_pending, &l);

	if (err != 0) {
		free(l.v);
		return err;
	}
	*nos_out = l.v;
	*count_out = l.count;
	return 0;
}
