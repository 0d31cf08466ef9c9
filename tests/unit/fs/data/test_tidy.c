/* tidy: what is quiet takes little more room than its plaintext, or less, and every byte stays what it is. */
#include "tidy_fixture.h"

static void
frames_that_are_overwritten_one_after_the_other_come_back_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = noise(4 * MIB, 1);

	write_in_pieces(f, ino, data, 4 * MIB);
	for (size_t off = 0; off < 2 * MIB; off += 4096) {
		memset(data + off, (int)(off >> 12), 4096);
		write_file(f, ino, off, data + off, 4096);
	}
	assert_in_range(usage(f), 4 * MIB, 4 * MIB + MIB / 8);
	assert_content(f, ino, 0, data, 4 * MIB);
	free(data);
}

static void
random_overwrites_end_in_whole_extents_that_waste_nothing(void **state)
{
	enum { LEN = 24 * MIB };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = noise(LEN, 1);

	srandom(1);
	write_in_pieces(f, ino, data, LEN);
	overwrite(f, ino, data, LEN, LEN / 4096 / 10);
	assert_content(f, ino, 0, data, LEN);
	assert_true(usage(f) > LEN + LEN / 20);
	tidy_all(f, NULL, NULL);
	assert_content(f, ino, 0, data, LEN);
	assert_true(usage(f) < LEN + LEN / 100);
	for (uint64_t no = 0; no < LEN / MIB; no++) {
		struct extent_list l = extents_of(f, ino, no);

		assert_int_equal(l.count, 1);
		extent_list_clear(&l);
	}
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, LEN);
	assert_true(usage(f) < LEN + LEN / 100);
	free(data);
}

/* The worst map there is: every byte was written by itself. */
static void
bytes_that_were_written_one_by_one_become_whole_extents(void **state)
{
	enum { LEN = 24000 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f), begin = 2 * MIB - LEN / 2; /* in two chunks */
	uint8_t *data = noise(LEN, 1);

	for (size_t k = 0; k < LEN; k++) {
		size_t off = k * 7919 % LEN; /* each once */

		write_file(f, ino, begin + off, data + off, 1);
	}
	assert_in_range(tidy_all(f, NULL, NULL), LEN, 2 * LEN);
	for (uint64_t no = 1; no <= 2; no++) {
		struct extent_list l = extents_of(f, ino, no);

		assert_int_equal(l.count, 1);
		extent_list_clear(&l);
	}
	assert_content(f, ino, begin, data, LEN);
	assert_true(usage(f) <= 16 * 4096);
	free(data);
}

static void
what_would_gain_nothing_is_not_written_again(void **state)
{
	struct fixture *f = *state;
	uint64_t big = new_file(f), small;
	uint8_t *data = noise(8 * MIB, 1);

	write_in_pieces(f, big, data, 8 * MIB);
	for (unsigned k = 0; k < 100; k++) {
		small = new_file(f);
		write_file(f, small, 0, data + k * 5000, 5000);
	}
	assert_int_equal(tidy_all(f, NULL, NULL), 0);
	assert_content(f, big, 0, data, 8 * MIB);
	assert_content(f, small, 0, data + 99 * 5000, 5000);
	/* Nor is it looked at again. */
	write_file(f, big, 0, data, 1);
	assert_true(tidy_all(f, NULL, NULL) <= MIB);
	free(data);
}

static void
text_takes_less_room_than_it_is_long(void **state)
{
	enum { COUNT = 400, LEN = 6000 };
	struct fixture *f = *state;
	uint64_t inos[COUNT];
	char text[LEN];

	for (unsigned k = 0; k < COUNT; k++) {
		for (unsigned at = 0; at < LEN; at++)
			text[at] = "int main(void) { return 0; }\n"[(at + at / 700 * k) % 29];
		inos[k] = new_file(f);
		write_file(f, inos[k], 0, text, LEN);
	}
	assert_int_equal(tidy_all(f, NULL, NULL), COUNT * LEN);
	assert_true(usage(f) < COUNT * LEN / 4);
	assert_content(f, inos[COUNT - 1], 0, text, LEN);
	fixture_reopen(f, true);
	assert_content(f, inos[COUNT - 1], 0, text, LEN);
}

static void
holes_between_small_files_are_closed(void **state)
{
	struct fixture *f = *state;
	static uint64_t inos[SMALL_COUNT];
	uint8_t *data = noise(16384, 1);
	uint64_t left = make_and_remove_small_files(f, inos, data);

	assert_true(usage(f) > left + left / 4);
	tidy_all(f, NULL, NULL);
	assert_true(usage(f) < left + left / 50);
	assert_small_files(f, inos, data);
	free(data);
}

static void
what_an_earlier_run_left_sparse_is_emptied_and_goes(void **state)
{
	struct fixture *f = *state;
	static uint64_t inos[SMALL_COUNT];
	uint8_t *data = noise(16384, 1);
	uint64_t left = make_and_remove_small_files(f, inos, data);

	fixture_reopen(f, true);
	tidy_all(f, NULL, NULL);
	assert_true(usage(f) < left + left / 50);
	assert_int_equal(segment_files(f), 1);
	assert_small_files(f, inos, data);
	fixture_reopen(f, true);
	assert_small_files(f, inos, data);
	free(data);
}

static void
what_an_earlier_run_left_of_files_that_are_all_gone_goes(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[] = {new_file(f), new_file(f)};
	uint8_t *data = noise(16384, 1);

	for (size_t k = 0; k < ARRAY_LEN(inos); k++)
		write_file(f, inos[k], 0, data, 16384);
	fixture_reopen(f, true);
	for (size_t k = 0; k < ARRAY_LEN(inos); k++)
		remove_file(f, inos[k]);
	tidy_all(f, NULL, NULL);
	assert_int_equal(segment_files(f), 0);
	free(data);
}

static void
a_file_that_grows_all_the_time_is_rewritten_a_bounded_number_of_times(void **state)
{
	enum { STEPS = 200, STEP = 9000 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f), moved = 0;
	uint8_t *data = noise((size_t)STEPS * STEP, 1);

	for (unsigned k = 0; k < STEPS; k++) {
		write_file(f, ino, (uint64_t)k * STEP, data + (size_t)k * STEP, STEP);
		moved += tidy_all(f, NULL, NULL);
	}
	assert_content(f, ino, 0, data, (size_t)STEPS * STEP);
	assert_true(moved < 12ull * STEPS * STEP);
	assert_true(usage(f) < STEPS * STEP + STEPS * STEP / 10);
	assert_true(segment_files(f) < 40);
	free(data);
}

static void
short_segments_are_put_together(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[40];
	uint8_t data[5000];

	fill(data, sizeof(data), 1);
	for (unsigned k = 0; k < ARRAY_LEN(inos); k++) {
		inos[k] = new_file(f);
		write_file(f, inos[k], 0, data, sizeof(data));
		tidy_all(f, NULL, NULL);
		fixture_reopen(f, true);
	}
	assert_true(segment_files(f) < 18);
	for (unsigned k = 0; k < ARRAY_LEN(inos); k++)
		assert_content(f, inos[k], 0, data, sizeof(data));
}

/* As many pieces as are remembered at once, and some more, each in a chunk of its own. */
#define SMALL_CHUNKS (16384 + 100)

static size_t
count_full(struct fixture *f, size_t *count_out)
{
	struct hot_segment *v;
	size_t full = 0;

	assert_int_equal(segstore_list_hot(f->ss, &v, count_out), 0);
	for (size_t k = 0; k < *count_out; k++)
		full += v[k].full;
	hot_segments_free(v, *count_out);
	return full;
}

static void
a_segment_of_very_many_small_pieces_is_known_to_be_full(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f), moved;
	size_t count;

	for (uint64_t k = 0; k < SMALL_CHUNKS; k++)
		write_file(f, ino, k * MIB, "x", 1);
	assert_int_equal(meta_sync(f->meta), 0);

	struct extent_list l = extents_of(f, ino, 0);
	struct settle_source source = {.seg = l.v[0].seg, .empty = true};
	struct settle *s;

	segstore_roll(f->ss);
	assert_int_equal(settle_begin_local(f->c, f->meta, f->ss, f->keys, &source, 1, &s), 0);
	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(settle_finish(s, &moved), 0);
	assert_int_equal(moved, SMALL_CHUNKS);
	fixture_reopen(f, true);
	(void)usage(f);
	assert_int_equal(count_full(f, &count), 1);
	assert_in_range(count, 2, 3);
	extent_list_clear(&l);
}

static void
full_segments_are_not_put_together_for_being_short(void **state)
{
	struct fixture *f = *state;
	uint8_t data[5000];

	fill(data, sizeof(data), 1);
	for (unsigned k = 0; k < 20; k++) {
		struct hot_segment *v;
		size_t count;

		write_file(f, new_file(f), 0, data, sizeof(data));
		tidy_all(f, NULL, NULL);
		fixture_reopen(f, true);
		assert_int_equal(segstore_list_hot(f->ss, &v, &count), 0);
		meta_lock(f->meta);
		for (size_t n = 0; n < count; n++) {
			struct segment row;

			assert_int_equal(meta_segment_get(f->meta, v[n].seg, &row), 0);
			row.full = true;
			assert_int_equal(meta_segment_put(f->meta, &row), 0);
		}
		meta_unlock(f->meta);
		hot_segments_free(v, count);
	}
	assert_true(segment_files(f) >= 20);
	tidy_all(f, NULL, NULL);
	assert_true(segment_files(f) >= 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_that_are_overwritten_one_after_the_other_come_back_at_once),
		TEST(random_overwrites_end_in_whole_extents_that_waste_nothing),
		TEST(bytes_that_were_written_one_by_one_become_whole_extents),
		TEST(what_would_gain_nothing_is_not_written_again),
		TEST(text_takes_less_room_than_it_is_long),
		TEST(holes_between_small_files_are_closed),
		TEST(what_an_earlier_run_left_sparse_is_emptied_and_goes),
		TEST(what_an_earlier_run_left_of_files_that_are_all_gone_goes),
		TEST(a_file_that_grows_all_the_time_is_rewritten_a_bounded_number_of_times),
		TEST(short_segments_are_put_together),
		TEST(a_segment_of_very_many_small_pieces_is_known_to_be_full),
		TEST(full_segments_are_not_put_together_for_being_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
