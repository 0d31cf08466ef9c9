/*
 * collector.h: what a collector of garbage, and who rekeys, does to the chain, for the replicas of replica.h.
 */
#ifndef TEST_COLLECTOR_H
#define TEST_COLLECTOR_H

#include "replica.h"

/* Pulls; a commit that moves all extents of a file that is not pending to a new segment.  false: there is none of that. */
bool collector_move(struct replica *r, uint64_t ino);
/*
 * Pulls; a commit that seals anew, under a new key, all of such a file, or every second extent.  Here the new key is known
 * before the commit is.
 */
bool collector_reseal(struct replica *r, uint64_t ino, bool half);
/* Pulls; a commit that drops every segment that nothing here or in the chain points into.  false: there is none. */
bool collector_drop(struct replica *r);
/* No commit names what one before it has dropped, and nobody takes such a segment for one in the store. */
void collector_check(struct world *w);

#endif
