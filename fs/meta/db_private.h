/*
 * db_private.h: what db*.c share, and nobody else.  conn is an sqlite3 *, of which no header knows.
 */
#ifndef SNUGFS_DB_PRIVATE_H
#define SNUGFS_DB_PRIVATE_H

#include <stdint.h>

#include "err.h"

/* A connection to a database that is there, as db.c wants them. */
MUST_CHECK err_t db_connect(const char *path, int busy_ms, void **out);
MUST_CHECK err_t db_exec(void *conn, const char *sql);
/* The first column of the first row.  -EBADMSG: there is none. */
MUST_CHECK err_t db_query_int(void *conn, const char *sql, int64_t *out);

#endif
