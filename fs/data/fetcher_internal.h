/*
 * fetcher_internal.h: what fetcher*.c share, and nobody else.
 *
 *   fetcher.c        jobs, threads, waiters         fetcher_ahead.c   what is to come next
 *   fetcher_keep.c   where what has come is kept
 */
#ifndef SNUGFS_FETCHER_INTERNAL_H
#define SNUGFS_FETCHER_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "fetcher.h"

#define STREAMS 8u
#define AHEAD_LEN_MAX (UINT64_C(16) << 20)
#define AHEAD_LEN_QUICK_MAX (UINT64_C(32) << 20)
#define TRANSFER_LEN_MAX (UINT64_C(4) << 20)
#define TRANSFER_LEN_QUICK_MAX (UINT64_C(8) << 20)
#define QUEUE_MAX 256u /* jobs; more than a few are only wanted by as many readers */

enum urgency { NOW, AHEAD, LATER, URGENCIES };

/* A run of pieces that is to be transferred at once. */
struct job {
	struct segment row;
	uint64_t mask;
	enum urgency urgency;
	bool running;
	bool lent; /* the disk did not take it */
	struct job *prev;
	struct job *next;
};

/* Somebody who waits for pieces; on his stack. */
struct waiter {
	uint64_t seg;
	uint64_t mask; /* still to come */
	err_t err;
	bool called;   /* interrupt.h */
	struct fetcher *fetcher; /* NULL: he wants it on the disk, and does not read */
	struct waiter *prev;
	struct waiter *next;
};

/* Somebody who reads one piece after the other. */
struct stream {
	uint64_t seg;        /* where he is */
	unsigned piece;
	uint64_t left;       /* bytes of that segment behind the piece */
	uint64_t front_seg;  /* what lies before that was asked for */
	unsigned front_piece;
	uint64_t ahead;      /* bytes between the two */
	uint64_t window;     /* bytes */
	bool planning;       /* somebody is asking for more */
	uint64_t used;       /* 0: free */
};

struct fetcher {
	struct meta *meta;
	struct segstore *ss;

	pthread_mutex_t lock;
	/* under lock */
	pthread_cond_t work;    /* the threads */
	pthread_cond_t moved;   /* waiters, and those who wait for the end of a source */
	fetcher_source_fn *source;
	void *source_ctx;
	fetcher_brought_fn *brought;
	void *brought_ctx;
	fetcher_room_fn *room;
	void *room_ctx;
	unsigned telling;       /* calls of the two that are under way */
	bool full;              /* the disk took no more, when something was last to be put there */
	unsigned limit_ms;
	bool stopping;
	bool held;              /* nothing ahead */
	struct job *jobs;       /* oldest first */
	unsigned job_count;
	unsigned running[URGENCIES];
	unsigned idle;
	struct waiter *waiters;
	pthread_t threads[FETCHER_THREADS];
	unsigned thread_count;
	struct stream streams[STREAMS];
	bool quick;             /* the last transfer was */
	uint64_t tick;
	struct fetcher_stats stats;
};

/* [lock] What a request costs a service besides its bytes is worth a longer one, where that takes no time to speak of. */
static inline uint64_t
fetcher_transfer_max(const struct fetcher *f)
{
	return f->quick ? TRANSFER_LEN_QUICK_MAX : TRANSFER_LEN_MAX;
}

/* [lock] Jobs for those of the pieces that no job is about yet, in order.  -ENOMEM, -EBUSY: there are too many. */
MUST_CHECK err_t fetcher_enqueue(struct fetcher *f, const struct segment *row, uint64_t mask, enum urgency urgency);

static inline bool
is_full(err_t e)
{
	return e == -ENOSPC || e == -EDQUOT;
}

/* Puts a job's bytes on the disk; if that is full and somebody waits for them, room is made, or they are lent to who reads.  Not with the lock. */
MUST_CHECK err_t fetcher_keep(struct fetcher *f, struct job *j, uint64_t off, const uint8_t *data, size_t len, bool ahead);

/*
 * Pieces were asked for, or ones that came ahead were read for the first time.  Not with the lock.
 */
void fetcher_note_read(struct fetcher *f, const struct segment *row, uint64_t mask);

#endif
