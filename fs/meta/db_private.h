/*
 * db_private.h: what db*.c share, and nobody else.  conn is an sqlite3 *, of which no header knows.
 */
#ifndef SNUGFS_DB_PRIVATE_H
#define SNUGFS_DB_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "db.h"
#include "err.h"

#define DB_AAD_LEN (1 + 8 + 8)
#define DB_BUSY_MS 10000 /* a truncating checkpoint may hold the write lock for a moment */
#define DB_WAL_LARGE 67108864 /* bytes; the WAL file is cut back to this at least */

#define STR_(x) #x
#define STR(x) STR_(x)

struct db_reader;
struct db_touch;
struct db_writer;
struct journal;

struct db {
	struct rowseal *rs;
	struct db_reader *r; /* under the caller's lock */
	struct db_writer *w; /* the one thread that writes, at a time; so is journal */
	struct journal *journal;
	void *checkpointer; /* a connection, once it was needed: the one thread that calls db_checkpoint or db_shrink */
	struct db_touch *touch;
	int ahead_fd; /* what is read ahead is asked for here; -1: it can't be */
	_Atomic uint64_t reads;
	_Atomic uint64_t rows_written;
	_Atomic uint64_t commits;
	_Atomic uint64_t journaled;
};

/* SQLite's integers are signed; a key beyond them is no row's. */
static inline bool
db_is_key(uint64_t a, uint64_t b)
{
	return a <= INT64_MAX && b <= INT64_MAX;
}

static inline void
db_make_aad(uint8_t aad[static DB_AAD_LEN], enum db_table table, uint64_t a, uint64_t b)
{
	aad[0] = (uint8_t)table;
	put_u64(aad + 1, a);
	put_u64(aad + 9, b);
}

/* db_conn.c */

/* What SQLite has returned.  Before anything else is done with conn: it keeps the errno of its last failure only. */
MUST_CHECK err_t db_error(void *conn, int rc);
/* A connection to a database that is there. */
MUST_CHECK err_t db_connect(const char *path, int busy_ms, void **out);
/* With all its statements.  NULL is fine. */
void db_disconnect(void *conn);
/* stmt_out: an sqlite3_stmt **, which stays as it is if sql is NULL. */
MUST_CHECK err_t db_prepare(void *conn, const char *sql, void *stmt_out);
MUST_CHECK err_t db_exec(void *conn, const char *sql);
/* The first column of the first row.  -EBADMSG: there is none. */
MUST_CHECK err_t db_query_int(void *conn, const char *sql, int64_t *out);
/* An empty file of that name.  SQLite itself cannot be told to fail if it is there: -EEXIST. */
MUST_CHECK err_t db_make_file(const char *path);
/* The file, and what SQLite may have put beside it. */
void db_remove_files(const char *path);

/* db_read.c.  The tables are there. */
MUST_CHECK err_t db_reader_new(const char *path, struct db_reader **out);
void db_reader_free(struct db_reader *r);

/* db_write.c.  The file is there; its tables are made, or brought up to what this program knows. */
MUST_CHECK err_t db_writer_new(const char *path, bool create, struct db_writer **out);
void db_writer_free(struct db_writer *w);
/* The sessions that rows of the file were sealed in, into db->rs. */
MUST_CHECK err_t db_load_sessions(struct db *db);
/*
 * As db_write, for rows that the journal has, while nobody reads: not in one transaction but in many, after each of which the WAL is
 * emptied, so that it takes little room.  What is cut short is to be done again from the journal, which stays what it is until the last
 * of them.
 */
MUST_CHECK err_t db_write_in_slices(struct db *db, struct db_row *rows, size_t count);

#endif
