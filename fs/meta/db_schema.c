/* db_schema.c: the SQL of every version of the tables, and the way from one to the next. */
#include "db_schema.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "db_private.h"

/* SQLite's tables know each row's key, its marks and its sealed bytes.  The indexes are partial: they hold what is marked. */
static const char *const STEPS[] = {
	"CREATE TABLE inode(ino INTEGER PRIMARY KEY, mark INTEGER NOT NULL, state INTEGER NOT NULL, row BLOB NOT NULL) STRICT;"
	"CREATE INDEX inode_marked ON inode(ino) WHERE mark != 0;"
	"CREATE INDEX inode_removed ON inode(ino) WHERE state != 0;"
	"CREATE TABLE dentry(parent INTEGER NOT NULL, cookie INTEGER NOT NULL, hash INTEGER NOT NULL, mark INTEGER NOT NULL,"
	" row BLOB NOT NULL, PRIMARY KEY(parent, cookie)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX dentry_hash ON dentry(parent, hash);"
	"CREATE INDEX dentry_marked ON dentry(parent, cookie) WHERE mark != 0;"
	"CREATE TABLE chunk(ino INTEGER NOT NULL, no INTEGER NOT NULL, mark INTEGER NOT NULL, row BLOB NOT NULL,"
	" PRIMARY KEY(ino, no)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX chunk_marked ON chunk(ino, no) WHERE mark != 0;"
	"CREATE TABLE xattrs(ino INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;"
	"CREATE TABLE segment(id INTEGER PRIMARY KEY, mark INTEGER NOT NULL, row BLOB NOT NULL) STRICT;"
	"CREATE INDEX segment_marked ON segment(id) WHERE mark != 0;"
	"CREATE TABLE kv(key INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;"
	"CREATE TABLE redo(seg INTEGER NOT NULL, off INTEGER NOT NULL, row BLOB NOT NULL, PRIMARY KEY(seg, off)) STRICT;"
	"CREATE TABLE statement(number INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;"
	"CREATE TABLE session(id INTEGER PRIMARY KEY, salt BLOB NOT NULL) STRICT;",
	/* A chunk in many pieces is a head in `chunk`, and parts. */
	"CREATE TABLE chunk_part(ino INTEGER NOT NULL, no INTEGER NOT NULL, row BLOB NOT NULL,"
	" PRIMARY KEY(ino, no)) STRICT, WITHOUT ROWID;",
};

const struct db_schema db_schema_known = {
	.application_id = 0x736e7567, /* "snug" */
	.first = 2,
	.steps = STEPS,
	.step_count = ARRAY_LEN(STEPS),
};

/* Within a transaction: steps from that one on, and whose and which version the file is then. */
static err_t
run_steps(sqlite3 *conn, const struct db_schema *s, size_t from)
{
	CLEANUP(free_ptr) char *marks = NULL;
	err_t e = 0;

	if (asprintf(&marks, "PRAGMA application_id = %u; PRAGMA user_version = %zu", s->application_id,
	    s->first + s->step_count - 1) < 0)
		return -ENOMEM;
	for (size_t k = from; k < s->step_count && !e; k++)
		e = db_exec(conn, s->steps[k]);
	return e ? e : db_exec(conn, marks);
}

static err_t
run_in_transaction(sqlite3 *conn, const struct db_schema *s, size_t from)
{
	err_t e = db_exec(conn, "BEGIN IMMEDIATE");

	if (e)
		return e;
	e = run_steps(conn, s, from);
	if (!e)
		e = db_exec(conn, "COMMIT");
	/* SQLite has rolled back by itself after some errors. */
	if (e && !sqlite3_get_autocommit(conn))
		(void)sqlite3_exec(conn, "ROLLBACK", NULL, NULL, NULL);
	return e;
}

err_t
db_schema_make(void *conn, const struct db_schema *s)
{
	return run_in_transaction(conn, s, 0);
}

err_t
db_schema_bring_up(void *conn, const struct db_schema *s)
{
	int64_t id = 0;
	int64_t version = 0;
	err_t e = db_query_int(conn, "PRAGMA application_id", &id);

	if (!e)
		e = db_query_int(conn, "PRAGMA user_version", &version);
	if (!e && id != s->application_id)
		e = -EBADMSG;
	if (e)
		return e;

	int64_t step = version - s->first; /* the one that made it */

	if (step < 0 || step >= (int64_t)s->step_count)
		return -EPROTO;
	return step + 1 == (int64_t)s->step_count ? 0 : run_in_transaction(conn, s, (size_t)step + 1);
}
