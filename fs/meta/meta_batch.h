/*
 * meta_batch.h: a frozen generation on its way to the disk: what meta_batch.c makes and meta_commit.c writes.
 */
#ifndef SNUGFS_META_BATCH_H
#define SNUGFS_META_BATCH_H

#include "meta_internal.h"

struct batch {
	uint64_t gen;
	bool to_journal; /* what is dirty; otherwise also all that is in the journal only: that ends with this commit */
	bool counters;   /* they are among the rows */
	size_t room;     /* to_journal: bytes for redo */
	struct db_row *rows;
	size_t row_count;
	size_t row_cap;
	struct bytes data; /* the rows' bytes, one after the other */
	struct release_list releases;
};
void batch_clear(struct batch *b);
/* A new row, all zero; NULL when out of memory.  Valid until the next. */
struct db_row *batch_row(struct batch *b);
/* A new row of that key without data: to be deleted.  Or with the bytes that `batch_end_row` finds behind `at`. */
MUST_CHECK err_t batch_delete_row(struct batch *b, enum db_table table, uint64_t key_a, uint64_t key_b);
void batch_end_row(struct batch *b, size_t at);
/* The rows of a chunk that has changed (meta_parts.c); deleted ones, too. */
MUST_CHECK err_t parts_add_to_batch(struct batch *b, struct cached_chunk *cc);

/*
 * [L] Moves what is dirty into the batch.  to_journal is cleared if there is no room for it there.  On failure nothing has
 * moved.
 */
MUST_CHECK err_t batch_freeze(struct meta *m, struct batch *b, bool to_journal);
/* [L] The batch is in the journal: durable, but still newer than the database. */
void batch_journaled(struct meta *m, const struct batch *b);
/* [L] The batch is in the database, and so is all that was in the journal. */
void batch_stored(struct meta *m, struct batch *b);
/* [L] The batch is lost: what it held is dirty as before. */
void batch_failed(struct meta *m, struct batch *b);

#endif
