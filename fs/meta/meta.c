/* The metadata cache: opening, inodes, small values, segments, and what is pending. */
#include "meta.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <utlist.h>

#include "meta_internal.h"

/* Smaller numbers are for the root and for whatever may need one some day. */
#define FIRST_INO 16u
#define FIRST_COOKIE 16u

static err_t
load_counters(struct meta *m)
{
	struct bytes b = { 0 };
	struct cursor c;
	uint64_t ino, cookie, segment;
	err_t err;

	m->next_ino = FIRST_INO;
	m->next_cookie = FIRST_COOKIE;
	m->next_segment = 1;
	err = db_get(m->db, DB_KV, DB_KEY_COUNTERS, 0, &b);
	if (err == -ENOENT)
		return 0;
	if (err != 0)
		return err;
	c = (struct cursor){ b.data, b.len };
	if ((err = cursor_u64(&c, &ino)) == 0 && (err = cursor_u64(&c, &cookie)) == 0 &&
	    (err = cursor_u64(&c, &segment)) == 0) {
		m->next_ino = ino;
		m->next_cookie = cookie;
		m->next_segment = segment;
	}
	bytes_clear(&b);
	return err;
}

err_t
meta_new(struct db *db, struct rowseal *rs, uint32_t member_number, struct meta **out)
{
	struct meta *m = calloc(1, sizeof(*m));
	pthread_condattr_t attr;
	err_t err;

	if (m == NULL)
		return -ENOMEM;
	m->db = db;
	m->rs = rs;
	m->member_number = member_number;
	if ((err = load_counters(m)) != 0 ||
	    (err = db_count_marked(db, DB_INODE, &m->pending_inodes)) != 0 ||
	    (err = db_count_marked(db, DB_DENTRY, &m->pending_dentries)) != 0) {
		free(m);
		return err;
	}
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &attr);
	pthread_cond_init(&m->done, &attr);
	pthread_condattr_destroy(&attr);
	*out = m;
	return 0;
}

void
meta_set_hooks(struct meta *m, const struct meta_hooks *hooks)
{
	m->hooks = *hooks;
}

static void
free_list(struct meta *m, struct node_list *l)
{
	struct node *n, *next;

	DL_FOREACH_SAFE (l->first, n, next)
		cache_free_node(m, n);
}

void
meta_free(struct meta *m)
{
	struct pinset *p, *next;

	if (m == NULL)
		return;
	HASH_ITER (hh, m->pinsets, p, next) {
		HASH_DEL(m->pinsets, p);
		free(p->v);
		free(p);
	}
	free_list(m, &m->dirty);
	free_list(m, &m->frozen);
	free_list(m, &m->clean);
	free(m->releases.v);
	db_close(m->db);
	pthread_cond_destroy(&m->wake);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void
meta_lock(struct meta *m)
{
	pthread_mutex_lock(&m->lock);
}

void
meta_unlock(struct meta *m)
{
	cache_evict(m); /* only here: what was handed out is borrowed until now */
	pthread_mutex_unlock(&m->lock);
}

void
meta_poison(struct meta *m, err_t err)
{
	m->poison = err;
}

/* Inodes. */

static struct cached_inode *
inode_cached(struct meta *m, uint64_t ino)
{
	struct cached_inode *ci;

	HASH_FIND(hh, m->inodes, &ino, sizeof(ino), ci);
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
	HASH_ADD(hh, m->inodes, node.a, sizeof(ci->node.a), ci);
	cache_insert_clean(m, &ci->node);
	return ci;
}

static err_t
inode_load(struct meta *m, uint64_t ino, struct cached_inode **out)
{
	struct bytes b = { 0 };
	struct inode *i = NULL;
	struct cached_inode *ci;
	err_t err;

	err = db_get(m->db, DB_INODE, ino, 0, &b);
	if (err == 0)
		err = record_get_inode(b.data, b.len, ino, &i);
	bytes_clear(&b);
	if (err != 0)
		return err;
	ci = inode_insert(m, ino, true);
	if (ci == NULL) {
		inode_free(i);
		return -ENOMEM;
	}
	ci->inode = *i;
	ci->counted = i->pending != 0;
	free(i); /* the shell only: its parts have moved */
	if (ci->inode.chunk0 != NULL)
		ci->inode.chunk0->change = ++m->stamp;
	*out = ci;
	return 0;
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
		cache_touch(m, &ci->node);
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

err_t
meta_inode_new(struct meta *m, struct inode **out)
{
	uint64_t ino = (uint64_t)m->member_number << INODE_MEMBER_SHIFT | m->next_ino;
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

static void
inode_count(struct meta *m, struct cached_inode *ci, bool pending)
{
	if (pending == ci->counted)
		return;
	ci->counted = pending;
	m->pending_inodes += pending ? 1 : (uint64_t)-1;
}

void
meta_inode_dirty(struct meta *m, struct inode *i)
{
	struct cached_inode *ci = CONTAINER(i, struct cached_inode, inode);

	inode_count(m, ci, i->pending != 0);
	if (cache_dirty(m, &ci->node) != 0)
		meta_poison(m, -ENOMEM);
}

/* The same sealed extent may be mapped in several ranges, with others between them: it must be given back only once. */
static bool
mapped_before(const struct extent_list *l, uint32_t k)
{
	const struct extent *x = &l->v[k];

	while (k-- > 0 && l->v[k].off >= x->x_off)
		if (l->v[k].seg == x->seg && l->v[k].seg_off == x->seg_off)
			return true;
	return false;
}

/* Gives back what only this list points at: hot bytes. */
static err_t
release_hot(struct meta *m, const struct extent_list *l)
{
	struct segment s;
	err_t err;

	for (uint32_t k = 0; k < l->count; k++) {
		const struct extent *x = &l->v[k];

		if (mapped_before(l, k))
			continue;
		if (meta_segment_get(m, x->seg, &s) != 0 || s.kind != SEGMENT_HOT)
			continue;
		if ((err = meta_release(m, x->seg, x->seg_off, x->stored_len)) != 0)
			return err;
	}
	return 0;
}

static err_t
chunk_remove(void *ctx, struct inode *i, struct chunk *c)
{
	struct meta *m = ctx;
	err_t err = release_hot(m, &c->current);

	if (err != 0 || c == i->chunk0)
		return err;
	cache_delete(m, &CONTAINER(c, struct cached_chunk, chunk)->node);
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
	inode_count(m, ci, false);
	cache_delete(m, &ci->node);
	return 0;
}

struct number_list {
	uint64_t *v;
	size_t count;
	size_t cap;
};

static err_t
number_add(struct number_list *l, uint64_t n)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		uint64_t *v = realloc(l->v, cap * sizeof(v[0]));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = n;
	return 0;
}

static err_t
collect_key(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	(void)b;
	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	return number_add(ctx, a);
}

err_t
meta_inode_scan_removed(struct meta *m, uint64_t **inos_out, size_t *count_out)
{
	struct number_list l = { 0 };
	err_t err = db_scan_removed(m->db, collect_key, &l);

	if (err != 0) {
		free(l.v);
		return err;
	}
	*inos_out = l.v;
	*count_out = l.count;
	return 0;
}

err_t
meta_release(struct meta *m, uint64_t seg, uint64_t off, uint32_t len)
{
	struct release_list *l = &m->releases;

	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct release *v = realloc(l->v, cap * sizeof(v[0]));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = (struct release){ seg, off, len };
	return 0;
}

/* Finds a name of an inode in one directory, for messages. */
struct path_find {
	uint64_t ino;
	char name[NAME_LEN_MAX + 1];
	bool found;
};

static err_t
path_match(void *ctx, const struct dentry *d)
{
	struct path_find *pf = ctx;

	if (d->ino != pf->ino)
		return 0;
	memcpy(pf->name, d->name, sizeof(pf->name));
	pf->found = true;
	return -ECANCELED;
}

void
meta_path(struct meta *m, uint64_t ino, char *out, size_t out_len)
{
	char path[4096] = "";
	size_t at = sizeof(path) - 1;

	for (unsigned depth = 0; ino != INODE_ROOT && depth < 1024; depth++) {
		struct path_find pf = { .ino = ino };
		struct inode *i;
		size_t len;

		if (meta_inode_get(m, ino, &i) != 0 || i->parent == 0 || i->nlink == 0)
			break;
		ino = i->parent;
		if (meta_dentry_scan(m, ino, 0, path_match, &pf) != -ECANCELED || !pf.found) {
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
		snprintf(out, out_len, "(a removed file)");
	else
		snprintf(out, out_len, "%s", path[at] == '/' ? path + at + 1 : "/");
}

/* Extended attributes. */

err_t
meta_xattrs_get(struct meta *m, struct inode *i, struct xattr_list **out)
{
	struct cached_xattrs *cx;
	struct bytes b = { 0 };
	bool stored = false;
	err_t err;

	HASH_FIND(hh, m->xattrs, &i->ino, sizeof(i->ino), cx);
	if (cx != NULL && !cx->node.deleted) {
		cache_touch(m, &cx->node);
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

/* Segments. */

static struct cached_segment *
segment_cached(struct meta *m, uint64_t id)
{
	struct cached_segment *cs;

	HASH_FIND(hh, m->segments, &id, sizeof(id), cs);
	return cs;
}

static void
segment_name(struct meta *m, struct cached_segment *cs)
{
	if (!m->segments_loaded || cs->named || cs->segment.kind != SEGMENT_SETTLED)
		return;
	HASH_ADD(by_name, m->segments_by_name, segment.name, sizeof(cs->segment.name), cs);
	cs->named = true;
}

static struct cached_segment *
segment_insert(struct meta *m, const struct segment *s, bool stored)
{
	struct cached_segment *cs = calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	cache_init(&cs->node, DB_SEGMENT, s->id, 0, stored);
	cs->segment = *s;
	HASH_ADD(hh, m->segments, node.a, sizeof(cs->node.a), cs);
	cache_insert_clean(m, &cs->node);
	segment_name(m, cs);
	return cs;
}

err_t
meta_segment_get(struct meta *m, uint64_t id, struct segment *out)
{
	struct cached_segment *cs = segment_cached(m, id);
	struct bytes b = { 0 };
	struct segment s;
	err_t err;

	if (cs == NULL) {
		err = db_get(m->db, DB_SEGMENT, id, 0, &b);
		if (err == 0)
			err = record_get_segment(b.data, b.len, id, &s);
		bytes_clear(&b);
		if (err != 0)
			return err;
		cs = segment_insert(m, &s, true);
		if (cs == NULL)
			return -ENOMEM;
	}
	if (cs->node.deleted)
		return -ENOENT;
	*out = cs->segment;
	return 0;
}

err_t
meta_segment_put(struct meta *m, const struct segment *s)
{
	struct cached_segment *cs = segment_cached(m, s->id);
	struct segment old;
	err_t err;

	if (cs == NULL) {
		err = meta_segment_get(m, s->id, &old);
		if (err != 0 && err != -ENOENT)
			return err;
		cs = segment_cached(m, s->id);
	}
	if (cs == NULL && (cs = segment_insert(m, s, false)) == NULL)
		return -ENOMEM;
	if (cs->named)
		HASH_DELETE(by_name, m->segments_by_name, cs);
	cs->named = false;
	cs->segment = *s;
	cs->node.deleted = false;
	segment_name(m, cs);
	return cache_dirty(m, &cs->node);
}

err_t
meta_segment_remove(struct meta *m, uint64_t id)
{
	struct segment s;
	struct cached_segment *cs;
	err_t err = meta_segment_get(m, id, &s);

	if (err != 0)
		return err;
	cs = segment_cached(m, id);
	if (cs->named)
		HASH_DELETE(by_name, m->segments_by_name, cs);
	cs->named = false;
	cache_delete(m, &cs->node);
	return 0;
}

static err_t
segment_load_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct meta *m = ctx;
	struct segment s;
	err_t err;

	(void)b;
	(void)mark;
	(void)state;
	if (segment_cached(m, a) != NULL)
		return 0;
	if ((err = record_get_segment(data, len, a, &s)) != 0)
		return err;
	return segment_insert(m, &s, true) == NULL ? -ENOMEM : 0;
}

static err_t
segments_load_all(struct meta *m)
{
	struct cached_segment *cs, *next;
	err_t err;

	if (m->segments_loaded)
		return 0;
	err = db_scan_all(m->db, DB_SEGMENT, 0, 0, UINT32_MAX, segment_load_row, m);
	if (err != 0)
		return err;
	m->segments_loaded = true;
	HASH_ITER (hh, m->segments, cs, next)
		if (!cs->node.deleted)
			segment_name(m, cs);
	return 0;
}

err_t
meta_segment_find(struct meta *m, const uint8_t name[static 16], struct segment *out)
{
	struct cached_segment *cs;
	err_t err = segments_load_all(m);

	if (err != 0)
		return err;
	HASH_FIND(by_name, m->segments_by_name, name, 16, cs);
	if (cs == NULL)
		return -ENOENT;
	*out = cs->segment;
	return 0;
}

uint64_t
meta_segment_new_id(struct meta *m)
{
	m->counters_dirty = true;
	return m->next_segment++;
}

err_t
meta_segment_scan(struct meta *m, meta_segment_fn *fn, void *ctx)
{
	struct cached_segment *cs, *next;
	err_t err = segments_load_all(m);

	if (err != 0)
		return err;
	HASH_ITER (hh, m->segments, cs, next)
		if (!cs->node.deleted && (err = fn(ctx, &cs->segment)) != 0)
			return err;
	return 0;
}

/* What is pending: the marked rows of the database, corrected by what is newer in memory. */

static int
compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorted, each once, and only those that `keep` still says yes to. */
static size_t
number_tidy(struct meta *m, struct number_list *l, bool (*keep)(struct meta *, uint64_t))
{
	size_t kept = 0;

	if (l->count != 0)
		qsort(l->v, l->count, sizeof(l->v[0]), compare_numbers);
	for (size_t k = 0; k < l->count; k++)
		if ((kept == 0 || l->v[kept - 1] != l->v[k]) && keep(m, l->v[k]))
			l->v[kept++] = l->v[k];
	return kept;
}

static bool
inode_still_pending(struct meta *m, uint64_t ino)
{
	struct cached_inode *ci = inode_cached(m, ino);

	/* Not in memory: the row is the truth, and it was marked. */
	return ci == NULL || (!ci->node.deleted && ci->inode.pending != 0);
}

err_t
meta_pending_inodes(struct meta *m, uint64_t **inos_out, size_t *count_out)
{
	struct number_list l = { 0 };
	struct node *n;
	err_t err;

	err = db_scan_marked(m->db, DB_INODE, 0, 0, UINT32_MAX, collect_key, &l);
	DL_FOREACH (m->dirty.first, n)
		if (err == 0 && n->table == DB_INODE)
			err = number_add(&l, n->a);
	DL_FOREACH (m->frozen.first, n)
		if (err == 0 && n->table == DB_INODE)
			err = number_add(&l, n->a);
	if (err != 0) {
		free(l.v);
		return err;
	}
	*count_out = number_tidy(m, &l, inode_still_pending);
	*inos_out = l.v;
	return 0;
}

void
meta_pending_summary(struct meta *m, struct meta_pending_summary *out)
{
	meta_lock(m);
	out->inode_count = m->pending_inodes;
	out->dentry_count = m->pending_dentries;
	out->change = m->change;
	meta_unlock(m);
}

void
meta_note_local_change(struct meta *m)
{
	m->change++;
}

/* Small values. */

static struct cached_blob *
blob_cached(struct meta *m, enum db_table table, uint64_t a)
{
	uint64_t key = (uint64_t)table << 32 | a;
	struct cached_blob *cb;

	HASH_FIND(hh, m->blobs, &key, sizeof(key), cb);
	return cb;
}

static err_t
blob_get(struct meta *m, enum db_table table, uint64_t a, struct bytes *out)
{
	struct cached_blob *cb = blob_cached(m, table, a);

	if (cb != NULL)
		return bytes_append(out, cb->data.data, cb->data.len);
	return db_get(m->db, table, a, 0, out);
}

static err_t
blob_put(struct meta *m, enum db_table table, uint64_t a, const uint8_t *data, size_t len)
{
	struct cached_blob *cb = blob_cached(m, table, a);
	struct bytes copy = { 0 };
	err_t err = bytes_append(&copy, data, len);

	if (err != 0)
		return err;
	if (cb == NULL) {
		cb = calloc(1, sizeof(*cb));
		if (cb == NULL) {
			bytes_clear(&copy);
			return -ENOMEM;
		}
		cache_init(&cb->node, table, a, 0, false);
		cb->key = (uint64_t)table << 32 | a;
		HASH_ADD(hh, m->blobs, key, sizeof(cb->key), cb);
		cache_insert_clean(m, &cb->node);
	}
	bytes_clear(&cb->data);
	cb->data = copy;
	return cache_dirty(m, &cb->node);
}

err_t
meta_kv_get(struct meta *m, enum db_key key, struct bytes *out)
{
	return blob_get(m, DB_KV, key, out);
}

err_t
meta_kv_put(struct meta *m, enum db_key key, const uint8_t *data, size_t len)
{
	return blob_put(m, DB_KV, key, data, len);
}

err_t
meta_statement_get(struct meta *m, uint64_t number, struct bytes *out)
{
	return blob_get(m, DB_STATEMENT, number, out);
}

err_t
meta_statement_put(struct meta *m, uint64_t number, const uint8_t *data, size_t len)
{
	return blob_put(m, DB_STATEMENT, number, data, len);
}
