/* Chunks: a file's extents, 1 MiB of it at a time.  Chunk 0 lives in the inode's own row, others as meta_parts.c says. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "meta_internal.h"

/* Their maps may be long. */
#define SCAN_CHUNKS 64u

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
	cc->parts.loaded = PARTS_ALL;
	HASH_ADD(hh, m->chunks, node.a, 16, cc);
	cache_insert_clean(m, &cc->node);
	return cc;
}

/* Its parts are read when they are wanted. */
static err_t
chunk_adopt_head(struct meta *m, uint64_t ino, uint64_t no, const uint8_t *data, size_t len, struct cached_chunk **out)
{
	struct chunk_head h;
	struct cached_chunk *cc;
	err_t err = record_get_chunk_head(data, len, &h);

	if (err != 0)
		return err;
	cc = chunk_insert(m, ino, no, true);
	if (cc == NULL)
		return -ENOMEM;
	cc->chunk.pending = h.pending;
	cc->parts = (struct chunk_parts){ .split = true, .loaded = ~h.rows, .stored = h.rows, .head = h };
	cc->chunk.change = ++m->stamp;
	*out = cc;
	return 0;
}

static err_t
chunk_adopt_row(struct meta *m, uint64_t ino, uint64_t no, const uint8_t *data, size_t len, struct cached_chunk **out)
{
	struct chunk *c;
	struct cached_chunk *cc;
	err_t err;

	if (record_is_chunk_head(data, len))
		return chunk_adopt_head(m, ino, no, data, len, out);
	if ((err = record_get_chunk(data, len, ino, no, &c)) != 0)
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

static struct cached_chunk *
cached_of(struct chunk *c)
{
	return CONTAINER(c, struct cached_chunk, chunk);
}

/* Any but chunk 0, with what is in memory of it. */
static err_t
chunk_get(struct meta *m, struct inode *i, uint64_t no, bool create, struct cached_chunk **out)
{
	struct cached_inode *ci = CONTAINER(i, struct cached_inode, inode);
	struct cached_chunk *cc;
	struct bytes b = { 0 };
	err_t err;

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
		cc->parts.loaded = cc->parts.changed = PARTS_ALL;
		cc->parts.split = false;
		cc->node.deleted = false; /* dirty as a tombstone is: stays so */
	}
	if (cc == NULL && !create)
		return -ENOENT;
	if (cc == NULL && (cc = chunk_insert(m, i->ino, no, false)) == NULL)
		return -ENOMEM;
	cache_touch(&cc->node);
	*out = cc;
	return 0;
}

err_t
meta_chunk_get(struct meta *m, struct inode *i, uint64_t no, bool create, struct chunk **out)
{
	struct cached_chunk *cc;
	err_t err;

	if (no == 0)
		return chunk0_get(i, create, out);
	if ((err = chunk_get(m, i, no, create, &cc)) != 0 || (err = parts_load(m, cc, PARTS_ALL)) != 0)
		return err;
	*out = &cc->chunk;
	return 0;
}

err_t
meta_chunk_get_for_reading(struct meta *m, struct inode *i, uint64_t no, uint64_t from, uint64_t to, struct chunk **out)
{
	struct cached_chunk *cc;
	err_t err;

	if (no == 0)
		return chunk0_get(i, false, out);
	if ((err = chunk_get(m, i, no, false, &cc)) != 0 ||
	    (err = parts_load(m, cc, parts_between(&cc->chunk, from, to))) != 0)
		return err;
	*out = &cc->chunk;
	return 0;
}

/* Where all lies of what was sealed together with what is mapped in [from, to). */
static uint32_t
parts_sealed(const struct chunk *c, const struct extent_list *l, uint64_t from, uint64_t to)
{
	uint32_t parts = 0;

	for (uint32_t k = extent_list_find(l, from); k < l->count && l->v[k].off < to; k++)
		parts |= parts_between(c, l->v[k].x_off, l->v[k].x_off + l->v[k].x_len);
	return parts;
}

err_t
meta_chunk_get_for_writing(struct meta *m, struct inode *i, uint64_t no, uint64_t from, uint64_t to, struct chunk **out)
{
	struct cached_chunk *cc;
	err_t err;

	if (no == 0)
		return chunk0_get(i, true, out);
	if ((err = chunk_get(m, i, no, true, &cc)) != 0)
		return err;

	uint32_t parts = parts_between(&cc->chunk, from, to);

	/* What the chain has of it is what it is now: all of it. */
	if (!cc->chunk.pending)
		parts = PARTS_ALL;
	if ((err = parts_load(m, cc, parts)) != 0)
		return err;
	parts |= parts_sealed(&cc->chunk, &cc->chunk.current, from, to);
	if ((err = parts_load(m, cc, parts)) != 0)
		return err;
	*out = &cc->chunk;
	return 0;
}

static void
chunk_dirty(struct meta *m, struct inode *i, struct chunk *c, uint32_t parts)
{
	c->change = ++m->stamp;
	if (c == i->chunk0) {
		meta_inode_dirty(m, i);
		return;
	}
	cached_of(c)->parts.changed |= parts;
	if (cache_dirty(m, &cached_of(c)->node) != 0)
		meta_poison(m, -ENOMEM);
}

void
meta_chunk_dirty(struct meta *m, struct inode *i, struct chunk *c)
{
	chunk_dirty(m, i, c, PARTS_ALL);
}

void
meta_chunk_dirty_between(struct meta *m, struct inode *i, struct chunk *c, uint64_t from, uint64_t to)
{
	chunk_dirty(m, i, c, parts_between(c, from, to));
}

void
meta_chunk_tidy(struct meta *m, struct inode *i, struct chunk *c)
{
	if (c->pending || c->current.count != 0 || (c != i->chunk0 && cached_of(c)->parts.loaded != PARTS_ALL))
		return;
	if (c == i->chunk0) {
		chunk_free(c);
		i->chunk0 = NULL;
		meta_inode_dirty(m, i);
	} else {
		cache_delete(m, &cached_of(c)->node);
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

struct file_scan {
	meta_chunk_fn *fn;
	void *ctx;
	uint64_t next; /* chunk */
	unsigned left; /* before the lock is let go */
	bool more;
};

static err_t
scan_one(void *ctx, struct inode *i, struct chunk *c)
{
	struct file_scan *s = ctx;

	s->more = s->left == 0;
	if (s->more)
		return -EAGAIN;
	s->left--;
	s->next = c->no + 1;
	return s->fn(s->ctx, i, c);
}

err_t
meta_chunk_scan_file(struct meta *m, uint64_t ino, meta_chunk_fn *fn, void *ctx)
{
	struct file_scan s = { .fn = fn, .ctx = ctx };
	err_t err;

	do {
		struct inode *i;

		s.left = SCAN_CHUNKS;
		s.more = false;
		meta_lock(m);
		err = meta_inode_get(m, ino, &i);
		if (err == 0 && S_ISREG(i->mode))
			err = meta_chunk_scan(m, i, s.next, scan_one, &s);
		meta_unlock(m);
	} while (s.more);
	return err;
}

/* Those of one inode that the database has, and memory does not know better. */
struct listing {
	struct meta *m;
	uint64_t ino;
	bool pending; /* only such */
	size_t most;  /* of the database, and as many of memory */
	struct number_list found;
};

static err_t
add_stored(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct listing *l = ctx;
	struct cached_chunk *cc;

	(void)mark, (void)state, (void)data, (void)len;
	if (a != l->ino || l->found.count >= l->most)
		return -ECANCELED;
	cc = chunk_cached(l->m, a, b);
	return cc != NULL && (cc->node.dirty || cc->node.frozen) ? 0 : pending_add_number(&l->found, b);
}

static err_t
add_pinned(struct listing *l, uint64_t from)
{
	size_t before = l->found.count;
	struct node *n;
	err_t err = 0;

	for (; err == 0 && l->found.count - before < l->most && (n = pins_next(l->m, DB_CHUNK, l->ino, from)) != NULL; from = n->b + 1)
		if (!n->deleted && (!l->pending || CONTAINER(n, struct cached_chunk, node)->chunk.pending))
			err = pending_add_number(&l->found, n->b);
	return err;
}

static err_t
list_chunks(struct listing *l, const struct inode *i, uint64_t from)
{
	bool first = from == 0 && i->chunk0 != NULL && (!l->pending || i->chunk0->pending);
	err_t err = first ? pending_add_number(&l->found, 0) : 0;

	from = from == 0 ? 1 : from;
	if (err == 0 && l->pending)
		err = db_scan_marked(l->m->db, DB_CHUNK, i->ino, from - 1, UINT32_MAX, add_stored, l);
	else if (err == 0)
		err = db_scan(l->m->db, DB_CHUNK, i->ino, from, UINT32_MAX, add_stored, l);
	return err == 0 || err == -ECANCELED ? add_pinned(l, from) : err;
}

static err_t
list_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, bool pending, uint64_t **nos_out, size_t *count_out)
{
	struct listing l = { .m = m, .ino = i->ino, .pending = pending, .most = most };
	err_t err = list_chunks(&l, i, from);

	if (err != 0) {
		free(l.found.v);
		return err;
	}
	pending_sort_numbers(&l.found);
	*nos_out = l.found.v;
	*count_out = l.found.count < most ? l.found.count : most;
	return 0;
}

err_t
meta_pending_chunks(struct meta *m, struct inode *i, uint64_t **nos_out, size_t *count_out)
{
	return list_numbers(m, i, 0, SIZE_MAX, true, nos_out, count_out);
}

err_t
meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out, size_t *count_out)
{
	return list_numbers(m, i, from, most, false, nos_out, count_out);
}
