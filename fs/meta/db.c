/*
 * db.c: meta.db.  With db_schema.c and db_touch.c the only file that knows SQLite: three connections (reading, writing, checkpoints), the
 * statements, all prepared once, and the sealing and opening of every row on its way through.
 */
#include "db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db_private.h"
#include "db_schema.h"
#include "db_sql.h"
#include "db_touch.h"
#include "journal.h"

#define AAD_LEN (1 + 8 + 8)
#define PAGE_LEN 4096
#define WALK_GAP 16 /* rows that nobody asked for are passed by rather than looked around */
#define WAL_LARGE 67108864 /* bytes; the WAL file is cut back to this at least */
#define WRITER_BUSY_MS 10000 /* a truncating checkpoint may hold the write lock for a moment */

/* In the row DB_KEY_FORMAT: opens with the right device's keys only. */
static const char PROBE[] = "snugfs meta.db 1";

/* A statement is reset as soon as its result was used: one that is not keeps checkpoints from finishing. */
struct reader {
	sqlite3 *conn;
	sqlite3_stmt *get[TABLE_COUNT];
	sqlite3_stmt *scan[TABLE_COUNT];
	sqlite3_stmt *marked[TABLE_COUNT];
	sqlite3_stmt *all[TABLE_COUNT];
	sqlite3_stmt *find_dentry;
	sqlite3_stmt *removed;
	sqlite3_stmt *begin;
	sqlite3_stmt *end;
	bool reading;     /* a transaction is open: each alone would cost locks and unlocks of the file */
	unsigned scans;   /* that are under way: they go on in the transaction that they began in */
	uint64_t commits; /* db->commits when it began */
};

struct writer {
	sqlite3 *conn;
	sqlite3_stmt *put[TABLE_COUNT];
	sqlite3_stmt *del[TABLE_COUNT];
	sqlite3_stmt *put_session;
	sqlite3_stmt *begin;
	sqlite3_stmt *commit;
	sqlite3_stmt *rollback;
};

enum session_state {
	SESSION_NONE,    /* nothing was sealed yet */
	SESSION_STARTED, /* to be stored with the next transaction */
	SESSION_STORED,
};

struct db {
	struct rowseal *rs;
	struct reader r; /* under the caller's lock */
	struct writer w; /* the one thread that writes, at a time; so are session and journal */
	enum session_state session;
	uint32_t session_number; /* before SESSION_STARTED: the highest in the file */
	uint8_t session_salt[ROWSEAL_SALT_LEN];
	struct journal *journal;
	sqlite3 *checkpointer; /* the one thread that calls db_checkpoint */
	struct db_touch *touch;
	_Atomic uint64_t reads;
	_Atomic uint64_t rows_written;
	_Atomic uint64_t commits;
	_Atomic uint64_t journaled;
};

/* Errors. */

static err_t
from_errno(int err, err_t otherwise)
{
	switch (err) {
	case ENOENT:
	case EROFS:
	case EACCES:
	case ENOSPC:
	case ENOMEM:
		return -err;
	case EPERM:
		return -EACCES;
	case EDQUOT:
		return -ENOSPC;
	default:
		return otherwise;
	}
}

/* Before anything else is done with conn: it keeps the errno of its last failure only. */
static err_t
from_sqlite(sqlite3 *conn, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_READONLY:
		return from_errno(sqlite3_system_errno(conn), -EROFS);
	case SQLITE_CANTOPEN:
		return from_errno(sqlite3_system_errno(conn), -EACCES);
	case SQLITE_IOERR:
		return rc == SQLITE_IOERR_NOMEM ? -ENOMEM : from_errno(sqlite3_system_errno(conn), -EIO);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

err_t
db_exec(void *conn, const char *sql)
{
	return from_sqlite(conn, sqlite3_exec(conn, sql, NULL, NULL, NULL));
}

/* Keys. SQLite's integers are signed; a key beyond them is no row's. */
static bool
is_key(uint64_t a, uint64_t b)
{
	return a <= INT64_MAX && b <= INT64_MAX;
}

static void
make_aad(uint8_t aad[static AAD_LEN], enum db_table table, uint64_t a, uint64_t b)
{
	aad[0] = (uint8_t)table;
	put_u64(aad + 1, a);
	put_u64(aad + 9, b);
}

/* Reading. */

static void
reset(sqlite3_stmt **s)
{
	if (*s)
		sqlite3_reset(*s);
}

void
db_end_reading(struct db *db)
{
	if (!db->r.reading)
		return;
	(void)sqlite3_step(db->r.end); /* nothing was written: there is nothing to fail */
	sqlite3_reset(db->r.end);
	db->r.reading = false;
}

/* All reads until the next commit see one state, the newest. */
static err_t
begin_reading(struct db *db)
{
	uint64_t commits = atomic_load(&db->commits);

	if (db->r.reading && (db->r.scans > 0 || db->r.commits == commits))
		return 0;
	db_end_reading(db);

	int rc = sqlite3_step(db->r.begin);
	err_t e = from_sqlite(db->r.conn, rc);

	sqlite3_reset(db->r.begin);
	db->r.reading = !e;
	db->r.commits = commits;
	return e;
}

/* Appends the plaintext of the row in that column of the statement's current result. */
static err_t
open_column(struct db *db, sqlite3_stmt *s, int column, enum db_table table, uint64_t a, uint64_t b, struct bytes *out)
{
	uint8_t aad[AAD_LEN];
	const uint8_t *row = sqlite3_column_blob(s, column);

	if (!row && sqlite3_errcode(db->r.conn) == SQLITE_NOMEM)
		return -ENOMEM;
	make_aad(aad, table, a, b);
	atomic_fetch_add_explicit(&db->reads, 1, memory_order_relaxed);
	return rowseal_open(db->rs, aad, sizeof(aad), row, (size_t)sqlite3_column_bytes(s, column), out);
}

err_t
db_get(struct db *db, enum db_table table, uint64_t a, uint64_t b, struct bytes *out)
{
	CLEANUP(reset) sqlite3_stmt *s = db->r.get[table];

	if (!is_key(a, b))
		return -ENOENT;

	err_t e = begin_reading(db);

	if (e)
		return e;

	int rc = sqlite3_bind_int64(s, 1, (int64_t)a);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(s) > 1)
		rc = sqlite3_bind_int64(s, 2, (int64_t)b);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_DONE)
		return -ENOENT;
	return rc == SQLITE_ROW ? open_column(db, s, 0, table, a, b, out) : from_sqlite(db->r.conn, rc);
}

/* Opens the row that the statement has come to, and hands it to fn. */
static err_t
hand_out(struct db *db, sqlite3_stmt *s, enum db_table table, struct bytes *plain, db_row_fn *fn, void *ctx)
{
	uint64_t a = (uint64_t)sqlite3_column_int64(s, 0);
	uint64_t b = (uint64_t)sqlite3_column_int64(s, 1);
	uint32_t mark = (uint32_t)sqlite3_column_int64(s, 2);
	uint32_t state = (uint32_t)sqlite3_column_int64(s, 3);

	bytes_reset(plain);

	err_t e = open_column(db, s, 4, table, a, b, plain);

	return e ? e : fn(ctx, a, b, mark, state, plain->data, plain->len);
}

static err_t
bind_range(struct db *db, sqlite3_stmt *s, int64_t p1, int64_t p2, int64_t limit)
{
	int rc = sqlite3_bind_int64(s, 1, p1);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 2, p2);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 3, limit);
	return from_sqlite(db->r.conn, rc);
}

/* Binds p1, p2 and the limit, and hands the rows to fn. */
static err_t
scan(struct db *db, sqlite3_stmt *stmt, enum db_table table, int64_t p1, int64_t p2, int64_t limit, db_row_fn *fn,
    void *ctx)
{
	CLEANUP(bytes_clear) struct bytes plain = {0};

	assert(!sqlite3_stmt_busy(stmt));

	CLEANUP(reset) sqlite3_stmt *s = stmt;
	err_t e = begin_reading(db);
	int rc = SQLITE_DONE;

	if (!e)
		e = bind_range(db, s, p1, p2, limit);
	db->r.scans++;
	while (!e && (rc = sqlite3_step(s)) == SQLITE_ROW)
		e = hand_out(db, s, table, &plain, fn, ctx);
	db->r.scans--;
	return e ? e : from_sqlite(db->r.conn, rc);
}

/*
 * From keys[*at] on, in one walk along the table.  Ends, with *at at a key that is not done, where a gap is so wide that finding
 * the way anew is cheaper than walking on.
 */
static err_t
walk_keys(struct db *db, enum db_table table, const uint64_t *keys, size_t count, size_t *at, db_row_fn *fn, void *ctx)
{
	CLEANUP(bytes_clear) struct bytes plain = {0};
	CLEANUP(reset) sqlite3_stmt *s = db->r.all[table];
	err_t e = bind_range(db, s, (int64_t)keys[*at] - 1, 0, -1);
	int rc = SQLITE_ROW;

	/* Its callbacks may read, too. */
	db->r.scans++;
	while (!e && *at < count && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		uint64_t a = (uint64_t)sqlite3_column_int64(s, 0);

		while (*at < count && keys[*at] < a)
			++*at;
		if (*at == count || keys[*at] - a > WALK_GAP)
			break;
		if (keys[*at] == a) {
			e = hand_out(db, s, table, &plain, fn, ctx);
			++*at;
		}
	}
	db->r.scans--;
	if (!e && rc == SQLITE_DONE)
		*at = count;
	return e ? e : from_sqlite(db->r.conn, rc);
}

err_t
db_get_many(struct db *db, enum db_table table, const uint64_t *keys, size_t count, db_row_fn *fn, void *ctx)
{
	size_t at = 0;
	err_t e = begin_reading(db);

	assert(db->r.all[table]);
	while (count > 0 && !is_key(keys[count - 1], 0))
		count--;
	while (!e && at < count)
		e = walk_keys(db, table, keys, count, &at, fn, ctx);
	return e;
}

err_t
db_find_dentry(struct db *db, uint64_t parent, int64_t hash, db_row_fn *fn, void *ctx)
{
	if (!is_key(parent, 0))
		return 0;
	return scan(db, db->r.find_dentry, DB_DENTRY, (int64_t)parent, hash, -1, fn, ctx);
}

err_t
db_scan(struct db *db, enum db_table table, uint64_t a, uint64_t from, unsigned limit, db_row_fn *fn, void *ctx)
{
	assert(db->r.scan[table]);
	if (!is_key(a, from))
		return 0;
	return scan(db, db->r.scan[table], table, (int64_t)a, (int64_t)from, limit, fn, ctx);
}

/* The greatest key that is not behind (a, b): they may be beyond what SQLite can hold. */
static err_t
scan_after(struct db *db, sqlite3_stmt *s, enum db_table table, uint64_t a, uint64_t b, unsigned limit, db_row_fn *fn,
    void *ctx)
{
	int64_t p1 = a <= INT64_MAX ? (int64_t)a : INT64_MAX;
	int64_t p2 = a <= INT64_MAX && b <= INT64_MAX ? (int64_t)b : INT64_MAX;

	assert(s);
	return scan(db, s, table, p1, p2, limit, fn, ctx);
}

err_t
db_scan_marked(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit, db_row_fn *fn,
    void *ctx)
{
	return scan_after(db, db->r.marked[table], table, after_a, after_b, limit, fn, ctx);
}

err_t
db_scan_removed(struct db *db, db_row_fn *fn, void *ctx)
{
	return scan(db, db->r.removed, DB_INODE, 0, 0, -1, fn, ctx);
}

err_t
db_scan_all(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit, db_row_fn *fn,
    void *ctx)
{
	return scan_after(db, db->r.all[table], table, after_a, after_b, limit, fn, ctx);
}

void
db_warm(struct db *db, enum db_table table, uint64_t a, uint64_t b)
{
	if (is_key(a, b))
		db_touch_read(db->touch, table, a, b);
}

void
db_warm_names(struct db *db, uint64_t parent, int64_t hash, unsigned limit)
{
	if (is_key(parent, 0))
		db_touch_read_names(db->touch, parent, hash, limit);
}

/* Writing. */

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

/* What was sealed with a session is worth nothing without the session's salt: both go into one transaction. */
static err_t
start_session(struct db *db)
{
	uint32_t number = db->session_number;
	err_t e = -EEXIST;

	if (db->session != SESSION_NONE)
		return 0;
	/* rs may know of one more than the file: it was started before a reopening, and never stored. */
	while (e == -EEXIST && number < UINT32_MAX)
		e = rowseal_start_session(db->rs, ++number, db->session_salt);
	if (e)
		return e;
	db->session_number = number;
	db->session = SESSION_STARTED;
	return 0;
}

/* In place of what is in out: one after the other, since a batch may be long. */
static err_t
seal_row(struct db *db, const struct db_row *row, struct bytes *out)
{
	uint8_t aad[AAD_LEN];

	bytes_reset(out);
	make_aad(aad, row->table, row->a, row->b);
	return rowseal_seal(db->rs, aad, sizeof(aad), row->data, row->len, out);
}

static err_t
run(struct db *db, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);
	err_t e = from_sqlite(db->w.conn, rc);

	sqlite3_reset(stmt);
	return e;
}

static err_t
delete_row(struct db *db, const struct db_row *row)
{
	sqlite3_stmt *s = db->w.del[row->table];
	int rc = sqlite3_bind_int64(s, 1, (int64_t)row->a);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(s) > 1)
		rc = sqlite3_bind_int64(s, 2, (int64_t)row->b);
	return rc == SQLITE_OK ? run(db, s) : from_sqlite(db->w.conn, rc);
}

/* sealed: room for it. */
static err_t
put_row(struct db *db, const struct db_row *row, struct bytes *sealed)
{
	sqlite3_stmt *s = db->w.put[row->table];
	const int64_t keys[] = {(int64_t)row->a, (int64_t)row->b, row->hash, row->mark, row->state};
	int rc = SQLITE_OK;
	err_t e = seal_row(db, row, sealed);

	if (e)
		return e;
	for (int k = 0; k < (int)ARRAY_LEN(keys) && rc == SQLITE_OK; k++)
		rc = sqlite3_bind_int64(s, k + 1, keys[k]);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob64(s, 6, sealed->data, sealed->len, SQLITE_STATIC);
	return rc == SQLITE_OK ? run(db, s) : from_sqlite(db->w.conn, rc);
}

static err_t
put_session(struct db *db)
{
	sqlite3_stmt *s = db->w.put_session;
	int rc = sqlite3_bind_int64(s, 1, db->session_number);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(s, 2, db->session_salt, ROWSEAL_SALT_LEN, SQLITE_STATIC);
	return rc == SQLITE_OK ? run(db, s) : from_sqlite(db->w.conn, rc);
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
write_rows(struct db *db, const struct db_row *rows, size_t count)
{
	CLEANUP(bytes_clear) struct bytes sealed = {0};
	err_t e = db->session == SESSION_STORED ? 0 : put_session(db);

	for (size_t i = 0; i < count && !e; i++)
		e = rows[i].data ? put_row(db, &rows[i], &sealed) : delete_row(db, &rows[i]);
	return !e && journal_is_used(db->journal) ? put_generation(db, &sealed) : e;
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

err_t
db_write(struct db *db, struct db_row *rows, size_t count)
{
	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		assert((unsigned)rows[i].table < TABLE_COUNT && is_key(rows[i].a, rows[i].b));
	qsort(rows, count, sizeof(*rows), compare_rows);

	err_t e = start_session(db);

	if (!e)
		e = run(db, db->w.begin);
	if (e)
		return e;
	e = write_rows(db, rows, count);
	if (!e)
		e = run(db, db->w.commit);
	if (e) {
		/* SQLite has rolled back by itself after some errors; after others a failing rollback changes nothing. */
		if (!sqlite3_get_autocommit(db->w.conn))
			(void)run(db, db->w.rollback);
		after_write(db, e);
		return e;
	}
	after_write(db, 0);
	db->session = SESSION_STORED;
	atomic_fetch_add_explicit(&db->rows_written, count, memory_order_relaxed);
	atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
	return 0;
}

/* The journal. */

size_t
db_journal_room(struct db *db)
{
	return journal_room(db->journal);
}

err_t
db_journal(struct db *db, const struct db_row *rows, size_t count)
{
	err_t e = count > 0 ? journal_append(db->journal, rows, count) : 0;

	if (!e)
		atomic_fetch_add_explicit(&db->journaled, 1, memory_order_relaxed);
	return e;
}

void
db_journal_suspend(struct db *db)
{
	journal_suspend(db->journal);
}

err_t
db_journal_make_room(struct db *db)
{
	return journal_make_room(db->journal);
}

/* The truncating kind only when nothing is left to copy: then it takes the write lock for the moment of one ftruncate. */
err_t
db_checkpoint(struct db *db)
{
	int frames = 0;
	int copied = 0;
	int rc = sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);

	if (rc == SQLITE_OK && frames == copied && (int64_t)frames * PAGE_LEN > WAL_LARGE)
		rc = sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return rc == SQLITE_BUSY ? 0 : from_sqlite(db->checkpointer, rc);
}

err_t
db_query_int(void *conn, const char *sql, int64_t *out)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(conn, sql, -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(s, 0);

	err_t e = rc == SQLITE_DONE ? -EBADMSG : from_sqlite(conn, rc);

	sqlite3_finalize(s);
	return e;
}

/* What is free is worth giving back when it is so much of the file, and so many pages at a time. */
#define FREE_SHARE 8
#define VACUUM_PAGES 512

err_t
db_shrink(struct db *db, bool *more_out)
{
	int64_t pages = 0;
	int64_t unused = 0;
	err_t e = db_query_int(db->w.conn, "PRAGMA page_count", &pages);

	if (!e)
		e = db_query_int(db->w.conn, "PRAGMA freelist_count", &unused);
	if (!e && unused > pages / FREE_SHARE) {
		e = db_exec(db->w.conn, "PRAGMA incremental_vacuum(" STR(VACUUM_PAGES) ")");
		if (!e)
			e = db_query_int(db->w.conn, "PRAGMA freelist_count", &pages);
		*more_out = !e && pages > 0 && pages < unused;
		return e;
	}
	*more_out = false;
	if (e)
		return e;

	int rc = sqlite3_wal_checkpoint_v2(db->checkpointer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

	*more_out = rc == SQLITE_BUSY; /* somebody reads what is in it */
	return *more_out ? 0 : from_sqlite(db->checkpointer, rc);
}

void
db_stats(struct db *db, struct db_stats *out)
{
	out->reads = atomic_load_explicit(&db->reads, memory_order_relaxed);
	out->rows_written = atomic_load_explicit(&db->rows_written, memory_order_relaxed);
	out->commits = atomic_load_explicit(&db->commits, memory_order_relaxed);
	out->journaled = atomic_load_explicit(&db->journaled, memory_order_relaxed);
}

/* Opening and closing. */

/*
 * The file is ours alone while it is open (others get "database is locked"), the index of the WAL is in ordinary memory, and
 * nothing is mapped: a file that somebody cuts short is an error then, where touching the mapping would end the process.
 */
#define SQLITE_VFS "unix-excl"

/* The schema of a file that others may have touched is not trusted to call functions; every page is checked when read. */
static const char COMMON_PRAGMAS[] =
    "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;"
    "PRAGMA journal_size_limit = " STR(WAL_LARGE) "; PRAGMA cache_size = -16384; PRAGMA synchronous = FULL;";
static const char READER_PRAGMAS[] = "PRAGMA query_only = ON;";

err_t
db_connect(const char *path, int busy_ms, void **out)
{
	sqlite3 *conn = NULL;
	int rc = sqlite3_open_v2(path, &conn,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE, SQLITE_VFS);
	err_t e = conn ? from_sqlite(conn, rc) : -ENOMEM;

	if (!e && sqlite3_db_readonly(conn, "main"))
		e = access(path, W_OK) ? from_errno(errno, -EACCES) : -EROFS;
	if (!e)
		e = from_sqlite(conn, sqlite3_busy_timeout(conn, busy_ms));
	if (!e)
		e = from_sqlite(conn, sqlite3_db_config(conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL));
	if (!e)
		e = db_exec(conn, COMMON_PRAGMAS);
	if (e) {
		sqlite3_close(conn);
		return e;
	}
	*out = conn;
	return 0;
}

static err_t
connect(const char *path, int busy_ms, sqlite3 **out)
{
	void *conn = NULL;
	err_t e = db_connect(path, busy_ms, &conn);

	if (!e)
		*out = conn;
	return e;
}

static err_t
prepare(sqlite3 *conn, const char *sql, sqlite3_stmt **out)
{
	if (!sql)
		return 0;
	return from_sqlite(conn, sqlite3_prepare_v3(conn, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

static err_t
prepare_reader(struct reader *r)
{
	err_t e = db_exec(r->conn, READER_PRAGMAS);

	for (int t = 0; t < TABLE_COUNT && !e; t++) {
		e = prepare(r->conn, SQL[t].get, &r->get[t]);
		if (!e)
			e = prepare(r->conn, SQL[t].scan, &r->scan[t]);
		if (!e)
			e = prepare(r->conn, SQL[t].marked, &r->marked[t]);
		if (!e)
			e = prepare(r->conn, SQL[t].all, &r->all[t]);
	}
	if (!e)
		e = prepare(r->conn, FIND_DENTRY, &r->find_dentry);
	if (!e)
		e = prepare(r->conn, REMOVED, &r->removed);
	if (!e)
		e = prepare(r->conn, "BEGIN", &r->begin);
	if (!e)
		e = prepare(r->conn, "COMMIT", &r->end);
	return e;
}

static err_t
prepare_writer(struct writer *w)
{
	err_t e = 0;

	for (int t = 0; t < TABLE_COUNT && !e; t++) {
		e = prepare(w->conn, SQL[t].put, &w->put[t]);
		if (!e)
			e = prepare(w->conn, SQL[t].del, &w->del[t]);
	}
	if (!e)
		e = prepare(w->conn, "INSERT INTO session(id, salt) VALUES(?1, ?2)", &w->put_session);
	if (!e)
		e = prepare(w->conn, "BEGIN IMMEDIATE", &w->begin);
	if (!e)
		e = prepare(w->conn, "COMMIT", &w->commit);
	if (!e)
		e = prepare(w->conn, "ROLLBACK", &w->rollback);
	return e;
}

static void
disconnect(sqlite3 *conn)
{
	sqlite3_stmt *s;

	while (conn && (s = sqlite3_next_stmt(conn, NULL)))
		sqlite3_finalize(s);
	sqlite3_close(conn);
}

/* The writer goes last: whoever closes last moves the WAL into the file and removes it. */
void
db_close(struct db *db)
{
	if (!db)
		return;
	db_touch_free(db->touch);
	disconnect(db->r.conn);
	disconnect(db->checkpointer);
	disconnect(db->w.conn);
	journal_free(db->journal);
	free(db);
}

static err_t
make_tables(sqlite3 *conn)
{
	err_t e = db_exec(conn, "PRAGMA page_size = " STR(PAGE_LEN) "; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;");

	return e ? e : db_schema_make(conn, &db_schema_known);
}

static err_t
load_sessions(struct db *db)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db->r.conn, "SELECT id, salt FROM session ORDER BY id", -1, &s, NULL);
	err_t e = from_sqlite(db->r.conn, rc);

	while (!e && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(s, 0);
		const uint8_t *salt = sqlite3_column_blob(s, 1);

		if (!salt || sqlite3_column_bytes(s, 1) != ROWSEAL_SALT_LEN || id < 1 || id >= UINT32_MAX) {
			e = -EBADMSG;
		} else {
			e = rowseal_add_session(db->rs, (uint32_t)id, salt);
			db->session_number = (uint32_t)id;
		}
	}
	if (!e)
		e = from_sqlite(db->r.conn, rc);
	sqlite3_finalize(s);
	return e == -EEXIST ? -EBADMSG : e;
}

static err_t
check_probe(struct db *db)
{
	CLEANUP(bytes_clear) struct bytes probe = {0};
	err_t e = db_get(db, DB_KV, DB_KEY_FORMAT, 0, &probe);

	if (e)
		return e == -ENOENT ? -EBADMSG : e;
	return probe.len == sizeof(PROBE) && memcmp(probe.data, PROBE, sizeof(PROBE)) == 0 ? 0 : -EPROTO;
}

static err_t
put_probe(struct db *db)
{
	struct db_row row = {.table = DB_KV, .a = DB_KEY_FORMAT, .data = (const uint8_t *)PROBE, .len = sizeof(PROBE)};

	return db_write(db, &row, 1);
}

static err_t
load_generation(struct db *db, uint64_t *out)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t e = db_get(db, DB_KV, DB_KEY_JOURNAL, 0, &b);

	if (!e && b.len != 8)
		e = -EBADMSG;
	if (!e)
		*out = get_u64(b.data);
	return e == -ENOENT ? 0 : e;
}

/* What is in the journal only comes into the database; redo rows, too: segstore_apply_redo finds them there. */
static err_t
recover(struct db *db, const char *path)
{
	CLEANUP(free_ptr) struct db_row *rows = NULL;
	CLEANUP(free_ptr) char *name = NULL;
	uint64_t generation = 0;
	size_t count = 0;

	if (asprintf(&name, "%s.journal", path) < 0)
		return -ENOMEM;

	err_t e = journal_new(name, db->rs, &db->journal);

	if (!e)
		e = load_generation(db, &generation);
	if (!e)
		e = journal_read(db->journal, generation, &rows, &count);
	if (!e)
		e = db_write(db, rows, count);
	if (!e)
		journal_discard(db->journal);
	db_end_reading(db);
	return e;
}

static err_t
open_all(struct db *db, const char *path, bool create)
{
	err_t e = connect(path, WRITER_BUSY_MS, &db->w.conn);

	if (!e)
		e = create ? make_tables(db->w.conn) : db_schema_bring_up(db->w.conn, &db_schema_known);
	if (!e)
		e = connect(path, WRITER_BUSY_MS, &db->r.conn);
	if (!e)
		e = connect(path, 0, &db->checkpointer);
	if (!e)
		e = db_touch_new(path, &db->touch);
	if (!e)
		e = prepare_writer(&db->w);
	if (!e)
		e = prepare_reader(&db->r);
	if (!e)
		e = load_sessions(db);
	if (!e && !create)
		e = check_probe(db);
	if (!e)
		e = recover(db, path);
	if (!e && create)
		e = put_probe(db);
	return e;
}

/* SQLite itself cannot be told to fail if the file is there. */
static err_t
make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? -EEXIST : from_errno(errno, -EIO);
	close(fd);
	return 0;
}

static void
remove_files(const char *path)
{
	static const char *const SUFFIXES[] = {"", "-wal", "-shm", "-journal"};

	for (size_t i = 0; i < ARRAY_LEN(SUFFIXES); i++) {
		char *name = NULL;

		if (asprintf(&name, "%s%s", path, SUFFIXES[i]) < 0)
			return;
		(void)unlink(name);
		free(name);
	}
}

err_t
db_open(const char *path, bool create, struct rowseal *rs, struct db **out)
{
	struct db *db = calloc(1, sizeof(*db));
	err_t e = db ? 0 : -ENOMEM;

	if (!e && create)
		e = make_file(path);
	if (e) {
		free(db);
		return e;
	}
	db->rs = rs;
	e = open_all(db, path, create);
	if (e) {
		db_close(db);
		if (create)
			remove_files(path);
		return e;
	}
	*out = db;
	return 0;
}
