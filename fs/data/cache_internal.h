/*
 * cache_internal.h: what cache*.c share, and nobody else.
 *
 *   cache.c        usage, giving up, bringing     cache_settings.c  limit and pins
 *   cache_walk.c   which pieces files have        cache_state.c     where a file is
 *   cache_thread.c the thread
 */
#ifndef SNUGFS_CACHE_INTERNAL_H
#define SNUGFS_CACHE_INTERNAL_H

#include "cache.h"
#include "hash_table.h"

/* Pieces of a segment that files have bytes in. */
struct walked {
	uint64_t seg;
	uint64_t size;
	uint64_t mask;
	bool in_store;
	UT_hash_handle hh;
};
struct walk {
	struct walked *segments;
	uint64_t hot; /* bytes in hot segments */
};
void cache_walk_clear(struct walk *w); /* cleanup handler */
/* Adds what these files have, and all in these folders.  Those that are gone have nothing.  Not with any lock. */
MUST_CHECK err_t cache_walk(struct meta *m, const uint64_t *inos, size_t count, struct walk *w);
/* The pieces of that segment. */
uint64_t cache_walked(const struct walk *w, uint64_t seg);

#endif
