/*
 * journal.h: what became durable since the database's last commit: a file of records, each a batch of rows (db.h), in the
 * order in which they became so.  For db*.c only.
 *
 * An fsync wants one flush, and no work of the host's file system beside it.  A record is one write into room that was
 * written before, so that its flush has nothing to tell the host's own journal; the same rows in the database would touch
 * some B-tree pages each.  The next commit of the database has them all, and the journal begins anew.
 *
 * A record belongs to a generation and has a number in it, and opens under no others.  The database says, in the transaction
 * that makes the older records void, which generation is to be replayed; what does not belong to it, or is torn, ends it.
 * Records begin at multiples of 4096 bytes: writing one touches no block of another.  A long row that the generation has
 * already is there as its difference from that (rowdiff.h).
 *
 * One thread at a time.  Uses bytes.h, db.h, disk.h, rowdiff.h, rowseal.h.
 */
#ifndef SNUGFS_JOURNAL_H
#define SNUGFS_JOURNAL_H

#include <stdbool.h>

#include "db.h"
#include "err.h"
#include "rowseal.h"

struct journal;
/* path: the file, which need not be there.  rs is borrowed. */
MUST_CHECK err_t journal_new(const char *path, struct rowseal *rs, struct journal **out);
/* Removes the file, unless it has records that no database has. */
void journal_free(struct journal *j);

/*
 * The rows of all records of that generation, the last version of each, malloc'ed; their data is the journal's until
 * journal_restart.  It is the generation from now on.  -EBADMSG: a record that is authentic, but not of rows.
 */
MUST_CHECK err_t journal_read(struct journal *j, uint64_t generation, struct db_row **rows_out, size_t *count_out);

/*
 * After journal_read: the part of the file that has no records goes back to the disk, for whoever needs room to put them into the
 * database.  It is at least as long as they are, for they go into the first half of a journal only; all at once they may need more.
 */
void journal_give_room_back(struct journal *j);

/* Removes the file.  A power cut that brings it back does no harm if the database names another generation by now. */
void journal_discard(struct journal *j);

/* Are there, or may there be, records of this generation?  Then the database's next commit must name another. */
bool journal_is_used(const struct journal *j);
/* The database has all rows and names that generation: from now on records can be appended. */
void journal_restart(struct journal *j, uint64_t generation);
uint64_t journal_generation(const struct journal *j);
/* What the database names is not known: no record until journal_restart. */
void journal_suspend(struct journal *j);

/*
 * Makes the file, or makes it longer, up to a limit, and not (0) where that would take much of what the disk has free; after an error
 * it takes no more than before.  Takes some milliseconds.
 */
MUST_CHECK err_t journal_make_room(struct journal *j);
/* More than half of what records may take is taken, so that it had better be made longer before it is full.  Says so once of each length and generation. */
bool journal_is_short(struct journal *j);
/* Bytes of rows (their data and DB_JOURNAL_ROW_OVERHEAD each) that one record could have now; 0: none. */
size_t journal_room(const struct journal *j);
/* Durable when it returns 0; suspended when not. */
MUST_CHECK err_t journal_append(struct journal *j, const struct db_row *rows, size_t count);

#endif
