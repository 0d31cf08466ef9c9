/*
 * db_read.c: the reading connection of meta.db: rows are found, opened and handed out.
 */
#include "db.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "db_private.h"
#include "db_sql.h"

#define WALK_GAP 16 /* rows that nobody asked for are passed by rather than looked around */

static const char READER_PRAGMAS[] = "PRAGMA query_only = ON;";

/* A statement is prepared when it is first needed, and reset as soon as its result was used: one that is not keeps checkpoints from finishing. */
struct db_reader {
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

static void
reset(sqlite3_stmt **s)
{
	if (*s)
		sqlite3_reset(*s);
}

/* Most are never needed, and each takes 20 us while somebody waits for his folder. */
static err_t
prepare(struct db_reader *r, const char *sql, sqlite3_stmt **s)
{
	assert(sql);
	return *s ? 0 : db_prepare(r->conn, sql, s);
}

err_t
db_reader_new(const char *path, struct db_reader **out)
{
	struct db_reader *r = calloc(1, sizeof(*r));
	void *conn = NULL;
	err_t e = r ? db_connect(path, DB_BUSY_MS, &conn) : -ENOMEM;

	if (!e) {
		r->conn = conn;
		e = db_exec(r->conn, READER_PRAGMAS);
	}
	if (!e)
		e = prepare(r, "BEGIN", &r->begin);
	if (!e)
		e = prepare(r, "COMMIT", &r->end);
	if (e) {
		db_reader_free(r);
		return e;
	}
	*out = r;
	return 0;
}

void
db_reader_free(struct db_reader *r)
{
	if (r)
		db_disconnect(r->conn);
	free(r);
}

void
db_end_reading(struct db *db)
{
	if (!db->r->reading)
		return;
	(void)sqlite3_step(db->r->end); /* nothing was written: there is nothing to fail */
	sqlite3_reset(db->r->end);
	db->r->reading = false;
}

/* All reads until the next commit see one state, the newest. */
static err_t
begin_reading(struct db *db)
{
	uint64_t commits = atomic_load(&db->commits);

	if (db->r->reading && (db->r->scans > 0 || db->r->commits == commits))
		return 0;
	db_end_reading(db);

	int rc = sqlite3_step(db->r->begin);
	err_t e = db_error(db->r->conn, rc);

	sqlite3_reset(db->r->begin);
	db->r->reading = !e;
	db->r->commits = commits;
	return e;
}

/* Appends the plaintext of the row in that column of the statement's current result. */
static err_t
open_column(struct db *db, sqlite3_stmt *s, int column, enum db_table table, uint64_t a, uint64_t b, struct bytes *out)
{
	uint8_t aad[DB_AAD_LEN];
	const uint8_t *row = sqlite3_column_blob(s, column);

	if (!row && sqlite3_errcode(db->r->conn) == SQLITE_NOMEM)
		return -ENOMEM;
	db_make_aad(aad, table, a, b);
	atomic_fetch_add_explicit(&db->reads, 1, memory_order_relaxed);
	return rowseal_open(db->rs, aad, sizeof(aad), row, (size_t)sqlite3_column_bytes(s, column), out);
}

err_t
db_get(struct db *db, enum db_table table, uint64_t a, uint64_t b, struct bytes *out)
{
	if (!db_is_key(a, b))
		return -ENOENT;

	err_t e = begin_reading(db);

	if (!e)
		e = prepare(db->r, SQL[table].get, &db->r->get[table]);
	if (e)
		return e;

	CLEANUP(reset) sqlite3_stmt *s = db->r->get[table];
	int rc = sqlite3_bind_int64(s, 1, (int64_t)a);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(s) > 1)
		rc = sqlite3_bind_int64(s, 2, (int64_t)b);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_DONE)
		return -ENOENT;
	return rc == SQLITE_ROW ? open_column(db, s, 0, table, a, b, out) : db_error(db->r->conn, rc);
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
	return db_error(db->r->conn, rc);
}

/* Binds p1, p2 and the limit, and hands the rows to fn. */
static err_t
scan(struct db *db, const char *sql, sqlite3_stmt **stmt, enum db_table table, int64_t p1, int64_t p2, int64_t limit,
    db_row_fn *fn, void *ctx)
{
	CLEANUP(bytes_clear) struct bytes plain = {0};
	err_t e = prepare(db->r, sql, stmt);

	if (e)
		return e;
	assert(!sqlite3_stmt_busy(*stmt));

	CLEANUP(reset) sqlite3_stmt *s = *stmt;
	int rc = SQLITE_DONE;

	e = begin_reading(db);
	if (!e)
		e = bind_range(db, s, p1, p2, limit);
	db->r->scans++;
	while (!e && (rc = sqlite3_step(s)) == SQLITE_ROW)
		e = hand_out(db, s, table, &plain, fn, ctx);
	db->r->scans--;
	return e ? e : db_error(db->r->conn, rc);
}

/*
 * From keys[*at] on, in one walk along the table.  Ends, with *at at a key that is not done, where a gap is so wide that finding
 * the way anew is cheaper than walking on.
 */
static err_t
walk_keys(struct db *db, enum db_table table, const uint64_t *keys, size_t count, size_t *at, db_row_fn *fn, void *ctx)
{
	CLEANUP(bytes_clear) struct bytes plain = {0};
	CLEANUP(reset) sqlite3_stmt *s = db->r->all[table];
	err_t e = bind_range(db, s, (int64_t)keys[*at] - 1, 0, -1);
	int rc = SQLITE_ROW;

	/* Its callbacks may read, too. */
	db->r->scans++;
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
	db->r->scans--;
	if (!e && rc == SQLITE_DONE)
		*at = count;
	return e ? e : db_error(db->r->conn, rc);
}

err_t
db_get_many(struct db *db, enum db_table table, const uint64_t *keys, size_t count, db_row_fn *fn, void *ctx)
{
	size_t at = 0;
	err_t e = begin_reading(db);

	if (!e)
		e = prepare(db->r, SQL[table].all, &db->r->all[table]);
	while (count > 0 && !db_is_key(keys[count - 1], 0))
		count--;
	while (!e && at < count)
		e = walk_keys(db, table, keys, count, &at, fn, ctx);
	return e;
}

err_t
db_find_dentry(struct db *db, uint64_t parent, int64_t hash, db_row_fn *fn, void *ctx)
{
	if (!db_is_key(parent, 0))
		return 0;
	return scan(db, FIND_DENTRY, &db->r->find_dentry, DB_DENTRY, (int64_t)parent, hash, -1, fn, ctx);
}

err_t
db_scan(struct db *db, enum db_table table, uint64_t a, uint64_t from, unsigned limit, db_row_fn *fn, void *ctx)
{
	if (!db_is_key(a, from))
		return 0;
	return scan(db, SQL[table].scan, &db->r->scan[table], table, (int64_t)a, (int64_t)from, limit, fn, ctx);
}

/* The greatest key that is not behind (a, b): they may be beyond what SQLite can hold. */
static err_t
scan_after(struct db *db, const char *sql, sqlite3_stmt **s, enum db_table table, uint64_t a, uint64_t b, unsigned limit,
    db_row_fn *fn, void *ctx)
{
	int64_t p1 = a <= INT64_MAX ? (int64_t)a : INT64_MAX;
	int64_t p2 = a <= INT64_MAX && b <= INT64_MAX ? (int64_t)b : INT64_MAX;

	return scan(db, sql, s, table, p1, p2, limit, fn, ctx);
}

err_t
db_scan_marked(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit, db_row_fn *fn,
    void *ctx)
{
	return scan_after(db, SQL[table].marked, &db->r->marked[table], table, after_a, after_b, limit, fn, ctx);
}

err_t
db_scan_removed(struct db *db, db_row_fn *fn, void *ctx)
{
	return scan(db, REMOVED, &db->r->removed, DB_INODE, 0, 0, -1, fn, ctx);
}

err_t
db_scan_all(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit, db_row_fn *fn,
    void *ctx)
{
	return scan_after(db, SQL[table].all, &db->r->all[table], table, after_a, after_b, limit, fn, ctx);
}
