/* blocks: what goes past the kernel's cache, and what shares segments with it. */
#include "fixture.h"

#include "bytes.h"
#include "hash.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#define KIB 1024u
#define MIB (1u << 20)
#define BLOCK SEGSTORE_BLOCK_LEN
#define BUILT_MAX (5 * MIB)

/* Something appended. */
struct item {
	uint32_t len;
	bool blocks;
	uint64_t seg;
	uint64_t off;
};

/* As segstore_fill and segstore_read_blocks want it. */
static uint8_t *
new_buffer(uint32_t len)
{
	uint8_t *p = aligned_alloc(BLOCK, (len + 3 * (size_t)BLOCK) / BLOCK * BLOCK);

	assert_non_null(p);
	return p;
}

static err_t
append_place(struct fixture *f, struct item *t, uint8_t *data)
{
	struct segstore_place p;
	err_t e = segstore_reserve(f->ss, t->len, &p);

	if (!e) {
		t->seg = p.seg;
		t->off = p.off;
		e = segstore_fill(f->ss, &p, data);
	}
	return e;
}

static err_t
append(struct fixture *f, struct item *t, uint64_t seed)
{
	uint8_t *p = new_buffer(t->len);

	fill(p, t->len, seed);

	err_t e = t->blocks ? append_place(f, t, p) : segstore_append(f->ss, p, t->len, &t->seg, &t->off);

	free(p);
	return e;
}

static void
assert_reads(struct fixture *f, const struct item *t, uint64_t seed, uint32_t from, uint32_t len)
{
	uint8_t *want = malloc(t->len), *got = new_buffer(len), *at = NULL;

	assert_non_null(want);
	fill(want, t->len, seed);
	assert_int_equal(segstore_read(f->ss, t->seg, t->off + from, len, got), 0);
	assert_memory_equal(got, want + from, len);
	memset(got, 0, len);
	assert_int_equal(segstore_read_blocks(f->ss, t->seg, t->off + from, len, got, &at), 0);
	assert_memory_equal(at, want + from, len);
	free(want);
	free(got);
}

static void
assert_all_read(struct fixture *f, const struct item *t, size_t count)
{
	for (size_t k = 0; k < count; k++) {
		assert_reads(f, &t[k], k, 0, t[k].len);
		assert_reads(f, &t[k], k, t[k].len / 3, t[k].len / 2);
		assert_reads(f, &t[k], k, t[k].len - 1, 1);
	}
}

static void
commit(struct fixture *f)
{
	meta_lock(f->meta);
	assert_int_equal(meta_kv_put(f->meta, DB_KEY_STATUS, (const uint8_t *)"x", 1), 0);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
}

/* Through the cache, past it, and past it but shorter than is worth while, in turn. */
static const struct item MIXED[] = {
	{.len = 100},
	{.len = 1028 * KIB, .blocks = true},
	{.len = 5},
	{.len = 300 * KIB + 1, .blocks = true},
	{.len = 400 * KIB},
	{.len = 4112, .blocks = true},
	{.len = MIB + 8191, .blocks = true},
	{.len = 256 * KIB, .blocks = true},
};

static void
append_mixed(struct fixture *f, struct item t[static ARRAY_LEN(MIXED)])
{
	memcpy(t, MIXED, sizeof(MIXED));
	for (size_t k = 0; k < ARRAY_LEN(MIXED); k++)
		assert_int_equal(append(f, &t[k], k), 0);
}

static void
what_goes_past_the_cache_and_what_does_not_read_alike_in_both_ways(void **state)
{
	struct fixture *f = *state;
	struct item t[ARRAY_LEN(MIXED)];

	append_mixed(f, t);
	assert_all_read(f, t, ARRAY_LEN(t));
	commit(f);
	assert_all_read(f, t, ARRAY_LEN(t));
	fixture_reopen(f, true);
	assert_all_read(f, t, ARRAY_LEN(t));
}

static void
a_long_append_begins_at_a_block_and_nothing_shares_its_last_one(void **state)
{
	struct fixture *f = *state;
	struct item t[ARRAY_LEN(MIXED)];

	append_mixed(f, t);
	for (size_t k = 0; k < ARRAY_LEN(t); k++) {
		if (!t[k].blocks || t[k].len < SEGSTORE_DIRECT_MIN)
			continue;
		assert_int_equal(t[k].off % BLOCK, 0);
		if (k + 1 < ARRAY_LEN(t))
			assert_true(t[k + 1].off >= (t[k].off + t[k].len + BLOCK - 1) / BLOCK * BLOCK);
	}
}

static void
a_read_past_the_cache_that_ends_behind_the_file_is_enodata(void **state)
{
	struct fixture *f = *state;
	struct item t = {.len = MIB + 1};
	uint8_t *buf = new_buffer(MIB + 2), *at = NULL;

	assert_int_equal(append(f, &t, 0), 0);
	assert_int_equal(segstore_read_blocks(f->ss, t.seg, t.off, MIB + 2, buf, &at), -ENODATA);
	assert_int_equal(segstore_read_blocks(f->ss, t.seg, t.off + 2 * MIB, MIB, buf, &at), -ENODATA);
	assert_int_equal(segstore_read_blocks(f->ss, t.seg, t.off, MIB + 1, buf, &at), 0);
	free(buf);
}

static void
padding_keeps_no_segment_from_going_when_all_in_it_is_released(void **state)
{
	struct fixture *f = *state;
	struct item t[200];
	size_t count = 0;

	/* Until the next segment is begun. */
	do {
		assert_true(count < ARRAY_LEN(t));
		t[count] = (struct item){.len = count % 2 ? 77 : MIB + 100, .blocks = true};
		assert_int_equal(append(f, &t[count], count), 0);
	} while (t[count++].seg == t[0].seg);
	meta_lock(f->meta);
	for (size_t k = 0; k + 1 < count; k++)
		assert_int_equal(meta_release(f->meta, t[k].seg, t[k].off, t[k].len), 0);
	meta_unlock(f->meta);
	assert_true(segment_exists(f, t[0].seg));
	commit(f);
	assert_false(segment_exists(f, t[0].seg));
	assert_reads(f, &t[count - 1], count - 1, 0, t[count - 1].len);
}

static uint64_t
bytes_on_disk(const struct fixture *f, uint64_t seg)
{
	char path[128];
	struct stat st;

	segment_path(f, seg, path);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void
release(struct fixture *f, const struct item *t, uint32_t from, uint32_t len)
{
	meta_lock(f->meta);
	assert_int_equal(meta_release(f->meta, t->seg, t->off + from, len), 0);
	meta_unlock(f->meta);
}

static void
what_an_earlier_run_appended_at_length_goes_with_its_last_block(void **state)
{
	struct fixture *f = *state;
	struct item t[] = {{.len = MIB + 100, .blocks = true}, {.len = 77}, {.len = 300 * KIB, .blocks = true}};

	for (size_t k = 0; k < ARRAY_LEN(t); k++)
		assert_int_equal(append(f, &t[k], k), 0);
	commit(f);
	fixture_reopen(f, true);

	uint64_t before = bytes_on_disk(f, t[0].seg);

	release(f, &t[0], 0, t[0].len);
	commit(f);
	assert_true(bytes_on_disk(f, t[0].seg) <= before - MIB - BLOCK);
	assert_reads(f, &t[1], 1, 0, t[1].len);
	assert_reads(f, &t[2], 2, 0, t[2].len);
}

static void
a_part_of_what_an_earlier_run_appended_goes_without_the_rest(void **state)
{
	struct fixture *f = *state;
	struct item t = {.len = MIB + 100, .blocks = true};

	assert_int_equal(append(f, &t, 7), 0);
	commit(f);
	fixture_reopen(f, true);
	release(f, &t, 0, MIB + 10);
	commit(f);
	assert_reads(f, &t, 7, MIB + 10, 90);
}

/* A file system that opens files for direct access, and then refuses to read or write. */
static err_t
refuse_direct(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	atomic_uint *refused = ctx;

	(void)name, (void)data, (void)off, (void)len;
	if ((strcmp(operation, "pwrite") != 0 && strcmp(operation, "pread") != 0) || !(fcntl(fd, F_GETFL) & O_DIRECT))
		return 0;
	atomic_fetch_add(refused, 1);
	return -EINVAL;
}

static void
where_the_file_system_refuses_everything_goes_through_the_cache(void **state)
{
	struct fixture *f = *state;
	struct item t[ARRAY_LEN(MIXED)];
	atomic_uint refused = 0;

	disk_watch(refuse_direct, &refused);
	append_mixed(f, t);
	assert_all_read(f, t, ARRAY_LEN(t));
	assert_int_equal(refused, 1); /* then it is not asked again */
	disk_watch(NULL, NULL);
	fixture_reopen(f, true);
	disk_watch(refuse_direct, &refused);
	assert_all_read(f, t, ARRAY_LEN(t));
	disk_watch(NULL, NULL);
	assert_true(refused > 1);
	assert_all_read(f, t, ARRAY_LEN(t));
}

static err_t
fail_long_writes(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)fd, (void)name, (void)data, (void)off;
	return strcmp(operation, "pwrite") == 0 && len >= SEGSTORE_DIRECT_MIN ? *(err_t *)ctx : 0;
}

static void
a_long_append_that_fails_harms_neither_the_next_one_nor_the_commit(void **state)
{
	static err_t errors[] = {-ENOSPC, -EIO};
	struct fixture *f = *state;

	for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
		struct item lost = {.len = MIB + 1, .blocks = true}, t[ARRAY_LEN(MIXED)];

		disk_watch(fail_long_writes, &errors[k]);
		assert_int_equal(append(f, &lost, 99), errors[k]);
		disk_watch(NULL, NULL);
		append_mixed(f, t);
		commit(f);
		fixture_reopen(f, true);
		assert_all_read(f, t, ARRAY_LEN(t));
	}
}

/* Whole segments: built here, or brought piece by piece. */

static void
build(struct fixture *f, const uint8_t *data, struct segment *row)
{
	static const uint32_t lens[] = {1, MIB - 1, 4096, MIB, 8191, 2 * MIB + 7, 100};
	struct segstore_build *b;
	uint64_t off, at = 0;

	assert_int_equal(segstore_build_begin(f->ss, &b), 0);
	for (size_t k = 0; k < ARRAY_LEN(lens); k++) {
		assert_int_equal(segstore_build_add(b, data + at, lens[k], &off), 0);
		assert_int_equal(off, at);
		at += lens[k];
	}
	assert_int_equal(segstore_build_len(b), at);
	assert_int_equal(segstore_build_finish(b, row), 0);
	assert_true(row->size > at && row->size < BUILT_MAX);
}

static void
assert_whole(struct fixture *f, const struct segment *row, struct bytes *out)
{
	uint8_t sha256[32];

	bytes_reset(out);
	assert_int_equal(segstore_read_whole(f->ss, row, out), 0);
	assert_int_equal(hash_sha256(out->data, out->len, sha256), 0);
	assert_memory_equal(sha256, row->sha256, sizeof(sha256));
}

/* The store has it, and nothing of it is here. */
static void
send_away(struct fixture *f, struct segment *row)
{
	struct segstore_leaving leaving = {.seg = row->id, .mask = UINT64_MAX};

	row->in_store = true;
	meta_lock(f->meta);
	assert_int_equal(meta_segment_put(f->meta, row), 0);
	meta_unlock(f->meta);
	assert_int_equal(segstore_drop_pieces(f->ss, &leaving, 1), 0);
	assert_true(leaving.done);
}

/* From memory that begins `shift` bytes behind a block. */
static void
bring(struct fixture *f, const struct segment *row, const struct bytes *object, size_t shift)
{
	uint8_t *buffer = new_buffer(2 * MIB + BLOCK);

	for (uint64_t off = 0; off < object->len; off += 2 * MIB) {
		size_t len = object->len - off < 2 * MIB ? object->len - off : 2 * MIB;

		memcpy(buffer + shift, object->data + off, len);
		assert_int_equal(segstore_put_pieces(f->ss, row->id, off, buffer + shift, len, false), 0);
	}
	assert_int_equal(segstore_save_pieces(f->ss), 0);
	free(buffer);
}

static void
build_and_bring(struct fixture *f)
{
	CLEANUP(bytes_clear) struct bytes object = {0}, again = {0};
	uint8_t *data = malloc(BUILT_MAX);
	struct segment row;

	assert_non_null(data);
	fill(data, BUILT_MAX, 7);
	build(f, data, &row);
	assert_whole(f, &row, &object);
	assert_memory_equal(object.data, data, 4 * MIB);
	free(data);
	for (size_t shift = 0; shift < 2; shift++) {
		send_away(f, &row);
		bring(f, &row, &object, shift);
		assert_whole(f, &row, &again);
		fixture_reopen(f, true);
		assert_whole(f, &row, &again);
	}
}

static void
segments_of_portions_that_end_anywhere_have_what_was_added_or_brought(void **state)
{
	build_and_bring(*state);
}

static bool
can_do_direct(const struct fixture *f)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/direct", f->dir);
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void
also_where_the_file_system_refuses(void **state)
{
	atomic_uint refused = 0;

	disk_watch(refuse_direct, &refused);
	build_and_bring(*state);
	disk_watch(NULL, NULL);
	assert_true(refused > 0 || !can_do_direct(*state));
}

/* It is not padded. */
static void
a_hot_segment_that_ends_within_a_block_has_what_was_added(void **state)
{
	struct fixture *f = *state;
	const uint32_t len = 2 * MIB + 300 * KIB + 1;
	struct segstore_build *b;
	struct segment row;
	uint8_t *data = malloc(len), *got = malloc(len);

	assert_non_null(data);
	assert_non_null(got);
	fill(data, len, 7);
	assert_int_equal(segstore_build_begin_hot(f->ss, &b), 0);
	assert_int_equal(segstore_build_add(b, data, len, NULL), 0);
	assert_int_equal(segstore_build_finish_hot(b, NULL, 0, &row), 0);
	assert_int_equal(segstore_read(f->ss, row.id, 0, len, got), 0);
	assert_memory_equal(got, data, len);
	free(data);
	free(got);
}

struct long_writes {
	unsigned through_cache;
	unsigned past_it;
};

static err_t
count_long_writes(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct long_writes *w = ctx;

	(void)name, (void)data, (void)off;
	if (strcmp(operation, "pwrite") != 0 || len < MIB)
		return 0;
	if (fcntl(fd, F_GETFL) & O_DIRECT)
		w->past_it++;
	else
		w->through_cache++;
	return 0;
}

static void
segments_go_past_the_cache_where_that_can_be_done(void **state)
{
	struct fixture *f = *state;
	CLEANUP(bytes_clear) struct bytes object = {0};
	struct long_writes w = {0};
	uint8_t *data = malloc(BUILT_MAX);
	struct segment row;

	assert_non_null(data);
	fill(data, BUILT_MAX, 7);
	disk_watch(count_long_writes, &w);
	build(f, data, &row);
	assert_int_equal(segstore_read_whole(f->ss, &row, &object), 0);
	send_away(f, &row);
	bring(f, &row, &object, 0);
	disk_watch(NULL, NULL);
	free(data);
	assert_true(w.past_it + w.through_cache > 4);
	if (can_do_direct(f))
		assert_int_equal(w.through_cache, 0);
}

static void
what_is_filled_in_any_order_stands_in_the_order_in_which_it_was_reserved(void **state)
{
	struct fixture *f = *state;
	struct item t[] = {{.len = 300 * KIB}, {.len = 77}, {.len = MIB}, {.len = 300 * KIB}};
	struct segstore_place p[ARRAY_LEN(t)];

	for (size_t k = 0; k < ARRAY_LEN(t); k++) {
		assert_int_equal(segstore_reserve(f->ss, t[k].len, &p[k]), 0);
		t[k].seg = p[k].seg;
		t[k].off = p[k].off;
		assert_true(k == 0 || t[k].off >= t[k - 1].off + t[k - 1].len);
	}
	/* One of them is not filled at all. */
	segstore_give_up(f->ss, &p[2]);
	for (size_t k = ARRAY_LEN(t); k-- > 0;) {
		uint8_t *data = new_buffer(t[k].len);

		fill(data, t[k].len, k);
		if (k != 2)
			assert_int_equal(segstore_fill(f->ss, &p[k], data), 0);
		free(data);
	}
	commit(f);
	fixture_reopen(f, true);
	assert_reads(f, &t[0], 0, 0, t[0].len);
	assert_reads(f, &t[1], 1, 0, t[1].len);
	assert_reads(f, &t[3], 3, 0, t[3].len);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_goes_past_the_cache_and_what_does_not_read_alike_in_both_ways),
		TEST(a_long_append_begins_at_a_block_and_nothing_shares_its_last_one),
		TEST(a_read_past_the_cache_that_ends_behind_the_file_is_enodata),
		TEST(padding_keeps_no_segment_from_going_when_all_in_it_is_released),
		TEST(what_an_earlier_run_appended_at_length_goes_with_its_last_block),
		TEST(a_part_of_what_an_earlier_run_appended_goes_without_the_rest),
		TEST(where_the_file_system_refuses_everything_goes_through_the_cache),
		TEST(segments_of_portions_that_end_anywhere_have_what_was_added_or_brought),
		TEST(also_where_the_file_system_refuses),
		TEST(a_hot_segment_that_ends_within_a_block_has_what_was_added),
		TEST(segments_go_past_the_cache_where_that_can_be_done),
		TEST(a_long_append_that_fails_harms_neither_the_next_one_nor_the_commit),
		TEST(what_is_filled_in_any_order_stands_in_the_order_in_which_it_was_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
