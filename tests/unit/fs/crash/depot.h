/*
 * depot.h: a store that never fails, and what having pushed does to a vault's books: the chain knows all that is there,
 * segments are in the store, local copies of them can go and come back.  One depot for all vaults; segments are found by name.
 */
#ifndef CRASH_DEPOT_H
#define CRASH_DEPOT_H

#include "image.h"
#include "vault.h"

/* Settles all that is pending; then nothing is. */
MUST_CHECK err_t depot_push(struct vault *v, struct rng *r);
/* Drops local copies of some segments that the depot has. */
MUST_CHECK err_t depot_evict(struct vault *v, struct rng *r);
/* Reads of what is not local are answered from the depot. */
void depot_attach(struct vault *v);
void depot_clear(void);

/* Some passes of what a vault without a store does when it is quiet. */
MUST_CHECK err_t tidy_some(struct vault *v, struct rng *r);

/* Settles some of the pending inodes. */
MUST_CHECK err_t settle_pending(struct vault *v, struct rng *r, unsigned percent);

#endif
