/* Nodes: lists, hashes, pins and eviction (see the state diagram in meta_internal.h). */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "meta_internal.h"

/* Clean objects that may stay in memory: about 40 MiB of the ordinary kind. */
#define CLEAN_MAX 65536u

void
cache_init(struct node *n, enum db_table table, uint64_t a, uint64_t b, bool stored)
{
	*n = (struct node){ .table = table, .a = a, .b = b, .stored = stored };
}

static struct node_list *
list_of(struct meta *m, const struct node *n)
{
	return n->dirty ? &m->dirty : n->frozen ? &m->frozen : &m->clean;
}

static void
list_add(struct node_list *l, struct node *n)
{
	DL_APPEND(l->first, n);
	l->count++;
}

static void
list_take(struct node_list *l, struct node *n)
{
	DL_DELETE(l->first, n);
	l->count--;
}

void
cache_insert_clean(struct meta *m, struct node *n)
{
	list_add(&m->clean, n);
}

void
cache_touch(struct meta *m, struct node *n)
{
	if (n->dirty || n->frozen)
		return;
	list_take(&m->clean, n);
	list_add(&m->clean, n);
}

err_t
cache_dirty(struct meta *m, struct node *n)
{
	err_t err;

	if (n->dirty)
		return 0;
	if ((n->table == DB_DENTRY || n->table == DB_CHUNK) && !n->frozen && (err = cache_pinset_add(m, n)) != 0)
		return err;
	list_take(list_of(m, n), n);
	n->dirty = true;
	list_add(&m->dirty, n);
	commit_kick_if_full(m);
	return 0;
}

void
cache_delete(struct meta *m, struct node *n)
{
	if (!n->stored && !n->frozen) {
		/* The database never heard of it. */
		if (n->dirty && (n->table == DB_DENTRY || n->table == DB_CHUNK)) {
			struct pinset *p = cache_pinset(m, n->table, n->a);
			size_t i = cache_pinset_find(p, n->b);

			memmove(&p->v[i], &p->v[i + 1], (p->count - i - 1) * sizeof(p->v[0]));
			p->count--;
		}
		cache_free_node(m, n);
		return;
	}
	n->deleted = true;
	if (cache_dirty(m, n) != 0)
		meta_poison(m, -ENOMEM);
}

void
cache_move(struct meta *m, struct node *n, struct node_list *to)
{
	list_take(list_of(m, n), n);
	n->dirty = to == &m->dirty;
	n->frozen = to == &m->frozen;
	list_add(to, n);
}

/* The object's own memory. */
static void
free_object(struct meta *m, struct node *n)
{
	switch (n->table) {
	case DB_INODE: {
		struct cached_inode *ci = CONTAINER(n, struct cached_inode, node);

		HASH_DEL(m->inodes, ci);
		chunk_free(ci->inode.chunk0);
		free(ci->inode.target);
		free(ci->inode.keys);
		free(ci);
		break;
	}
	case DB_CHUNK: {
		struct cached_chunk *cc = CONTAINER(n, struct cached_chunk, node);

		HASH_DEL(m->chunks, cc);
		extent_list_clear(&cc->chunk.current);
		extent_list_clear(&cc->chunk.chain);
		free(cc);
		break;
	}
	case DB_DENTRY: {
		struct cached_dentry *cd = CONTAINER(n, struct cached_dentry, node);

		HASH_DEL(m->dentries, cd);
		free(cd);
		break;
	}
	case DB_XATTRS: {
		struct cached_xattrs *cx = CONTAINER(n, struct cached_xattrs, node);

		HASH_DEL(m->xattrs, cx);
		xattr_list_clear(&cx->list);
		free(cx);
		break;
	}
	case DB_SEGMENT: {
		struct cached_segment *cs = CONTAINER(n, struct cached_segment, node);

		if (cs->named)
			HASH_DELETE(by_name, m->segments_by_name, cs);
		HASH_DEL(m->segments, cs);
		free(cs);
		break;
	}
	case DB_KV:
	case DB_STATEMENT:
	case DB_REDO: {
		struct cached_blob *cb = CONTAINER(n, struct cached_blob, node);

		HASH_DEL(m->blobs, cb);
		bytes_clear(&cb->data);
		free(cb);
		break;
	}
	}
}

void
cache_free_node(struct meta *m, struct node *n)
{
	list_take(list_of(m, n), n);
	free_object(m, n);
}

void
cache_evict(struct meta *m)
{
	struct node *n, *next;
	size_t excess;

	if (m->clean.count <= CLEAN_MAX)
		return;
	/* An eighth at once, oldest first.  Segments stay when all are loaded: the index by name must be complete. */
	excess = m->clean.count - CLEAN_MAX + CLEAN_MAX / 8;
	DL_FOREACH_SAFE (m->clean.first, n, next) {
		if (excess-- == 0)
			break;
		if (n->table != DB_SEGMENT)
			cache_free_node(m, n);
	}
}

struct pinset *
cache_pinset(struct meta *m, enum db_table table, uint64_t a)
{
	uint64_t key[2] = { (uint64_t)table, a };
	struct pinset *p;

	HASH_FIND(hh, m->pinsets, key, sizeof(key), p);
	return p;
}

size_t
cache_pinset_find(const struct pinset *p, uint64_t from)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->v[mid]->b < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

err_t
cache_pinset_add(struct meta *m, struct node *n)
{
	struct pinset *p = cache_pinset(m, n->table, n->a);
	size_t at;

	if (p == NULL) {
		p = calloc(1, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		p->key[0] = (uint64_t)n->table;
		p->key[1] = n->a;
		HASH_ADD(hh, m->pinsets, key, sizeof(p->key), p);
	}
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 8;
		struct node **v = realloc(p->v, cap * sizeof(v[0]));

		if (v == NULL)
			return -ENOMEM;
		p->v = v;
		p->cap = cap;
	}
	/* New names and chunks come in ascending order, so this is nearly always the end. */
	at = p->count == 0 || p->v[p->count - 1]->b < n->b ? p->count : cache_pinset_find(p, n->b);
	memmove(&p->v[at + 1], &p->v[at], (p->count - at) * sizeof(p->v[0]));
	p->v[at] = n;
	p->count++;
	return 0;
}

void
cache_pinset_compact(struct meta *m)
{
	struct pinset *p, *next;

	HASH_ITER (hh, m->pinsets, p, next) {
		size_t kept = 0;

		for (size_t i = 0; i < p->count; i++)
			if (p->v[i]->dirty || p->v[i]->frozen)
				p->v[kept++] = p->v[i];
		p->count = kept;
		if (kept == 0) {
			HASH_DEL(m->pinsets, p);
			free(p->v);
			free(p);
		}
	}
}
