/*
 * settle.h: turns pending hot content into settled segments: whole chunks are read, merged, compressed where that saves at
 * least a tenth, sealed anew (fresh extent ids) and written to segments of about 16 MiB, files of one directory together.
 * Uses content.h, segstore.h, compress.h.
 */
#ifndef SNUGFS_SETTLE_H
#define SNUGFS_SETTLE_H

#include "content.h"

#define SETTLE_SEGMENT_LEN (16u << 20)

struct settle;
/* -ENOENT: k has no epoch key to seal under. */
MUST_CHECK err_t settle_begin(struct content *c, struct meta *m, struct segstore *ss, struct keyring *k,
    struct settle **out);
/*
 * Settles the pending chunks of one inode that have hot extents.  A chunk that is changed while this runs is left hot after
 * three tries (-EAGAIN at the end; the others are done).  -ENOENT: no such inode any more.
 */
MUST_CHECK err_t settle_inode(struct settle *s, uint64_t ino);
/*
 * Finishes the open segment and only then lets the chunks point into it (under file and meta lock, if unchanged since;
 * those that were changed stay hot until the next run).  Full segments are finished in the same way as they fill up.
 * Afterwards meta_sync makes it last.  Frees s.  Numbers of the new segments: meta rows with in_store false.
 */
MUST_CHECK err_t settle_finish(struct settle *s, uint64_t *settled_bytes_out);
void settle_abandon(struct settle *s);

#endif
