/* Inodes and their extended attributes. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "meta_internal.h"

struct cached_inode *
inode_cached(struct meta *m, uint64_t ino)
{
	struct cached_inode *ci;

	HASH_FIND_BYHASHVALUE(hh, m->inodes, &ino, sizeof(ino), hash_table_number(ino), ci);
	return ci;
}

static struct cached_inode *
inode_insert(struct meta *m, uint64_t ino, bool stored)
{
	struct cached_inode *ci = calloc(1, sizeof(*ci));

	if (ci == NULL)
		return NULL;
	cache_init(&ci->node, DB_INODE, ino, 0, stored);
	ci->inode.ino = ino;
	HASH_ADD_BYHASHVALUE(hh, m->inodes, node.a, sizeof(ci->node.a), hash_table_number(ino), ci);
	cache_insert_clean(m, &ci->node);
	return ci;
}

/* Into the cache, from a row. */
static uint64_t
inode_pending_bytes(const struct inode *i)
{
	return S_ISREG(i->mode) && i->pending & (PENDING_CONTENT | PENDING_NEW) ? i->mapped : 0;
}

static err_t
inode_adopt_row(struct meta *m, uint64_t ino, const uint8_t *data, size_t len, struct cached_inode **out)
{
	struct inode *i = NULL;
	struct cached_inode *ci;
	err_t err = record_get_inode(data, len, ino, &i);

	if (err != 0)
		return err;
	ci = inode_insert(m, ino, true);
	if (ci == NULL) {
		inode_free(i);
		return -ENOMEM;
	}
	ci->inode = *i;
	ci->counted = i->pending != 0;
	ci->counted_bytes = inode_pending_bytes(i);
	ci->was_named = true;
	free(i); /* the shell only: its parts have moved */
	if (ci->inode.chunk0 != NULL)
		ci->inode.chunk0->change = ++m->stamp;
	*out = ci;
	return 0;
}

static err_t
inode_load(struct meta *m, uint64_t ino, struct cached_inode **out)
{
	struct bytes b = { 0 };
	err_t err;

	err = db_get(m->db, DB_INODE, ino, 0, &b);
	if (err == 0)
		err = inode_adopt_row(m, ino, b.data, b.len, out);
	bytes_clear(&b);
	return err;
}

static err_t
read_ahead_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct meta *m = ctx;
	struct cached_inode *ci = inode_cached(m, a);

	(void)b;
	(void)mark;
	(void)state;
	return ci != NULL ? 0 : inode_adopt_row(m, a, data, len, &ci);
}

void
inode_read_ahead(struct meta *m, struct number_list *inos)
{
	size_t count = pending_sort_numbers(inos);

	/* A row that can't be read keeps those behind it from being read now: they are read when they are wanted. */
	if (count != 0)
		(void)(db_get_many(m->db, DB_INODE, inos->v, count, read_ahead_row, m) != 0);
}

err_t
meta_inode_get(struct meta *m, uint64_t ino, struct inode **out)
{
	struct cached_inode *ci = inode_cached(m, ino);
	err_t err;

	if (ci == NULL) {
		if ((err = inode_load(m, ino, &ci)) != 0)
			return err;
	} else if (ci->node.deleted) {
		return -ENOENT;
	} else {
		cache_touch(&ci->node);
	}
	*out = &ci->inode;
	return 0;
}

/* A tombstone of the same number that is still on its way to the disk would be in the way; numbers are not reused, but a
 * foreign commit may bring back a file that was removed here. */
static err_t
inode_make(struct meta *m, uint64_t ino, struct inode **out)
{
	struct cached_inode *ci = inode_cached(m, ino);

	if (ci != NULL) {
		chunk_free(ci->inode.chunk0);
		free(ci->inode.target);
		free(ci->inode.keys);
		ci->inode = (struct inode){ .ino = ino };
		ci->node.deleted = false;
	} else {
		ci = inode_insert(m, ino, false);
		if (ci == NULL)
			return -ENOMEM;
	}
	ci->inode.origin = ino;
	*out = &ci->inode;
	return 0;
}

uint64_t
meta_inode_next(const struct meta *m)
{
	return (uint64_t)m->member_number << INODE_MEMBER_SHIFT | m->next_ino;
}

err_t
meta_inode_new(struct meta *m, struct inode **out)
{
	uint64_t ino = meta_inode_next(m);
	err_t err;

	if (m->next_ino >> INODE_MEMBER_SHIFT != 0)
		return -ENOSPC;
	if ((err = inode_make(m, ino, out)) != 0)
		return err;
	m->next_ino++;
	m->counters_dirty = true;
	(*out)->pending = PENDING_NEW;
	meta_inode_dirty(m, *out);
	return 0;
}

err_t
meta_inode_adopt(struct meta *m, uint64_t ino, struct inode **out)
{
	uint64_t counter = ino & ((UINT64_C(1) << INODE_MEMBER_SHIFT) - 1);
	struct inode *i;
	err_t err;

	err = meta_inode_get(m, ino, &i);
	if (err == 0)
		return -EEXIST;
	if (err != -ENOENT)
		return err;
	if ((err = inode_make(m, ino, &i)) != 0)
		return err;
	/* Our own number in somebody else's commit: this directory is older than it ought to be.  Never use it again. */
	if (ino >> INODE_MEMBER_SHIFT == m->member_number && counter >= m->next_ino) {
		m->next_ino = counter + 1;
		m->counters_dirty = true;
	}
	meta_inode_dirty(m, i);
	*out = i;
	return 0;
}

/* These are stored when a count changes; a commit for every write would be one row longer else. */
static void
inode_count_bytes(struct meta *m, struct cached_inode *ci, bool pending)
{
	uint64_t bytes = pending ? inode_pending_bytes(&ci->inode) : 0;

	m->pending_bytes -= m->pending_bytes < ci->counted_bytes ? m->pending_bytes : ci->counted_bytes;
	m->pending_bytes += bytes;
	ci->counted_bytes = bytes;
}

static void
inode_count(struct meta *m, struct cached_inode *ci, bool pending)
{
	inode_count_bytes(m, ci, pending);
	if (pending == ci->counted)
		return;
	ci->counted = pending;
	m->pending_inodes += pending ? 1 : (uint64_t)-1;
	if (m->pending_inodes == 0)
		m->pending_bytes = 0;
	m->counters_dirty = true;
}

static struct removed_inode *
removed_find(struct meta *m, uint64_t ino)
{
	struct removed_inode *r;

	HASH_FIND(hh, m->removed, &ino, sizeof(ino), r);
	return r;
}

static void
removed_forget(struct meta *m, uint64_t ino)
{
	struct removed_inode *r = removed_find(m, ino);

	if (r != NULL) {
		HASH_DEL(m->removed, r);
		free(r);
	}
}

/* Without memory for the note the next mount finds it. */
static void
removed_note(struct meta *m, uint64_t ino)
{
	struct removed_inode *r;

	if (removed_find(m, ino) != NULL || (r = calloc(1, sizeof(*r))) == NULL)
		return;
	r->ino = ino;
	HASH_ADD(hh, m->removed, ino, sizeof(r->ino), r);
}

bool
meta_inode_is_removed(struct meta *m, uint64_t ino)
{
	return removed_find(m, ino) != NULL;
}

void
meta_inode_dirty(struct meta *m, struct inode *i)
{
	struct cached_inode *ci = CONTAINER(i, struct cached_inode, inode);

	if (i->nlink == 0 && ci->was_named)
		removed_note(m, i->ino);
	else if (i->nlink != 0 && m->removed != NULL)
		removed_forget(m, i->ino);
	ci->was_named = ci->was_named || i->nlink != 0;
	inode_count(m, ci, i->pending != 0);
	if (cache_dirty(m, &ci->node) != 0)
		meta_poison(m, -ENOMEM);
}

struct releasing {
	struct meta *m;
	err_t err;
};

static void
release_if_hot(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len)
{
	struct releasing *r = ctx;
	struct segment s;

	if (r->err == 0 && meta_segment_get(r->m, x->seg, &s) == 0 && s.kind == SEGMENT_HOT)
		r->err = meta_release(r->m, x->seg, seg_off, len);
}

err_t
meta_release_gone(struct meta *m, const struct extent_list *before, const struct extent_list *after)
{
	struct releasing r = { m, 0 };
	size_t known = m->releases.count;

	extent_list_gone(before, after, 0, UINT64_MAX, release_if_hot, &r);
	if (r.err != 0)
		m->releases.count = known; /* whoever tries again begins with the first */
	return r.err;
}

static err_t
chunk_remove(void *ctx, struct inode *i, struct chunk *c)
{
	struct meta *m = ctx;
	static const struct extent_list nothing;
	err_t err = meta_release_gone(m, &c->current, &nothing);

	if (err != 0)
		return err;
	if (c != i->chunk0) {
		extent_list_clear(&c->current); /* a tombstone has no use for them */
		extent_list_clear(&c->chain);
		cache_delete(m, &CONTAINER(c, struct cached_chunk, chunk)->node);
		return 0;
	}
	/* Should another chunk be the one that fails, then this one must not be released again. */
	extent_list_clear(&c->current);
	meta_inode_dirty(m, i);
	return 0;
}

err_t
meta_inode_remove(struct meta *m, struct inode *i)
{
	struct cached_inode *ci = CONTAINER(i, struct cached_inode, inode);
	struct xattr_list *xattrs;
	err_t err;

	if (S_ISREG(i->mode) && (err = meta_chunk_scan(m, i, 0, chunk_remove, m)) != 0)
		return err;
	if (i->has_xattrs && (err = meta_xattrs_get(m, i, &xattrs)) == 0)
		cache_delete(m, &CONTAINER(xattrs, struct cached_xattrs, list)->node);
	removed_forget(m, i->ino);
	inode_count(m, ci, false);
	cache_delete(m, &ci->node);
	return 0;
}

/* Finds a name of an inode in one directory, for messages. */
struct path_find {
	uint64_t ino;
	uint64_t left; /* entries that are looked at */
	char name[NAME_LEN_MAX + 1];
	bool found;
};
#define PATH_NEAR 8u

static err_t
path_match(void *ctx, const struct dentry *d)
{
	struct path_find *pf = ctx;

	if (d->ino != pf->ino)
		return --pf->left == 0 ? -ECANCELED : 0;
	memcpy(pf->name, d->name, sizeof(pf->name));
	pf->found = true;
	return -ECANCELED;
}

/* The first entry behind a cookie. */
struct path_probe {
	uint64_t ino;
	uint64_t cookie;
};

static err_t
probe_take(void *ctx, const struct dentry *d)
{
	struct path_probe *p = ctx;

	p->ino = d->ino;
	p->cookie = d->cookie;
	return -ECANCELED;
}

/*
 * Before which cookie the entry is, if names were given in the order of the inodes, as it is with those that were made there: then some
 * twenty rows are read of a million.
 */
static uint64_t
path_guess(struct meta *m, uint64_t parent, uint64_t ino)
{
	uint64_t lo = 0, hi = m->next_cookie;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		struct path_probe p = { .ino = UINT64_MAX };

		if (meta_dentry_scan(m, parent, mid, probe_take, &p) == -ECANCELED && p.ino < ino)
			lo = p.cookie;
		else
			hi = mid;
	}
	return lo;
}

/* One of the few entries there, or, if it was renamed or came from elsewhere, any. */
static bool
path_find(struct meta *m, uint64_t parent, struct path_find *pf)
{
	pf->left = PATH_NEAR;
	if (meta_dentry_scan(m, parent, path_guess(m, parent, pf->ino), path_match, pf) != 0 && pf->found)
		return true;
	pf->left = UINT64_MAX;
	return meta_dentry_scan(m, parent, 0, path_match, pf) != 0 && pf->found;
}

/* Only the folder in which a file had a name lately is noted: to look for its others would be to look through all folders. */
static const char *
describe_nameless(struct meta *m, uint64_t ino)
{
	struct inode *i;

	return meta_inode_get(m, ino, &i) == 0 && i->nlink > 0 ? "(a file that has several names)" : "(a removed file)";
}

void
meta_path(struct meta *m, uint64_t ino, char *out, size_t out_len)
{
	const uint64_t of = ino;
	char path[4096] = "";
	size_t at = sizeof(path) - 1;

	for (unsigned depth = 0; ino != INODE_ROOT && depth < 1024; depth++) {
		struct path_find pf = { .ino = ino };
		struct inode *i;
		size_t len;

		if (meta_inode_get(m, ino, &i) != 0 || i->parent == 0 || i->nlink == 0)
			break;
		ino = i->parent;
		if (!path_find(m, ino, &pf)) {
			ino = 0;
			break;
		}
		len = strlen(pf.name);
		if (at < len + 1)
			break;
		at -= len;
		memcpy(path + at, pf.name, len);
		path[--at] = '/';
	}
	if (ino != INODE_ROOT)
		snprintf(out, out_len, "%s", describe_nameless(m, of));
	else
		snprintf(out, out_len, "%s", path[at] == '/' ? path + at + 1 : "/");
}

err_t
meta_xattrs_get(struct meta *m, struct inode *i, struct xattr_list **out)
{
	struct cached_xattrs *cx;
	struct bytes b = { 0 };
	bool stored = false;
	err_t err;

	HASH_FIND(hh, m->xattrs, &i->ino, sizeof(i->ino), cx);
	if (cx != NULL && !cx->node.deleted) {
		cache_touch(&cx->node);
		*out = &cx->list;
		return 0;
	}
	if (cx != NULL) { /* an old file's tombstone */
		xattr_list_clear(&cx->list);
		cx->node.deleted = false;
		*out = &cx->list;
		return 0;
	}
	cx = calloc(1, sizeof(*cx));
	if (cx == NULL)
		return -ENOMEM;
	if (i->has_xattrs) {
		err = db_get(m->db, DB_XATTRS, i->ino, 0, &b);
		stored = err == 0;
		if (err == 0)
			err = record_get_xattrs(b.data, b.len, &cx->list);
		bytes_clear(&b);
		if (err != 0 && err != -ENOENT) {
			free(cx);
			return err;
		}
	}
	cache_init(&cx->node, DB_XATTRS, i->ino, 0, stored);
	HASH_ADD(hh, m->xattrs, node.a, sizeof(cx->node.a), cx);
	cache_insert_clean(m, &cx->node);
	*out = &cx->list;
	return 0;
}

void
meta_xattrs_dirty(struct meta *m, struct inode *i)
{
	struct cached_xattrs *cx;

	HASH_FIND(hh, m->xattrs, &i->ino, sizeof(i->ino), cx);
	assert(cx != NULL); /* the caller got the list from us */
	i->has_xattrs = cx->list.count != 0;
	meta_inode_dirty(m, i);
	if (!i->has_xattrs)
		cache_delete(m, &cx->node);
	else if (cache_dirty(m, &cx->node) != 0)
		meta_poison(m, -ENOMEM);
}
