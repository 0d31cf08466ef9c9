/* The database as it is meant to be used: rows, marks, scans, batches, several threads, and whoever opens it. */
#include "db_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "secmem.h"

static void
rows_of_every_table_come_back_after_reopening(void **state)
{
	struct fixture *f = *state;
	struct db_row rows[8];

	for (unsigned t = 0; t < ARRAY_LEN(rows); t++)
		rows[t] = text_row((enum db_table)t, 100 + t, t == DB_DENTRY || t == DB_CHUNK || t == DB_REDO || t == DB_CHUNK_PART ? 5 : 0, "here");
	assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned t = 0; t < ARRAY_LEN(rows); t++) {
			assert_row(f->db, rows[t].table, rows[t].a, rows[t].b, "here");
			assert_row(f->db, rows[t].table, rows[t].a + 1, rows[t].b, NULL);
		}
		close_and_open(f);
		put(f->db, DB_KV, 50 + round, 0, "more");
	}
}

static void
a_row_is_replaced_and_deleted(void **state)
{
	struct fixture *f = *state;

	for (unsigned t = 0; t < 8; t++) {
		enum db_table table = (enum db_table)t;

		put(f->db, table, 9, 0, "one");
		put(f->db, table, 9, 0, "two");
		assert_row(f->db, table, 9, 0, "two");
		put(f->db, table, 9, 0, "");
		assert_row(f->db, table, 9, 0, "");
		put(f->db, table, 9, 0, NULL);
		assert_row(f->db, table, 9, 0, NULL);
		put(f->db, table, 9, 0, NULL);
	}
}

static void
a_batch_is_sorted_and_may_replace_what_it_deletes(void **state)
{
	struct fixture *f = *state;
	struct db_row rows[] = {
		text_row(DB_CHUNK, 2, 1, "c"),
		text_row(DB_CHUNK, 1, 9, "b"),
		text_row(DB_INODE, 7, 0, "put"),
		text_row(DB_CHUNK, 1, 3, "a"),
		text_row(DB_INODE, 7, 0, NULL),
	};

	assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
	assert_int_equal(rows[0].table, DB_INODE);
	assert_int_equal(rows[2].b, 3);
	assert_int_equal(rows[3].b, 9);
	assert_int_equal(rows[4].a, 2);
	assert_row(f->db, DB_INODE, 7, 0, "put");
}

static void
scans_are_ascending_bounded_and_stop_when_told(void **state)
{
	struct fixture *f = *state;
	struct found all = {0};
	struct found some = {0};
	struct found stopped = {.stop_after = 2};
	struct found none = {0};
	struct db_row rows[12];

	for (unsigned i = 0; i < 10; i++)
		rows[i] = text_row(DB_DENTRY, 5, 100 - i * 10, "x");
	rows[10] = text_row(DB_DENTRY, 4, 50, "other");
	rows[11] = text_row(DB_DENTRY, 6, 50, "other");
	assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);

	assert_int_equal(db_scan(f->db, DB_DENTRY, 5, 0, 100, note_row, &all), 0);
	assert_int_equal(all.count, 10);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(all.a[i], 5);
		assert_int_equal(all.b[i], 10 + i * 10);
	}
	assert_int_equal(db_scan(f->db, DB_DENTRY, 5, 40, 3, note_row, &some), 0);
	assert_int_equal(some.count, 3);
	assert_int_equal(some.b[0], 40);
	assert_int_equal(db_scan(f->db, DB_DENTRY, 5, 0, 100, note_row, &stopped), 7);
	assert_int_equal(stopped.count, 2);
	assert_int_equal(db_scan(f->db, DB_DENTRY, 5, UINT64_MAX, 100, note_row, &none), 0);
	assert_int_equal(db_scan(f->db, DB_DENTRY, UINT64_MAX, 0, 100, note_row, &none), 0);
	assert_int_equal(db_scan(f->db, DB_DENTRY, 5, 0, 0, note_row, &none), 0);
	assert_int_equal(db_scan_all(f->db, DB_DENTRY, UINT64_MAX, UINT64_MAX, 100, note_row, &none), 0);
	assert_int_equal(none.count, 0);
	assert_row(f->db, DB_DENTRY, 5, UINT64_MAX, NULL);
}

static void
a_whole_table_is_walked_in_steps(void **state)
{
	struct fixture *f = *state;
	struct db_row rows[30];
	struct found got = {0};

	for (unsigned t = 0; t < 2; t++) {
		enum db_table table = t ? DB_CHUNK : DB_SEGMENT;

		for (unsigned i = 0; i < 30; i++)
			rows[i] = text_row(table, t ? 1 + i / 7 : 1 + i, t ? i % 7 : 0, "x");
		assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);

		uint64_t a = 0;
		uint64_t b = 0;

		for (unsigned seen = 0; seen < 30; seen += got.count) {
			got.count = 0;
			assert_int_equal(db_scan_all(f->db, table, a, b, 4, note_row, &got), 0);
			assert_int_equal(got.count, seen == 28 ? 2 : 4);
			for (unsigned i = 0; i < got.count; i++) {
				assert_int_equal(got.a[i], t ? 1 + (seen + i) / 7 : 1 + seen + i);
				assert_int_equal(got.b[i], t ? (seen + i) % 7 : 0);
			}
			a = got.a[got.count - 1];
			b = got.b[got.count - 1];
		}
	}
}

static void
only_marked_rows_are_scanned_as_marked(void **state)
{
	static const enum db_table TABLES[] = {DB_INODE, DB_DENTRY, DB_CHUNK, DB_SEGMENT};
	struct fixture *f = *state;

	for (unsigned t = 0; t < ARRAY_LEN(TABLES); t++) {
		struct found got = {0};
		struct db_row rows[10];

		for (unsigned i = 0; i < 10; i++) {
			rows[i] = text_row(TABLES[t], 10 + i, 0, "x");
			rows[i].mark = i % 3 == 0 ? 1 + i : 0;
		}
		assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
		assert_int_equal(db_scan_marked(f->db, TABLES[t], 10, 0, 100, note_row, &got), 0);
		assert_int_equal(got.count, 3); /* 13, 16, 19 */
		assert_int_equal(got.a[0], 13);
		assert_int_equal(got.mark[0], 4);
		assert_int_equal(got.mark[2], 10);

		rows[3].mark = 0;
		rows[4].mark = 2;
		assert_int_equal(db_write(f->db, rows + 3, 2), 0);
		got.count = 0;
		assert_int_equal(db_scan_marked(f->db, TABLES[t], 0, 0, 2, note_row, &got), 0);
		assert_int_equal(got.count, 2); /* 10, 14 */
		assert_int_equal(got.a[1], 14);
		assert_int_equal(got.mark[1], 2);
	}
}

static void
rows_are_got_by_many_keys_at_once_near_and_far(void **state)
{
	static const uint64_t KEYS[] = {0, 3, 4, 7, 30, 100, 101, 1000, 1001, 5000, UINT64_MAX};
	static const uint64_t THERE[] = {4, 7, 100, 101, 1000};
	struct fixture *f = *state;
	struct found got = {0};

	put(f->db, DB_INODE, 1, 0, "not asked for");
	put(f->db, DB_INODE, 5, 0, "nor this");
	for (size_t i = 0; i < ARRAY_LEN(THERE); i++)
		put(f->db, DB_INODE, THERE[i], 0, "here");
	assert_int_equal(db_get_many(f->db, DB_INODE, KEYS, ARRAY_LEN(KEYS), note_row, &got), 0);
	assert_int_equal(got.count, ARRAY_LEN(THERE));
	for (size_t i = 0; i < ARRAY_LEN(THERE); i++) {
		assert_int_equal(got.a[i], THERE[i]);
		assert_string_equal(got.text[i], "here");
	}
	assert_int_equal(db_get_many(f->db, DB_INODE, KEYS, 0, note_row, &got), 0);
	assert_int_equal(got.count, ARRAY_LEN(THERE));
}

static void
reads_see_each_commit_although_they_go_on_in_one_transaction(void **state)
{
	struct fixture *f = *state;

	for (uint64_t k = 1; k < 20; k++) {
		assert_row(f->db, DB_INODE, k, 0, NULL);
		put(f->db, DB_INODE, k, 0, "new");
		assert_row(f->db, DB_INODE, k, 0, "new");
		put(f->db, DB_INODE, k, 0, NULL);
		assert_row(f->db, DB_INODE, k, 0, NULL);
		if (k % 3 == 0)
			db_end_reading(f->db);
	}
}

static void
removed_inodes_are_found_by_their_state(void **state)
{
	struct fixture *f = *state;
	struct found got = {0};
	struct db_row rows[] = {
		text_row(DB_INODE, 1, 0, "root"),
		text_row(DB_INODE, 2, 0, "gone"),
		text_row(DB_INODE, 3, 0, "here"),
	};

	rows[1].state = 1;
	assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
	assert_int_equal(db_scan_removed(f->db, note_row, &got), 0);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.a[0], 2);
	assert_int_equal(got.state[0], 1);
	assert_string_equal(got.text[0], "gone");
}

static void
names_with_the_same_hash_are_all_found(void **state)
{
	struct fixture *f = *state;
	struct found got = {0};
	struct db_row rows[5];

	for (unsigned i = 0; i < 5; i++) {
		rows[i] = text_row(DB_DENTRY, i == 4 ? 2 : 1, 1 + i, "name");
		rows[i].hash = i == 3 ? -5 : INT64_MAX;
	}
	assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
	assert_int_equal(db_find_dentry(f->db, 1, INT64_MAX, note_row, &got), 0);
	assert_int_equal(got.count, 3);
	got.count = 0;
	assert_int_equal(db_find_dentry(f->db, 1, -5, note_row, &got), 0);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.b[0], 4);
	got.count = 0;
	assert_int_equal(db_find_dentry(f->db, 1, 6, note_row, &got), 0);
	assert_int_equal(got.count, 0);
}

static err_t
get_inside_scan(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct db *db = ctx;

	(void)mark;
	(void)state;
	assert_int_equal(len, 1);
	assert_row(db, DB_DENTRY, a, b, "x");
	assert_row(db, DB_INODE, a, 0, "an inode");
	assert_int_equal(data[0], 'x');
	return 0;
}

static void
a_scan_may_look_up_rows(void **state)
{
	struct fixture *f = *state;

	put(f->db, DB_DENTRY, 5, 1, "x");
	put(f->db, DB_DENTRY, 5, 2, "x");
	put(f->db, DB_INODE, 5, 0, "an inode");
	assert_int_equal(db_scan(f->db, DB_DENTRY, 5, 0, 100, get_inside_scan, f->db), 0);
}

static void
another_devices_key_does_not_open_it(void **state)
{
	static const uint8_t OTHER[32] = {9};
	struct fixture *f = *state;
	struct rowseal *other = new_rowseal(OTHER);
	struct db *db = NULL;

	db_close(f->db);
	f->db = NULL;
	assert_int_equal(db_open(f->path, false, other, &db), -EBADMSG);
	assert_null(db);
	rowseal_free(other);
	close_and_open(f);
}

static void
a_log_that_grew_large_is_cut_back(void **state)
{
	enum { COUNT = 72, LEN = 1 << 20 };
	struct fixture *f = *state;
	uint8_t *data = calloc(1, LEN);
	struct db_row rows[COUNT];

	assert_non_null(data);
	for (unsigned i = 0; i < COUNT; i++)
		rows[i] = (struct db_row){.table = DB_REDO, .a = 1, .b = i * (uint64_t)LEN, .data = data, .len = LEN};
	assert_int_equal(db_write(f->db, rows, COUNT), 0);
	assert_true(wal_len(f->path) > (64 << 20));
	assert_int_equal(db_checkpoint(f->db), 0);
	assert_int_equal(wal_len(f->path), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		CLEANUP(bytes_clear) struct bytes got = {0};

		assert_int_equal(db_get(f->db, DB_REDO, 1, i * (uint64_t)LEN, &got), 0);
		assert_int_equal(got.len, LEN);
	}
	free(data);
}

struct race {
	struct db *db;
	atomic_bool done;
};

static void *
write_rounds(void *arg)
{
	struct race *r = arg;

	for (unsigned round = 0; round < 100; round++) {
		struct db_row rows[50];
		char text[16];

		(void)snprintf(text, sizeof(text), "%u", round);
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
			rows[i] = text_row(DB_CHUNK, 1, i, text);
		if (db_write(r->db, rows, ARRAY_LEN(rows)))
			abort();
	}
	r->done = true;
	return NULL;
}

static void *
checkpoint_rounds(void *arg)
{
	struct race *r = arg;

	while (!r->done) {
		if (db_checkpoint(r->db))
			abort();
	}
	return NULL;
}

static void
a_reader_sees_whole_batches_while_another_thread_writes_and_a_third_checkpoints(void **state)
{
	struct fixture *f = *state;
	struct race r = {.db = f->db};
	pthread_t writer;
	pthread_t checkpointer;

	assert_int_equal(pthread_create(&writer, NULL, write_rounds, &r), 0);
	assert_int_equal(pthread_create(&checkpointer, NULL, checkpoint_rounds, &r), 0);
	for (bool last = false; !last;) {
		struct found got = {0};

		last = r.done;
		assert_int_equal(db_scan(f->db, DB_CHUNK, 1, 0, 100, note_row, &got), 0);
		assert_true(got.count == 50 || (got.count == 0 && !last));
		for (unsigned i = 1; i < got.count; i++)
			assert_string_equal(got.text[i], got.text[0]);
		if (last)
			assert_string_equal(got.text[0], "99");
	}
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(pthread_join(checkpointer, NULL), 0);
}

static void *
warm_rounds(void *arg)
{
	struct race *r = arg;

	while (!r->done) {
		for (uint64_t k = 0; k < 60; k++) {
			db_warm(r->db, DB_CHUNK, 1, k, k + 3);
			db_warm(r->db, DB_INODE, k, 0, 0);
			db_warm_names(r->db, 1, (int64_t)k, 100);
		}
		db_warm(r->db, DB_INODE, UINT64_MAX, 0, 0); /* no row's key */
	}
	return NULL;
}

static void
rows_are_read_ahead_by_several_threads_while_others_write_and_checkpoint(void **state)
{
	struct fixture *f = *state;
	struct race r = {.db = f->db};
	pthread_t threads[4];
	unsigned count = 0;

	assert_int_equal(pthread_create(&threads[0], NULL, write_rounds, &r), 0);
	for (unsigned k = 1; k < 4; k++)
		assert_int_equal(pthread_create(&threads[k], NULL, warm_rounds, &r), 0);
	for (bool last = false; !last;) {
		last = r.done;
		assert_int_equal(db_checkpoint(f->db), 0);
	}
	for (unsigned k = 0; k < 4; k++)
		assert_int_equal(pthread_join(threads[k], NULL), 0);
	assert_int_equal(db_scan(f->db, DB_CHUNK, 1, 0, 100, ignore_row, &count), 0);
	assert_int_equal(count, 50);
}

static void
counters_count(void **state)
{
	struct fixture *f = *state;
	struct db_stats before;
	struct db_stats after;
	struct db_row rows[] = {text_row(DB_INODE, 1, 0, "one"), text_row(DB_INODE, 2, 0, NULL)};

	db_stats(f->db, &before);
	assert_int_equal(db_write(f->db, rows, 2), 0);
	assert_int_equal(db_write(f->db, rows, 0), 0);
	assert_row(f->db, DB_INODE, 1, 0, "one");
	db_stats(f->db, &after);
	assert_int_equal(after.commits - before.commits, 1);
	assert_int_equal(after.rows_written - before.rows_written, 2);
	assert_int_equal(after.reads - before.reads, 1);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(rows_of_every_table_come_back_after_reopening),
		WITH_FIXTURE(a_row_is_replaced_and_deleted),
		WITH_FIXTURE(a_batch_is_sorted_and_may_replace_what_it_deletes),
		WITH_FIXTURE(scans_are_ascending_bounded_and_stop_when_told),
		WITH_FIXTURE(a_whole_table_is_walked_in_steps),
		WITH_FIXTURE(only_marked_rows_are_scanned_as_marked),
		WITH_FIXTURE(rows_are_got_by_many_keys_at_once_near_and_far),
		WITH_FIXTURE(reads_see_each_commit_although_they_go_on_in_one_transaction),
		WITH_FIXTURE(removed_inodes_are_found_by_their_state),
		WITH_FIXTURE(names_with_the_same_hash_are_all_found),
		WITH_FIXTURE(a_scan_may_look_up_rows),
		WITH_FIXTURE(another_devices_key_does_not_open_it),
		WITH_FIXTURE(a_log_that_grew_large_is_cut_back),
		WITH_FIXTURE(a_reader_sees_whole_batches_while_another_thread_writes_and_a_third_checkpoints),
		WITH_FIXTURE(rows_are_read_ahead_by_several_threads_while_others_write_and_checkpoint),
		WITH_FIXTURE(counters_count),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
