/*
 * limit.h: how many bytes a second may pass, up and down: a token bucket for each direction, the one place for every kind
 * of store.  Whoever moves bytes asks before, in small portions; what passed is counted, which gives the speed.  Uses err.h.
 */
#ifndef SNUGFS_LIMIT_H
#define SNUGFS_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* A slower rate would look like a stalled connection; a faster one is none. */
#define LIMIT_RATE_MIN 1024
#define LIMIT_RATE_MAX UINT64_C(10000000000)

enum limit_direction {
	LIMIT_UP,
	LIMIT_DOWN,
};

/* One direction, as a pure function of a clock's nanoseconds.  Zero-initialise: no limit. */
struct limit_bucket {
	uint64_t rate;     /* bytes a second; 0: none */
	uint64_t filled_ns; /* when it was filled last; it holds at most a quarter of a second */
	uint64_t tokens;
	uint64_t total;    /* bytes that passed */
	uint64_t second;   /* the clock's second that the last of them passed in */
	uint64_t passed[6]; /* in that second and those before it */
};
/* 0: no limit. */
void limit_bucket_set(struct limit_bucket *b, uint64_t now_ns, uint64_t rate);
/* How many of `wanted` bytes may pass now; none: *wait_ns_out (not 0) is when to ask again. */
size_t limit_bucket_take(struct limit_bucket *b, uint64_t now_ns, size_t wanted, uint64_t *wait_ns_out);
/* Bytes a second that passed lately. */
uint64_t limit_bucket_speed(struct limit_bucket *b, uint64_t now_ns);

/* Both directions, for all threads of a store.  A NULL limit lets everything pass. */
struct limit;
MUST_CHECK err_t limit_new(struct limit **out);
void limit_free(struct limit *l);
/* 0: none; what is beyond LIMIT_RATE_MIN and LIMIT_RATE_MAX is as much.  Also for what is under way. */
void limit_set(struct limit *l, enum limit_direction d, uint64_t rate);
uint64_t limit_rate(struct limit *l, enum limit_direction d);
/* Waits until some of `wanted` (not 0) bytes may pass; so many.  0: cancelled. */
size_t limit_take(struct limit *l, enum limit_direction d, size_t wanted);
/* true: nobody waits any more, limit_take answers 0 at once; false: no longer. */
void limit_cancel(struct limit *l, bool cancelled);
uint64_t limit_total(struct limit *l, enum limit_direction d);
uint64_t limit_speed(struct limit *l, enum limit_direction d);

#endif
