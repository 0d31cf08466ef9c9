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

err_t
pending_add_key(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
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
	err_t err = db_scan_removed(m->db, pending_add_key, &l);

	if (err != 0) {
		free(l.v);
		return err;
	}
	*inos_out = l.v;
	*count_out = l.count;
	return 0;
}

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

	err = db_scan_marked(m->db, DB_INODE, 0, 0, UINT32_MAX, pending_add_key, &l);
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
