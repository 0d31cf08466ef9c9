/*
 * merge.h: applies one commit of the chain under what is pending here (the table in snugfs-design(7)).
 * Uses meta/, data/, changes.h.
 */
#ifndef SNUGFS_MERGE_H
#define SNUGFS_MERGE_H

#include "changes.h"
#include "content.h"
#include "lookups.h"
#include "meta.h"

/* What to tell the kernel afterwards, and people. */
struct merge_result {
	struct merge_entry {
		uint64_t parent;
		char *name;
	} *entries;
	size_t entry_count;
	uint64_t *inos;
	size_t ino_count;
	struct merge_conflict {
		char *path;     /* of the copy or of what was kept */
		char *sentence; /* for log, status, notification */
	} *conflicts;
	size_t conflict_count;
};
void merge_result_clear(struct merge_result *r);

/* What a commit leaves to be done: local numbers of the segments that it drops (snugfs-design(7), GARBAGE), and files. */
struct merge_left {
	uint64_t *renamed; /* still needed here: another name, and to be uploaded under that before a commit names them */
	size_t renamed_count;
	uint64_t *forgotten; /* no row any more: the files may go once that is durable */
	size_t forgotten_count;
	uint64_t *removed; /* files that nobody has any more, whose long maps have to go before they can */
	size_t removed_count;
};
void merge_left_clear(struct merge_left *d);

struct merge_context {
	struct meta *meta;
	struct content *content; /* NULL: nobody reads or writes files meanwhile */
	struct lookups *lookups; /* NULL: no kernel */
	const char *my_name; /* of this device, for the names of conflict copies */
	time_t now;
	struct merge_left *left; /* filled; NULL: nobody will look, so that nothing of files is left */
};

/*
 * A foreign commit.  Takes the meta lock and, for files whose content changes, their file locks first.  Atomic: on an error
 * (-EBADMSG: it contradicts the state so far, e.g. names an unknown inode; -ENOMEM, -EIO) nothing is changed; if memory or the
 * disk failed half-way, the metadata is poisoned (meta.h), so that the disk keeps what was before.  c has been decoded.
 * `commit`: runs under the same lock after the changes (the caller moves the head on there), so that both are in one batch.
 */
MUST_CHECK err_t merge_apply_foreign(const struct merge_context *mc, const struct changes *c,
    err_t (*commit)(void *ctx), void *ctx, struct merge_result *result_out);

/*
 * Our own commit, now in the chain: what it says and what is still so here is no longer pending.  Works from the decoded
 * body alone, so that it can be repeated after a crash.
 */
MUST_CHECK err_t merge_apply_own(const struct merge_context *mc, const struct changes *c, err_t (*commit)(void *ctx),
    void *ctx);

/*
 * Gives back, in steps and without any lock, what nobody has any more of files with long maps since a commit was applied.  If that
 * fails, or does not happen, the next push, start and mount do it.
 */
void merge_give_back(const struct merge_context *mc);

/* "name (conflict from DEVICE, 2026-11-21).ext", shortened to fit 255 bytes at a UTF-8 boundary; n > 1 adds " n". */
void merge_conflict_name(const char *name, const char *device, time_t now, unsigned n, char out[static NAME_LEN_MAX + 1]);

#endif
