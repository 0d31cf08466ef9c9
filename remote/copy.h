/*
 * copy.h: all objects of a vault from one store to another, as opaque bytes, in an order in which nobody who looks at the new
 * one meanwhile takes it for whole: the marker, boxes, segments, bases, and the commits, the oldest first.  What is there in
 * the same size already is not copied again, so that a copy that was interrupted goes on.  Uses store.h, retry.h.
 */
#ifndef SNUGFS_COPY_H
#define SNUGFS_COPY_H

#include <stdatomic.h>

#include "store.h"

struct copy_hooks {
	void *ctx;
	/* The object from somewhere nearer than the old store, appended to out; -ENOENT: it is not there.  May be NULL. */
	err_t (*local)(void *ctx, const char *name, struct bytes *out);
	void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes */
	const atomic_bool *stop; /* may be NULL */
};

struct copy_result {
	uint64_t objects; /* that are in the new store now */
	uint64_t bytes;
	struct store *failed; /* on failure: the store that did (store_explain) */
};

/*
 * Errors as store.h; -ECANCELED; -EEXIST: the new store has commits that the old one has not: nothing was copied, or nothing
 * was written over.
 */
MUST_CHECK err_t copy_objects(struct store *from, struct store *to, const struct copy_hooks *hooks, struct copy_result *out);

#endif
