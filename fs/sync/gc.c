/*
 * A collection: what is dead is worked out at the chain's head, then a commit says what is going to be deleted; who commits after
 * that has pulled it.  Only then is it deleted, and what a crash leaves of that is remembered here.
 */
#include "gc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gc_internal.h"
#include "log.h"

/* Names in one commit. */
#define DROPS_MAX 20000u
/* If others commit in between. */
#define TRIES 8u
#define DELETE_THREADS 4u
/* By itself: so often, or when so many bases were written, and not while the folder is in use. */
#define EVERY_S 86400u
/* What more the clock has gone since the run before is believed by the next one. */
#define LEAP_S (2 * EVERY_S)

err_t
gc_step(struct gc *g, uint64_t done, uint64_t total, const char *what)
{
	if (atomic_load(&g->s->stop) || atomic_load(&g->s->hold) == SETTINGS_OFFLINE || (g->o->by_itself && sync_is_held(g->s)))
		return -ECANCELED;
	return g->o->progress == NULL || g->o->progress(g->o->ctx, done, total, what) ? 0 : -ECANCELED;
}

/* Dropping. */

static err_t
add_dead(struct gc *g, size_t from, struct changes *c)
{
	struct meta *m = g->s->v->meta;
	struct segment seg;
	err_t err = 0;

	meta_lock(m);
	for (size_t k = from; err == 0 && k < g->dead.count && k < from + DROPS_MAX; k++) {
		err = meta_segment_get(m, g->dead.v[k], &seg);
		if (err == 0 && seg.in_store && seg.dead_since != 0) /* as it was when it was looked at */
			err = changes_add_drop(c, seg.name);
		err = err == -ENOENT ? 0 : err;
	}
	meta_unlock(m);
	return err;
}

static err_t
add_orphans(struct gc *g, size_t from, struct changes *c)
{
	struct meta *m = g->s->v->meta;
	struct segment seg;
	err_t err = 0;

	meta_lock(m);
	for (size_t k = from; err == 0 && k < g->orphans.count && k < from + DROPS_MAX; k++) {
		err = meta_segment_find(m, g->orphans.v[k], &seg);
		if (err == -ENOENT) /* still nobody's */
			err = changes_add_drop(c, g->orphans.v[k]);
	}
	meta_unlock(m);
	return err;
}

typedef err_t add_fn(struct gc *g, size_t from, struct changes *c);

/* -EEXIST: others commit all the time. */
static err_t
drop_some(struct gc *g, add_fn *add, size_t from)
{
	err_t err = -EEXIST;

	for (unsigned try = 0; try < TRIES && err == -EEXIST; try++) {
		CLEANUP(changes_free_ptr) struct changes *c = NULL;
		bool news;

		if ((err = gc_step(g, from, g->dead.count + g->orphans.count, "what nobody needs")) != 0 ||
		    (err = changes_new(&c)) != 0 || (err = add(g, from, c)) != 0 || c->drop_count == 0)
			return err;
		err = push_commit(g->s, c);
		if (err == -EEXIST && (err = pull_all(g->s, &news)) == 0)
			err = -EEXIST;
	}
	return err;
}

static err_t
drop_all(struct gc *g)
{
	err_t err = 0;

	for (size_t k = 0; err == 0 && k < g->dead.count; k += DROPS_MAX)
		err = drop_some(g, add_dead, k);
	for (size_t k = 0; err == 0 && k < g->orphans.count; k += DROPS_MAX)
		err = drop_some(g, add_orphans, k);
	g->r->gave_way = g->r->gave_way || err == -EEXIST;
	return err == -EEXIST ? 0 : err;
}

err_t
gc_doom(struct sync *s, const struct changes *c)
{
	struct gc_names names = { 0 };
	err_t err;

	if (c->drop_count == 0)
		return 0;
	err = gc_doomed_get(s->v->meta, &names);
	for (uint32_t k = 0; err == 0 && k < c->drop_count; k++)
		err = gc_names_add(&names, c->drops[k].name);
	if (err == 0)
		err = gc_doomed_put(s->v->meta, &names);
	free(names.v);
	return err;
}

/* Deleting. */

struct deleting {
	struct gc *g;
	const struct gc_names *names;
	bool *gone;
	pthread_mutex_t lock;
	/* under lock */
	size_t next;
	err_t err; /* the first */
};

static bool
delete_next(struct deleting *d, size_t *index_out)
{
	bool more;

	pthread_mutex_lock(&d->lock);
	if (d->err == 0 && atomic_load(&d->g->s->stop))
		d->err = -ECANCELED;
	more = d->err == 0 && d->next < d->names->count;
	*index_out = d->next;
	d->next += more;
	pthread_mutex_unlock(&d->lock);
	return more;
}

static void *
delete_worker(void *arg)
{
	struct deleting *d = arg;
	char name[CHAIN_NAME_MAX];
	size_t k;

	while (delete_next(d, &k)) {
		err_t err;

		chain_segment_object_name(d->names->v[k], name);
		err = store_remove(d->g->s->store, name);
		pthread_mutex_lock(&d->lock);
		d->gone[k] = err == 0;
		if (err != 0 && d->err == 0)
			d->err = err;
		pthread_mutex_unlock(&d->lock);
	}
	return NULL;
}

/* What is gone is forgotten; what is not is for the next time. */
static err_t
forget_deleted(struct gc *g, const struct gc_names *names, const bool *gone)
{
	struct gc_names now = { 0 }, left = { 0 };
	struct meta *m = g->s->v->meta;
	err_t err;

	meta_lock(m);
	err = gc_doomed_get(m, &now);
	/* What was added meanwhile stands behind them. */
	for (size_t k = 0; err == 0 && k < now.count; k++)
		if (k >= names->count || !gone[k])
			err = gc_names_add(&left, now.v[k]);
	if (err == 0)
		err = gc_doomed_put(m, &left);
	meta_unlock(m);
	free(now.v);
	free(left.v);
	return err;
}

/*
 * [round] After a pull.  What a push that failed had uploaded was doomed, but its commit is in the chain all the same: its answer was
 * lost.  That has a row again, and stays for the collector to judge.
 */
static err_t
choose_doomed(struct gc *g, struct gc_names *out)
{
	struct gc_names all = { 0 };
	struct meta *m = g->s->v->meta;
	struct segment row;
	err_t err;

	meta_lock(m);
	err = gc_doomed_get(m, &all);
	for (size_t k = 0; err == 0 && k < all.count; k++) {
		err = meta_segment_find(m, all.v[k], &row);
		if (err == -ENOENT || (err == 0 && !row.in_store))
			err = gc_names_add(out, all.v[k]);
	}
	if (err == 0 && out->count < all.count)
		err = gc_doomed_put(m, out);
	meta_unlock(m);
	free(all.v);
	return err;
}

/* They may be gone from the store only when what is here does not know them, after a crash, too. */
static err_t
find_doomed(struct gc *g, struct gc_names *out)
{
	struct meta *m = g->s->v->meta;
	struct gc_names any = { 0 };
	bool news;
	err_t err;

	meta_lock(m);
	err = gc_doomed_get(m, &any);
	meta_unlock(m);
	free(any.v);
	if (err != 0 || any.count == 0)
		return err;
	engine_round_begin(g->s, true);
	err = pull_all(g->s, &news);
	if (err == 0)
		err = meta_sync(m);
	if (err == 0)
		err = choose_doomed(g, out);
	return engine_round_end(g->s, err);
}

/* Not in a round, so that pushes need not wait: nobody commits these names any more. */
static err_t
delete_doomed(struct gc *g)
{
	CLEANUP(free_ptr) bool *gone = NULL;
	struct gc_names names = { 0 };
	struct deleting d = { .g = g, .names = &names, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t threads[DELETE_THREADS];
	size_t count = 0;
	err_t err = find_doomed(g, &names), forgotten;

	d.gone = gone = calloc(names.count + 1, sizeof(*gone));
	if (err == 0 && gone == NULL)
		err = -ENOMEM;
	if (err == 0 && names.count > 0) {
		while (count + 1 < DELETE_THREADS && count + 1 < names.count &&
		       pthread_create(&threads[count], NULL, delete_worker, &d) == 0)
			count++;
		(void)delete_worker(&d);
		while (count > 0)
			pthread_join(threads[--count], NULL);
		forgotten = forget_deleted(g, &names, gone);
		err = d.err != 0 ? d.err == -ECANCELED ? d.err : report_store(g->s, d.err) : forgotten;
	}
	free(names.v);
	return err;
}

/* The run. */

static void
count_ids(struct gc *g, const struct gc_ids *ids, struct gc_count *out)
{
	struct meta *m = g->s->v->meta;
	struct segment seg;

	meta_lock(m);
	for (size_t k = 0; k < ids->count; k++) {
		if (meta_segment_get(m, ids->v[k], &seg) != 0)
			continue;
		out->objects++;
		out->bytes += seg.size;
	}
	meta_unlock(m);
}

/* [round] */
static err_t
collect(struct gc *g)
{
	bool news;
	err_t err;

	if ((err = pull_all(g->s, &news)) != 0 || !g->s->v->has_head)
		return err;
	if ((err = gc_find_orphans(g)) != 0 || (err = gc_mark(g)) != 0)
		return err;
	if (g->sparse.count > 0 && ((err = gc_move_sparse(g)) != 0 || (!g->o->dry_run && (err = gc_mark(g)) != 0)))
		return err;
	count_ids(g, &g->dead, &g->r->dead);
	if (g->o->dry_run)
		return 0;
	if ((err = drop_all(g)) != 0)
		return err;
	g->last_s = g->run_s;
	return gc_state_save(g);
}

/* What an earlier run has said that it would delete. */
static err_t
count_leftovers(struct gc *g)
{
	struct gc_names names = { 0 };
	struct meta *m = g->s->v->meta;
	err_t err;

	meta_lock(m);
	err = gc_doomed_get(m, &names);
	meta_unlock(m);
	for (size_t k = 0; err == 0 && k < names.count; k++) {
		struct gc_stranger *t = gc_stranger_find(g, names.v[k]);

		if (t == NULL || t->doomed)
			continue;
		t->doomed = true;
		g->r->leftovers.objects++;
		g->r->leftovers.bytes += t->size;
	}
	free(names.v);
	return err;
}

/* The newest commit's, by its author's clock. */
static uint64_t
time_of_head(struct vault *v)
{
	uint64_t time_s = 0;

	meta_lock(v->meta);
	for (size_t i = 0; v->has_head && i < v->author_count; i++)
		if (v->authors[i].seq == v->head_seq)
			time_s = v->authors[i].time_ns / 1000000000u;
	meta_unlock(v->meta);
	return time_s;
}

static uint64_t
later_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * A clock that was far from right once, as before a computer without a battery has asked for the time, must not end history: what
 * the run before saw is believed, too, and the newest commit.  If they were wrong, the next run knows.
 */
static void
set_clocks(struct gc *g)
{
	uint64_t now = (uint64_t)time(NULL);
	int64_t ahead = 0;

	if (store_clock_skew(g->s->store, &ahead) != 0)
		ahead = 0;
	g->now_s = ahead < 0 && (uint64_t)-ahead < now ? now - (uint64_t)-ahead : now;
	g->run_s = ahead > 0 ? now + (uint64_t)ahead : now;
	g->note_s = later_of(g->run_s, later_of(g->last_s, time_of_head(g->s->v)));
	if (g->last_s != 0 && g->now_s > g->last_s + LEAP_S)
		g->now_s = g->last_s + LEAP_S;
}

/* As of segments. */
static void
believe_strangers(struct gc *g)
{
	struct gc_stranger *t, *next;

	HASH_ITER (hh, g->strangers, t, next)
		t->since = gc_since(g, true, t->since);
}

/* What needs no round: the store's own words. */
static err_t
look(struct gc *g)
{
	err_t err;

	if ((err = gc_state_load(g)) != 0)
		return err;
	set_clocks(g);
	believe_strangers(g);
	g->keep_s = g->o->keep_s >= 0 ? g->o->keep_s : g->saved_keep_s >= 0 ? g->saved_keep_s : GC_KEEP_DEFAULT_S;
	g->r->keep_s = (uint64_t)g->keep_s;
	if ((err = gc_list_objects(g)) != 0 || (err = count_leftovers(g)) != 0)
		return err;
	return gc_bases(g);
}

/* Before what the store has is listed: whose commit comes later is told by the newest one that there was then (gc_boxes.c). */
static err_t
catch_up(struct gc *g)
{
	bool news;

	engine_round_begin(g->s, true);
	return engine_round_end(g->s, pull_all(g->s, &news));
}

static err_t
run(struct gc *g)
{
	err_t err = catch_up(g);

	if (err == 0)
		err = look(g);
	if (err == 0) {
		engine_round_begin(g->s, true);
		err = engine_round_end(g->s, collect(g));
	}
	if (err == 0 && g->s->v->has_head)
		err = gc_boxes(g);
	if (err == 0 && !g->o->dry_run)
		err = delete_doomed(g);
	return err;
}

static void
explain(struct sync *s, err_t err, char why[static 512])
{
	struct sync_status status;

	sync_get_status(s, &status);
	if (err == -EBUSY)
		snprintf(why, 512, "it is being done already");
	else if (status.problem == err)
		snprintf(why, 512, "%s", status.problem_text);
	else if (err != -ECANCELED)
		store_explain(s->store, err, why, 512);
}

err_t
gc_run(struct sync *s, const struct gc_options *o, struct gc_report *out)
{
	CLEANUP(gc_clear) struct gc g = { .s = s, .o = o, .r = out };
	bool free = false;
	err_t err = -EBUSY;

	*out = (struct gc_report){ 0 };
	if (atomic_compare_exchange_strong(&s->collecting, &free, true)) {
		err = run(&g);
		atomic_store(&s->collecting, false);
	}
	if (err != 0)
		explain(s, err, out->why);
	return err;
}

err_t
gc_get_keep(struct sync *s, int64_t *keep_s_out)
{
	CLEANUP(gc_clear) struct gc g = { .s = s };
	err_t err = gc_state_load(&g);

	if (err == 0)
		*keep_s_out = g.saved_keep_s >= 0 ? g.saved_keep_s : GC_KEEP_DEFAULT_S;
	return err;
}

err_t
gc_set_keep(struct sync *s, int64_t keep_s)
{
	CLEANUP(gc_clear) struct gc g = { .s = s };
	err_t err;

	if (keep_s < 0 || keep_s > GC_KEEP_MAX_S)
		return -EINVAL;
	pthread_mutex_lock(&s->round);
	err = gc_state_load(&g);
	g.saved_keep_s = keep_s;
	if (err == 0)
		err = gc_state_save(&g);
	pthread_mutex_unlock(&s->round);
	return err;
}

void
gc_run_if_due(struct sync *s)
{
	const struct gc_options o = { .keep_s = -1, .by_itself = true };
	struct gc_report report;
	struct gc g = { .s = s };
	uint64_t now = (uint64_t)time(NULL);
	err_t err = gc_state_load(&g);
	bool due = err == 0 && g.last_s != 0 && (now >= g.last_s + EVERY_S || now + EVERY_S < g.last_s);

	if (err == 0 && g.last_s == 0) { /* the first one in a day: there is nothing yet */
		pthread_mutex_lock(&s->round);
		g.last_s = now;
		err = gc_state_save(&g);
		pthread_mutex_unlock(&s->round);
	}
	gc_clear(&g);
	if (due)
		err = gc_run(s, &o, &report);
	if (err != 0 && err != -ECANCELED && err != -EBUSY)
		log_warn("what nobody needs any more stays in %s for now: %s", s->store->url, due ? report.why : strerror(-err));
	else if (due && err == 0 && report.dead.objects + report.orphans.objects + report.bases.objects > 0)
		log_info("deleted %llu objects that nobody needs any more from %s",
		    (unsigned long long)(report.dead.objects + report.orphans.objects + report.bases.objects), s->store->url);
}

err_t
gc_note_unread(struct sync *s, uint64_t seq, const uint8_t hash[static 32])
{
	CLEANUP(gc_clear) struct gc g = { .s = s };
	err_t err = gc_state_load(&g);

	if (err != 0)
		return err;
	g.unread = true;
	g.unread_seq = seq;
	memcpy(g.unread_hash, hash, sizeof(g.unread_hash));
	return gc_state_save(&g);
}
