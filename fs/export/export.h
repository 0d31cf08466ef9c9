/*
 * export.h: the tree of an opened vault, written out whole: folders before what is in them, each file once, its other names as
 * hard links.  What can't be read is told and left out.  Uses archiver.h, vault.h.
 */
#ifndef SNUGFS_EXPORT_H
#define SNUGFS_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "archiver.h"
#include "vault.h"

struct export_hooks {
	void *ctx;
	/* An entry was left out; why: a sentence without a full stop.  What the target can't hold is not counted as failed. */
	void (*failed)(void *ctx, const char *path, const char *why);
	/* Now and then; false: end with -ECANCELED. */
	bool (*progress)(void *ctx, uint64_t files, uint64_t bytes);
};
struct export_report {
	uint64_t entries;
	uint64_t files;   /* of them, what is no folder */
	uint64_t bytes;
	uint64_t failed;
};

/*
 * Archiver's errors when the target takes no more; what of the vault can't be read is none.  check: each file is read once
 * before its entry begins, since a stream can't take it back.
 */
MUST_CHECK err_t export_tree(struct vault *v, struct archiver *a, bool check, const struct export_hooks *hooks,
    struct export_report *out);

/*
 * The same for what never reached the store, in a vault that may be in use: files and folders that are new or changed here, or
 * have new names, in folders that are as theirs.  The target itself is left as it is.
 */
MUST_CHECK err_t export_pending(struct vault *v, struct archiver *a, const struct export_hooks *hooks,
    struct export_report *out);

#endif
