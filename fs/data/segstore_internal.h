/*
 * segstore_internal.h: what segstore*.c share, and nobody else.
 *
 * A hot segment's life in this run:
 *
 *     CURRENT (file held, grows) --64 MiB--> FULL (file held) --all durable--> RETIRED (no file held)
 *                                                 |                               |
 *                                                 +---- every byte released ------+--> removed
 *
 * One of an earlier run is only ever punched and, by segstore_sweep, removed.
 */
#ifndef SNUGFS_SEGSTORE_INTERNAL_H
#define SNUGFS_SEGSTORE_INTERNAL_H

#include <pthread.h>

/* Running out of memory shows as hh.tbl == NULL. */
#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "segfiles.h"
#include "segstore.h"

#define HOT_BLOCK_LEN 4096u /* what hole punching gives back */
#define HOT_BLOCK_COUNT (SEGSTORE_HOT_LEN / HOT_BLOCK_LEN)

struct hot {
	uint64_t seg;
	bool earlier; /* of an earlier run: end is not known */
	/* segstore's lock */
	struct segfile *file; /* NULL when not held */
	uint64_t end;         /* appended or being appended */
	uint64_t released;    /* bytes */
	uint16_t *dead;       /* released bytes by block; NULL: none yet */
	/* the committing thread's; durable_end <= riding_end <= target <= end */
	uint64_t durable_end; /* flushed up to there */
	uint64_t riding_end;  /* durable in the file or in the database up to there */
	uint64_t target;      /* what the commit under way must make durable */
	bool suspect;         /* a flush failed: the kernel may take its pages for clean although they are not on the disk */
	UT_hash_handle hh;
};

struct segstore {
	struct meta *meta;
	int dirfd;
	struct segfiles *files;
	uint64_t first_id; /* segments with smaller numbers are of earlier runs */
	time_t opened_at;

	pthread_mutex_t begin_lock; /* held by the one that begins the next hot segment; taken before the meta lock */

	pthread_mutex_t lock; /* the innermost of all; no I/O under it */
	/* under lock */
	struct hot *hots;
	struct hot *current;
	unsigned generation; /* 0 or 1: appends count in one of two counters, so that a commit can wait for the older ones */
	unsigned in_flight[2];
	pthread_cond_t drained;
	uint64_t created; /* files of hot segments so far */

	/* the committing thread's */
	uint64_t created_flushed; /* ... of which the folder is flushed */
	struct hot **batch;       /* the hot segments of the commit under way */
	size_t batch_count;
	struct meta_redo *redo; /* handed out */
	size_t redo_count;
	uint8_t *redo_data;
	bool riding;      /* the commit under way stores redo (otherwise it drops what there is) */
	bool redo_stored; /* the database has redo rows */

	/* the sweeping thread's, of which there is one at a time */
	uint64_t *earlier; /* ids, ascending, of the hot segments of earlier runs that are left */
	size_t earlier_count;
	bool earlier_known;
};

/* segstore_commit.c: meta's hooks. */
err_t segstore_before_commit(void *ctx, struct meta_redo **redo_out, size_t *redo_count_out, bool *drop_redo_out);
void segstore_after_commit(void *ctx, err_t result);

/* segstore_space.c */
void segstore_on_release(void *ctx, uint64_t seg, uint64_t off, uint32_t len);
/* Counts bytes that nothing points at or ever will. [lock]  Sets a range of whole blocks to punch, or 0. */
void segstore_count_dead(struct hot *h, uint64_t off, uint32_t len, uint64_t *punch_off_out, uint64_t *punch_len_out);
void hot_free(struct segstore *ss, struct hot *h); /* out of the hash already */

#endif
