/*
 * verify.h: is what a crash left a vault that keeps the promise?  It opens; its tree is that of one version in [low, high];
 * everything in it can be read; nothing is left of what went in steps (steps.h); settling, sweeping and closing it leave it as it
 * is; and a crash in the middle of all that leaves it as it is, too.
 */
#ifndef CRASH_VERIFY_H
#define CRASH_VERIFY_H

#include "cut.h"
#include "work.h"

struct verdict {
	bool ok;
	char what[200];   /* why not */
	uint32_t version; /* that was found */
};

/* What to do with a vault besides opening and reading it. */
enum verify_depth {
	VERIFY_READ,
	VERIFY_SETTLE, /* settle all of it, open it again, read it again */
	VERIFY_AGAIN,  /* the same, and cut the power there as well: in dir's neighbour "DIR-again" */
};

struct verdict verify(const char *dir, const uint64_t *versions, uint32_t low, uint32_t high, enum verify_depth depth,
    uint64_t seed);

/* Cuts the tape at `at` in dir, and judges. */
struct verdict cut_and_verify(struct disk *d, const struct tape *t, size_t at, const char *dir, const uint64_t *versions,
    enum verify_depth depth, uint64_t seed);

#endif
