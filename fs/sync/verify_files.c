/*
 * Whose files are in a segment.  Rows of files say where their bytes are, not the other way round; so all files are gone
 * through, once for each few million uses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"
#include "unpacker.h"
#include "verify_internal.h"

/* 24 bytes each. */
#define USES_MAX (2u << 20)
#define USES_FIRST 4096u
#define INO_BATCH 1024u

/*
 * Where the extents of a chunk are: those that readers have and, while it is pending, those that the store has by the chain.  Behind the
 * end of each is only what a truncation has not come to yet.
 */
struct used_lists {
	const struct extent_list *v[2];
	size_t count;
};

static struct used_lists
used_lists(const struct inode *i, const struct chunk *c)
{
	bool read = c->no < inode_chunks(i->size), in_chain = c->no < inode_chunks(inode_chain_size(i));
	struct used_lists u = { .count = 0 };

	if (read || (in_chain && !c->pending))
		u.v[u.count++] = &c->current;
	if (in_chain && c->pending)
		u.v[u.count++] = &c->chain;
	return u;
}

struct gathering {
	struct verify *v;
	struct verify_uses *u;
	size_t cap;
	uint64_t first;
};

void
verify_uses_clear(struct verify_uses *u)
{
	free(u->v);
	*u = (struct verify_uses){ 0 };
}

static int
by_row(const void *a, const void *b)
{
	const struct verify_use *x = a, *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

static void
sort_uses(struct verify_uses *u)
{
	size_t n = 0;

	if (u->count > 0)
		qsort(u->v, u->count, sizeof(u->v[0]), by_row);
	for (size_t i = 0; i < u->count; i++)
		if (n == 0 || by_row(&u->v[n - 1], &u->v[i]) != 0)
			u->v[n++] = u->v[i];
	u->count = n;
}

/* Too many: the upper half of the rows waits for another pass.  -E2BIG: one segment alone is too much. */
static err_t
halve(struct verify_uses *u)
{
	size_t keep;

	sort_uses(u);
	if (u->count < USES_MAX / 2)
		return 0;
	keep = u->count / 2;
	while (keep > 0 && u->v[keep - 1].row == u->v[keep].row)
		keep--;
	if (keep == 0)
		return -E2BIG;
	u->end = u->v[keep].row;
	u->count = keep;
	return 0;
}

static err_t
make_room(struct gathering *g)
{
	size_t cap = g->cap ? g->cap * 2 : USES_FIRST;
	struct verify_use *v;

	if (g->cap >= USES_MAX)
		return halve(g->u);
	v = reallocarray(g->u->v, cap, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	g->u->v = v;
	g->cap = cap;
	return 0;
}

static err_t
gather_list(struct gathering *g, const struct chunk *c, const struct extent_list *l)
{
	struct verify_uses *u = g->u;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct verify_use use = { l->v[i].seg, c->ino, c->no };
		err_t err;

		if (use.row < g->first || use.row >= u->end || (u->count > 0 && by_row(&u->v[u->count - 1], &use) == 0))
			continue;
		if (u->count == g->cap && (err = make_room(g)) != 0)
			return err;
		if (use.row < u->end)
			u->v[u->count++] = use;
	}
	return 0;
}

static err_t
gather_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	const struct used_lists u = used_lists(i, c);
	err_t err = 0;

	for (size_t k = 0; err == 0 && k < u.count; k++)
		err = gather_list(ctx, c, u.v[k]);
	return err;
}

/* A file that changes meanwhile changes between two files, too: what it points at by then is for another time. */
static err_t
gather_inode(struct gathering *g, uint64_t ino)
{
	err_t err = meta_chunk_scan_file(g->v->s->v->meta, ino, gather_chunk, g);

	return err == -ENOENT ? 0 : err;
}

static err_t
gather(struct gathering *g)
{
	struct meta *m = g->v->s->v->meta;
	uint64_t inos[INO_BATCH];
	uint64_t next = 1;
	size_t count;
	err_t err;

	do {
		count = 0;
		meta_lock(m);
		err = meta_inode_numbers(m, next, UINT64_MAX, inos, INO_BATCH, &count);
		meta_unlock(m);
		for (size_t k = 0; err == 0 && k < count; k++)
			err = gather_inode(g, inos[k]);
		if (err == 0)
			err = verify_step(g->v, 0, "the map of files");
		if (count > 0)
			next = inos[count - 1] + 1;
	} while (err == 0 && count == INO_BATCH);
	return err;
}

err_t
verify_uses_find(struct verify *v, uint64_t first, struct verify_uses *out)
{
	struct verify_uses u = { .end = UINT64_MAX };
	struct gathering g = { v, &u, 0, first };
	err_t err = gather(&g);

	if (err != 0) {
		verify_uses_clear(&u);
		return err;
	}
	sort_uses(&u);
	*out = u;
	return 0;
}

/* Opening. */

/* A copy of what must be known of a chunk, so that nothing is held while it is opened. */
struct opening {
	uint64_t origin;
	struct file_key *keys;
	uint32_t key_count;
	struct extent_list lists[2]; /* as used_lists has them: of the same range, and each goes upwards */
};

static void
opening_clear(struct opening *o)
{
	free(o->keys);
	for (size_t k = 0; k < ARRAY_LEN(o->lists); k++)
		extent_list_clear(&o->lists[k]);
}

/* What of a list is in that segment. */
static err_t
take_list(struct extent_list *out, const struct extent_list *l, uint64_t row)
{
	err_t err = 0;

	for (uint32_t i = 0; err == 0 && i < l->count; i++)
		if (l->v[i].seg == row)
			err = extent_list_append(out, &l->v[i]);
	return err;
}

/* [meta lock] */
static err_t
take_chunk(struct verify *v, const struct verify_use *u, struct opening *o)
{
	struct used_lists lists;
	struct inode *i;
	struct chunk *c;
	err_t err;

	if ((err = meta_inode_get(v->s->v->meta, u->ino, &i)) != 0 ||
	    (err = meta_chunk_get(v->s->v->meta, i, u->chunk, false, &c)) != 0)
		return err;
	o->origin = i->origin;
	o->keys = calloc(i->key_count + 1u, sizeof(*o->keys));
	if (o->keys == NULL)
		return -ENOMEM;
	if (i->key_count > 0)
		memcpy(o->keys, i->keys, i->key_count * sizeof(*o->keys));
	o->key_count = i->key_count;
	lists = used_lists(i, c);
	for (size_t k = 0; err == 0 && k < lists.count; k++)
		err = take_list(&o->lists[k], lists.v[k], u->row);
	return err;
}

static err_t
find_key(struct verify *v, const struct opening *o, uint32_t version, struct key32 *out)
{
	for (uint32_t i = 0; i < o->key_count; i++) {
		err_t err;

		if (o->keys[i].version != version)
			continue;
		err = keyring_open_file_key(v->s->v->keys, &o->keys[i], out);
		return err == -ENOENT ? -EBADMSG : err;
	}
	return -EBADMSG;
}

static err_t
open_extent(struct verify *v, const struct opening *o, const struct extent *x, const struct bytes *data, uint8_t *plain)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	err_t err;

	if (x->x_len == 0 || x->x_len > EXTENT_MAX_LEN || x->seg_off > data->len || x->stored_len > data->len - x->seg_off)
		return -EBADMSG;
	if ((err = find_key(v, o, x->key_version, &key)) != 0)
		return err;
	return unpacker_open(o->origin, &key, x, data->data + x->seg_off, plain);
}

static err_t
open_list(struct verify *v, const struct opening *o, const struct extent_list *l, const struct bytes *data, uint8_t *plain)
{
	err_t err = 0;

	for (uint32_t i = 0; err == 0 && i < l->count; i++)
		err = open_extent(v, o, &l->v[i], data, plain);
	return err;
}

err_t
verify_use_open(struct verify *v, const struct verify_use *u, const struct bytes *data)
{
	CLEANUP(opening_clear) struct opening o = { 0 };
	CLEANUP(free_ptr) uint8_t *plain = NULL;
	err_t err;

	meta_lock(v->s->v->meta);
	err = take_chunk(v, u, &o);
	meta_unlock(v->s->v->meta);
	if (err != 0)
		return err == -ENOENT ? 0 : err; /* the file has changed since */
	plain = malloc(EXTENT_MAX_LEN);
	if (plain == NULL)
		return -ENOMEM;
	for (size_t k = 0; err == 0 && k < ARRAY_LEN(o.lists); k++)
		err = open_list(v, &o, &o.lists[k], data, plain);
	explicit_bzero(plain, EXTENT_MAX_LEN);
	return err;
}
