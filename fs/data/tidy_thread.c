/* tidy_thread.c: when to tidy: after some quiet, and never in the way of who is at work. */
#include "tidy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define TICK_MS 1000
/* While changes do not cease: so often, if so much waits in segments that nothing is appended to any more. */
#define PATIENCE_MS 30000
#define PATIENCE_LEN SEGSTORE_HOT_LEN
/* After an error. */
#define RETRY_MS 60000
/* While somebody is at work, this thread works one part of the time in so many, and waits no longer than that. */
#define SHARE_BUSY 5
#define WAIT_MAX_MS 500

struct tidy {
	struct tidy_place place;
	unsigned quiet_ms;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under lock */
	bool stopping;
	int64_t deadline_ms; /* with stopping: work may go on until then */

	/* the thread's */
	uint64_t seen;      /* the pending summary's change counter at the last look */
	int64_t first_ms;   /* the first change that was not looked at; 0: none */
	int64_t last_ms;    /* the last change */
	int64_t next_ms;    /* no pass before */
	bool failed;        /* the last pass, and somebody was told */
	uint64_t busy_seen; /* as `seen`, while a pass runs */
	int64_t chunk_ms;   /* when the last chunk was begun */
};

/* Waits so long, or until this is to end.  false: it is. */
static bool
wait_ms(struct tidy *t, int64_t ms)
{
	int64_t until = clock_ms(CLOCK_MONOTONIC) + ms;
	const struct timespec deadline = {until / 1000, until % 1000 * 1000000};

	pthread_mutex_lock(&t->lock);
	while (!t->stopping && pthread_cond_timedwait(&t->wake, &t->lock, &deadline) != ETIMEDOUT)
		;

	bool go_on = !t->stopping;

	pthread_mutex_unlock(&t->lock);
	return go_on;
}

static uint64_t
change_count(struct tidy *t)
{
	struct meta_pending_summary sum;

	meta_pending_summary(t->place.meta, &sum);
	return sum.change;
}

/* Between chunks. */
static err_t
pause_for_others(void *ctx)
{
	struct tidy *t = ctx;
	uint64_t change = change_count(t);
	int64_t spent = clock_ms(CLOCK_MONOTONIC) - t->chunk_ms;
	int64_t wait = spent * (SHARE_BUSY - 1) < WAIT_MAX_MS ? spent * (SHARE_BUSY - 1) : WAIT_MAX_MS;

	if (change != t->busy_seen) {
		t->busy_seen = change;
		(void)wait_ms(t, wait + 1);
	}
	t->chunk_ms = clock_ms(CLOCK_MONOTONIC);
	pthread_mutex_lock(&t->lock);

	bool over = t->stopping && t->chunk_ms >= t->deadline_ms;

	pthread_mutex_unlock(&t->lock);
	return over ? -ECANCELED : 0;
}

/* true: there is nothing left to do until there is another change. */
static bool
pass(struct tidy *t, uint64_t quiet_ms)
{
	uint64_t moved = 0;
	bool done = false;

	t->busy_seen = change_count(t);
	t->chunk_ms = clock_ms(CLOCK_MONOTONIC);

	err_t e = tidy_pass(&t->place, quiet_ms, pause_for_others, t, &moved, &done);

	if (e && e != -ECANCELED && !t->failed)
		log_warn("the local disk's share can't be made smaller: %s; it will be tried again", strerror(-e));
	t->failed = e && e != -ECANCELED;
	t->next_ms = clock_ms(CLOCK_MONOTONIC) + (t->failed ? RETRY_MS : done || moved ? 0 : (int64_t)(quiet_ms / 2));
	return !e && done;
}

static void
look(struct tidy *t)
{
	uint64_t change = change_count(t);
	int64_t now = clock_ms(CLOCK_MONOTONIC);
	uint64_t untidied, closed;

	if (change != t->seen) {
		t->seen = change;
		t->last_ms = now;
		t->next_ms = t->failed ? t->next_ms : 0;
		if (t->first_ms == 0)
			t->first_ms = now;
	}
	if (t->first_ms == 0 || now < t->next_ms)
		return;
	if (now - t->last_ms >= t->quiet_ms) {
		if (pass(t, (uint64_t)(now - t->last_ms)) && change_count(t) == t->seen)
			t->first_ms = 0;
		return;
	}
	if (now - t->first_ms < PATIENCE_MS)
		return;
	segstore_untidied(t->place.segments, &untidied, &closed);
	if (closed >= PATIENCE_LEN)
		(void)pass(t, 0);
	t->first_ms = now;
}

static void
finish(struct tidy *t)
{
	pthread_mutex_lock(&t->lock);

	bool more = t->deadline_ms > clock_ms(CLOCK_MONOTONIC);

	pthread_mutex_unlock(&t->lock);
	if (t->first_ms == 0 && change_count(t) == t->seen)
		return;
	for (unsigned k = 0; k < 3 && more && !t->failed; k++)
		more = !pass(t, UINT64_MAX);
	if (segstore_save_counts(t->place.segments))
		log_warn("how full the local segments are could not be noted");
}

static void *
run(void *arg)
{
	struct tidy *t = arg;

	while (wait_ms(t, TICK_MS))
		look(t);
	finish(t);
	return NULL;
}

err_t
tidy_start(const struct tidy_place *p, unsigned quiet_ms, struct tidy **out)
{
	struct tidy *t = calloc(1, sizeof(*t));
	pthread_condattr_t monotonic;

	if (!t)
		return -ENOMEM;
	t->place = *p;
	t->quiet_ms = quiet_ms;
	/* What an earlier run has left behind is looked at, too. */
	t->seen = change_count(t);
	t->first_ms = t->last_ms = clock_ms(CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&t->wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);

	err_t e = -pthread_create(&t->thread, NULL, run, t);

	if (e) {
		pthread_cond_destroy(&t->wake);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return e;
	}
	*out = t;
	return 0;
}

void
tidy_stop(struct tidy *t, unsigned grace_ms)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	t->deadline_ms = clock_ms(CLOCK_MONOTONIC) + grace_ms;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
