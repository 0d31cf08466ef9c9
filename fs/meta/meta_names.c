/* Names: directory entries by name and in order. */
#include <errno.h>
#include <stdlib.h>

#include "meta_internal.h"

/* Rows that one scan of the database fetches at once. */
#define SCAN_ROWS 512u

err_t
dentry_hash(struct meta *m, struct cached_dentry *cd)
{
	err_t err;

	if (cd->has_hash)
		return 0;
	err = rowseal_name_hash(m->rs, cd->dentry.parent, cd->dentry.name, cd->dentry.name_len, &cd->hash);
	cd->has_hash = err == 0;
	return err;
}

static struct cached_dentry *
dentry_cached(struct meta *m, uint64_t parent, const char *name, size_t len)
{
	uint8_t key[8 + NAME_LEN_MAX];
	struct cached_dentry *cd;

	memcpy(key, &parent, 8);
	memcpy(key + 8, name, len);
	HASH_FIND(hh, m->dentries, key, 8 + len, cd);
	return cd;
}

/* Into the cache, clean; cookie 0: not known to any row. */
static struct cached_dentry *
dentry_insert(struct meta *m, const struct dentry *d, bool stored)
{
	size_t key_len = 8 + (size_t)d->name_len;
	struct cached_dentry *cd = calloc(1, sizeof(*cd) + key_len);

	if (cd == NULL)
		return NULL;
	cache_init(&cd->node, DB_DENTRY, d->parent, d->cookie, stored);
	cd->dentry = *d;
	cd->counted = d->ino != d->chain_ino;
	memcpy(cd->key, &d->parent, 8);
	memcpy(cd->key + 8, d->name, d->name_len);
	cd->key_len = key_len;
	HASH_ADD_KEYPTR(hh, m->dentries, cd->key, cd->key_len, cd);
	cache_insert_clean(m, &cd->node);
	return cd;
}

struct find {
	const char *name;
	size_t name_len;
	struct dentry found;
	bool ok;
};

static err_t
find_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct find *f = ctx;
	struct dentry d;
	err_t err = record_get_dentry(data, len, a, b, &d);

	(void)mark;
	(void)state;
	if (err == 0 && d.name_len == f->name_len && memcmp(d.name, f->name, f->name_len) == 0) {
		f->found = d;
		f->ok = true;
	}
	return err;
}

/* A directory that the database has never seen has no rows there. */
static bool
directory_is_unstored(struct meta *m, uint64_t parent)
{
	struct cached_inode *ci;

	HASH_FIND(hh, m->inodes, &parent, sizeof(parent), ci);
	return ci != NULL && !ci->node.stored && !ci->node.frozen;
}

/* The cached entry for a name, loaded if need be; absent names are cached as such. */
static err_t
dentry_load(struct meta *m, uint64_t parent, const char *name, struct cached_dentry **out)
{
	size_t len = strlen(name);
	struct find f = { .name = name, .name_len = len };
	struct cached_dentry *cd;
	int64_t hash = 0;
	bool hashed = false;
	err_t err;

	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	cd = dentry_cached(m, parent, name, len);
	if (cd != NULL) {
		cache_touch(m, &cd->node);
		*out = cd;
		return 0;
	}
	if (!directory_is_unstored(m, parent)) {
		if ((err = rowseal_name_hash(m->rs, parent, name, len, &hash)) != 0)
			return err;
		hashed = true;
		err = db_find_dentry(m->db, parent, hash, find_row, &f);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	if (!f.ok) {
		f.found = (struct dentry){ .parent = parent, .name_len = (uint8_t)len };
		memcpy(f.found.name, name, len);
	} else {
		/* The row may be older than a cached entry of the same cookie only if the name is the same: names of a
		 * row never change, so this one is not in memory. */
	}
	cd = dentry_insert(m, &f.found, f.ok);
	if (cd == NULL)
		return -ENOMEM;
	cd->hash = hash;
	cd->has_hash = hashed;
	*out = cd;
	return 0;
}

static bool
dentry_is_void(const struct cached_dentry *cd)
{
	return cd->node.deleted || (cd->dentry.ino == 0 && cd->dentry.chain_ino == 0);
}

err_t
meta_dentry_get(struct meta *m, uint64_t parent, const char *name, struct dentry **out)
{
	struct cached_dentry *cd;
	err_t err = dentry_load(m, parent, name, &cd);

	if (err != 0)
		return err;
	if (dentry_is_void(cd))
		return -ENOENT;
	*out = &cd->dentry;
	return 0;
}

/* After a change of ino or chain_ino: makes, rewrites or drops the row. */
static err_t
dentry_changed(struct meta *m, struct cached_dentry *cd)
{
	struct dentry *d = &cd->dentry;
	bool pending = d->ino != d->chain_ino;

	if (pending != cd->counted) {
		m->pending_dentries += pending ? 1 : (uint64_t)-1;
		cd->counted = pending;
	}
	if (d->ino == 0 && d->chain_ino == 0) {
		cache_delete(m, &cd->node);
		return 0;
	}
	if (d->cookie == 0) {
		d->cookie = m->next_cookie++;
		m->counters_dirty = true;
		cd->node.b = d->cookie;
	}
	cd->node.deleted = false;
	return cache_dirty(m, &cd->node);
}

err_t
meta_dentry_set(struct meta *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct cached_dentry *cd;
	err_t err = dentry_load(m, parent, name, &cd);

	if (err != 0)
		return err;
	if (ino == 0 && dentry_is_void(cd))
		return 0;
	cd->dentry.ino = ino;
	cd->dentry.type = type;
	return dentry_changed(m, cd);
}

err_t
meta_dentry_set_chain(struct meta *m, uint64_t parent, const char *name, uint64_t chain_ino)
{
	struct cached_dentry *cd;
	err_t err = dentry_load(m, parent, name, &cd);

	if (err != 0)
		return err;
	if (chain_ino == 0 && dentry_is_void(cd))
		return 0;
	cd->dentry.chain_ino = chain_ino;
	return dentry_changed(m, cd);
}

/* Merging a scan of the database with the pinned entries of the directory. */
struct scan {
	struct meta *m;
	uint64_t parent;
	bool all; /* also names that are gone here */
	meta_dentry_fn *fn;
	void *ctx;
	uint64_t next; /* everything below this cookie has been handed out */
	unsigned rows; /* of the database, in this round */
};

static err_t
scan_emit(struct scan *s, const struct cached_dentry *cd)
{
	s->next = cd->node.b + 1;
	if (dentry_is_void(cd) || (cd->dentry.ino == 0 && !s->all))
		return 0;
	return s->fn(s->ctx, &cd->dentry);
}

/* Pinned entries with cookies in [s->next, below). */
static err_t
scan_pinned(struct scan *s, uint64_t below)
{
	struct pinset *p;
	err_t err;

	while ((p = cache_pinset(s->m, DB_DENTRY, s->parent)) != NULL) {
		size_t i = cache_pinset_find(p, s->next);

		if (i == p->count || p->v[i]->b >= below)
			break;
		if ((err = scan_emit(s, CONTAINER(p->v[i], struct cached_dentry, node))) != 0)
			return err;
	}
	return 0;
}

static err_t
scan_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct scan *s = ctx;
	struct pinset *p;
	struct dentry d;
	err_t err;

	(void)mark;
	(void)state;
	s->rows++;
	if ((err = scan_pinned(s, b)) != 0)
		return err;
	p = cache_pinset(s->m, DB_DENTRY, a);
	if (p != NULL) {
		size_t i = cache_pinset_find(p, b);

		if (i < p->count && p->v[i]->b == b) /* memory is newer */
			return scan_emit(s, CONTAINER(p->v[i], struct cached_dentry, node));
	}
	if ((err = record_get_dentry(data, len, a, b, &d)) != 0)
		return err;
	s->next = b + 1;
	if (d.ino == 0 && !s->all)
		return 0;
	return s->fn(s->ctx, &d);
}

static err_t
scan_directory(struct meta *m, uint64_t parent, uint64_t after, bool all, meta_dentry_fn *fn, void *ctx)
{
	struct scan s = { .m = m, .parent = parent, .all = all, .fn = fn, .ctx = ctx, .next = after + 1 };
	err_t err;

	if (!directory_is_unstored(m, parent)) {
		do {
			s.rows = 0;
			err = db_scan(m->db, DB_DENTRY, parent, s.next, SCAN_ROWS, scan_row, &s);
			if (err != 0)
				return err;
		} while (s.rows == SCAN_ROWS);
	}
	return scan_pinned(&s, UINT64_MAX);
}

err_t
meta_dentry_scan(struct meta *m, uint64_t parent, uint64_t after, meta_dentry_fn *fn, void *ctx)
{
	return scan_directory(m, parent, after, false, fn, ctx);
}

err_t
meta_dentry_scan_all(struct meta *m, uint64_t parent, uint64_t after, meta_dentry_fn *fn, void *ctx)
{
	return scan_directory(m, parent, after, true, fn, ctx);
}

/* Pending names: the marked rows, and what is newer in memory. */
struct pending {
	struct meta *m;
	struct dentry *v;
	size_t count;
	size_t cap;
};

static err_t
pending_add(struct pending *p, const struct dentry *d)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 64;
		struct dentry *v = realloc(p->v, cap * sizeof(v[0]));

		if (v == NULL)
			return -ENOMEM;
		p->v = v;
		p->cap = cap;
	}
	p->v[p->count++] = *d;
	return 0;
}

static err_t
pending_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct pending *p = ctx;
	struct cached_dentry *cd;
	struct dentry d;
	err_t err = record_get_dentry(data, len, a, b, &d);

	(void)mark;
	(void)state;
	if (err != 0)
		return err;
	cd = dentry_cached(p->m, a, d.name, d.name_len);
	if (cd != NULL && (cd->node.dirty || cd->node.frozen))
		return 0; /* comes from memory */
	return pending_add(p, &d);
}

static err_t
pending_from_list(struct pending *p, struct node *first)
{
	err_t err;

	for (struct node *n = first; n != NULL; n = n->next) {
		struct cached_dentry *cd;

		if (n->table != DB_DENTRY || n->deleted)
			continue;
		cd = CONTAINER(n, struct cached_dentry, node);
		if (cd->dentry.ino != cd->dentry.chain_ino && (err = pending_add(p, &cd->dentry)) != 0)
			return err;
	}
	return 0;
}

err_t
meta_pending_dentries(struct meta *m, struct dentry **out, size_t *count_out)
{
	struct pending p = { .m = m };
	err_t err;

	if ((err = db_scan_marked(m->db, DB_DENTRY, 0, 0, UINT32_MAX, pending_row, &p)) != 0 ||
	    (err = pending_from_list(&p, m->dirty.first)) != 0 ||
	    (err = pending_from_list(&p, m->frozen.first)) != 0) {
		free(p.v);
		return err;
	}
	*out = p.v;
	*count_out = p.count;
	return 0;
}
