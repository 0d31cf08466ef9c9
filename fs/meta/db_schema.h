/*
 * db_schema.h: the tables of meta.db, from nothing or from those of an earlier version.
 *
 * A schema is a row of steps: the first makes the tables of the first released version, each other one makes the next version's
 * tables out of the ones before it.  A new database goes the same way as an old one, so that both end alike.  A step that was released
 * is never changed; one that is added is SQL only: what rows hold is sealed, and records have versions of their own (records.h).
 * For db*.c only: conn is an sqlite3 *, of which no header knows.
 */
#ifndef SNUGFS_DB_SCHEMA_H
#define SNUGFS_DB_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct db_schema {
	uint32_t application_id;
	uint32_t first; /* the version that steps[0] makes */
	const char *const *steps;
	size_t step_count;
};
extern const struct db_schema db_schema_known;

/* In an empty file: all steps, in one transaction. */
MUST_CHECK err_t db_schema_make(void *conn, const struct db_schema *s);
/*
 * The steps that are missing, in one transaction: a power cut leaves the old version or the new one.  -EBADMSG: not ours;
 * -EPROTO: a version from before the first or after the last; nothing was written then.
 */
MUST_CHECK err_t db_schema_bring_up(void *conn, const struct db_schema *s);

#endif
