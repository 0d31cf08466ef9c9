/* settle: contents stay what they are, become smaller where they can, and no write that comes in between is lost. */
#include "settle_steps.h"

#include "frame.h"
#include "padme.h"

static void
text_is_packed_noise_stays_raw_and_both_read_as_before(void **state)
{
	struct fixture *f = *state;
	static uint8_t text[300001], noise[300001];
	uint64_t a = new_file(f), b = new_file(f);

	repeat(text, sizeof(text));
	fill(noise, sizeof(noise), 1);
	write_file(f, a, 0, text, sizeof(text));
	write_file(f, b, 0, noise, sizeof(noise));

	struct settle *s = begin(f);

	assert_int_equal(settle_inode(s, a), 0);
	assert_int_equal(settle_inode(s, b), 0);
	assert_int_equal(finish(s), sizeof(text) + sizeof(noise));

	struct extent_list la = extents_of(f, a, 0), lb = extents_of(f, b, 0);
	struct segment row = segment_of(f, la.v[0].seg);

	assert_int_equal(la.count, 1);
	assert_int_equal(la.v[0].x_encoding, FRAME_ZSTD);
	assert_true(la.v[0].stored_len < sizeof(text) / 10);
	assert_int_equal(lb.count, 1);
	assert_int_equal(lb.v[0].x_encoding, FRAME_RAW);
	assert_int_equal(lb.v[0].seg, la.v[0].seg);
	assert_int_equal(row.kind, SEGMENT_SETTLED);
	assert_int_equal(row.size, padme_size(la.v[0].stored_len + lb.v[0].stored_len));
	extent_list_clear(&la);
	extent_list_clear(&lb);
	assert_content(f, a, 0, text, sizeof(text));
	assert_content(f, b, 0, noise, sizeof(noise));
	assert_content(f, a, 32767, text + 32767, 2);
	assert_content(f, a, 65536, text + 65536, 32768);
	fixture_reopen(f, true);
	assert_content(f, a, 0, text, sizeof(text));
	assert_content(f, b, 0, noise, sizeof(noise));
}

/* Frames are passed over while those before them did not shrink. */
static void
what_shrinks_behind_noise_is_packed_all_the_same(void **state)
{
	enum { NOISE = 400000, LEN = CHUNK_LEN };
	struct fixture *f = *state;
	uint8_t *data = malloc(LEN);
	uint64_t ino = new_file(f);

	assert_non_null(data);
	repeat(data, LEN);
	fill(data, NOISE, 1);
	write_file(f, ino, 0, data, LEN);

	struct settle *s = begin(f);

	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(finish(s), LEN);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 1);
	assert_int_equal(l.v[0].x_encoding, FRAME_ZSTD);
	assert_true(l.v[0].stored_len < NOISE + 9 * FRAME_ZSTD_LEN);
	extent_list_clear(&l);
	assert_content(f, ino, 0, data, LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, LEN);
	free(data);
}

static uint8_t
encoding_of(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list l = extents_of(f, ino, no);
	uint8_t encoding = l.v[0].x_encoding;

	assert_int_equal(l.count, 1);
	extent_list_clear(&l);
	return encoding;
}

static void
noise_says_something_of_what_follows_it_at_once_and_nothing_of_another_file(void **state)
{
	enum { NOISE = 4, TEXT = 3, LEN = (NOISE + TEXT) * CHUNK_LEN };
	struct fixture *f = *state;
	static uint8_t data[LEN], text[FRAME_ZSTD_LEN];
	uint64_t mixed = new_file(f), other = new_file(f);

	repeat(data, sizeof(data));
	repeat(text, sizeof(text));
	fill(data, NOISE * CHUNK_LEN, 1);
	write_file(f, mixed, 0, data, NOISE * CHUNK_LEN);
	write_file(f, other, 0, text, sizeof(text));

	struct settle *s = begin(f);

	assert_int_equal(settle_inode(s, mixed), 0);
	assert_int_equal(settle_inode(s, other), 0);
	finish(s);
	assert_int_equal(encoding_of(f, mixed, NOISE - 1), FRAME_RAW);
	assert_int_equal(encoding_of(f, other, 0), FRAME_ZSTD);

	write_file(f, mixed, 0, data, LEN);
	s = begin(f);
	assert_int_equal(settle_inode(s, mixed), 0);
	finish(s);
	assert_int_equal(encoding_of(f, mixed, NOISE - 1), FRAME_RAW);
	for (uint64_t no = NOISE; no < NOISE + TEXT; no++)
		assert_int_equal(encoding_of(f, mixed, no), FRAME_ZSTD);
	assert_content(f, mixed, 0, data, LEN);
	assert_content(f, other, 0, text, sizeof(text));
}

static void
neighbours_become_one_extent_and_holes_stay_holes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f), at = 0;
	static uint8_t expected[200000];

	for (uint64_t off = 0; off < 100000; off += 5000) {
		fill(expected + off, 5000, off);
		write_file(f, ino, off, expected + off, 5000);
	}
	fill(expected + 150000, 50000, 3);
	write_file(f, ino, 150000, expected + 150000, 50000);
	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 2);
	assert_int_equal(l.v[0].len, 100000);
	assert_int_equal(l.v[1].off, 150000);
	extent_list_clear(&l);
	assert_content(f, ino, 0, expected, sizeof(expected));
	assert_int_equal(content_seek(f->c, ino, 0, false, &at), 0);
	assert_int_equal(at, 100000);
}

static void
no_extent_crosses_from_one_chunk_into_the_next(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = malloc(3 * MIB);

	assert_non_null(data);
	repeat(data, 3 * MIB);
	write_file(f, ino, 1000, data, 3 * MIB);
	assert_int_equal(settle_one(f, ino), 0);
	for (unsigned no = 0; no < 4; no++) {
		struct extent_list l = extents_of(f, ino, no);

		assert_int_equal(l.count, 1);
		assert_true(l.v[0].off >= no * (uint64_t)MIB && l.v[0].off + l.v[0].len <= (no + 1) * (uint64_t)MIB);
		extent_list_clear(&l);
	}
	assert_content(f, ino, 1000, data, 3 * MIB);
	free(data);
}

static void
segments_are_cut_at_sixteen_mebibytes(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[40], segs[3], count = 0;
	uint8_t *data = malloc(MIB);
	struct settle *s = begin(f);

	assert_non_null(data);
	fill(data, MIB, 3);
	for (unsigned k = 0; k < ARRAY_LEN(inos); k++) {
		inos[k] = new_file(f);
		write_file(f, inos[k], 0, data, MIB);
		assert_int_equal(settle_inode(s, inos[k]), 0);
	}
	assert_int_equal(finish(s), 40 * MIB);
	for (unsigned k = 0; k < ARRAY_LEN(inos); k++) {
		struct extent_list l = extents_of(f, inos[k], 0);

		if (!count || segs[count - 1] != l.v[0].seg) {
			assert_true(count < 3);
			segs[count++] = l.v[0].seg;
			assert_true(segment_of(f, l.v[0].seg).size <= 16 * MIB);
		}
		extent_list_clear(&l);
		assert_content(f, inos[k], 0, data, MIB);
	}
	assert_int_equal(count, 3);
	free(data);
}

static void
many_small_files_share_one_segment(void **state)
{
	enum { COUNT = 500 };
	struct fixture *f = *state;
	uint64_t inos[COUNT], seg = 0;
	struct settle *s = begin(f);
	uint8_t data[300];

	for (unsigned k = 0; k < COUNT; k++) {
		inos[k] = new_file(f);
		fill(data, sizeof(data), k);
		write_file(f, inos[k], 0, data, sizeof(data));
		assert_int_equal(settle_inode(s, inos[k]), 0);
	}
	assert_int_equal(finish(s), COUNT * sizeof(data));
	for (unsigned k = 0; k < COUNT; k++) {
		struct extent_list l = extents_of(f, inos[k], 0);

		assert_true(k == 0 || l.v[0].seg == seg);
		seg = l.v[0].seg;
		extent_list_clear(&l);
		fill(data, sizeof(data), k);
		assert_content(f, inos[k], 0, data, sizeof(data));
	}
}

static void
a_write_truncation_or_removal_before_the_end_wins_over_settling(void **state)
{
	struct fixture *f = *state;
	uint64_t written = new_file(f), cut = new_file(f), removed = new_file(f), quiet = new_file(f);
	const uint64_t inos[] = {written, cut, removed, quiet};
	struct inode *i;
	struct settle *s = begin(f);

	for (unsigned k = 0; k < ARRAY_LEN(inos); k++) {
		write_file(f, inos[k], 0, "old content", 11);
		assert_int_equal(settle_inode(s, inos[k]), 0);
	}
	write_file(f, written, 0, "NEW", 3);
	assert_int_equal(content_truncate(f->c, cut, 3), 0);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, removed, &i), 0);
	assert_int_equal(meta_inode_remove(f->meta, i), 0);
	meta_unlock(f->meta);
	assert_int_equal(finish(s), 11);
	assert_content(f, written, 0, "NEW content", 11);
	assert_content(f, cut, 0, "old", 3);
	assert_content(f, quiet, 0, "old content", 11);
	fixture_reopen(f, true);
	assert_content(f, written, 0, "NEW content", 11);
	assert_content(f, cut, 0, "old", 3);
	assert_int_equal(inode_of(f, cut).size, 3);
	assert_int_equal(settle_one(f, written), 0);
	assert_content(f, written, 0, "NEW content", 11);
}

static void
a_segment_into_which_nothing_points_is_not_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct settle *s = begin(f);

	write_file(f, ino, 0, "old", 3);
	assert_int_equal(settle_inode(s, ino), 0);
	write_file(f, ino, 0, "new", 3);

	struct extent_list l = extents_of(f, ino, 0);
	struct segment row;

	assert_int_equal(finish(s), 0);
	/* The settled segment had the number after the hot one's. */
	assert_false(segment_exists(f, l.v[0].seg + 1));
	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, l.v[0].seg + 1, &row), -ENOENT);
	meta_unlock(f->meta);
	extent_list_clear(&l);
}

static void
settling_leaves_pending_what_is_pending_and_the_chain_s_list_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct inode *i;
	struct chunk *ch;

	write_file(f, ino, 0, "hello", 5);
	assert_int_equal(settle_one(f, ino), 0);
	make_known(f, ino);

	struct extent_list chain = extents_of(f, ino, 0);

	write_file(f, ino, 0, "J", 1);
	assert_int_equal(settle_one(f, ino), 0);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get(f->meta, i, 0, false, &ch), 0);
	assert_true(ch->pending);
	assert_true(i->pending & PENDING_CONTENT);
	assert_true(extent_list_equal(&ch->chain, &chain));
	assert_int_equal(ch->current.count, 1);
	meta_unlock(f->meta);
	assert_content(f, ino, 0, "Jello", 5);
	extent_list_clear(&chain);
}

static void
hot_bytes_that_were_settled_are_given_back(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = malloc(MIB);
	uint64_t ino = new_file(f), before, after;

	assert_non_null(data);
	fill(data, MIB, 3);
	for (unsigned k = 0; k < 70; k++) /* more than one hot segment */
		write_file(f, ino, k * (uint64_t)MIB, data, MIB);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(segstore_usage(f->ss, &before), 0);
	assert_int_equal(settle_one(f, ino), 0);
	assert_true(segment_exists(f, l.v[0].seg));
	assert_int_equal(meta_sync(f->meta), 0);
	assert_false(segment_exists(f, l.v[0].seg));
	assert_int_equal(segstore_usage(f->ss, &after), 0);
	assert_true(after < before + MIB * 5);
	extent_list_clear(&l);
	for (unsigned k = 0; k < 70; k++)
		assert_content(f, ino, k * (uint64_t)MIB, data, MIB);
	free(data);
}

static void
hot_segments_of_an_earlier_run_go_when_all_was_settled(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);

	write_file(f, ino, 0, "hello", 5);

	struct extent_list l = extents_of(f, ino, 0);

	fixture_reopen(f, true);
	assert_true(segment_exists(f, l.v[0].seg));
	assert_int_equal(settle_one(f, ino), 0);
	assert_false(segment_exists(f, l.v[0].seg));
	fixture_reopen(f, true);
	assert_content(f, ino, 0, "hello", 5);
	extent_list_clear(&l);
}

static void
a_small_change_does_not_settle_the_whole_chunk_again(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = malloc(MIB);

	assert_non_null(data);
	fill(data, MIB, 3);
	write_file(f, ino, 0, data, MIB);
	assert_int_equal(settle_one(f, ino), 0);
	memset(data + 8192, 7, 4096);
	write_file(f, ino, 8192, data + 8192, 4096);

	struct settle *s = begin(f);

	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(finish(s), 4096);
	assert_content(f, ino, 0, data, MIB);
	/* A large one does, and there is one extent again. */
	fill(data + 100000, 400000, 9);
	write_file(f, ino, 100000, data + 100000, 400000);
	s = begin(f);
	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(finish(s), MIB);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 1);
	extent_list_clear(&l);
	assert_content(f, ino, 0, data, MIB);
	free(data);
}

static void
only_hot_parts_are_settled_where_others_are_in_the_store_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t data[8192];

	fill(data, sizeof(data), 3);
	write_file(f, ino, 0, data, sizeof(data));
	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list before = extents_of(f, ino, 0);

	assert_int_equal(segstore_drop(f->ss, before.v[0].seg), 0);
	write_file(f, ino, 4096, data, 4096);

	struct settle *s = begin(f);

	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(finish(s), 4096);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 2);
	assert_int_equal(l.v[0].seg, before.v[0].seg);
	assert_int_equal(segment_of(f, l.v[1].seg).kind, SEGMENT_SETTLED);
	assert_int_not_equal(l.v[1].seg, before.v[0].seg);
	assert_content(f, ino, 4096, data, 4096);
	extent_list_clear(&before);
	extent_list_clear(&l);
}

static void
what_is_settled_already_is_left_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);

	write_file(f, ino, 0, "hello", 5);
	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list before = extents_of(f, ino, 0);
	struct settle *s = begin(f);

	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(settle_inode(s, 4711), -ENOENT);
	assert_int_equal(finish(s), 0);

	struct extent_list after = extents_of(f, ino, 0);

	assert_true(extent_list_equal(&before, &after));
	extent_list_clear(&before);
	extent_list_clear(&after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(text_is_packed_noise_stays_raw_and_both_read_as_before),
		TEST(what_shrinks_behind_noise_is_packed_all_the_same),
		TEST(noise_says_something_of_what_follows_it_at_once_and_nothing_of_another_file),
		TEST(neighbours_become_one_extent_and_holes_stay_holes),
		TEST(no_extent_crosses_from_one_chunk_into_the_next),
		TEST(segments_are_cut_at_sixteen_mebibytes),
		TEST(many_small_files_share_one_segment),
		TEST(a_write_truncation_or_removal_before_the_end_wins_over_settling),
		TEST(a_segment_into_which_nothing_points_is_not_kept),
		TEST(settling_leaves_pending_what_is_pending_and_the_chain_s_list_alone),
		TEST(hot_bytes_that_were_settled_are_given_back),
		TEST(hot_segments_of_an_earlier_run_go_when_all_was_settled),
		TEST(a_small_change_does_not_settle_the_whole_chunk_again),
		TEST(only_hot_parts_are_settled_where_others_are_in_the_store_alone),
		TEST(what_is_settled_already_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
