/*
 * db.c: meta.db.  The only file that knows SQLite: its schema, three connections (reading, writing, checkpoints), the
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

#include "db_sql.h"

#define AAD_LEN (1 + 8 + 8)
#define PAGE_LEN 4096
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
};

struct writer {
	sqlite3 *conn;
	sqlite3_stmt *put[TABLE_COUNT];
	sqlite3_stmt *del[TABLE_COUNT];
	sqlite3_stmt *put_session;
	sqlite3_stmt *drop_redo;
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
	struct writer w; /* the one thread that writes; so is session */
	enum session_state session;
	uint32_t session_number; /* before SESSION_STARTED: the highest in the file */
	uint8_t session_salt[ROWSEAL_SALT_LEN];
	sqlite3 *checkpointer; /* the one thread that calls db_checkpoint */
	_Atomic uint64_t reads;
	_Atomic uint64_t rows_written;
	_Atomic uint64_t commits;
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

static err_t
exec(sqlite3 *conn, const char *sql)
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

	int rc = sqlite3_bind_int64(s, 1, (int64_t)a);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(s) > 1)
		rc = sqlite3_bind_int64(s, 2, (int64_t)b);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_DONE)
		return -ENOENT;
	return rc == SQLITE_ROW ? open_column(db, s, 0, table, a, b, out) : from_sqlite(db->r.conn, rc);
}

/* Binds p1, p2 and the limit, and hands the rows to fn. */
static err_t
scan(struct db *db, sqlite3_stmt *stmt, enum db_table table, int64_t p1, int64_t p2, int64_t limit, db_row_fn *fn,
    void *ctx)
{
	CLEANUP(bytes_clear) struct bytes plain = {0};

	assert(!sqlite3_stmt_busy(stmt));

	CLEANUP(reset) sqlite3_stmt *s = stmt;
	int rc = sqlite3_bind_int64(s, 1, p1);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 2, p2);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 3, limit);
	if (rc != SQLITE_OK)
		return from_sqlite(db->r.conn, rc);

	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		uint64_t a = (uint64_t)sqlite3_column_int64(s, 0);
		uint64_t b = (uint64_t)sqlite3_column_int64(s, 1);
		uint32_t mark = (uint32_t)sqlite3_column_int64(s, 2);
		uint32_t state = (uint32_t)sqlite3_column_int64(s, 3);

		bytes_reset(&plain);

		err_t e = open_column(db, s, 4, table, a, b, &plain);

		if (!e)
			e = fn(ctx, a, b, mark, state, plain.data, plain.len);
		if (e)
			return e;
	}
	return from_sqlite(db->r.conn, rc);
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
db_count_marked(struct db *db, enum db_table table, uint64_t *count_out)
{
	sqlite3_stmt *s = NULL;
	int rc;

	assert(COUNT_MARKED[table]);
	rc = sqlite3_prepare_v2(db->r.conn, COUNT_MARKED[table], -1, &s, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*count_out = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return rc == SQLITE_ROW ? 0 : from_sqlite(db->r.conn, rc);
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

/* Writing. */

/* The row that stands for all of DB_REDO. */
static bool
is_drop_redo(const struct db_row *row)
{
	return row->table == DB_REDO && row->a == UINT64_MAX && row->b == UINT64_MAX && row->data == NULL;
}

/*
 * By key, so that SQLite walks each tree once.  What deletes a whole table stands before all puts to it, and a delete before a
 * put of the same key.
 */
static int
compare_rows(const void *p, const void *q)
{
	const struct db_row *x = p;
	const struct db_row *y = q;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	if (is_drop_redo(x) != is_drop_redo(y))
		return is_drop_redo(x) ? -1 : 1;
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

/* Appends all sealed rows to out, in order. */
static err_t
seal_rows(struct db *db, const struct db_row *rows, size_t count, struct bytes *out)
{
	size_t total = 0;
	uint8_t *unused;

	for (size_t i = 0; i < count; i++)
		total += rows[i].data ? rows[i].len + ROWSEAL_OVERHEAD : 0;

	/* Room for all at once: the buffer does not move while it fills. */
	err_t e = bytes_extend(out, total, &unused);

	bytes_reset(out);
	for (size_t i = 0; i < count && !e; i++) {
		uint8_t aad[AAD_LEN];

		if (!rows[i].data)
			continue;
		make_aad(aad, rows[i].table, rows[i].a, rows[i].b);
		e = rowseal_seal(db->rs, aad, sizeof(aad), rows[i].data, rows[i].len, out);
	}
	return e;
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
	if (is_drop_redo(row))
		return run(db, db->w.drop_redo);

	sqlite3_stmt *s = db->w.del[row->table];
	int rc = sqlite3_bind_int64(s, 1, (int64_t)row->a);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(s) > 1)
		rc = sqlite3_bind_int64(s, 2, (int64_t)row->b);
	return rc == SQLITE_OK ? run(db, s) : from_sqlite(db->w.conn, rc);
}

static err_t
put_row(struct db *db, const struct db_row *row, const uint8_t *sealed)
{
	sqlite3_stmt *s = db->w.put[row->table];
	const int64_t keys[] = {(int64_t)row->a, (int64_t)row->b, row->hash, row->mark, row->state};
	int rc = SQLITE_OK;

	for (int k = 0; k < (int)ARRAY_LEN(keys) && rc == SQLITE_OK; k++)
		rc = sqlite3_bind_int64(s, k + 1, keys[k]);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob64(s, 6, sealed, row->len + ROWSEAL_OVERHEAD, SQLITE_STATIC);
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

/* Within a transaction; sealed: the puts' rows, one after the other. */
static err_t
write_rows(struct db *db, const struct db_row *rows, size_t count, const uint8_t *sealed)
{
	err_t e = db->session == SESSION_STORED ? 0 : put_session(db);

	for (size_t i = 0; i < count && !e; i++) {
		if (!rows[i].data) {
			e = delete_row(db, &rows[i]);
		} else {
			e = put_row(db, &rows[i], sealed);
			sealed += rows[i].len + ROWSEAL_OVERHEAD;
		}
	}
	return e;
}

err_t
db_write(struct db *db, struct db_row *rows, size_t count)
{
	CLEANUP(bytes_clear) struct bytes sealed = {0};

	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		assert((unsigned)rows[i].table < TABLE_COUNT && (is_drop_redo(&rows[i]) || is_key(rows[i].a, rows[i].b)));
	qsort(rows, count, sizeof(*rows), compare_rows);

	err_t e = start_session(db);

	/* Sealed before the transaction begins, so that this is short. */
	if (!e)
		e = seal_rows(db, rows, count, &sealed);
	if (!e)
		e = run(db, db->w.begin);
	if (e)
		return e;
	e = write_rows(db, rows, count, sealed.data);
	if (!e)
		e = run(db, db->w.commit);
	if (e) {
		/* SQLite has rolled back by itself after some errors; after others a failing rollback changes nothing. */
		if (!sqlite3_get_autocommit(db->w.conn))
			(void)run(db, db->w.rollback);
		return e;
	}
	db->session = SESSION_STORED;
	atomic_fetch_add_explicit(&db->rows_written, count, memory_order_relaxed);
	atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
	return 0;
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

void
db_stats(struct db *db, struct db_stats *out)
{
	out->reads = atomic_load_explicit(&db->reads, memory_order_relaxed);
	out->rows_written = atomic_load_explicit(&db->rows_written, memory_order_relaxed);
	out->commits = atomic_load_explicit(&db->commits, memory_order_relaxed);
}

/* Opening and closing. */

/* The schema of a file that others may have touched is not trusted to call functions; every page is checked when read. */
static const char COMMON_PRAGMAS[] =
    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;"
    "PRAGMA journal_size_limit = " STR(WAL_LARGE) "; PRAGMA cache_size = -16384; PRAGMA synchronous = FULL;";
static const char READER_PRAGMAS[] = "PRAGMA mmap_size = 268435456; PRAGMA query_only = ON;";

static err_t
connect(const char *path, int busy_ms, sqlite3 **out)
{
	sqlite3 *conn = NULL;
	int rc = sqlite3_open_v2(path, &conn,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE, NULL);
	err_t e = conn ? from_sqlite(conn, rc) : -ENOMEM;

	if (!e && sqlite3_db_readonly(conn, "main"))
		e = access(path, W_OK) ? from_errno(errno, -EACCES) : -EROFS;
	if (!e)
		e = from_sqlite(conn, sqlite3_busy_timeout(conn, busy_ms));
	if (!e)
		e = from_sqlite(conn, sqlite3_db_config(conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL));
	if (!e)
		e = exec(conn, COMMON_PRAGMAS);
	if (e) {
		sqlite3_close(conn);
		return e;
	}
	*out = conn;
	return 0;
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
	err_t e = exec(r->conn, READER_PRAGMAS);

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
		e = prepare(w->conn, DROP_REDO, &w->drop_redo);
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
	disconnect(db->r.conn);
	disconnect(db->checkpointer);
	disconnect(db->w.conn);
	free(db);
}

static err_t
query_int(sqlite3 *conn, const char *sql, int64_t *out)
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

/* Before anything is written to it. */
static err_t
check_format(sqlite3 *conn)
{
	int64_t id = 0;
	int64_t version = 0;
	err_t e = query_int(conn, "PRAGMA application_id", &id);

	if (!e)
		e = query_int(conn, "PRAGMA user_version", &version);
	if (!e && id != APPLICATION_ID)
		e = -EBADMSG;
	if (!e && version != SCHEMA_VERSION)
		e = -EPROTO;
	return e;
}

static err_t
make_schema(sqlite3 *conn)
{
	err_t e = exec(conn, "PRAGMA page_size = " STR(PAGE_LEN) "; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;");

	if (!e)
		e = exec(conn, SCHEMA);
	if (!e)
		e = exec(conn, "COMMIT");
	return e;
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
open_all(struct db *db, const char *path, bool create)
{
	err_t e = connect(path, WRITER_BUSY_MS, &db->w.conn);

	if (!e)
		e = create ? make_schema(db->w.conn) : check_format(db->w.conn);
	if (!e)
		e = connect(path, WRITER_BUSY_MS, &db->r.conn);
	if (!e)
		e = connect(path, 0, &db->checkpointer);
	if (!e)
		e = prepare_writer(&db->w);
	if (!e)
		e = prepare_reader(&db->r);
	if (!e)
		e = load_sessions(db);
	if (!e)
		e = create ? put_probe(db) : check_probe(db);
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
