/*
 * extents.h: operations on a chunk's extent list.  Pure: no I/O, no locks.  Uses inode.h.
 */
#ifndef SNUGFS_EXTENTS_H
#define SNUGFS_EXTENTS_H

#include "err.h"
#include "inode.h"

void extent_list_clear(struct extent_list *l);
MUST_CHECK err_t extent_list_copy(const struct extent_list *from, struct extent_list *to_out);
bool extent_list_equal(const struct extent_list *a, const struct extent_list *b);
MUST_CHECK err_t extent_list_append(struct extent_list *l, const struct extent *x); /* x lies behind all the others */

/* Called for each sealed extent of which no range is mapped any more. */
typedef void extent_dead_fn(void *ctx, const struct extent *x);

/*
 * Unmaps [off, off + len) (ranges are cut), then maps *x (may be NULL: a hole) there.  Extents that are mapped nowhere in
 * the list any more are told to dead (may be NULL).  -ENOMEM: the list is unmodified and dead was not called.
 */
MUST_CHECK err_t extent_list_replace(struct extent_list *l, uint64_t off, uint32_t len, const struct extent *x,
    extent_dead_fn *dead, void *ctx);

/* The first extent that ends behind off: its index, or count. */
uint32_t extent_list_find(const struct extent_list *l, uint64_t off);
/* No range of the sealed extent x is mapped in l. */
bool extent_list_lacks(const struct extent_list *l, const struct extent *x);

#endif
