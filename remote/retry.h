/*
 * retry.h: when to try again: the pauses grow exponentially and are drawn at random ("full jitter"), so that devices that
 * were turned away together do not come back together; what the store asked for (Retry-After) is honoured.  Uses store.h,
 * random.h.
 *
 * Only -EAGAIN is tried again, and every operation of store.h may be: all but create_if_absent are idempotent, and whoever
 * calls that one reads back after a lost answer (chain.h does).
 */
#ifndef SNUGFS_RETRY_H
#define SNUGFS_RETRY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "store.h"

struct retry_policy {
	unsigned tries;          /* in all, at least 1 */
	unsigned first_ms;       /* the first pause is at most that; each later one at most twice the one before */
	unsigned last_ms;        /* no pause is longer, but for the store's own wish */
	unsigned deadline_ms;    /* no pause ends later than that after the first try; 0: no deadline */
	const atomic_bool *stop; /* when it becomes true, pauses end with -ECANCELED; may be NULL */
};

/* One for each operation: `struct retry r = {.policy = p}`. */
struct retry {
	struct retry_policy policy;
	unsigned tried;
	uint64_t begun_ms;
};

/*
 * For the end of a loop: `do { err = …; } while (retry_again(&r, store, &err));`
 * true: *err was worth another try, and the pause is over.  false: *err is the outcome.
 */
bool retry_again(struct retry *r, struct store *s, err_t *err);

#endif
