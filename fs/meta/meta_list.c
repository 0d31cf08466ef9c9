/* Names in order: what the database has of a directory, merged with what is newer in memory. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "meta_internal.h"

/* Rows that one scan of the database fetches at once. */
#define SCAN_ROWS 512u

static struct cached_dentry *
next_pinned(struct meta *m, uint64_t parent, uint64_t from)
{
	struct node *n = pins_next(m, DB_DENTRY, parent, from);

	return n == NULL ? NULL : CONTAINER(n, struct cached_dentry, node);
}

/* A scan of names alone, which leaves the cache as it is. */
struct scan {
	struct meta *m;
	uint64_t parent;
	bool all; /* also names that are gone here */
	meta_dentry_fn *fn;
	void *ctx;
	uint64_t next; /* everything below this cookie has been handed out */
	unsigned rows; /* of the database, in this round */
	struct dentry shown;
};

static err_t
scan_emit(struct scan *s, const struct cached_dentry *cd)
{
	s->next = cd->node.b + 1;
	if (dentry_is_void(cd) || (cd->ino == 0 && !s->all))
		return 0;
	dentry_show(cd, &s->shown);
	return s->fn(s->ctx, &s->shown);
}

/* Pinned entries with cookies in [s->next, below). */
static err_t
scan_pinned(struct scan *s, uint64_t below)
{
	struct cached_dentry *cd;
	err_t err;

	while ((cd = next_pinned(s->m, s->parent, s->next)) != NULL && cd->node.b < below)
		if ((err = scan_emit(s, cd)) != 0)
			return err;
	return 0;
}

static err_t
scan_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct scan *s = ctx;
	struct cached_dentry *cd;
	struct dentry d;
	err_t err;

	(void)mark;
	(void)state;
	s->rows++;
	if ((err = scan_pinned(s, b)) != 0)
		return err;
	cd = next_pinned(s->m, a, b);
	if (cd != NULL && cd->node.b == b) /* memory is newer */
		return scan_emit(s, cd);
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

	if (!names_is_unstored(m, parent)) {
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

/* Rows on their way into the cache. */
struct reading {
	struct meta *m;
	unsigned rows;
	uint64_t last;
	struct number_list *inos; /* not in memory; NULL: nobody asks */
	/* What is listed, in order; NULL: nobody asks. */
	struct cached_dentry **v;
	size_t count;
	size_t cap;
	bool politely; /* it may be fewer */
};

static void
note_inode(struct reading *r, const struct cached_dentry *cd)
{
	if (r->inos == NULL || cd->ino == 0 || cd->node.deleted || inode_cached(r->m, cd->ino) != NULL)
		return;
	if (pending_add_number(r->inos, cd->ino) != 0)
		r->inos = NULL; /* without memory nothing is read ahead */
}

/* The row's entry in the cache: what was there already is as new or newer. */
static err_t
take_row(struct reading *r, uint64_t a, uint64_t b, const uint8_t *data, size_t len, struct cached_dentry **out)
{
	struct dentry d;
	err_t err = record_get_dentry(data, len, a, b, &d);

	if (err != 0)
		return err;
	*out = names_of_row(r->m, &d);
	if (*out != NULL)
		cache_touch(&(*out)->node);
	else if ((*out = dentry_insert(r->m, &d, true)) == NULL)
		return -ENOMEM;
	r->rows++;
	return 0;
}

static err_t
read_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct reading *r = ctx;
	struct cached_dentry *cd;
	err_t err = take_row(r, a, b, data, len, &cd);

	(void)mark;
	(void)state;
	if (err != 0)
		return err;
	note_inode(r, cd);
	r->last = b;
	return 0;
}

err_t
list_read_directory(struct meta *m, uint64_t parent, uint64_t from, unsigned limit, bool inodes, unsigned *rows_out,
    uint64_t *last_out)
{
	struct number_list inos = { 0 };
	struct reading r = { .m = m, .last = from, .inos = inodes ? &inos : NULL };
	err_t err = db_scan(m->db, DB_DENTRY, parent, from, limit, read_row, &r);

	if (err == 0) {
		inode_read_ahead(m, &inos);
		*rows_out = r.rows;
		*last_out = r.last;
	}
	free(inos.v);
	return err;
}

#define LISTING_FULL (-ECANCELED)

/* Takes what is pinned below a cookie, then, if there is one, the entry that has it. */
static err_t
list_take(struct reading *r, uint64_t parent, uint64_t below, struct cached_dentry *cd)
{
	struct cached_dentry *pinned;

	for (;;) {
		pinned = next_pinned(r->m, parent, r->last + 1);
		if (pinned == NULL || pinned->node.b >= below)
			break;
		if (r->count == r->cap)
			return LISTING_FULL;
		note_inode(r, pinned);
		r->v[r->count++] = pinned;
		r->last = pinned->node.b;
	}
	if (cd == NULL)
		return 0;
	if (r->count == r->cap)
		return LISTING_FULL;
	note_inode(r, cd);
	r->v[r->count++] = cd;
	r->last = below;
	return 0;
}

static err_t
list_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct reading *r = ctx;
	struct cached_dentry *cd;
	err_t err = take_row(r, a, b, data, len, &cd);

	(void)mark;
	(void)state;
	if (err == 0)
		err = list_take(r, a, b, cd);
	if (err == 0 && r->politely && atomic_load(&r->m->waiting) > 0)
		err = LISTING_FULL;
	return err;
}

/* A handful of entries behind r->last; *end_out: there are no more. */
static err_t
list_some(struct reading *r, uint64_t parent, bool *end_out)
{
	err_t err = 0;

	r->rows = 0;
	r->count = 0;
	if (!names_is_unstored(r->m, parent))
		err = db_scan(r->m->db, DB_DENTRY, parent, r->last + 1, (unsigned)r->cap, list_row, r);
	if (err == 0 && r->rows < r->cap)
		err = list_take(r, parent, UINT64_MAX, NULL);
	else if (err == 0)
		err = LISTING_FULL;
	*end_out = err == 0;
	return err == LISTING_FULL ? 0 : err;
}

/* Everything from the cookie `from` up to r->last is in memory now. */
static void
note_listed(struct meta *m, uint64_t parent, uint64_t from, const struct reading *r, bool end)
{
	struct directory *d = names_find_directory(m, parent);

	if (d == NULL || from > (d->listed > FIRST_COOKIE ? d->listed : FIRST_COOKIE))
		return;
	d->listed = r->last + 1;
	d->complete = d->complete || end;
}

static err_t
read_part(struct meta *m, uint64_t parent, uint64_t from, bool inodes, bool politely, struct list_part *out)
{
	struct number_list inos = { 0 };
	struct reading r = { .m = m, .last = from - 1, .inos = inodes ? &inos : NULL, .v = out->v, .cap = LIST_ROWS,
		.politely = politely };
	err_t err = list_some(&r, parent, &out->end);

	if (err == 0) {
		note_listed(m, parent, from, &r, out->end);
		inode_read_ahead(m, &inos);
		out->from = from;
		out->to = r.last + 1;
		out->count = r.count;
	}
	free(inos.v);
	return err;
}

err_t
list_read_part(struct meta *m, uint64_t parent, uint64_t from, bool inodes, struct list_part *out)
{
	return read_part(m, parent, from, inodes, false, out);
}

err_t
list_read_politely(struct meta *m, uint64_t parent, uint64_t from, struct list_part *out)
{
	return read_part(m, parent, from, true, true, out);
}

err_t
list_emit(struct meta *m, const struct cached_dentry *cd, bool inodes, meta_entry_fn *fn, void *ctx)
{
	struct inode *i = NULL;

	if (dentry_is_void(cd) || cd->ino == 0)
		return 0;
	if (inodes && meta_inode_get(m, cd->ino, &i) != 0)
		i = NULL;
	dentry_show(cd, &m->shown);

	err_t err = fn(ctx, &m->shown, i);

	if (err == 0 && i != NULL && S_ISDIR(i->mode))
		ahead_note_child(m, cd, i);
	return err;
}

/* *last moves on with every entry that was taken. */
static err_t
emit_part(struct meta *m, struct list_part *p, bool inodes, uint64_t *last, meta_entry_fn *fn, void *ctx)
{
	err_t err = 0;
	size_t k;

	for (k = 0; err == 0 && k < p->count; k++)
		if ((err = list_emit(m, p->v[k], inodes, fn, ctx)) == 0)
			*last = p->v[k]->node.b;
	if (err == 0)
		*last = p->to - 1;
	return err;
}

err_t
meta_list(struct meta *m, uint64_t parent, uint64_t after, bool inodes, meta_entry_fn *fn, void *ctx)
{
	struct list_part p = { .count = 0 };
	bool end = false;
	err_t err = 0;

	if (inodes) {
		ahead_begin(m, parent, after);
		err = ahead_emit(m, parent, &after, &end, fn, ctx);
	}
	while (err == 0 && !end) {
		if ((err = list_read_part(m, parent, after + 1, inodes, &p)) != 0)
			return err;
		end = p.end;
		err = emit_part(m, &p, inodes, &after, fn, ctx);
	}
	if (inodes)
		ahead_go_on(m, parent, after, err == 0, &p);
	return err;
}
