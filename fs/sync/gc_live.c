/*
 * What is pointed into.  This device has the state at the chain's head, extent by extent, so nothing is read from the store.
 * Nor need any older state be: what nothing points into is noted with the time, a commit that names it again takes the note away
 * (merge_add_segments), and when the note is as old as history is kept, no state within that time has it.
 */
#include <errno.h>
#include <stdlib.h>

#include "gc_internal.h"
#include "padme.h"

/* A note that is later than this was made when the clock was wrong. */
#define FUTURE_S 86400u

bool
gc_is_over(const struct gc *g, uint64_t since)
{
	return g->keep_s == 0 || g->now_s >= since + (uint64_t)g->keep_s;
}

err_t
gc_each_chunk(struct gc *g, walk_fn *fn, void *ctx)
{
	struct walk w = { 0 };
	err_t err = 0;

	while (err == 0 && !w.ended) {
		err = walk_some(g->s->v->meta, &w, fn, ctx);
		if (err == 0)
			err = gc_step(g, w.seen, 0, "what files point into");
	}
	return err;
}

static err_t
list_segment(void *ctx, const struct segment *seg)
{
	struct gc_uses *u = ctx;
	err_t err;

	if (seg->kind != SEGMENT_SETTLED)
		return 0;
	if ((err = gc_grow((void **)&u->v, u->count, &u->cap, sizeof(u->v[0]))) != 0)
		return err;
	u->v[u->count++] = (struct gc_use){ .seg = seg->id };
	return 0;
}

static int
compare_uses(const void *a, const void *b)
{
	const struct gc_use *x = a, *y = b;

	return (x->seg > y->seg) - (x->seg < y->seg);
}

static struct gc_use *
find_use(const struct gc *g, uint64_t seg)
{
	const struct gc_use key = { .seg = seg };

	return g->uses.count != 0 ? bsearch(&key, g->uses.v, g->uses.count, sizeof(key), compare_uses) : NULL;
}

static void
count_list(struct gc *g, const struct extent_list *l)
{
	for (uint32_t k = 0; k < l->count; k++) {
		const struct extent *x = &l->v[k];
		struct gc_use *u = find_use(g, x->seg);

		/* Of one that was overwritten in its middle two ranges are left. */
		if (u != NULL && (k == 0 || x[-1].seg != x->seg || x[-1].seg_off != x->seg_off))
			u->live += x->stored_len;
	}
}

static err_t
count_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	(void)i;
	count_list(ctx, &c->current);
	count_list(ctx, &c->chain);
	return 0;
}

/* Notes. */

struct marking {
	struct gc *g;
	struct segment *v; /* rows that are to change */
	size_t count;
	size_t cap;
};

uint64_t
gc_since(const struct gc *g, bool is, uint64_t noted)
{
	if (!is)
		return 0;
	return noted == 0 || noted > g->note_s + FUTURE_S ? g->note_s : noted;
}

static void
count_one(struct gc_count *c, uint64_t bytes)
{
	c->objects++;
	c->bytes += bytes;
}

static err_t
mark_changed(struct marking *mk, const struct segment *seg)
{
	if (mk->count == mk->cap) {
		size_t cap = mk->cap ? mk->cap * 2 : 64;
		struct segment *v = reallocarray(mk->v, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		mk->v = v;
		mk->cap = cap;
	}
	mk->v[mk->count++] = *seg;
	return 0;
}

static err_t
mark_segment(void *ctx, const struct segment *seg)
{
	struct marking *mk = ctx;
	struct gc *g = mk->g;
	struct segment row = *seg;
	const struct gc_use *u = find_use(g, seg->id);
	err_t err = 0;

	/* What is new since counting began was not counted. */
	if (seg->kind != SEGMENT_SETTLED || !seg->in_store || u == NULL)
		return 0;
	row.dead_since = gc_since(g, u->live == 0, seg->dead_since);
	/* Worth while only if the rest, with its padding, takes half the room. */
	row.sparse_since = gc_since(g, u->live != 0 && padme_size(u->live) <= seg->size / 2, seg->sparse_since);
	if (row.dead_since != 0 && gc_is_over(g, row.dead_since))
		err = gc_ids_add(&g->dead, seg->id);
	else if (row.dead_since != 0)
		count_one(&g->r->history, seg->size);
	else if (row.sparse_since != 0 && gc_is_over(g, row.sparse_since))
		err = gc_ids_add(&g->sparse, seg->id);
	else if (row.sparse_since != 0)
		count_one(&g->r->sparse, seg->size);
	if (err != 0 || (row.dead_since == seg->dead_since && row.sparse_since == seg->sparse_since))
		return err;
	return mark_changed(mk, &row);
}

static void
forget_counts(struct gc *g)
{
	g->uses.count = 0;
	g->dead.count = g->sparse.count = 0;
	g->r->history = g->r->sparse = (struct gc_count){ 0 };
}

/* Some of them, and what is noted of these. */
static err_t
mark_some(struct gc *g, uint64_t *after)
{
	struct marking mk = { .g = g };
	struct meta *m = g->s->v->meta;
	err_t err;

	meta_lock(m);
	err = meta_segment_scan_some(m, false, after, mark_segment, &mk);
	for (size_t k = 0; err == 0 && !g->o->dry_run && k < mk.count; k++)
		err = meta_segment_put(m, &mk.v[k]);
	meta_unlock(m);
	free(mk.v);
	/* It may be all of them that change. */
	meta_throttle(m);
	return err;
}

err_t
gc_mark(struct gc *g)
{
	err_t err;

	forget_counts(g);
	if ((err = meta_segment_scan(g->s->v->meta, false, list_segment, &g->uses)) != 0)
		return err;
	if (g->uses.count != 0)
		qsort(g->uses.v, g->uses.count, sizeof(g->uses.v[0]), compare_uses);
	err = gc_each_chunk(g, count_chunk, g);
	for (uint64_t after = 0; err == 0 && after != UINT64_MAX;)
		err = mark_some(g, &after);
	return err;
}
