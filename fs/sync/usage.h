/*
 * usage.h: which segments chunks point into.  Uses meta.h, numset.h.
 */
#ifndef SNUGFS_USAGE_H
#define SNUGFS_USAGE_H

#include "meta.h"
#include "numset.h"

/* Calls fn for the chunks of a regular file that are pending, until it fails; anything else has none. [meta lock] */
typedef err_t usage_chunk_fn(void *ctx, struct meta *m, const struct chunk *c);
MUST_CHECK err_t usage_pending_chunks(struct meta *m, uint64_t ino, usage_chunk_fn *fn, void *ctx);
/* Those of `among` that something pending points into, added to *used. [meta lock] */
MUST_CHECK err_t usage_pending(struct meta *m, const struct numset *among, struct numset **used);

#endif
