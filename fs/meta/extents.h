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

/* All of `more`, in a gap of l: its index there is extent_list_find's.  Room for them must have been made. */
MUST_CHECK err_t extent_list_make_room(struct extent_list *l, uint32_t more);
void extent_list_insert(struct extent_list *l, const struct extent_list *more);
/* The extents of l that begin in [from, to), without a copy. */
struct extent_list extent_list_part(const struct extent_list *l, uint64_t from, uint64_t to);

/*
 * Unmaps [off, off + len) (ranges are cut), then maps *x (may be NULL: a hole) there.  -ENOMEM: the list is unmodified.
 */
MUST_CHECK err_t extent_list_replace(struct extent_list *l, uint64_t off, uint32_t len, const struct extent *x);

/*
 * What is sealed is given back by whole frames where frames stand by themselves (raw extents), else by whole extents.  Tells,
 * each byte once, which stored bytes `before` maps within [from, to) and `after` maps nowhere: len bytes at seg_off of x's
 * segment.  Within a range that extent_list_replace replaced, that is at most one call for each extent of `before` there.
 */
typedef void extent_gone_fn(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len);
void extent_list_gone(const struct extent_list *before, const struct extent_list *after, uint64_t from, uint64_t to,
    extent_gone_fn *gone, void *ctx);

/* The first extent that ends behind off: its index, or count. */
uint32_t extent_list_find(const struct extent_list *l, uint64_t off);
/* No range of the sealed extent x is mapped in l. */
bool extent_list_lacks(const struct extent_list *l, const struct extent *x);

#endif
