/* cache.c: how much is here, and what goes or comes. */
#include "cache_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pieces.h"

err_t
cache_usage(const struct cache_place *p, struct cache_usage *out)
{
	struct meta_segment_totals sum;
	err_t e = segstore_count_kept(content_segments(p->content), &sum);

	if (e)
		return e;
	*out = (struct cache_usage){.here = sum.here, .total = sum.size, .cached = sum.cached};
	return 0;
}

/* Giving up. */

static int
compare_use(const void *a, const void *b)
{
	const struct segstore_kept *x = a;
	const struct segstore_kept *y = b;

	if (x->used != y->used)
		return x->used > y->used ? 1 : -1;
	return (x->seg > y->seg) - (x->seg < y->seg);
}

/* What is pinned, as pieces. */
static err_t
walk_pins(struct meta *m, struct walk *w)
{
	CLEANUP(free_ptr) uint64_t *pins = NULL;
	size_t count = 0;
	err_t e = cache_list_pins(m, &pins, &count);

	return e ? e : cache_walk(m, pins, count, w);
}

/* Which pieces go, so that `excess` bytes are free. */
static size_t
choose(const struct segstore_kept_list *l, const struct walk *pinned, uint64_t excess, struct segstore_leaving *v)
{
	size_t count = 0;

	for (size_t k = 0; k < l->count && excess; k++) {
		const struct segstore_kept *s = &l->v[k];
		uint64_t mask = s->in_store ? s->here & ~cache_walked(pinned, s->seg) : 0;
		uint64_t bytes = pieces_bytes(s->size, mask);

		if (!mask)
			continue;
		v[count++] = (struct segstore_leaving){.seg = s->seg, .mask = mask};
		excess -= bytes < excess ? bytes : excess;
	}
	return count;
}

static uint64_t
freed_bytes(const struct segstore_leaving *v, size_t count)
{
	uint64_t bytes = 0;

	for (size_t k = 0; k < count; k++)
		if (v[k].done)
			bytes += pieces_bytes(v[k].size, v[k].mask);
	return bytes;
}

err_t
cache_shrink(const struct cache_place *p, uint64_t limit, uint64_t target, uint64_t *freed_out, bool *busy_out)
{
	CLEANUP(segstore_kept_clear) struct segstore_kept_list l = {0};
	CLEANUP(cache_walk_clear) struct walk pinned = {0};
	CLEANUP(free_ptr) struct segstore_leaving *v = NULL;
	struct cache_usage u = {0};
	uint64_t cached = 0;
	err_t e = cache_usage(p, &u);

	*freed_out = 0;
	*busy_out = false;
	if (e || u.cached <= limit)
		return e;
	/* In this order: what comes to be pinned later is not in the list. */
	e = segstore_list_kept(content_segments(p->content), &l);
	for (size_t k = 0; k < l.count; k++)
		cached += l.v[k].in_store ? pieces_bytes(l.v[k].size, l.v[k].here) : 0;
	if (e || cached <= limit)
		return e;
	e = walk_pins(p->meta, &pinned);
	if (e)
		return e;
	v = calloc(l.count + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	qsort(l.v, l.count, sizeof(*l.v), compare_use);

	size_t count = choose(&l, &pinned, cached - target, v);

	e = segstore_drop_pieces(content_segments(p->content), v, count);
	*freed_out = freed_bytes(v, count);
	for (size_t k = 0; k < count; k++)
		*busy_out |= !v[k].done;
	return e;
}

bool
cache_make_room(const struct cache_place *p, uint64_t len)
{
	struct cache_usage u = {0};
	uint64_t freed = 0;
	bool busy;
	err_t e = cache_usage(p, &u);

	if (!e && u.cached) {
		uint64_t target = u.cached > len ? u.cached - len : 0;

		e = cache_shrink(p, target, target, &freed, &busy);
	}
	if (e)
		log_warn("what is cached can't be given up for what is read: %s", strerror(-e));
	if (freed)
		meta_put_reserve_back(p->meta);
	return freed != 0;
}

err_t
cache_free_file(const struct cache_place *p, uint64_t ino, struct cache_freed *out)
{
	CLEANUP(cache_walk_clear) struct walk pinned = {0};
	CLEANUP(cache_walk_clear) struct walk w = {0};
	CLEANUP(free_ptr) struct segstore_leaving *v = NULL;
	size_t count = 0;
	err_t e = cache_walk(p->meta, &ino, 1, &w);

	if (!e)
		e = walk_pins(p->meta, &pinned);
	if (e)
		return e;
	v = calloc(HASH_COUNT(w.segments) + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;

	struct cache_freed f = {.unsynced = w.hot};

	for (const struct walked *s = w.segments; s; s = s->hh.next) {
		uint64_t missing = 0, stays = cache_walked(&pinned, s->seg);

		if (!s->mask || segstore_missing(content_segments(p->content), s->seg, s->mask, &missing))
			continue;

		uint64_t here = s->mask & ~missing;

		if (!s->in_store) {
			f.unsynced += pieces_bytes(s->size, here);
			continue;
		}
		f.pinned += pieces_bytes(s->size, here & stays);
		if (here & ~stays)
			v[count++] = (struct segstore_leaving){.seg = s->seg, .mask = here & ~stays, .size = s->size};
	}
	for (size_t k = 0; k < count; k++)
		f.busy += pieces_bytes(v[k].size, v[k].mask);
	e = segstore_drop_pieces(content_segments(p->content), v, count);
	f.freed = freed_bytes(v, count);
	f.busy -= f.freed < f.busy ? f.freed : f.busy;
	*out = f;
	return e;
}

/* Bringing. */

err_t
cache_bring(const struct cache_place *p, const uint64_t *inos, size_t count, cache_progress_fn *progress, void *ctx)
{
	CLEANUP(cache_walk_clear) struct walk w = {0};
	uint64_t done = 0, total = 0;
	err_t e = cache_walk(p->meta, inos, count, &w);

	for (const struct walked *s = w.segments; s; s = s->hh.next)
		total += pieces_bytes(s->size, s->mask);
	for (const struct walked *s = w.segments; s && !e; s = s->hh.next) {
		if (!s->mask)
			continue;
		e = progress ? progress(ctx, done, total) : 0;
		if (!e && s->in_store)
			e = fetcher_bring_later(content_fetcher(p->content), s->seg, s->mask);
		done += pieces_bytes(s->size, s->mask);
	}
	return e;
}
