/* cache_thread.c: makes what was brought last, keeps to the limit, brings what is pinned. */
#include "cache_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define INTERVAL_MS 5000
#define RETRY_ROUNDS 6u /* rounds between tries to bring what is pinned, after one that failed */
/* On a full disk so much more goes than is needed: each time is a commit, and the reserve (reserve.h) is to find room again, too. */
#define ROOM_MORE (UINT64_C(32) << 20)
#define VAIN_NS INT64_C(5000000000) /* before what may go is looked for again, if it was nothing and nothing has come since */
#define AHEAD_SLACK (UINT64_C(16) << 20) /* so far above the limit nothing comes that nobody has asked for */

struct cache {
	struct cache_place place;
	pthread_t thread;
	pthread_mutex_t room_lock; /* held by the one that makes room; taken before any other lock */
	/* under room_lock */
	int64_t vain_until;    /* CLOCK_MONOTONIC: nothing may go before, if ... */
	uint64_t vain_brought; /* ... that still is segstore's count */
	pthread_mutex_t lock;
	/* under lock */
	pthread_cond_t wake;
	bool stopping;
	bool woken;
	bool changed;       /* pinned files may have what is not here */
	uint64_t brought;   /* segstore's count when the limit was last looked at ... */
	uint64_t room;      /* ... and how much could come until it is reached; UINT64_MAX: no limit */
	/* the thread's */
	uint64_t limit;
	uint64_t looked;    /* as `brought` */
	bool busy;          /* then somebody was using what was to go */
	struct meta_pending_summary seen;
	uint64_t pins_hash;
	unsigned pause;     /* rounds until pins are looked at again */
};

/* The fetcher's: some pieces have come. */
static void
on_brought(void *ctx)
{
	struct cache *c = ctx;
	uint64_t brought = segstore_brought(content_segments(c->place.content));

	pthread_mutex_lock(&c->lock);

	uint64_t since = brought - c->brought;
	bool above = since > c->room, far_above = above && since - c->room > AHEAD_SLACK;

	if (above) {
		c->woken = true;
		pthread_cond_signal(&c->wake);
	}
	pthread_mutex_unlock(&c->lock);
	if (far_above)
		fetcher_hold_ahead(content_fetcher(c->place.content), true);
}

/* The fetcher's: the disk is full, and somebody reads. */
static bool
on_full(void *ctx, uint64_t len)
{
	struct cache *c = ctx;
	uint64_t brought = segstore_brought(content_segments(c->place.content));
	bool made = false;

	/* What another gives up is gone only when he has done. */
	pthread_mutex_lock(&c->room_lock);
	if (brought != c->vain_brought || clock_ns(CLOCK_MONOTONIC) >= c->vain_until) {
		made = cache_make_room(&c->place, len + ROOM_MORE);
		c->vain_brought = brought;
		c->vain_until = made ? 0 : clock_ns(CLOCK_MONOTONIC) + VAIN_NS;
	}
	pthread_mutex_unlock(&c->room_lock);
	return made;
}

static void
note_room(struct cache *c, uint64_t brought, uint64_t room)
{
	pthread_mutex_lock(&c->lock);
	c->brought = brought;
	c->room = room;
	pthread_mutex_unlock(&c->lock);
}

static err_t
keep_to_limit(struct cache *c)
{
	struct meta_pending_summary sum;
	struct cache_usage u = {0};
	uint64_t freed = 0, limit = 0, brought = segstore_brought(content_segments(c->place.content));
	err_t e = cache_get_limit(c->place.meta, &limit);

	meta_pending_summary(c->place.meta, &sum);
	/* There is more to look at when something has come, and when the store has got something. */
	bool same = !c->busy && brought == c->looked && memcmp(&sum, &c->seen, sizeof(sum)) == 0;

	if (!e && limit == c->limit && (!limit || same))
		return 0;
	c->limit = limit;
	c->seen = sum;
	c->looked = brought;
	c->busy = false;
	if (e || !limit) {
		note_room(c, brought, UINT64_MAX);
		fetcher_hold_ahead(content_fetcher(c->place.content), false);
		return e;
	}
	e = cache_shrink(&c->place, limit, limit / 10 * 9, &freed, &c->busy);
	if (!e)
		e = cache_usage(&c->place, &u);
	if (e)
		return e;
	note_room(c, brought, u.cached < limit ? limit - u.cached : 0);
	fetcher_hold_ahead(content_fetcher(c->place.content), u.cached > limit + AHEAD_SLACK);
	return 0;
}

static bool
is_stopping(struct cache *c)
{
	pthread_mutex_lock(&c->lock);

	bool stopping = c->stopping;

	pthread_mutex_unlock(&c->lock);
	return stopping;
}

static bool
is_held(const struct cache *c)
{
	return c->place.is_held && c->place.is_held(c->place.ctx);
}

static uint64_t
hash_pins(const uint64_t *pins, size_t count)
{
	uint64_t hash = count;

	for (size_t k = 0; k < count; k++)
		hash = hash * 31 + pins[k];
	return hash;
}

/* Between segments.  What was unpinned meanwhile may have been given up: it is not to come back. */
static err_t
go_on(void *ctx, uint64_t done, uint64_t total)
{
	CLEANUP(free_ptr) uint64_t *pins = NULL;
	struct cache *c = ctx;
	size_t count = 0;
	err_t e;

	(void)done, (void)total;
	if (is_stopping(c))
		return -ECANCELED;
	if (is_held(c)) {
		cache_note_change(c); /* the rest waits */
		return -ECANCELED;
	}
	e = keep_to_limit(c);
	if (!e)
		e = cache_list_pins(c->place.meta, &pins, &count);
	if (e || hash_pins(pins, count) == c->pins_hash)
		return e;
	cache_note_change(c); /* the next round has the new ones */
	return -ECANCELED;
}

/* Has somebody pinned something since? */
static bool
are_new_pins(struct cache *c, const uint64_t *pins, size_t count)
{
	uint64_t hash = hash_pins(pins, count);
	bool news = hash != c->pins_hash;

	c->pins_hash = hash;
	return news;
}

static err_t
bring_pinned(struct cache *c)
{
	CLEANUP(free_ptr) uint64_t *pins = NULL;
	size_t count = 0;
	err_t e = cache_list_pins(c->place.meta, &pins, &count);

	if (e || is_held(c))
		return e;
	pthread_mutex_lock(&c->lock);

	bool due = are_new_pins(c, pins, count) || (c->changed && !c->pause);

	c->pause -= c->pause > 0;
	if (due)
		c->changed = false;
	pthread_mutex_unlock(&c->lock);
	if (!due || !count)
		return 0;
	e = cache_bring(&c->place, pins, count, go_on, c);
	if (!e || e == -ECANCELED)
		return 0;
	/* The store is away: those who look for it say so. */
	c->pause = RETRY_ROUNDS;
	cache_note_change(c);
	return e == -EAGAIN || e == -ENODATA || e == -ENOENT ? 0 : e;
}

static void
warn_if(err_t e, const char *what)
{
	if (e)
		log_warn("%s: %s", what, strerror(-e));
}

static bool
pause_until_needed(struct cache *c)
{
	const struct timespec until = clock_deadline(INTERVAL_MS);

	pthread_mutex_lock(&c->lock);
	while (!c->stopping && !c->woken && pthread_cond_timedwait(&c->wake, &c->lock, &until) != ETIMEDOUT)
		;
	c->woken = false;

	bool go = !c->stopping;

	pthread_mutex_unlock(&c->lock);
	return go;
}

static void *
cache_main(void *arg)
{
	struct cache *c = arg;

	do {
		warn_if(keep_to_limit(c), "what is above the cache's size can't be given up");
		warn_if(segstore_save_pieces(content_segments(c->place.content)), "what came from the store could not be saved");
		warn_if(segstore_give_back_strays(content_segments(c->place.content)), "what a crash left can't be given up");
		warn_if(bring_pinned(c), "what is pinned can't be brought");
	} while (pause_until_needed(c));
	return NULL;
}

err_t
cache_start(const struct cache_place *p, struct cache **out)
{
	CLEANUP(free_ptr) struct cache *c = calloc(1, sizeof(*c));
	pthread_condattr_t monotonic;

	if (!c)
		return -ENOMEM;
	c->place = *p;
	c->room = UINT64_MAX;
	c->changed = true;
	(void)pthread_mutex_init(&c->room_lock, NULL);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);

	int failed = pthread_create(&c->thread, NULL, cache_main, c);

	if (failed)
		return -failed;
	fetcher_set_brought(content_fetcher(p->content), on_brought, c);
	fetcher_set_room(content_fetcher(p->content), on_full, c);
	*out = STEAL(c);
	return 0;
}

void
cache_note_change(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	c->changed = true;
	pthread_mutex_unlock(&c->lock);
}

void
cache_wake(struct cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->woken = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void
cache_stop(struct cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	fetcher_set_brought(content_fetcher(c->place.content), NULL, NULL);
	fetcher_set_room(content_fetcher(c->place.content), NULL, NULL);
	warn_if(segstore_save_pieces(content_segments(c->place.content)), "what came from the store could not be saved");
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->room_lock);
	free(c);
}
