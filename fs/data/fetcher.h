/*
 * fetcher.h: brings pieces of settled segments from the store: each once, whoever waits for it, a few at a time, and what will
 * probably be read next before it is asked for.
 *
 * Reading ahead follows the order of pieces, and of segments by number: settling puts files of one folder, and chunks of one
 * file, one behind the other.  Who reads on where he stopped, somewhat out of order perhaps, gets a window of pieces that doubles
 * up to 16 MiB in transfers of up to 4 MiB, or while transfers are quick up to 32 MiB in ones of up to 8 MiB; they begin at
 * multiples of their length.  One read somewhere brings only the pieces that it touches.
 *
 * LOCKING: its lock is taken under a file's lock, and under the one that somebody holds who calls a request off (interrupt.h), so it is
 * given up before he is asked anything; nothing is taken under it.
 * Uses interrupt.h, meta.h, segstore.h, pieces.h.
 */
#ifndef SNUGFS_FETCHER_H
#define SNUGFS_FETCHER_H

#include "bytes.h"
#include "err.h"
#include "segstore.h"

#define FETCHER_THREADS 8u
#define FETCHER_AHEAD_THREADS 6u /* of them, so many at most read ahead ... */
#define FETCHER_LATER_THREADS 3u /* ... and so many fetch what is to be here and nobody is reading */
#define FETCHER_LIMIT_MS 30000u  /* so long a reader waits at most */

/*
 * Len bytes from off of a settled segment's object, appended to out; fewer, if the object is shorter than it was.  -EAGAIN: the store
 * is out of reach; -ENOENT: it has no such object.  May block as long as the store may.
 */
typedef err_t fetcher_source_fn(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out);

struct fetcher;
MUST_CHECK err_t fetcher_new(struct meta *meta, struct segstore *ss, struct fetcher **out);
void fetcher_free(struct fetcher *f);
/* fn NULL: none; those who wait get -ENODATA.  Returns when nothing of the one before is running. */
void fetcher_set_source(struct fetcher *f, fetcher_source_fn *fn, void *ctx);
/* Tests: how long a reader waits. */
void fetcher_set_limit(struct fetcher *f, unsigned limit_ms);
/* Who is told that pieces have come; called without any lock, by any thread.  fn NULL: nobody; returns when it is not running. */
typedef void fetcher_brought_fn(void *ctx);
void fetcher_set_brought(struct fetcher *f, fetcher_brought_fn *fn, void *ctx);

/*
 * Who is asked for room on a full disk for what somebody waits for: so many bytes; true: some was made.  Called without any lock, by any
 * thread.  fn NULL: nobody; returns when it is not running.
 */
typedef bool fetcher_room_fn(void *ctx, uint64_t len);
void fetcher_set_room(struct fetcher *f, fetcher_room_fn *fn, void *ctx);

/*
 * Brings what is missing of [off, off + len) of a segment; anew: what is there, too, since it does not authenticate.  Waits;
 * not with any lock held that a file operation wants.  -ENODATA: there is no such segment, or only on a computer that never sent
 * it; -EAGAIN: the store is out of reach, or silent for too long; -EINTR: nobody wants it any more (interrupt.h), it comes all the
 * same; the disk's errors.  Who holds the segment (segstore_hold) gets no error where the disk takes no more: the pieces are lent to him.
 */
MUST_CHECK err_t fetcher_bring(struct fetcher *f, uint64_t seg, uint64_t off, uint64_t len, bool anew);
/* The same for pieces, with the lowest priority, in portions. */
MUST_CHECK err_t fetcher_bring_later(struct fetcher *f, uint64_t seg, uint64_t mask);
/* true: there is no room for what nobody has asked for. */
void fetcher_hold_ahead(struct fetcher *f, bool hold);

/* Counters since the start, for people who measure. */
struct fetcher_stats {
	uint64_t transfers;
	uint64_t bytes;
	uint64_t failed;
};
void fetcher_stats(struct fetcher *f, struct fetcher_stats *out);

#endif
