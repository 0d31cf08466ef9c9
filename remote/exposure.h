/*
 * exposure.h: what whoever runs the store sees: names that are numbers or random, padded sizes, and times.  No key is needed to count
 * them.  Uses store.h, objname.h.
 */
#ifndef SNUGFS_EXPOSURE_H
#define SNUGFS_EXPOSURE_H

#include <stdbool.h>
#include <stdint.h>

#include "objname.h"
#include "store.h"

struct exposure_kind {
	uint64_t count;
	uint64_t bytes;
	uint64_t smallest; /* valid with count > 0, and so are the rest */
	uint64_t largest;
	uint64_t first;    /* numbers of commits and bases, epochs of boxes */
	uint64_t last;
	int64_t first_s;   /* when the first and the last of those that are there were written, as the store says; 0: it does not */
	int64_t last_s;
};

struct exposure {
	struct exposure_kind kinds[OBJNAME_KIND_COUNT];
	uint64_t count;
	uint64_t bytes;
	uint64_t by_hour[24];   /* of ours, by the hour of the day, here, at which they were written */
	uint64_t by_weekday[7]; /* from Sunday on */
	uint64_t off_step; /* objects of ours whose size is no padding step: a foreign hand */
};

/* Now and then, with the objects so far.  false: it is to end. */
typedef bool exposure_progress_fn(void *ctx, uint64_t count);

/* Lists the whole store; the store's errors; -ECANCELED: progress said so.  progress may be NULL. */
MUST_CHECK err_t exposure_read(struct store *s, exposure_progress_fn *progress, void *ctx, struct exposure *out);

#endif
