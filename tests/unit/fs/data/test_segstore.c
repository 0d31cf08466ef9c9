/* Segments: what is appended, settled and released; the room that they take. */
#include "segstore_steps.h"

#include <fcntl.h>

#include "hash.h"
#include "padme.h"

static void
what_is_appended_can_be_read_at_once_and_after_a_restart(void **state)
{
	struct fixture *f = *state;
	uint64_t seg[3], off[3];
	uint8_t data[5000];

	for (unsigned k = 0; k < 3; k++) {
		fill(data, sizeof(data), k);
		append(f, data, sizeof(data), &seg[k], &off[k]);
		assert_stored(f, seg[k], off[k], data, sizeof(data));
	}
	assert_int_equal(seg[0], seg[2]);
	assert_int_equal(off[2], 10000);
	fixture_reopen(f, true);
	for (unsigned k = 0; k < 3; k++) {
		fill(data, sizeof(data), k);
		assert_stored(f, seg[k], off[k], data, sizeof(data));
	}
}

static void
a_segment_of_an_earlier_run_is_never_appended_to(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second, off;

	append(f, (const uint8_t *)"one", 3, &first, &off);
	fixture_reopen(f, true);
	append(f, (const uint8_t *)"two", 3, &second, &off);
	assert_true(second > first);
	assert_int_equal(off, 0);
	assert_stored(f, first, 0, (const uint8_t *)"one", 3);
}

static void
a_number_that_was_handed_out_again_after_a_crash_begins_empty(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second, off;
	uint8_t buf[8];

	append(f, (const uint8_t *)"never committed", 15, &first, &off);
	fixture_reopen(f, false);
	append(f, (const uint8_t *)"new", 3, &second, &off);
	assert_int_equal(first, second);
	assert_stored(f, second, 0, (const uint8_t *)"new", 3);
	assert_int_equal(segstore_read(f->ss, second, 0, 8, buf), -ENODATA);
}

static void
reading_what_is_not_there_is_enodata(void **state)
{
	struct fixture *f = *state;
	uint64_t seg, off;
	uint8_t buf[4];

	append(f, (const uint8_t *)"abc", 3, &seg, &off);
	assert_int_equal(segstore_read(f->ss, seg, 0, 4, buf), -ENODATA);
	assert_int_equal(segstore_read(f->ss, seg + 1000, 0, 1, buf), -ENODATA);
}

static void
a_full_segment_is_followed_by_the_next(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = malloc(MIB);
	uint64_t seg[65], off[65];

	assert_non_null(data);
	for (unsigned k = 0; k < 65; k++) {
		fill(data, 16, k);
		append(f, data, MIB, &seg[k], &off[k]);
	}
	assert_int_equal(seg[0], seg[63]);
	assert_int_equal(off[63], 63 * MIB);
	assert_int_not_equal(seg[63], seg[64]);
	assert_int_equal(off[64], 0);
	assert_int_equal(meta_sync(f->meta), 0);
	fill(data, 16, 63);
	assert_stored(f, seg[63], off[63], data, 16);
	free(data);
}

static void
many_more_segments_than_open_files_can_be_read(void **state)
{
	enum { COUNT = 3 * 64 };
	struct fixture *f = *state;
	struct segment row[COUNT];

	for (unsigned k = 0; k < COUNT; k++) {
		struct segstore_build *b;
		uint8_t byte = (uint8_t)k;
		uint64_t off;

		assert_int_equal(segstore_build_begin(f->ss, &b), 0);
		assert_int_equal(segstore_build_add(b, &byte, 1, &off), 0);
		assert_int_equal(segstore_build_finish(b, &row[k]), 0);
	}
	for (unsigned k = 0; k < 2 * COUNT; k++) {
		uint8_t byte = (uint8_t)(k % COUNT);

		assert_stored(f, row[k % COUNT].id, 0, &byte, 1);
	}
}

/* Space. */

static uint64_t
blocks_of(const struct fixture *f, uint64_t seg)
{
	char path[128];
	struct stat st;

	segment_path(f, seg, path);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks;
}

static void
release(struct fixture *f, uint64_t seg, uint64_t off, uint32_t len)
{
	meta_lock(f->meta);
	assert_int_equal(meta_release(f->meta, seg, off, len), 0);
	meta_unlock(f->meta);
}

static void
released_bytes_are_punched_once_the_commit_is_durable_and_their_neighbours_stay(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = malloc(MIB);
	uint64_t seg, off[4];

	assert_non_null(data);
	fill(data, MIB, 4);
	for (unsigned k = 0; k < 4; k++)
		append(f, data, MIB - 100, &seg, &off[k]);
	commit(f);

	uint64_t before = blocks_of(f, seg);

	release(f, seg, off[1], MIB - 100);
	assert_true(blocks_of(f, seg) + 64 * KIB / 512 > before);
	commit(f);
	assert_true(blocks_of(f, seg) <= before - (MIB - 64 * KIB) / 512);
	assert_stored(f, seg, off[0], data, MIB - 100);
	assert_stored(f, seg, off[2], data, MIB - 100);
	assert_stored(f, seg, off[3], data, MIB - 100);
	free(data);
}

static void
small_neighbours_that_are_released_one_by_one_give_back_their_common_blocks(void **state)
{
	enum { COUNT = 1000, LEN = 1000 };
	struct fixture *f = *state;
	uint8_t data[LEN];
	uint64_t seg, off[COUNT];

	fill(data, LEN, 4);
	for (unsigned k = 0; k < COUNT; k++)
		append(f, data, LEN, &seg, &off[k]);
	commit(f);

	uint64_t before = blocks_of(f, seg);

	/* Every other one, then, backwards, the rest but the last. */
	for (unsigned k = 0; k < COUNT; k += 2)
		release(f, seg, off[k], LEN);
	commit(f);
	for (unsigned k = 1; k < COUNT; k += 2)
		assert_stored(f, seg, off[k], data, LEN);
	for (unsigned k = COUNT - 3; k < COUNT; k -= 2)
		release(f, seg, off[k], LEN);
	commit(f);
	assert_true(before >= COUNT * LEN / 512);
	assert_true(blocks_of(f, seg) <= 3 * 8);
	assert_stored(f, seg, off[COUNT - 1], data, LEN);
}

static void
a_full_segment_of_which_all_was_released_is_removed_with_its_row(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = calloc(1, MIB);
	uint64_t seg[65], off[65];
	struct segment row;

	assert_non_null(data);
	for (unsigned k = 0; k < 65; k++)
		append(f, data, MIB, &seg[k], &off[k]);
	commit(f);
	for (unsigned k = 0; k < 65; k++)
		release(f, seg[k], off[k], MIB);
	commit(f);
	assert_false(segment_exists(f, seg[0]));
	assert_true(segment_exists(f, seg[64])); /* it still grows */
	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, seg[0], &row), -ENOENT);
	assert_int_equal(meta_segment_get(f->meta, seg[64], &row), 0);
	meta_unlock(f->meta);
	free(data);
}

static void
a_failed_punch_is_no_failure_of_the_commit(void **state)
{
	struct fixture *f = *state;
	struct counter failing = {.name = "punch", .error = -EIO};
	uint8_t data[8192] = {0};
	uint64_t seg, off;

	append(f, data, sizeof(data), &seg, &off);
	release(f, seg, off, sizeof(data));
	disk_watch(counter_fn, &failing);
	commit(f);
	disk_watch(NULL, NULL);
	assert_int_equal(failing.count, 1);
}

static void
a_sweep_removes_segments_of_earlier_runs_that_no_file_needs_and_no_others(void **state)
{
	struct fixture *f = *state;
	uint64_t kept = new_file(f), overwritten = new_file(f), removed = new_file(f);
	uint64_t seg[3], unused, off;
	struct inode *i;

	const uint64_t inos[] = {kept, overwritten, removed};

	for (unsigned k = 0; k < 3; k++) {
		write_file(f, inos[k], 0, "data", 4);

		struct extent_list l = extents_of(f, inos[k], 0);

		seg[k] = l.v[0].seg;
		extent_list_clear(&l);
		fixture_reopen(f, true); /* so that each has a segment of its own */
	}
	append(f, (const uint8_t *)"x", 1, &unused, &off);
	fixture_reopen(f, true);

	write_file(f, overwritten, 0, "more", 4);
	/* The third has lost its last name, but somebody still has it open. */
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, removed, &i), 0);
	i->nlink = 0;
	i->pending = 0;
	meta_inode_dirty(f->meta, i);
	meta_unlock(f->meta);
	assert_int_equal(segstore_sweep(f->ss), 0);
	assert_true(segment_exists(f, seg[0]));
	assert_false(segment_exists(f, seg[1]));
	assert_true(segment_exists(f, seg[2]));
	assert_false(segment_exists(f, unused));
	fixture_reopen(f, true);
	assert_content(f, kept, 0, "data", 4);
	assert_content(f, overwritten, 0, "more", 4);
	assert_content(f, removed, 0, "data", 4);
}

static void
a_sweep_removes_what_an_interrupted_build_or_download_left_and_nothing_of_this_run(void **state)
{
	struct fixture *f = *state;
	struct segstore_build *left, *under_way;
	char path[160];
	uint64_t off;

	assert_int_equal(segstore_build_begin(f->ss, &left), 0);
	assert_int_equal(segstore_build_add(left, (const uint8_t *)"abc", 3, &off), 0);

	uint64_t id = segstore_build_id(left);

	assert_int_equal(meta_sync(f->meta), 0); /* the number is used up now */
	run_command("cp -r '%s' '%s.copy'", f->dir, f->dir);
	segstore_build_abandon(left);
	fixture_close(f, false);
	run_command("cp '%s.copy'/segments/* '%s/segments/'", f->dir, f->dir);
	snprintf(path, sizeof(path), "%s/segments/0000000000000007.new", f->dir);
	run_command("touch -d yesterday '%s'", path);
	fixture_open(f, false);
	assert_true(segment_exists(f, id));

	assert_int_equal(segstore_build_begin(f->ss, &under_way), 0);
	assert_int_equal(segstore_sweep(f->ss), 0);
	assert_false(segment_exists(f, id));
	assert_int_equal(access(path, F_OK), -1);
	assert_true(segment_exists(f, segstore_build_id(under_way)));
	segstore_build_abandon(under_way);
}

static err_t
count_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t row_state, const uint8_t *data, size_t len)
{
	(void)a, (void)b, (void)mark, (void)row_state, (void)data, (void)len;
	++*(unsigned *)ctx;
	return 0;
}

static void
redo_rows_of_a_segment_that_is_gone_are_dropped(void **state)
{
	struct fixture *f = *state;
	uint64_t seg, off;
	unsigned left = 0;
	char path[128];

	commit_to_journal(f);
	append(f, (const uint8_t *)"x", 1, &seg, &off);
	commit_to_journal(f);
	segment_path(f, seg, path);
	assert_int_equal(unlink(path), 0);
	fixture_reopen(f, false);
	meta_lock(f->meta);
	assert_int_equal(db_scan_all(f->db, DB_REDO, 0, 0, UINT32_MAX, count_row, &left), 0);
	meta_unlock(f->meta);
	assert_int_equal(left, 0);
	assert_false(segment_exists(f, seg));
}

/* Settled segments. */

static void
a_finished_segment_is_padded_hashed_named_and_comes_back_whole(void **state)
{
	struct fixture *f = *state;
	struct segstore_build *b;
	struct segment row, stored;
	struct bytes whole = {0};
	uint8_t data[100000], sha256[32];
	uint64_t off = 0;

	fill(data, sizeof(data), 3);
	assert_int_equal(segstore_build_begin(f->ss, &b), 0);
	assert_int_equal(segstore_build_add(b, data, 60000, &off), 0);
	assert_int_equal(off, 0);
	assert_int_equal(segstore_build_add(b, data + 60000, 40000, &off), 0);
	assert_int_equal(off, 60000);
	assert_int_equal(segstore_build_len(b), 100000);
	assert_int_equal(segstore_build_finish(b, &row), 0);
	fixture_reopen(f, true);

	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, row.id, &stored), 0);
	assert_int_equal(meta_segment_find(f->meta, row.name, &stored), 0);
	meta_unlock(f->meta);
	assert_int_equal(stored.id, row.id);
	assert_int_equal(stored.kind, SEGMENT_SETTLED);
	assert_true(stored.local && !stored.in_store);
	assert_int_equal(stored.size, padme_size(100000));
	assert_int_equal(bytes_append(&whole, "head", 4), 0);
	assert_int_equal(segstore_read_whole(f->ss, &stored, &whole), 0);
	assert_int_equal(whole.len, 4 + stored.size);
	assert_memory_equal(whole.data + 4, data, sizeof(data));
	assert_int_equal(hash_sha256(whole.data + 4, whole.len - 4, sha256), 0);
	assert_memory_equal(sha256, stored.sha256, 32);

	assert_int_equal(segstore_drop(f->ss, row.id), 0);
	assert_false(segment_exists(f, row.id));
	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, row.id, &stored), 0);
	meta_unlock(f->meta);
	assert_false(stored.local);
	bytes_reset(&whole);
	assert_int_equal(segstore_read_whole(f->ss, &stored, &whole), -ENODATA);
	assert_int_equal(whole.len, 0);
	bytes_clear(&whole);
}

static void
what_a_commit_has_dropped_is_in_no_sum(void **state)
{
	struct fixture *f = *state;
	struct meta_segment_totals sum;
	struct segstore_build *b;
	struct segment row[2];
	uint8_t data[5000];
	uint64_t off;

	fill(data, sizeof(data), 3);
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(segstore_build_begin(f->ss, &b), 0);
		assert_int_equal(segstore_build_add(b, data, sizeof(data), &off), 0);
		assert_int_equal(segstore_build_finish(b, &row[k]), 0);
		row[k].in_store = true;
		meta_lock(f->meta);
		assert_int_equal(meta_segment_put(f->meta, &row[k]), 0);
		meta_unlock(f->meta);
		assert_stored(f, row[k].id, 0, data, sizeof(data));
	}
	meta_lock(f->meta);
	assert_int_equal(meta_segment_remove(f->meta, row[0].id), 0);
	meta_unlock(f->meta);
	assert_int_equal(segstore_drop(f->ss, row[0].id), 0);
	assert_int_equal(segstore_count_kept(f->ss, &sum), 0);
	assert_int_equal(sum.here, row[1].size);
	assert_int_equal(sum.cached, row[1].size);
	assert_int_equal(sum.size, row[1].size);
}

static void
what_comes_from_the_store_replaces_what_was_cut_off_behind_our_back(void **state)
{
	struct fixture *f = *state;
	struct segstore_build *b;
	struct segment row;
	struct bytes whole = {0};
	uint8_t data[5000];
	char path[128];
	uint64_t off;

	fill(data, sizeof(data), 3);
	assert_int_equal(segstore_build_begin(f->ss, &b), 0);
	assert_int_equal(segstore_build_add(b, data, sizeof(data), &off), 0);
	assert_int_equal(segstore_build_finish(b, &row), 0);
	assert_int_equal(segstore_read_whole(f->ss, &row, &whole), 0);
	row.in_store = true;
	meta_lock(f->meta);
	assert_int_equal(meta_segment_put(f->meta, &row), 0);
	meta_unlock(f->meta);
	segment_path(f, row.id, path);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(segstore_read(f->ss, row.id, 0, sizeof(data), data), -ENODATA);
	assert_int_equal(segstore_put_pieces(f->ss, row.id, 0, whole.data, whole.len, false), 0);
	fill(data, sizeof(data), 3);
	assert_stored(f, row.id, 0, data, sizeof(data));
	bytes_clear(&whole);
}

static void
an_abandoned_or_failed_segment_leaves_neither_file_nor_row(void **state)
{
	static const char *const names[] = {"pwrite", "flush", "flush_dir"};
	struct fixture *f = *state;
	struct segstore_build *b;
	struct segment row;
	uint64_t off;

	assert_int_equal(segstore_build_begin(f->ss, &b), 0);

	uint64_t id = segstore_build_id(b);

	assert_true(segment_exists(f, id));
	segstore_build_abandon(b);
	assert_false(segment_exists(f, id));
	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		struct counter failing = {.name = names[k], .error = -ENOSPC};

		assert_int_equal(segstore_build_begin(f->ss, &b), 0);
		assert_int_equal(segstore_build_add(b, (const uint8_t *)"abc", 3, &off), 0);
		id = segstore_build_id(b);
		disk_watch(counter_fn, &failing);
		assert_int_equal(segstore_build_finish(b, &row), -ENOSPC);
		disk_watch(NULL, NULL);
		assert_false(segment_exists(f, id));
		meta_lock(f->meta);
		assert_int_equal(meta_segment_get(f->meta, id, &row), -ENOENT);
		meta_unlock(f->meta);
	}
}

static void
usage_counts_what_the_files_take(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = malloc(MIB);
	uint64_t before, after, seg, off;

	assert_non_null(data);
	fill(data, MIB, 1);
	assert_int_equal(segstore_usage(f->ss, &before), 0);
	for (unsigned k = 0; k < 4; k++)
		append(f, data, MIB, &seg, &off);
	commit(f);
	assert_int_equal(segstore_usage(f->ss, &after), 0);
	assert_true(after - before >= 4 * MIB && after - before < 5 * MIB);
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_appended_can_be_read_at_once_and_after_a_restart),
		TEST(a_segment_of_an_earlier_run_is_never_appended_to),
		TEST(a_number_that_was_handed_out_again_after_a_crash_begins_empty),
		TEST(reading_what_is_not_there_is_enodata),
		TEST(a_full_segment_is_followed_by_the_next),
		TEST(many_more_segments_than_open_files_can_be_read),
		TEST(released_bytes_are_punched_once_the_commit_is_durable_and_their_neighbours_stay),
		TEST(small_neighbours_that_are_released_one_by_one_give_back_their_common_blocks),
		TEST(a_full_segment_of_which_all_was_released_is_removed_with_its_row),
		TEST(a_failed_punch_is_no_failure_of_the_commit),
		TEST(a_sweep_removes_segments_of_earlier_runs_that_no_file_needs_and_no_others),
		TEST(a_sweep_removes_what_an_interrupted_build_or_download_left_and_nothing_of_this_run),
		TEST(redo_rows_of_a_segment_that_is_gone_are_dropped),
		TEST(a_finished_segment_is_padded_hashed_named_and_comes_back_whole),
		TEST(what_a_commit_has_dropped_is_in_no_sum),
		TEST(what_comes_from_the_store_replaces_what_was_cut_off_behind_our_back),
		TEST(an_abandoned_or_failed_segment_leaves_neither_file_nor_row),
		TEST(usage_counts_what_the_files_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
