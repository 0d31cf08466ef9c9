/*
 * drain.h: "the store has everything", waited for, with progress.  Functions return exit statuses (tell.h).
 * Uses session.h, place.h.
 */
#ifndef SNUGFS_DRAIN_H
#define SNUGFS_DRAIN_H

#include "options.h"
#include "place.h"

/* Mounted or not. */
int drain_place(const struct options *o, const struct place *p);

#endif
