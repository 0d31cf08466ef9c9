/*
 * rowdiff.h: a row as its difference from the version before: most of a long one (a map of extents) stays as it is.
 *
 * A difference is u32 length of the new version, u32 length of the end that both have in common, then hunks to the end of the
 * difference: u32 offset, u32 length, bytes.  What is neither in a hunk nor in that end is the same at the same offset.
 * Uses bytes.h.
 */
#ifndef SNUGFS_ROWDIFF_H
#define SNUGFS_ROWDIFF_H

#include "bytes.h"
#include "err.h"

/* Appends the difference to out. */
MUST_CHECK err_t rowdiff_make(const uint8_t *old, size_t old_len, const uint8_t *new, size_t new_len, struct bytes *out);
/* Appends the new version to out.  -EBADMSG: no difference from that. */
MUST_CHECK err_t rowdiff_apply(const uint8_t *old, size_t old_len, const uint8_t *diff, size_t diff_len, struct bytes *out);

#endif
