/*
 * schedule.h: when to push and when to ask the store for news.  A pure function of what happened and of what the clocks say:
 * no thread, no lock, no I/O; the sync thread looks at the world some times a second and asks.
 *
 * Changes go a moment after the last one, or half a minute after the first if there is no end of them.  The store is asked
 * every few seconds while somebody uses the folder here or elsewhere, and less and less often when nobody does.  After an
 * error the pauses grow; waking from sleep, a returning network, the end of what held it and people who wait end them.
 */
#ifndef SNUGFS_SCHEDULE_H
#define SNUGFS_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define SCHEDULE_QUIET_MS 1500     /* after the last change */
#define SCHEDULE_PATIENCE_MS 30000 /* after the first */
#define SCHEDULE_POLL_MIN_MS 3000
#define SCHEDULE_POLL_MAX_MS 30000
#define SCHEDULE_BACKOFF_MIN_MS 1000
#define SCHEDULE_BACKOFF_MAX_MS 60000
#define SCHEDULE_HOPELESS_MS 300000 /* after what only a person can mend */

enum schedule_action {
	SCHEDULE_NOTHING,
	SCHEDULE_POLL, /* one request: is there a commit beyond our head? */
	SCHEDULE_PUSH, /* pull, push, and a base if one is due */
};

/* The world at one look. */
struct schedule_view {
	int64_t now_ms;   /* CLOCK_BOOTTIME, which goes on in sleep */
	int64_t awake_ms; /* CLOCK_MONOTONIC, which does not */
	uint64_t change;  /* moves on with every local change */
	bool pending;     /* something is to be pushed */
	uint64_t use;     /* moves on as programs use the folder */
	bool network;     /* a link, an address or a route has come since the last look */
	bool kicked;      /* somebody waits */
	bool wanted;      /* ... for what others have done */
	bool held;        /* paused or offline, or the network is metered */
	bool freed;       /* not any more since the last look */
};

/* Zero-initialise. */
struct schedule {
	bool begun;
	uint64_t change;
	uint64_t use;
	int64_t asleep_ms;     /* how far the clocks were apart */
	int64_t first_ms;      /* first change that is not pushed; 0: none */
	int64_t last_ms;       /* last change, or last try to push what could not go */
	bool stuck;            /* what is pending was tried, and stayed */
	bool hopeless;         /* ... for a reason that only a person can mend */
	bool hurry;            /* it need not wait until all is quiet */
	int64_t active_ms;     /* when somebody last did something, here or elsewhere */
	int64_t next_poll_ms;
	int64_t not_before_ms; /* after an error */
	int64_t backoff_ms;
};

enum schedule_action schedule_next(struct schedule *s, const struct schedule_view *v);

/*
 * What the last look asked for has ended now.  news: commits of others came.  busy_ms: the store wants to be left alone for
 * so long (with an error).
 */
void schedule_ended(struct schedule *s, int64_t now_ms, enum schedule_action action, err_t err, bool news, unsigned busy_ms);

/* What was pushed now has left something behind that only a person can mend (after schedule_ended). */
void schedule_left(struct schedule *s);

/* How long nobody needs to look again. */
unsigned schedule_sleep_ms(const struct schedule *s, const struct schedule_view *v);

#endif
