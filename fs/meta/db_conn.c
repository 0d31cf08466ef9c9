/*
 * db_conn.c: connections to meta.db, and SQLite's errors as the house has them.
 */
#include "db_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * The file is ours alone while it is open (others get "database is locked"), the index of the WAL is in ordinary memory, and
 * nothing is mapped: a file that somebody cuts short is an error then, where touching the mapping would end the process.
 */
#define SQLITE_VFS "unix-excl"

/* The schema of a file that others may have touched is not trusted to call functions; every page is checked when read. */
static const char COMMON_PRAGMAS[] =
    "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;"
    "PRAGMA journal_size_limit = " STR(DB_WAL_LARGE) "; PRAGMA cache_size = -16384; PRAGMA synchronous = FULL;";

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

err_t
db_error(void *conn, int rc)
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
	return db_error(conn, sqlite3_exec(conn, sql, NULL, NULL, NULL));
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

	err_t e = rc == SQLITE_DONE ? -EBADMSG : db_error(conn, rc);

	sqlite3_finalize(s);
	return e;
}

err_t
db_connect(const char *path, int busy_ms, void **out)
{
	sqlite3 *conn = NULL;
	int rc = sqlite3_open_v2(path, &conn,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE, SQLITE_VFS);
	err_t e = conn ? db_error(conn, rc) : -ENOMEM;

	if (!e && sqlite3_db_readonly(conn, "main"))
		e = access(path, W_OK) ? from_errno(errno, -EACCES) : -EROFS;
	if (!e)
		e = db_error(conn, sqlite3_busy_timeout(conn, busy_ms));
	if (!e)
		e = db_error(conn, sqlite3_db_config(conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL));
	if (!e)
		e = db_exec(conn, COMMON_PRAGMAS);
	if (e) {
		sqlite3_close(conn);
		return e;
	}
	*out = conn;
	return 0;
}

err_t
db_prepare(void *conn, const char *sql, void *stmt_out)
{
	sqlite3_stmt **out = stmt_out;

	if (!sql)
		return 0;
	return db_error(conn, sqlite3_prepare_v3(conn, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

void
db_disconnect(void *conn)
{
	sqlite3_stmt *s;

	while (conn && (s = sqlite3_next_stmt(conn, NULL)))
		sqlite3_finalize(s);
	sqlite3_close(conn);
}

err_t
db_make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? -EEXIST : from_errno(errno, -EIO);
	close(fd);
	return 0;
}

void
db_remove_files(const char *path)
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
