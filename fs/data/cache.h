/*
 * cache.h: how much of what the store has is on this computer, too: a limit, pins, and who is given up for whom.
 *
 * Settled segments that the store has are a cache.  Above the limit what was read the longest time ago is given up, down to nine
 * tenths of it; never what the store has not, what is pinned, or what somebody is reading.  Pinned files and folders (with all that
 * is in them, also later) are brought in the background.  Limit and pins are this device's own: they are in meta.db and travel
 * nowhere.
 * Uses content.h, fetcher.h, meta.h, segstore.h, pieces.h.
 */
#ifndef SNUGFS_CACHE_H
#define SNUGFS_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "content.h"
#include "err.h"

/* Less would be given up before it was read. */
#define CACHE_LIMIT_MIN (UINT64_C(64) << 20)
#define CACHE_PINS_MAX 10000u

/* What it is about.  All borrowed. */
struct cache_place {
	struct content *content;
	struct meta *meta;
	void *ctx;
	bool (*is_held)(void *ctx); /* what is pinned is not to be brought now; NULL: it always is */
};

/* Settings.  Not with the meta lock but where it says so; to make them last is the caller's (meta_flush). */
MUST_CHECK err_t cache_get_limit(struct meta *m, uint64_t *limit_out); /* 0: none */
MUST_CHECK err_t cache_set_limit(struct meta *m, uint64_t limit);
/* -EEXIST: it is pinned already; -E2BIG: too many are. */
MUST_CHECK err_t cache_pin(struct meta *m, uint64_t ino);
/* -ENOENT: it is not pinned itself (a folder above it may be). */
MUST_CHECK err_t cache_unpin(struct meta *m, uint64_t ino);
/* It or a folder above it. [meta lock] */
bool cache_is_pinned(struct meta *m, uint64_t ino);
/* The pinned ones, ascending; malloc'ed. */
MUST_CHECK err_t cache_list_pins(struct meta *m, uint64_t **inos_out, size_t *count_out);

struct cache_usage {
	uint64_t here;  /* bytes of settled segments on this computer */
	uint64_t total; /* bytes that all of them have */
	uint64_t cached; /* of `here`: what the store has, too, and the limit is about */
};
MUST_CHECK err_t cache_usage(const struct cache_place *p, struct cache_usage *out);

/* Where a file's content is. */
enum cache_state {
	CACHE_LOCAL,    /* here, wholly (folders always are) */
	CACHE_PARTIAL,
	CACHE_REMOTE,   /* in the store alone */
	CACHE_UNSYNCED, /* the store has not all of it yet */
};
MUST_CHECK err_t cache_get_state(const struct cache_place *p, uint64_t ino, enum cache_state *state_out, bool *pinned_out);

/*
 * Gives up what is above the limit.  *freed_out: bytes; *busy_out: not all that was to go went, since somebody used it.  Commits; as
 * segstore_drop_pieces.  target: how far down once it is above.
 */
MUST_CHECK err_t cache_shrink(const struct cache_place *p, uint64_t limit, uint64_t target, uint64_t *freed_out, bool *busy_out);
/*
 * Gives up at least so many bytes of what was read the longest time ago, whatever the limit, and commits; true: some of it went.
 * cache_start has the fetcher ask for that when the disk is full and something is read that only the store has, or is pinned.
 */
bool cache_make_room(const struct cache_place *p, uint64_t len);
/* Gives up what is here of a file, or of all files in a folder. */
struct cache_freed {
	uint64_t freed;    /* bytes that are gone */
	uint64_t unsynced; /* bytes that stay since the store has them not */
	uint64_t pinned;   /* ... since they are pinned */
	uint64_t busy;     /* ... since somebody is reading them */
};
MUST_CHECK err_t cache_free_file(const struct cache_place *p, uint64_t ino, struct cache_freed *out);
/* Brings what is missing of it.  progress (may be NULL): bytes that are here, and that there are; non-zero ends it. */
typedef err_t cache_progress_fn(void *ctx, uint64_t done, uint64_t total);
MUST_CHECK err_t cache_bring(const struct cache_place *p, const uint64_t *inos, size_t count, cache_progress_fn *progress, void *ctx);

/* The thread that sees to all that. */
struct cache;
MUST_CHECK err_t cache_start(const struct cache_place *p, struct cache **out);
/* Another device's changes were applied: pinned files may have new content. */
void cache_note_change(struct cache *c);
/* Limit or pins were changed; c may be NULL. */
void cache_wake(struct cache *c);
/* Ends it, and makes what was brought last.  Transfers are to have been cancelled: else it waits for them. */
void cache_stop(struct cache *c);

#endif
