/*
 * race.h: does a conditional create work here?  Found out by trying: several threads create one object at once.
 * Uses store.h, random.h, padme.h.
 */
#ifndef SNUGFS_RACE_H
#define SNUGFS_RACE_H

#include "store.h"

#define RACE_MAX 16

/*
 * 0: just one of `contenders` (2 to RACE_MAX) won, the store says so to one that comes later, and holds the winner's bytes;
 * -ENOTSUP: not so; -EAGAIN: an answer is missing; else the store's error.  name is of an object that does not exist; it is
 * removed again, as far as that works.
 */
MUST_CHECK err_t race_run(struct store *s, const char *name, unsigned contenders);

#endif
