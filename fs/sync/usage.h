/*
 * usage.h: which segments chunks point into.  Uses meta.h, numset.h.
 */
#ifndef SNUGFS_USAGE_H
#define SNUGFS_USAGE_H

#include "meta.h"
#include "numset.h"

/* Those of `among` that something pending points into, added to *used. [meta lock] */
MUST_CHECK err_t usage_pending(struct meta *m, const struct numset *among, struct numset **used);

#endif
