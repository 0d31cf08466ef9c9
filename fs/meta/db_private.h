/*
 * db_private.h: what db*.c share, and nobody else.  conn is an sqlite3 *, of which no header knows.
 */
#ifndef SNUGFS_DB_PRIVATE_H
#define SNUGFS_DB_PRIVATE_H

#include <stdint.h>

#include "err.h"

MUST_CHECK err_t db_exec(void *conn, const char *sql);
/* The first column of the first row.  -EBADMSG: there is none. */
MUST_CHECK err_t db_query_int(void *conn, const char *sql, int64_t *out);

#endif
