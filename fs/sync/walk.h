/*
 * walk.h: goes through the chunks of all files, some at a time, so that the meta lock is never held for long.  Uses meta.h.
 */
#ifndef SNUGFS_WALK_H
#define SNUGFS_WALK_H

#include "meta.h"

/* Zeroed: at the beginning. */
struct walk {
	uint64_t ino; /* where it goes on */
	uint64_t no;
	uint64_t seen; /* inodes */
	bool ended;
};

/* Runs under the meta lock and changes nothing.  -ECANCELED: enough for now; the walk goes on with this chunk. */
typedef err_t walk_fn(void *ctx, struct inode *i, struct chunk *c);
/* The next ones.  At the beginning what is in memory only is written, since numbers come from the database.  Not with any lock held. */
MUST_CHECK err_t walk_some(struct meta *m, struct walk *w, walk_fn *fn, void *ctx);

#endif
