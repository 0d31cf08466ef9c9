/*
 * settle.h: brings what is hot into order: whole chunks are read, merged, compressed where that saves at least a tenth, sealed
 * anew (fresh extent ids; what is in long extents under the newest key, and would not be shorter, stays as it is sealed, once it
 * was opened) and written to new segments.  For the store, what is pending goes to settled segments of about
 * 16 MiB, files of one directory together.  For this computer alone (tidy.h), what is in certain hot segments and would gain
 * by it goes to new hot ones.
 * Uses content.h, segstore.h, packer.h.
 */
#ifndef SNUGFS_SETTLE_H
#define SNUGFS_SETTLE_H

#include "content.h"

#define SETTLE_SEGMENT_LEN (16u << 20)

struct settle;
/* For the store.  -ENOENT: k has no epoch key to seal under. */
MUST_CHECK err_t settle_begin(struct content *c, struct meta *m, struct segstore *ss, struct keyring *k,
    struct settle **out);

/* A hot segment that is to be tidied. */
struct settle_source {
	uint64_t seg;
	bool empty;    /* in: everything is to leave it, else only what gains by that */
	uint64_t left; /* out: bytes that were found in it and stay, about */
	bool unsure;   /* out: some of it was changed meanwhile: what is left can't be told */
};
/* For this computer: sources, sorted by seg, are borrowed until settle_finish or settle_abandon. */
MUST_CHECK err_t settle_begin_local(struct content *c, struct meta *m, struct segstore *ss, struct keyring *k,
    struct settle_source *sources, size_t source_count, struct settle **out);

/*
 * Called between chunks, without any lock; a non-zero return ends settle_inode and is handed on.  If the next call of that is for the
 * same inode, it goes on from there.
 */
typedef err_t settle_pause_fn(void *ctx);
void settle_set_pause(struct settle *s, settle_pause_fn *fn, void *ctx);
/*
 * Called with each segment that is complete and that chunks point into, in order and one call at a time: by a thread of its own if it
 * is full, by settle_finish if it is the last one.  A non-zero return ends settle_inode, settle_catch_up or settle_finish and is handed
 * on; no other call follows it.  object: what is in the segment, or empty; other memory may be left in its
 * place, and is used for the next one.
 */
typedef err_t settle_full_fn(void *ctx, const struct segment *row, struct bytes *object);
void settle_set_full(struct settle *s, settle_full_fn *fn, void *ctx);
/* Plain bytes that were settled so far. */
uint64_t settle_progress(const struct settle *s);
/*
 * Waits until chunks point into all segments that are full, and their calls have returned; gives back what was hot in them.  The one
 * that is being filled stays as it is.  After an error s can only be abandoned.
 */
MUST_CHECK err_t settle_catch_up(struct settle *s);

/*
 * Settles the pending chunks of one inode that have hot extents; for this computer all that have extents in a source.  A chunk
 * that is changed while this runs is left hot after three tries (-EAGAIN at the end; the others are done).  -ENOENT: no such
 * inode any more.  -EBADMSG: some of it is damaged, or the disk does not give it back (logged; the others are done).
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
