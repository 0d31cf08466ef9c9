/* segstore: what was appended is there after a power cut as soon as it was committed, and room comes back when it is not needed. */
#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "hash.h"
#include "padme.h"

#include "../../await.h"

#define MIB (1u << 20)
#define KIB 1024u

static void
append(struct fixture *f, const uint8_t *data, uint32_t len, uint64_t *seg, uint64_t *off)
{
	assert_int_equal(segstore_append(f->ss, data, len, seg, off), 0);
}

static void
assert_stored(struct fixture *f, uint64_t seg, uint64_t off, const uint8_t *data, uint32_t len)
{
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	assert_int_equal(segstore_read(f->ss, seg, off, len, buf), 0);
	assert_memory_equal(buf, data, len);
	free(buf);
}

/* Something for the next commit to write. */
static void
make_dirty(struct fixture *f)
{
	meta_lock(f->meta);
	assert_int_equal(meta_kv_put(f->meta, DB_KEY_STATUS, (const uint8_t *)"x", 1), 0);
	meta_unlock(f->meta);
}

static void
commit(struct fixture *f)
{
	make_dirty(f);
	assert_int_equal(meta_sync(f->meta), 0);
}

/* As an fsync does.  The first one of a run still goes to the database, and makes the journal. */
static void
commit_to_journal(struct fixture *f)
{
	make_dirty(f);
	assert_int_equal(meta_flush(f->meta), 0);
}

/* What a power cut leaves: the database, and of the segment files the names alone: none of their bytes was flushed. */
static void
cut_power(struct fixture *f)
{
	run_command("cp -r '%s' '%s.copy'", f->dir, f->dir);
	fixture_close(f, false);
	run_command("rm -r '%s' && mv '%s.copy' '%s' && truncate -s 0 '%s'/segments/*", f->dir, f->dir, f->dir, f->dir);
	fixture_open(f, false);
}

/* Counts operations by name; can fail those of one name. */
struct counter {
	const char *name;
	atomic_uint count;
	err_t error; /* answered while not 0 */
};

static err_t
counter_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct counter *c = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (strcmp(operation, c->name) != 0)
		return 0;
	atomic_fetch_add(&c->count, 1);
	return c->error;
}

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

/* Durability. */

static void
small_appends_ride_in_the_journal_and_survive_a_power_cut_with_one_flush_for_each_commit(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush"};
	uint64_t seg[20], off[20];
	uint8_t data[5000];

	commit_to_journal(f);
	disk_watch(counter_fn, &flushes);
	for (unsigned k = 0; k < 20; k++) {
		fill(data, sizeof(data), k);
		append(f, data, sizeof(data), &seg[k], &off[k]);
		if (k % 3 == 0)
			commit_to_journal(f);
	}
	commit_to_journal(f);
	disk_watch(NULL, NULL);
	assert_int_equal(flushes.count, 8);
	cut_power(f);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < 20; k++) {
			fill(data, sizeof(data), k);
			assert_stored(f, seg[k], off[k], data, sizeof(data));
		}
		fixture_reopen(f, false); /* now without the journal: they were written back for good */
	}
}

static void
more_than_the_limit_is_flushed_and_what_follows_rides_again(void **state)
{
	static const uint32_t lens[] = {SEGSTORE_REDO_MAX / 2, SEGSTORE_REDO_MAX + 1, 100};
	static const unsigned wanted[] = {1, 2, 1};
	struct fixture *f = *state;
	uint8_t *data = calloc(1, SEGSTORE_REDO_MAX + 1);
	uint64_t seg, off;

	assert_non_null(data);
	commit_to_journal(f);
	for (unsigned k = 0; k < 8; k++) { /* more than the first journal has room for: it gets longer */
		append(f, data, SEGSTORE_REDO_MAX / 2, &seg, &off);
		commit_to_journal(f);
	}
	commit(f);
	for (unsigned k = 0; k < ARRAY_LEN(lens); k++) {
		struct counter flushes = {.name = "flush"};

		append(f, data, lens[k], &seg, &off);
		disk_watch(counter_fn, &flushes);
		commit_to_journal(f);
		disk_watch(NULL, NULL);
		assert_int_equal(flushes.count, wanted[k]);
	}
	free(data);
}

static void
what_rode_is_flushed_when_the_database_commits_and_can_not_be_replayed_over_it(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush"};
	struct counter writes = {.name = "pwrite"};
	uint64_t seg, off;

	commit_to_journal(f);
	append(f, (const uint8_t *)"abc", 3, &seg, &off);
	commit_to_journal(f);
	disk_watch(counter_fn, &flushes);
	commit(f);
	assert_int_equal(flushes.count, 1);
	disk_watch(counter_fn, &writes);
	fixture_reopen(f, false);
	disk_watch(NULL, NULL);
	assert_int_equal(writes.count, 0);
	assert_stored(f, seg, off, (const uint8_t *)"abc", 3);
}

static void
a_large_append_is_flushed_before_the_commit(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush"};
	uint8_t *data = malloc(MIB);
	uint64_t seg, off;

	assert_non_null(data);
	fill(data, MIB, 1);
	append(f, data, MIB, &seg, &off);
	disk_watch(counter_fn, &flushes);
	commit(f);
	commit(f);
	disk_watch(NULL, NULL);
	assert_int_equal(flushes.count, 1);
	free(data);
}

static void
the_folder_is_flushed_before_a_commit_names_a_new_segment(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush_dir", .error = -EIO};
	uint64_t seg, off;

	append(f, (const uint8_t *)"x", 1, &seg, &off);
	disk_watch(counter_fn, &flushes);
	assert_int_equal(meta_sync(f->meta), -EIO);
	flushes.error = 0;
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(flushes.count, 2);
	append(f, (const uint8_t *)"y", 1, &seg, &off);
	commit(f);
	assert_int_equal(flushes.count, 2);
	disk_watch(NULL, NULL);
}

static void
bytes_whose_flush_failed_are_written_again_before_the_next_try(void **state)
{
	struct fixture *f = *state;
	struct counter failing = {.name = "flush", .error = -EIO};
	struct counter writes = {.name = "pwrite"};
	uint8_t *data = malloc(MIB);
	uint64_t seg, off;

	assert_non_null(data);
	fill(data, MIB, 4);
	append(f, data, MIB, &seg, &off);
	disk_watch(counter_fn, &failing);
	make_dirty(f);
	assert_int_equal(meta_sync(f->meta), -EIO);
	assert_int_equal(failing.count, 1);
	disk_watch(counter_fn, &writes);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(writes.count, 1);
	commit(f);
	assert_int_equal(writes.count, 1);
	disk_watch(NULL, NULL);
	assert_stored(f, seg, off, data, MIB);
	free(data);
}

static void
an_append_that_the_disk_refuses_leaves_the_others_alone(void **state)
{
	static const char *const names[] = {"create", "pwrite"};
	struct fixture *f = *state;
	uint64_t seg = 99, off = 98;

	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		struct counter failing = {.name = names[k], .error = -ENOSPC};

		disk_watch(counter_fn, &failing);
		assert_int_equal(segstore_append(f->ss, (const uint8_t *)"abc", 3, &seg, &off), -ENOSPC);
		disk_watch(NULL, NULL);
	}
	assert_int_equal(seg, 99);
	assert_int_equal(off, 98);
	commit_to_journal(f);
	append(f, (const uint8_t *)"abc", 3, &seg, &off);
	commit_to_journal(f);
	cut_power(f);
	assert_stored(f, seg, off, (const uint8_t *)"abc", 3);
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
	assert_int_equal(blocks_of(f, seg), before);
	commit(f);
	assert_true(blocks_of(f, seg) <= before - (MIB - 2 * 4096) / 512);
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

/*
 * A disk that forgets in a power cut what was not flushed: at each flush of a file a copy is taken of what it holds then, and
 * after the cut that copy is all there is.
 */
static err_t
keep_flushed(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	const struct fixture *f = ctx;
	char link[64], path[128], copy[256], buf[65536];
	ssize_t n;

	(void)name, (void)data, (void)off, (void)len;
	if (strcmp(operation, "flush") != 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	snprintf(copy, sizeof(copy), "%s/flushed/%s", f->dir, strrchr(path, '/') + 1);

	int to = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(to >= 0);
	for (off_t at = 0; (n = pread(fd, buf, sizeof(buf), at)) > 0; at += n)
		assert_int_equal(pwrite(to, buf, (size_t)n, at), n);
	close(to);
	return 0;
}

static void
forget_unflushed(struct fixture *f)
{
	disk_watch(NULL, NULL);
	fixture_close(f, false);
	run_command("cd '%s' && truncate -s 0 segments/* && cp -f flushed/* segments/", f->dir);
	fixture_open(f, false);
}

/* Appends whose bytes reach the file late. */

static err_t
write_late(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	atomic_bool *begun = ctx;

	(void)fd, (void)name, (void)data, (void)off;
	if (strcmp(operation, "pwrite") == 0 && len == 1000) {
		atomic_store(begun, true);
		usleep(100000);
	}
	return 0;
}

struct late {
	struct fixture *f;
	uint8_t data[1000];
	uint64_t seg;
	uint64_t off;
	err_t result;
};

static void *
append_late(void *ctx)
{
	struct late *l = ctx;

	l->result = segstore_append(l->f->ss, l->data, sizeof(l->data), &l->seg, &l->off);
	return NULL;
}

static void
a_commit_waits_for_the_bytes_of_appends_that_began_before_it(void **state)
{
	struct fixture *f = *state;
	struct late l = {.f = f};
	atomic_bool begun = false;
	uint64_t seg, off;
	pthread_t t;

	fill(l.data, sizeof(l.data), 1);
	commit_to_journal(f);
	append(f, (const uint8_t *)"first", 5, &seg, &off);
	disk_watch(write_late, &begun);
	assert_int_equal(pthread_create(&t, NULL, append_late, &l), 0);
	AWAIT(atomic_load(&begun));
	append(f, (const uint8_t *)"behind", 6, &seg, &off);
	commit_to_journal(f);
	pthread_join(t, NULL);
	assert_int_equal(l.result, 0);
	commit_to_journal(f);
	disk_watch(NULL, NULL);
	cut_power(f);
	assert_stored(f, seg, off, (const uint8_t *)"behind", 6);
	assert_stored(f, l.seg, l.off, l.data, sizeof(l.data));
}

static err_t
append_during_flush(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off,
    uint64_t len)
{
	struct late *l = ctx;
	err_t e = keep_flushed(l->f, operation, fd, name, data, off, len);

	if (!e && strcmp(operation, "flush") == 0 && !l->seg)
		append_late(l);
	return e;
}

static void
what_is_appended_during_a_flush_is_not_taken_for_flushed(void **state)
{
	struct fixture *f = *state;
	struct late l = {.f = f};
	uint8_t *data = malloc(MIB);
	uint64_t seg, off;

	assert_non_null(data);
	fill(data, MIB, 2);
	fill(l.data, sizeof(l.data), 1);
	run_command("mkdir '%s/flushed'", f->dir);
	append(f, data, MIB, &seg, &off);
	disk_watch(append_during_flush, &l);
	commit(f);
	assert_int_equal(l.result, 0);
	commit(f);
	forget_unflushed(f);
	assert_stored(f, seg, off, data, MIB);
	assert_stored(f, l.seg, l.off, l.data, sizeof(l.data));
	free(data);
}

/* Threads that append while another commits. */

#define APPENDS 600
#define APPENDERS 3
struct appender {
	struct fixture *f;
	uint64_t seed;
	uint64_t seg[APPENDS];
	uint64_t off[APPENDS];
	atomic_uint done;
	unsigned safe; /* appends that a later commit made durable */
	atomic_bool failed;
};

static uint32_t
append_len(uint64_t seed, unsigned k)
{
	return (uint32_t)(seed * 7919 + k * 104729) % 3000 + 1;
}

static void *
append_many(void *ctx)
{
	struct appender *a = ctx;
	uint8_t data[3000];

	for (unsigned k = 0; k < APPENDS; k++) {
		uint32_t len = append_len(a->seed, k);

		fill(data, len, a->seed * APPENDS + k);
		if (segstore_append(a->f->ss, data, len, &a->seg[k], &a->off[k]))
			atomic_store(&a->failed, true);
		atomic_store(&a->done, k + 1);
	}
	return NULL;
}

static void *
commit_many(void *ctx)
{
	struct appender *all = ctx;
	unsigned done[APPENDERS];
	bool more = true;

	while (more) {
		for (unsigned k = 0; k < APPENDERS; k++)
			done[k] = atomic_load(&all[k].done);
		meta_lock(all->f->meta);
		if (meta_kv_put(all->f->meta, DB_KEY_STATUS, (const uint8_t *)"x", 1))
			atomic_store(&all->failed, true);
		meta_unlock(all->f->meta);
		if (meta_sync(all->f->meta))
			atomic_store(&all->failed, true);
		more = false;
		for (unsigned k = 0; k < APPENDERS; k++) {
			all[k].safe = done[k];
			more |= done[k] < APPENDS / 2;
		}
	}
	return NULL;
}

static void
what_threads_appended_before_a_commit_survives_a_power_cut(void **state)
{
	static struct appender a[APPENDERS];
	struct fixture *f = *state;
	pthread_t t[APPENDERS], committer;
	uint8_t data[3000];

	run_command("mkdir '%s/flushed'", f->dir);
	disk_watch(keep_flushed, f);
	for (unsigned k = 0; k < APPENDERS; k++) {
		memset(&a[k], 0, sizeof(a[k]));
		a[k].f = f;
		a[k].seed = k;
	}
	for (unsigned k = 0; k < APPENDERS; k++)
		assert_int_equal(pthread_create(&t[k], NULL, append_many, &a[k]), 0);
	assert_int_equal(pthread_create(&committer, NULL, commit_many, a), 0);
	pthread_join(committer, NULL);
	for (unsigned k = 0; k < APPENDERS; k++) {
		pthread_join(t[k], NULL);
		assert_false(a[k].failed);
	}
	forget_unflushed(f);
	for (unsigned k = 0; k < APPENDERS; k++) {
		assert_true(a[k].safe >= APPENDS / 2);
		for (unsigned n = 0; n < a[k].safe; n++) {
			uint32_t len = append_len(k, n);

			fill(data, len, k * APPENDS + n);
			assert_stored(f, a[k].seg[n], a[k].off[n], data, len);
		}
	}
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
		TEST(small_appends_ride_in_the_journal_and_survive_a_power_cut_with_one_flush_for_each_commit),
		TEST(more_than_the_limit_is_flushed_and_what_follows_rides_again),
		TEST(what_rode_is_flushed_when_the_database_commits_and_can_not_be_replayed_over_it),
		TEST(a_large_append_is_flushed_before_the_commit),
		TEST(the_folder_is_flushed_before_a_commit_names_a_new_segment),
		TEST(bytes_whose_flush_failed_are_written_again_before_the_next_try),
		TEST(an_append_that_the_disk_refuses_leaves_the_others_alone),
		TEST(released_bytes_are_punched_once_the_commit_is_durable_and_their_neighbours_stay),
		TEST(small_neighbours_that_are_released_one_by_one_give_back_their_common_blocks),
		TEST(a_full_segment_of_which_all_was_released_is_removed_with_its_row),
		TEST(a_failed_punch_is_no_failure_of_the_commit),
		TEST(a_sweep_removes_segments_of_earlier_runs_that_no_file_needs_and_no_others),
		TEST(a_sweep_removes_what_an_interrupted_build_or_download_left_and_nothing_of_this_run),
		TEST(redo_rows_of_a_segment_that_is_gone_are_dropped),
		TEST(a_finished_segment_is_padded_hashed_named_and_comes_back_whole),
		TEST(what_comes_from_the_store_replaces_what_was_cut_off_behind_our_back),
		TEST(an_abandoned_or_failed_segment_leaves_neither_file_nor_row),
		TEST(usage_counts_what_the_files_take),
		TEST(a_commit_waits_for_the_bytes_of_appends_that_began_before_it),
		TEST(what_is_appended_during_a_flush_is_not_taken_for_flushed),
		TEST(what_threads_appended_before_a_commit_survives_a_power_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
