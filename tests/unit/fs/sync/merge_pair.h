/*
 * merge_pair.h: two devices that merge.  Ada is always the first to push; Bob pulls under what is pending on his side.
 */
#ifndef SNUGFS_TEST_MERGE_PAIR_H
#define SNUGFS_TEST_MERGE_PAIR_H

#include "replica.h"

#include <stdlib.h>
#include <string.h>

#define REG (S_IFREG | 0644)
#define DIR_MODE (S_IFDIR | 0755)
#define COPY(name) name " (conflict from bob, 2023-11-14)"

struct fixture {
	struct world w;
	struct replica *ada;
	struct replica *bob;
};

static inline int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	setenv("TZ", "UTC", 1);
	world_open(&f->w, 2);
	f->ada = &f->w.r[0];
	f->bob = &f->w.r[1];
	*state = f;
	return 0;
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	world_close(&f->w);
	free(f);
	return 0;
}

/* What Ada has is known to Bob. */
static inline void
share(struct fixture *f)
{
	push(f->ada);
	pull(f->bob);
}

/* Ada's changes reach Bob under his own; then both settle. */
static inline void
meet(struct fixture *f)
{
	push(f->ada);
	pull(f->bob);
	check_replica(f->bob);
	settle_world(&f->w);
}

static inline void
unlink_path(struct replica *r, uint64_t parent, const char *name)
{
	assert_int_equal(do_unlink(r, parent, name), 0);
}

static inline void
assert_told(struct replica *r, const char *path, const char *part)
{
	for (size_t k = 0; k < r->last.conflict_count; k++) {
		if (strcmp(r->last.conflicts[k].path, path) == 0 && strstr(r->last.conflicts[k].sentence, part))
			return;
	}
	for (size_t k = 0; k < r->last.conflict_count; k++)
		print_error("%s: %s\n", r->last.conflicts[k].path, r->last.conflicts[k].sentence);
	fail_msg("nobody was told that %s %s", path, part);
}

#endif
