/* The tables of meta.db: an old version becomes the new one with all that was in it, wholly or not at all. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db_private.h"
#include "db_schema.h"

static const char *const STEPS[] = {
	"CREATE TABLE shelf(book TEXT) STRICT; CREATE TABLE lent(book TEXT) STRICT;",
	"ALTER TABLE shelf ADD COLUMN place INTEGER NOT NULL DEFAULT 0;",
	"CREATE INDEX shelf_place ON shelf(place); UPDATE shelf SET place = 7; DROP TABLE lent;",
};
static const char *const FAILING[] = {
	"CREATE TABLE shelf(book TEXT) STRICT; CREATE TABLE lent(book TEXT) STRICT;",
	"ALTER TABLE shelf ADD COLUMN place INTEGER NOT NULL DEFAULT 0;",
	"UPDATE shelf SET place = 7; DROP TABLE no_such_table;",
};

static struct db_schema
versions(const char *const *steps, size_t count)
{
	return (struct db_schema){.application_id = 77, .first = 2, .steps = steps, .step_count = count};
}

static int
setup(void **state)
{
	sqlite3 *conn = NULL;

	*state = NULL;
	if (sqlite3_open(":memory:", &conn) != SQLITE_OK)
		return -1;
	*state = conn;
	return 0;
}

static int
teardown(void **state)
{
	return sqlite3_close(*state);
}

static int64_t
number(sqlite3 *conn, const char *sql)
{
	int64_t n = 0;

	assert_int_equal(db_query_int(conn, sql, &n), 0);
	return n;
}

static void
make(sqlite3 *conn, const char *const *steps, size_t count)
{
	const struct db_schema s = versions(steps, count);

	assert_int_equal(db_schema_make(conn, &s), 0);
	assert_int_equal(db_exec(conn, "INSERT INTO shelf(book) VALUES('Emma'), ('Persuasion')"), 0);
}

static void
a_database_of_any_version_becomes_the_last_one_and_keeps_what_it_has(void **state)
{
	const struct db_schema last = versions(STEPS, 3);
	sqlite3 *conn = *state;

	make(conn, STEPS, 1);
	assert_int_equal(number(conn, "PRAGMA user_version"), 2);
	assert_int_equal(db_schema_bring_up(conn, &last), 0);
	assert_int_equal(number(conn, "PRAGMA user_version"), 4);
	assert_int_equal(number(conn, "SELECT count(*) FROM shelf WHERE place = 7"), 2);
	/* Once: what is added later is not touched by the same steps again. */
	assert_int_equal(db_exec(conn, "UPDATE shelf SET place = 8"), 0);
	assert_int_equal(db_schema_bring_up(conn, &last), 0);
	assert_int_equal(number(conn, "SELECT count(*) FROM shelf WHERE place = 8"), 2);
}

static void
a_new_database_has_the_same_tables_as_one_that_was_brought_up(void **state)
{
	static const char SHAPE[] = "SELECT sum(length(sql)) FROM sqlite_schema";
	const struct db_schema last = versions(STEPS, 3);
	sqlite3 *conn = *state, *other = NULL;

	assert_int_equal(sqlite3_open(":memory:", &other), SQLITE_OK);
	make(conn, STEPS, 2);
	assert_int_equal(db_schema_bring_up(conn, &last), 0);
	make(other, STEPS, 3);
	assert_int_equal(number(conn, SHAPE), number(other, SHAPE));
	assert_int_equal(number(other, "PRAGMA application_id"), 77);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

static void
a_step_that_fails_leaves_the_version_before_all_steps(void **state)
{
	const struct db_schema failing = versions(FAILING, 3);
	const struct db_schema last = versions(STEPS, 3);
	int64_t unused;
	sqlite3 *conn = *state;

	make(conn, STEPS, 1);
	assert_int_not_equal(db_schema_bring_up(conn, &failing), 0);
	assert_true(sqlite3_get_autocommit(conn));
	assert_int_equal(number(conn, "PRAGMA user_version"), 2);
	assert_int_not_equal(db_query_int(conn, "SELECT place FROM shelf", &unused), 0);
	assert_int_equal(db_schema_bring_up(conn, &last), 0);
	assert_int_equal(number(conn, "SELECT count(*) FROM shelf WHERE place = 7"), 2);
}

static void
a_version_that_is_not_known_is_refused_and_left_as_it_is(void **state)
{
	const struct db_schema last = versions(STEPS, 3);
	const struct db_schema older = versions(STEPS, 2);
	struct db_schema others = last;
	sqlite3 *conn = *state;

	make(conn, STEPS, 3);
	assert_int_equal(db_schema_bring_up(conn, &older), -EPROTO); /* of a later version */
	assert_int_equal(number(conn, "PRAGMA user_version"), 4);
	assert_int_equal(db_exec(conn, "PRAGMA user_version = 1"), 0);
	assert_int_equal(db_schema_bring_up(conn, &last), -EPROTO); /* from before the first */
	assert_int_equal(number(conn, "PRAGMA user_version"), 1);
	others.application_id = 78;
	assert_int_equal(db_schema_bring_up(conn, &others), -EBADMSG);
}

static void
the_version_of_the_first_release_is_the_one_that_the_page_names(void **state)
{
	/* snugfs-format(5): a vault of that version is opened by every later one. */
	assert_int_equal(db_schema_known.first, 2);
	assert_int_equal(db_schema_known.application_id, 0x736e7567);
	(void)state;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_database_of_any_version_becomes_the_last_one_and_keeps_what_it_has, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_database_has_the_same_tables_as_one_that_was_brought_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_step_that_fails_leaves_the_version_before_all_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(a_version_that_is_not_known_is_refused_and_left_as_it_is, setup, teardown),
		cmocka_unit_test(the_version_of_the_first_release_is_the_one_that_the_page_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
