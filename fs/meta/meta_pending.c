/* What is pending or removed: the marked rows of the database, corrected by what is newer in memory. */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "meta_internal.h"

err_t
pending_add_number(struct number_list *l, uint64_t n)
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

/* A db_row_fn that adds a row's first key. */
static err_t
add_key(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	(void)b;
	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	return pending_add_number(ctx, a);
}

err_t
meta_inode_scan_removed(struct meta *m, uint64_t **inos_out, size_t *count_out)
{
	struct number_list l = { 0 };
	err_t err = db_scan_removed(m->db, add_key, &l);

	if (err != 0) {
		free(l.v);
		return err;
	}
	*inos_out = l.v;
	*count_out = l.count;
	return 0;
}

struct number_window {
	uint64_t last;
	uint64_t *v;
	size_t count;
};

static err_t
window_add(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct number_window *w = ctx;

	(void)b, (void)mark, (void)state, (void)data, (void)len;
	if (a > w->last)
		return -ECANCELED;
	w->v[w->count++] = a;
	return 0;
}

err_t
meta_inode_numbers(struct meta *m, uint64_t first, uint64_t last, uint64_t *out, size_t max, size_t *count_out)
{
	struct number_window w = { .last = last, .v = out };
	err_t err = db_scan_all(m->db, DB_INODE, first - 1, UINT64_MAX, (unsigned)max, window_add, &w);

	if (err != 0 && err != -ECANCELED)
		return err;
	*count_out = w.count;
	return 0;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

size_t
pending_sort_numbers(struct number_list *l)
{
	size_t kept = 0;

	if (l->count != 0)
		qsort(l->v, l->count, sizeof(l->v[0]), compare_numbers);
	for (size_t k = 0; k < l->count; k++)
		if (kept == 0 || l->v[kept - 1] != l->v[k])
			l->v[kept++] = l->v[k];
	l->count = kept;
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
	size_t kept = 0;
	err_t err;

	err = db_scan_marked(m->db, DB_INODE, 0, 0, UINT32_MAX, add_key, &l);
	DL_FOREACH (m->dirty.first, n)
		if (err == 0 && n->table == DB_INODE)
			err = pending_add_number(&l, n->a);
	DL_FOREACH (m->frozen.first, n)
		if (err == 0 && n->table == DB_INODE)
			err = pending_add_number(&l, n->a);
	if (err != 0) {
		free(l.v);
		return err;
	}
	pending_sort_numbers(&l);
	for (size_t k = 0; k < l.count; k++)
		if (inode_still_pending(m, l.v[k]))
			l.v[kept++] = l.v[k];
	*count_out = kept;
	*inos_out = l.v;
	return 0;
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
		dentry_show(cd, &p->m->shown);
		if (cd->ino != cd->chain_ino && (err = pending_add(p, &p->m->shown)) != 0)
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

void
meta_pending_summary(struct meta *m, struct meta_pending_summary *out)
{
	meta_lock(m);
	out->inode_count = m->pending_inodes;
	out->dentry_count = m->pending_dentries;
	out->bytes = m->pending_bytes;
	out->change = m->change;
	meta_unlock(m);
}

void
meta_note_local_change(struct meta *m)
{
	m->change++;
}
