/* The loops that make every record durable: a log, and SQLite as it is without any PRAGMA. */
#include "loops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#define LOG_LINE "%07u the quick brown fox jumps over the lazy dog, and the lazy dog writes a line about it to the log\n"

/* PATH COUNT: lines appended, each fsynced. */
int
do_log(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]);
	int fd = open(argv[0], O_WRONLY | O_CREAT | O_APPEND, 0644), failed = 0;
	double start = now();

	if (fd < 0)
		return fail("%s", argv[0]);
	for (uint32_t i = 0; i < count && failed == 0; i++)
		if (dprintf(fd, LOG_LINE, i) < 0 || fsync(fd) < 0)
			failed = fail("line %u", i);
	out->seconds = now() - start;
	out->count = count;
	close(fd);
	return failed;
}

/* PATH COUNT */
int
do_check_log(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]), i = 0;
	char got[256], wanted[256];
	double start = now();
	FILE *f = fopen(argv[0], "r");

	if (!f)
		return fail("%s", argv[0]);
	while (fgets(got, sizeof(got), f)) {
		snprintf(wanted, sizeof(wanted), LOG_LINE, i);
		if (strcmp(got, wanted) != 0)
			break;
		i++;
	}
	fclose(f);
	errno = 0;
	if (i != count)
		return fail("line %u of the log is wrong or missing", i);
	out->seconds = now() - start;
	out->count = count;
	return 0;
}

static int
sql_fail(sqlite3 *db)
{
	errno = 0;
	fail("SQLite: %s", sqlite3_errmsg(db));
	sqlite3_close(db);
	return -1;
}

/* Runs `insert` for 1...count, the number being ?1 and a mixed one ?2, in one transaction if `bulk`. */
static int
sql_insert(const char *path, const char *schema, const char *insert, uint32_t count, bool bulk, struct result *out)
{
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	double start;
	int rc = SQLITE_DONE;

	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, insert, -1, &stmt, NULL) != SQLITE_OK)
		return sql_fail(db);
	start = now();
	if (bulk && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		rc = SQLITE_ERROR;
	for (uint32_t i = 1; i <= count && rc == SQLITE_DONE; i++) {
		sqlite3_bind_int64(stmt, 1, i);
		sqlite3_bind_int64(stmt, 2, (int64_t)(i * 2654435761U));
		rc = sqlite3_step(stmt);
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	if (rc != SQLITE_DONE || (bulk && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK))
		return sql_fail(db);
	out->seconds = now() - start;
	out->count = count;
	sqlite3_close(db);
	return 0;
}

/* PATH COUNT: one row in each transaction. */
int
do_sql_single(char **argv, struct result *out)
{
	return sql_insert(argv[0], "CREATE TABLE single (id INTEGER PRIMARY KEY, key INTEGER, text TEXT)",
		"INSERT INTO single VALUES (?1, ?2, printf('row %d of the table', ?1))",
		number_of(argv[1]), false, out);
}

/* PATH COUNT: rows in one transaction, with an index in another order. */
int
do_sql_bulk(char **argv, struct result *out)
{
	return sql_insert(argv[0], "CREATE TABLE bulk (id INTEGER PRIMARY KEY, key INTEGER, text TEXT); CREATE INDEX by_key ON bulk (key)",
		"INSERT INTO bulk VALUES (?1, ?2, printf('row %d of the table, %100d', ?1, ?2))",
		number_of(argv[1]), true, out);
}

/* PATH SINGLE BULK: both tables have that many rows, and the file is sound. */
int
do_sql_check(char **argv, struct result *out)
{
	char wanted[128];
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	bool good;

	snprintf(wanted, sizeof(wanted), "%s %s %s %s ok", argv[1], argv[1], argv[2], argv[2]);
	if (sqlite3_open(argv[0], &db) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "SELECT count(*) || ' ' || max(id) || ' ' || (SELECT count(*) || ' ' || max(id) FROM bulk) || ' ' || "
	    "(SELECT integrity_check FROM pragma_integrity_check) FROM single", -1, &stmt, NULL) != SQLITE_OK)
		return sql_fail(db);
	good = sqlite3_step(stmt) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(stmt, 0), wanted) == 0;
	sqlite3_finalize(stmt);
	if (!good)
		return sql_fail(db);
	sqlite3_close(db);
	out->count = 2;
	return 0;
}
