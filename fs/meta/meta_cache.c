/* Nodes: lists, hashes, pins and eviction (see the state diagram in meta_internal.h). */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "meta_internal.h"

/*
 * Bytes of objects that may stay in memory: of clean ones, of all of them (so that clean ones give way to changed ones), and of
 * clean ones whatever has changed; and what malloc and the hashes add to each object.
 */
#define CLEAN_MAX (48u << 20)
#define ALL_MAX (64u << 20)
#define CLEAN_MIN (16u << 20)
#define OVERHEAD 32u

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

static size_t
chunk_weight(const struct chunk *c)
{
	return c == NULL ? 0 : sizeof(*c) + OVERHEAD + (c->current.cap + c->chain.cap) * sizeof(struct extent);
}

/* A tombstone has a row to be deleted for each part. */
static size_t
cached_chunk_weight(const struct cached_chunk *cc)
{
	size_t rows = cc->node.deleted ? (size_t)__builtin_popcount(cc->parts.stored) : 0;

	return sizeof(*cc) + chunk_weight(&cc->chunk) + rows * sizeof(struct db_row);
}

static size_t
inode_weight(const struct inode *i)
{
	return sizeof(struct cached_inode) + i->key_count * sizeof(i->keys[0]) + chunk_weight(i->chunk0) +
	    (i->target == NULL ? 0 : strlen(i->target));
}

static size_t
xattrs_weight(const struct xattr_list *l)
{
	size_t weight = sizeof(struct cached_xattrs) + l->cap * sizeof(l->v[0]);

	for (uint32_t k = 0; k < l->count; k++)
		weight += l->v[k].len + OVERHEAD;
	return weight;
}

static uint32_t
weigh(struct node *n)
{
	size_t weight = 0;

	switch (n->table) {
	case DB_INODE:
		weight = inode_weight(&CONTAINER(n, struct cached_inode, node)->inode);
		break;
	case DB_CHUNK:
		weight = cached_chunk_weight(CONTAINER(n, struct cached_chunk, node));
		break;
	case DB_DENTRY:
		weight = sizeof(struct cached_dentry) + 8 + CONTAINER(n, struct cached_dentry, node)->name_len;
		break;
	case DB_XATTRS:
		weight = xattrs_weight(&CONTAINER(n, struct cached_xattrs, node)->list);
		break;
	case DB_SEGMENT:
		weight = sizeof(struct cached_segment);
		break;
	case DB_CHUNK_PART: /* no node: it is its chunk's */
		break;
	case DB_KV:
	case DB_STATEMENT:
	case DB_REDO:
		weight = sizeof(struct cached_blob) + CONTAINER(n, struct cached_blob, node)->data.cap;
		break;
	}
	return (uint32_t)(weight < UINT32_MAX - OVERHEAD ? weight + OVERHEAD : UINT32_MAX);
}

static void
list_add(struct node_list *l, struct node *n)
{
	DL_APPEND(l->first, n);
	l->count++;
	n->weight = weigh(n);
	l->weight += n->weight;
}

static void
list_take(struct node_list *l, struct node *n)
{
	DL_DELETE(l->first, n);
	l->count--;
	l->weight -= n->weight;
	n->weight = 0;
}

void
cache_insert_clean(struct meta *m, struct node *n)
{
	list_add(&m->clean, n);
}

/* It has changed again: a map of extents grows with each piece that is written. */
static void
weigh_again(struct node_list *l, struct node *n)
{
	l->weight -= n->weight;
	n->weight = weigh(n);
	l->weight += n->weight;
}

void
cache_weigh_again(struct meta *m, struct node *n)
{
	weigh_again(list_of(m, n), n);
}

/* Its neighbours in the list are left alone: they are not in the processor's cache. */
void
cache_touch(struct node *n)
{
	n->used = true;
}

err_t
cache_dirty(struct meta *m, struct node *n)
{
	err_t err;

	if (n->dirty) {
		weigh_again(&m->dirty, n);
		commit_kick_if_full(m);
		return 0;
	}
	if ((n->table == DB_DENTRY || n->table == DB_CHUNK) && !n->frozen && (err = pins_add(m, n)) != 0)
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
		if (n->dirty && (n->table == DB_DENTRY || n->table == DB_CHUNK))
			pins_drop(m, n);
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
		dentry_leave(m, cd);
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

		HASH_DEL(m->segments, cs);
		free(cs);
		break;
	}
	case DB_CHUNK_PART:
		break;
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

/* To the end of the list. */
static void
spare(struct meta *m, struct node *n)
{
	n->used = false;
	DL_DELETE(m->clean.first, n);
	DL_APPEND(m->clean.first, n);
}

static size_t
clean_max(const struct meta *m)
{
	size_t changed = m->dirty.weight + m->frozen.weight;

	if (changed <= ALL_MAX - CLEAN_MAX)
		return CLEAN_MAX;
	return changed < ALL_MAX - CLEAN_MIN ? ALL_MAX - changed : CLEAN_MIN;
}

void
cache_evict(struct meta *m)
{
	struct node *n, *next;
	size_t most = clean_max(m);

	if (m->clean.weight <= most)
		return;
	/* An eighth at once, oldest first. */
	DL_FOREACH_SAFE (m->clean.first, n, next) {
		if (m->clean.weight <= most - most / 8)
			break;
		if (n->used)
			spare(m, n);
		else
			cache_free_node(m, n);
	}
}
