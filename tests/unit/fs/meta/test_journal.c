/*
 * The journal: what was put there is in the database when that is opened again, all of it and nothing else; and a row's
 * difference from the version before brings it back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "disk.h"
#include "rowdiff.h"
#include "secmem.h"

#define BLOCK_LEN 4096

static const uint8_t LOCAL_KEY[32] = {1, 2, 3};

struct fixture {
	char dir[32];
	char path[64];
	char journal[80];
	struct rowseal *rs;
	struct db *db;
};

static void
open_db(struct fixture *f, bool create)
{
	assert_int_equal(rowseal_new(LOCAL_KEY, &f->rs), 0);
	assert_int_equal(db_open(f->path, create, f->rs, &f->db), 0);
}

static void
close_db(struct fixture *f)
{
	db_close(f->db);
	rowseal_free(f->rs);
}

static void
reopen(struct fixture *f)
{
	close_db(f);
	open_db(f, false);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	strcpy(f->dir, "/tmp/test_journal.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/meta.db", f->dir);
	snprintf(f->journal, sizeof(f->journal), "%s.journal", f->path);
	open_db(f, true);
	assert_int_equal(db_journal_make_room(f->db), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	disk_watch(NULL, NULL);
	close_db(f);
	(void)unlink(f->path);
	(void)unlink(f->journal);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static struct db_row
row_of(uint64_t ino, const char *text)
{
	return (struct db_row){.table = DB_INODE, .a = ino, .data = (const uint8_t *)text, .len = text ? strlen(text) : 0};
}

static void
journal(struct fixture *f, uint64_t ino, const char *text)
{
	const struct db_row row = row_of(ino, text);

	assert_int_equal(db_journal(f->db, &row, 1), 0);
}

static void
store(struct fixture *f, uint64_t ino, const char *text)
{
	struct db_row row = row_of(ino, text);

	assert_int_equal(db_write(f->db, &row, 1), 0);
}

/* text NULL: there is no such row. */
static void
assert_row(struct fixture *f, uint64_t ino, const char *text)
{
	struct bytes got = {0};

	assert_int_equal(db_get(f->db, DB_INODE, ino, 0, &got), text ? 0 : -ENOENT);
	assert_int_equal(got.len, text ? strlen(text) : 0);
	if (text)
		assert_memory_equal(got.data, text, got.len);
	bytes_clear(&got);
}

static void
spoil(struct fixture *f, off_t off)
{
	int fd = open(f->journal, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, off), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, off), 1);
	close(fd);
}

static err_t
count_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	(void)a;
	(void)b;
	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	++*(unsigned *)ctx;
	return 0;
}

static void
rows_are_in_the_database_when_it_is_opened_again(void **state)
{
	struct fixture *f = *state;
	struct db_row rows[] = {
		row_of(5, "five"),
		{.table = DB_DENTRY, .a = 1, .b = 2, .hash = 77, .mark = 1, .data = (const uint8_t *)"name", .len = 4},
		{.table = DB_REDO, .a = 3, .b = 4, .data = (const uint8_t *)"", .len = 0},
	};
	struct bytes got = {0};
	unsigned marked = 0;

	assert_int_equal(db_journal(f->db, rows, ARRAY_LEN(rows)), 0);
	assert_row(f, 5, NULL);
	reopen(f);
	assert_row(f, 5, "five");
	assert_int_equal(db_get(f->db, DB_DENTRY, 1, 2, &got), 0);
	assert_int_equal(got.len, 4);
	assert_int_equal(db_get(f->db, DB_REDO, 3, 4, &got), 0);
	assert_int_equal(got.len, 4);
	assert_int_equal(db_scan_marked(f->db, DB_DENTRY, 0, 0, 10, count_row, &marked), 0);
	assert_int_equal(marked, 1);
	bytes_clear(&got);
}

static void
the_last_version_of_a_row_counts_and_a_deletion_is_one(void **state)
{
	struct fixture *f = *state;

	store(f, 1, "stored");
	store(f, 2, "stored");
	journal(f, 1, "journaled");
	journal(f, 1, NULL);
	journal(f, 2, NULL);
	journal(f, 2, "again");
	journal(f, 3, "a");
	journal(f, 3, "b");
	reopen(f);
	assert_row(f, 1, NULL);
	assert_row(f, 2, "again");
	assert_row(f, 3, "b");
}

static void
long_rows_come_back_through_all_their_versions(void **state)
{
	struct fixture *f = *state;
	char text[3001];

	memset(text, 'x', sizeof(text));
	for (unsigned k = 0; k < 30; k++) {
		text[1500 + 50 * k] = '\0';
		text[k] = 'y';
		journal(f, 9, text);
		text[1500 + 50 * k] = 'z';
		if (k == 15) {
			journal(f, 9, NULL);
			journal(f, 9, "short");
		}
	}
	text[1500 + 50 * 29] = '\0';
	reopen(f);
	assert_row(f, 9, text);
}

static void
what_the_database_got_since_is_not_replayed_over(void **state)
{
	struct fixture *f = *state;

	journal(f, 1, "old");
	journal(f, 2, "old");
	store(f, 1, "new");
	reopen(f);
	assert_row(f, 1, "new");
	assert_row(f, 2, NULL); /* whoever commits has all that is in the journal among his rows */
}

static void
records_of_an_older_generation_behind_new_ones_are_not_replayed(void **state)
{
	struct fixture *f = *state;

	for (uint64_t k = 1; k <= 5; k++)
		journal(f, k, "old");
	store(f, 100, "x");
	journal(f, 1, "new");
	reopen(f);
	assert_row(f, 1, "new");
	assert_row(f, 2, NULL);
	assert_row(f, 100, "x");
}

static void
a_torn_record_and_what_is_behind_it_never_was(void **state)
{
	for (off_t at = 0; at < 100; at += 9) {
		struct fixture *f = *state;

		store(f, 1, "stored");
		journal(f, 1, "one");
		journal(f, 1, "two");
		journal(f, 1, "three");
		spoil(f, BLOCK_LEN + at % 70); /* of the second record, in its head or in what is sealed */
		reopen(f);
		assert_row(f, 1, "one");
		assert_int_equal(access(f->journal, F_OK), -1);
		store(f, 2, "x");
		assert_int_equal(db_journal_make_room(f->db), 0);
	}
}

static void
a_clean_end_leaves_no_journal_behind_and_an_unclean_one_does(void **state)
{
	struct fixture *f = *state;

	journal(f, 1, "x");
	close_db(f);
	assert_int_equal(access(f->journal, F_OK), 0);
	open_db(f, false);
	assert_int_equal(access(f->journal, F_OK), -1);
	assert_int_equal(db_journal_make_room(f->db), 0);
	store(f, 2, "y");
	assert_true(db_journal_room(f->db) > 0);
	close_db(f);
	assert_int_equal(access(f->journal, F_OK), -1);
	open_db(f, false);
}

static void
there_is_no_room_before_the_process_has_written_to_the_database(void **state)
{
	struct fixture *f = *state;

	reopen(f);
	assert_int_equal(db_journal_make_room(f->db), 0);
	assert_int_equal(db_journal_room(f->db), 0);
	store(f, 1, "x");
	assert_true(db_journal_room(f->db) > 0);
}

static err_t
fail_named(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)fd, (void)name, (void)data, (void)off, (void)len;
	return strcmp(operation, ctx) == 0 ? -EIO : 0;
}

static void
after_a_failure_there_is_no_room_until_the_database_has_everything(void **state)
{
	static const char *const operations[] = {"pwrite", "flush"};
	struct fixture *f = *state;
	const struct db_row row = row_of(1, "failed");

	for (size_t k = 0; k < ARRAY_LEN(operations); k++) {
		journal(f, 1, "fine");
		disk_watch(fail_named, (void *)(uintptr_t)operations[k]);
		assert_int_equal(db_journal(f->db, &row, 1), -EIO);
		disk_watch(NULL, NULL);
		assert_int_equal(db_journal_room(f->db), 0);
		store(f, 1, "stored");
		assert_true(db_journal_room(f->db) > 0);
	}
	journal(f, 2, "later");
	reopen(f);
	assert_row(f, 1, "stored");
	assert_row(f, 2, "later");
}

static void
a_full_journal_says_so_and_can_be_made_longer(void **state)
{
	struct fixture *f = *state;
	size_t room = db_journal_room(f->db), last = 0;
	uint8_t *data = calloc(1, room);
	struct db_row row = {.table = DB_INODE, .a = 1, .data = data, .len = room - DB_JOURNAL_ROW_OVERHEAD};

	assert_non_null(data);
	assert_int_equal(db_journal(f->db, &row, 1), 0);
	assert_int_equal(db_journal_room(f->db), 0);
	do {
		last = db_journal_room(f->db);
		assert_int_equal(db_journal_make_room(f->db), 0);
	} while (last != db_journal_room(f->db));
	assert_true(last > 4 * room);
	journal(f, 2, "more");
	reopen(f);
	assert_row(f, 2, "more");
	free(data);
}

static void
a_journal_that_is_half_full_says_so_once_and_again_when_it_was_made_longer(void **state)
{
	struct fixture *f = *state;
	size_t room = db_journal_room(f->db);
	uint8_t *data = calloc(1, room);
	struct db_row row = {.table = DB_INODE, .a = 1, .data = data, .len = room / 2};

	assert_non_null(data);
	assert_false(db_journal_is_short(f->db));
	assert_int_equal(db_journal(f->db, &row, 1), 0);
	assert_true(db_journal_is_short(f->db));
	assert_false(db_journal_is_short(f->db)); /* on a full disk it can't be made longer each time */
	assert_int_equal(db_journal_make_room(f->db), 0);
	assert_false(db_journal_is_short(f->db));
	row.a = 2; /* of the same row only the difference would be written */
	row.len = room;
	assert_int_equal(db_journal(f->db, &row, 1), 0);
	assert_true(db_journal_is_short(f->db));
	store(f, 1, "x"); /* it begins anew */
	assert_false(db_journal_is_short(f->db));
	free(data);
}

static void
nothing_of_a_row_is_in_the_clear(void **state)
{
	static const char text[] = "a name that nobody should see";
	static uint8_t file[1 << 20];
	struct fixture *f = *state;
	int fd = open(f->journal, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	journal(f, 1, text);
	len = pread(fd, file, sizeof(file), 0);
	assert_true(len > BLOCK_LEN);
	assert_null(memmem(file, (size_t)len, text, 8));
	close(fd);
}

/* Differences. */

static uint32_t
next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 8;
}

/* Some bytes changed, some cut out, some put in. */
static size_t
mutate(uint8_t *row, size_t len, size_t max, uint32_t *x)
{
	for (unsigned k = next_random(x) % 4; k > 0 && len > 0; k--)
		row[next_random(x) % len] = (uint8_t)next_random(x);
	for (unsigned k = next_random(x) % 3; k > 0; k--) {
		size_t at = next_random(x) % (len + 1), n = next_random(x) % 60;
		bool cut = next_random(x) % 2;

		n = cut ? (n < len - at ? n : len - at) : (n < max - len ? n : max - len);
		memmove(row + at + (cut ? 0 : n), row + at + (cut ? n : 0), len - at - (cut ? n : 0));
		for (size_t i = 0; i < n && !cut; i++)
			row[at + i] = (uint8_t)next_random(x);
		len = cut ? len - n : len + n;
	}
	return len;
}

static void
a_difference_brings_back_what_it_was_made_from(void **state)
{
	uint8_t old[600], new[600];
	size_t old_len = 0;
	uint32_t x = 1;

	(void)state;
	memset(old, 0, sizeof(old));
	for (unsigned k = 0; k < 20000; k++) {
		struct bytes diff = {0}, got = {0};
		size_t new_len;

		memcpy(new, old, old_len);
		new_len = mutate(new, old_len, sizeof(new), &x);
		assert_int_equal(rowdiff_make(old, old_len, new, new_len, &diff), 0);
		assert_int_equal(rowdiff_apply(old, old_len, diff.data, diff.len, &got), 0);
		assert_int_equal(got.len, new_len);
		assert_memory_equal(got.data, new, new_len);
		memcpy(old, new, new_len);
		old_len = new_len;
		bytes_clear(&diff);
		bytes_clear(&got);
	}
}

static void
a_difference_is_about_as_long_as_what_changed(void **state)
{
	uint8_t old[5000], new[5053];
	struct bytes diff = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(old); i++)
		old[i] = (uint8_t)(i * 7 + i / 256);
	memcpy(new, old, 100);
	memset(new + 100, 0xee, 53);
	memcpy(new + 153, old + 100, sizeof(old) - 100);
	new[3] ^= 1;
	assert_int_equal(rowdiff_make(old, sizeof(old), new, sizeof(new), &diff), 0);
	assert_true(diff.len < 100);
	bytes_reset(&diff);
	assert_int_equal(rowdiff_make(old, sizeof(old), old, sizeof(old), &diff), 0);
	assert_int_equal(diff.len, 8);
	bytes_clear(&diff);
}

static void
junk_is_no_difference(void **state)
{
	uint8_t old[40] = {0}, junk[40];
	uint32_t x = 7;

	(void)state;
	for (unsigned k = 0; k < 100000; k++) {
		struct bytes got = {0};
		size_t len = next_random(&x) % sizeof(junk);

		for (size_t i = 0; i < len; i++)
			junk[i] = next_random(&x) % 3 ? 0 : (uint8_t)(next_random(&x) % 64);
		if (rowdiff_apply(old, sizeof(old), junk, len, &got))
			assert_int_equal(got.len, 0);
		bytes_clear(&got);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_are_in_the_database_when_it_is_opened_again),
		TEST(the_last_version_of_a_row_counts_and_a_deletion_is_one),
		TEST(long_rows_come_back_through_all_their_versions),
		TEST(what_the_database_got_since_is_not_replayed_over),
		TEST(records_of_an_older_generation_behind_new_ones_are_not_replayed),
		TEST(a_torn_record_and_what_is_behind_it_never_was),
		TEST(a_clean_end_leaves_no_journal_behind_and_an_unclean_one_does),
		TEST(there_is_no_room_before_the_process_has_written_to_the_database),
		TEST(after_a_failure_there_is_no_room_until_the_database_has_everything),
		TEST(a_full_journal_says_so_and_can_be_made_longer),
		TEST(a_journal_that_is_half_full_says_so_once_and_again_when_it_was_made_longer),
		TEST(nothing_of_a_row_is_in_the_clear),
		cmocka_unit_test(a_difference_brings_back_what_it_was_made_from),
		cmocka_unit_test(a_difference_is_about_as_long_as_what_changed),
		cmocka_unit_test(junk_is_no_difference),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
