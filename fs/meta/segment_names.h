/*
 * segment_names.h: which segment has a name: 16 bytes for each of them, so that the names of millions fit into memory.  It knows the
 * beginnings of names and forgets none: whoever asks looks at the rows of those that it tells.  Plain memory.
 */
#ifndef SNUGFS_SEGMENT_NAMES_H
#define SNUGFS_SEGMENT_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct segment_name {
	uint64_t beginning;
	uint64_t id;
};
struct segment_names {
	struct segment_name *v;
	size_t count;
	size_t sorted; /* that many at the front are in order; few stand behind, once somebody has asked */
	size_t cap;
};

/* id is not 0.  -ENOMEM. */
MUST_CHECK err_t segment_names_add(struct segment_names *n, const uint8_t name[static 16], uint64_t id);
/* The least id above `after` of those whose names begin like that one; 0: there are no more. */
uint64_t segment_names_next(struct segment_names *n, const uint8_t name[static 16], uint64_t after);
void segment_names_clear(struct segment_names *n);

#endif
