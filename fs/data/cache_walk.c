/* cache_walk.c: files, and all in folders, as pieces of segments. */
#include "cache_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "extents.h"
#include "pieces.h"

void
cache_walk_clear(struct walk *w)
{
	struct walked *s, *next;

	HASH_ITER (hh, w->segments, s, next) {
		HASH_DEL(w->segments, s);
		free(s);
	}
}

uint64_t
cache_walked(const struct walk *w, uint64_t seg)
{
	struct walked *s;

	HASH_FIND(hh, w->segments, &seg, sizeof(seg), s);
	return s ? s->mask : 0;
}

/* [meta lock] NULL: out of memory. */
static struct walked *
walked_of(struct meta *m, struct walk *w, uint64_t seg)
{
	struct segment row;
	struct walked *s;

	HASH_FIND(hh, w->segments, &seg, sizeof(seg), s);
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->seg = seg;
	if (!meta_segment_get(m, seg, &row) && row.kind == SEGMENT_SETTLED) {
		s->size = row.size;
		s->in_store = row.in_store;
	}
	HASH_ADD(hh, w->segments, seg, sizeof(s->seg), s);
	if (s->hh.tbl)
		return s;
	free(s);
	return NULL;
}

/* Adds a chunk's.  [meta lock] */
static err_t
add_chunk(struct meta *m, struct walk *w, const struct chunk *ch)
{
	for (uint32_t k = 0; k < ch->current.count; k++) {
		const struct extent *x = &ch->current.v[k];
		struct walked *s = walked_of(m, w, x->seg);

		if (!s)
			return -ENOMEM;
		if (s->size)
			s->mask |= pieces_touching(s->size, x->seg_off, x->stored_len);
		else
			w->hot += x->len;
	}
	return 0;
}

struct chunk_walk {
	struct meta *m;
	struct walk *w;
};

static err_t
walk_chunk(void *ctx, struct inode *i, struct chunk *ch)
{
	struct chunk_walk *c = ctx;

	(void)i;
	return add_chunk(c->m, c->w, ch);
}

static err_t
walk_file(struct meta *m, struct walk *w, uint64_t ino)
{
	struct chunk_walk c = {m, w};
	err_t e = meta_chunk_scan_file(m, ino, walk_chunk, &c);

	return e == -ENOENT ? 0 : e;
}

/* Inodes that are still to be looked at. */
struct todo {
	uint64_t *v;
	size_t count;
	size_t cap;
};

static void
todo_clear(struct todo *t)
{
	free(t->v);
}

static err_t
todo_add(struct todo *t, uint64_t ino)
{
	if (t->count == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		uint64_t *grown = reallocarray(t->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		t->v = grown;
		t->cap = cap;
	}
	t->v[t->count++] = ino;
	return 0;
}

static err_t
add_entry(void *ctx, const struct dentry *d)
{
	return todo_add(ctx, d->ino);
}

/* The kind of an inode, and of a folder what is in it. */
static err_t
look_at(struct meta *m, uint64_t ino, struct todo *t, mode_t *type_out)
{
	struct inode *i;

	meta_lock(m);

	err_t e = meta_inode_get(m, ino, &i);

	if (!e) {
		*type_out = i->mode & S_IFMT;
		if (S_ISDIR(i->mode))
			e = meta_dentry_scan(m, ino, 0, add_entry, t);
	}
	meta_unlock(m);
	return e;
}

err_t
cache_walk(struct meta *m, const uint64_t *inos, size_t count, struct walk *w)
{
	CLEANUP(todo_clear) struct todo t = {0};
	err_t e = 0;

	for (size_t k = 0; k < count && !e; k++)
		e = todo_add(&t, inos[k]);
	while (!e && t.count) {
		uint64_t ino = t.v[--t.count];
		mode_t type = 0;

		e = look_at(m, ino, &t, &type);
		if (!e && S_ISREG(type))
			e = walk_file(m, w, ino);
		if (e == -ENOENT)
			e = 0;
	}
	return e;
}
