/*
 * db_write.c: the writing connection of meta.db: rows are sealed and put, a batch in a transaction; and what is unused in the file
 * goes.
 */
#include "db.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "db_private.h"
#include "db_schema.h"
#include "db_sql.h"
#include "journal.h"

#define PAGE_LEN 4096

enum session_state {
	SESSION_NONE,    /* nothing was sealed yet */
	SESSION_STARTED, /* to be stored with the next transaction */
	SESSION_STORED,
};

struct db_writer {
	sqlite3 *conn;
	sqlite3_stmt *put[TABLE_COUNT];
	sqlite3_stmt *del[TABLE_COUNT];
	sqlite3_stmt *put_session;
	sqlite3_stmt *begin;
	sqlite3_stmt *commit;
	sqlite3_stmt *rollback;
	enum session_state session;
	uint32_t session_number; /* before SESSION_STARTED: the highest in the file */
	uint8_t session_salt[ROWSEAL_SALT_LEN];
};

static err_t
make_tables(sqlite3 *conn)
{
	err_t e = db_exec(conn, "PRAGMA page_size = " STR(PAGE_LEN) "; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;");

	return e ? e : db_schema_make(conn, &db_schema_known);
}

/* Most are never needed, and each takes 20 us while somebody waits for his folder. */
static err_t
prepare(struct db_writer *w, const char *sql, sqlite3_stmt **s)
{
	assert(sql);
	return *s ? 0 : db_prepare(w->conn, sql, s);
}

err_t
db_writer_new(const char *path, bool create, struct db_writer **out)
{
	struct db_writer *w = calloc(1, sizeof(*w));
	void *conn = NULL;
	err_t e = w ? db_connect(path, DB_BUSY_MS, &conn) : -ENOMEM;

	if (!e) {
		w->conn = conn;
		e = create ? make_tables(conn) : db_schema_bring_up(conn, &db_schema_known);
	}
	if (e) {
		db_writer_free(w);
		return e;
	}
	*out = w;
	return 0;
}

void
db_writer_free(struct db_writer *w)
{
	if (w)
		db_disconnect(w->conn);
	free(w);
}

/* Sessions. */

err_t
db_load_sessions(struct db *db)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db->w->conn, "SELECT id, salt FROM session ORDER BY id", -1, &s, NULL);
	err_t e = db_error(db->w->conn, rc);

	while (!e && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(s, 0);
		const uint8_t *salt = sqlite3_column_blob(s, 1);

		if (!salt || sqlite3_column_bytes(s, 1) != ROWSEAL_SALT_LEN || id < 1 || id >= UINT32_MAX) {
			e = -EBADMSG;
		} else {
			e = rowseal_add_session(db->rs, (uint32_t)id, salt);
			db->w->session_number = (uint32_t)id;
		}
	}
	if (!e)
		e = db_error(db->w->conn, rc);
	sqlite3_finalize(s);
	return e == -EEXIST ? -EBADMSG : e;
}

/* What was sealed with a session is worth nothing without the session's salt: both go into one transaction. */
static err_t
start_session(struct db *db)
{
	uint32_t number = db->w->session_number;
	err_t e = -EEXIST;

	if (db->w->session != SESSION_NONE)
		return 0;
	/* rs may know of one more than the file: it was started before a reopening, and never stored. */
	while (e == -EEXIST && number < UINT32_MAX)
		e = rowseal_start_session(db->rs, ++number, db->w->session_salt);
	if (e)
		return e;
	db->w->session_number = number;
	db->w->session = SESSION_STARTED;
	return 0;
}

/* Rows. */

/* By key, so that SQLite walks each tree once; a delete before a put of the same key. */
static int
compare_rows(const void *p, const void *q)
{
	const struct db_row *x = p;
	const struct db_row *y = q;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	if (x->b != y->b)
		return x->b < y->b ? -1 : 1;
	return (x->data != NULL) - (y->data != NULL);
}

/* In place of what is in out: one after the other, since a batch may be long. */
static err_t
seal_row(struct db *db, const struct db_row *row, struct bytes *out)
{
	uint8_t aad[DB_AAD_LEN];

	bytes_reset(out);
	db_make_aad(aad, row->table, row->a, row->b);
	return rowseal_seal(db->rs, aad, sizeof(aad), row->data, row->len, out);
}

static err_t
run(struct db *db, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);
	err_t e = db_error(db->w->conn, rc);

	sqlite3_reset(stmt);
	return e;
}

static err_t
delete_row(struct db *db, const struct db_row *row)
{
	err_t e = prepare(db->w, SQL[row->table].del, &db->w->del[row->table]);

	if (e)
		return e;

	sqlite3_stmt *s = db->w->del[row->table];
	int rc = sqlite3_bind_int64(s, 1, (int64_t)row->a);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(s) > 1)
		rc = sqlite3_bind_int64(s, 2, (int64_t)row->b);
	return rc == SQLITE_OK ? run(db, s) : db_error(db->w->conn, rc);
}

/* sealed: room for it. */
static err_t
put_row(struct db *db, const struct db_row *row, struct bytes *sealed)
{
	const int64_t keys[] = {(int64_t)row->a, (int64_t)row->b, row->hash, row->mark, row->state};
	int rc = SQLITE_OK;
	err_t e = prepare(db->w, SQL[row->table].put, &db->w->put[row->table]);

	if (!e)
		e = seal_row(db, row, sealed);
	if (e)
		return e;

	sqlite3_stmt *s = db->w->put[row->table];

	for (int k = 0; k < (int)ARRAY_LEN(keys) && rc == SQLITE_OK; k++)
		rc = sqlite3_bind_int64(s, k + 1, keys[k]);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob64(s, 6, sealed->data, sealed->len, SQLITE_STATIC);
	return rc == SQLITE_OK ? run(db, s) : db_error(db->w->conn, rc);
}

static err_t
put_session(struct db *db)
{
	err_t e = prepare(db->w, "INSERT INTO session(id, salt) VALUES(?1, ?2)", &db->w->put_session);

	if (e)
		return e;

	sqlite3_stmt *s = db->w->put_session;
	int rc = sqlite3_bind_int64(s, 1, db->w->session_number);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(s, 2, db->w->session_salt, ROWSEAL_SALT_LEN, SQLITE_STATIC);
	return rc == SQLITE_OK ? run(db, s) : db_error(db->w->conn, rc);
}

/* What the journal has is void with this transaction, because it has all of that itself. */
static err_t
put_generation(struct db *db, struct bytes *sealed)
{
	uint8_t generation[8];
	const struct db_row row = {.table = DB_KV, .a = DB_KEY_JOURNAL, .data = generation, .len = sizeof(generation)};

	put_u64(generation, journal_generation(db->journal) + 1);
	return put_row(db, &row, sealed);
}

/* Within a transaction. */
static err_t
write_rows(struct db *db, const struct db_row *rows, size_t count, bool last)
{
	CLEANUP(bytes_clear) struct bytes sealed = {0};
	err_t e = db->w->session == SESSION_STORED ? 0 : put_session(db);

	for (size_t i = 0; i < count && !e; i++)
		e = rows[i].data ? put_row(db, &rows[i], &sealed) : delete_row(db, &rows[i]);
	return !e && last && journal_is_used(db->journal) ? put_generation(db, &sealed) : e;
}

/* The transaction is durable, or nobody knows. */
static void
after_write(struct db *db, err_t e)
{
	if (e)
		journal_suspend(db->journal);
	else
		journal_restart(db->journal, journal_generation(db->journal) + journal_is_used(db->journal));
}

/* The way back, too: to prepare that may fail, and must not when it is needed. */
static err_t
prepare_transaction(struct db_writer *w)
{
	err_t e = prepare(w, "BEGIN IMMEDIATE", &w->begin);

	if (!e)
		e = prepare(w, "COMMIT", &w->commit);
	return e ? e : prepare(w, "ROLLBACK", &w->rollback);
}

/* last: with these rows the database has all that the journal has. */
static err_t
write_transaction(struct db *db, const struct db_row *rows, size_t count, bool last)
{
	err_t e = run(db, db->w->begin);

	if (e)
		return e;
	e = write_rows(db, rows, count, last);
	if (!e)
		e = run(db, db->w->commit);
	if (!e) {
		db->w->session = SESSION_STORED;
		atomic_fetch_add_explicit(&db->rows_written, count, memory_order_relaxed);
		atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
	} else if (!sqlite3_get_autocommit(db->w->conn)) {
		/* SQLite has rolled back by itself after some errors; after others a failing rollback changes nothing. */
		(void)run(db, db->w->rollback);
	}
	if (e || last)
		after_write(db, e);
	return e;
}

static err_t
prepare_write(struct db *db, struct db_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert((unsigned)rows[i].table < TABLE_COUNT && db_is_key(rows[i].a, rows[i].b));
	qsort(rows, count, sizeof(*rows), compare_rows);

	err_t e = start_session(db);

	return e ? e : prepare_transaction(db->w);
}

err_t
db_write(struct db *db, struct db_row *rows, size_t count)
{
	if (count == 0)
		return 0;

	err_t e = prepare_write(db, rows, count);

	return e ? e : write_transaction(db, rows, count, true);
}

/*
 * What a slice of them needs in the WAL goes back to the disk with the next checkpoint.  Each may be in pages of its own, so that there
 * may be no room for so many; then half as many are tried.
 */
#define SLICE 128

static err_t
empty_wal(struct db *db)
{
	return db_error(db->w->conn, sqlite3_wal_checkpoint_v2(db->w->conn, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
}

err_t
db_write_in_slices(struct db *db, struct db_row *rows, size_t count)
{
	err_t e = prepare_write(db, rows, count);
	size_t most = SLICE;

	if (!e)
		e = empty_wal(db);
	for (size_t i = 0, n; i < count && !e; i += n) {
		n = count - i < most ? count - i : most;
		e = write_transaction(db, &rows[i], n, i + n == count);
		if (e == -ENOSPC && n > 1) {
			most = n / 2;
			n = 0;
			e = 0;
		}
		if (!e)
			e = empty_wal(db);
	}
	return e;
}

/* What is unused. */

/* To mount would take longer with it, and a folder in which little changes may never need it. */
static err_t
connect_checkpointer(struct db *db)
{
	return db->checkpointer ? 0 : db_connect(sqlite3_db_filename(db->w->conn, "main"), 0, &db->checkpointer);
}

/* The truncating kind only when nothing is left to copy: then it takes the write lock for the moment of one ftruncate. */
err_t
db_checkpoint(struct db *db)
{
	int frames = 0;
	int copied = 0;
	err_t e = connect_checkpointer(db);

	if (e)
		return e == -EAGAIN ? 0 : e;

	int rc = sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);

	if (rc == SQLITE_OK && frames == copied && (int64_t)frames * PAGE_LEN > DB_WAL_LARGE)
		rc = sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return rc == SQLITE_BUSY ? 0 : db_error(db->checkpointer, rc);
}

/* What is free is worth giving back when it is so much of the file, and so many pages at a time. */
#define FREE_SHARE 8
#define VACUUM_PAGES 512

err_t
db_shrink(struct db *db, bool *more_out)
{
	int64_t pages = 0;
	int64_t unused = 0;
	err_t e = db_query_int(db->w->conn, "PRAGMA page_count", &pages);

	if (!e)
		e = db_query_int(db->w->conn, "PRAGMA freelist_count", &unused);
	if (!e && unused > pages / FREE_SHARE) {
		e = db_exec(db->w->conn, "PRAGMA incremental_vacuum(" STR(VACUUM_PAGES) ")");
		if (!e)
			e = db_query_int(db->w->conn, "PRAGMA freelist_count", &pages);
		*more_out = !e && pages > 0 && pages < unused;
		return e;
	}
	if (!e)
		e = connect_checkpointer(db);
	*more_out = e == -EAGAIN;
	if (e)
		return *more_out ? 0 : e;

	int rc = sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

	*more_out = rc == SQLITE_BUSY; /* somebody reads what is in it */
	return *more_out ? 0 : db_error(db->checkpointer, rc);
}
