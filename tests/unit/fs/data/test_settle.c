/* settle: contents stay what they are, become smaller where they can, and no write that comes in between is lost. */
#include "fixture.h"

#include <stdatomic.h>
#include <unistd.h>

#include "frame.h"
#include "hash.h"
#include "padme.h"

#define MIB (1u << 20)

static void
repeat(uint8_t *p, size_t len)
{
	for (size_t k = 0; k < len; k++)
		p[k] = (uint8_t)("some text that repeats itself\n"[k % 30] + k / 5000);
}

static struct segment
segment_of(struct fixture *f, uint64_t seg)
{
	struct segment row;

	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, seg, &row), 0);
	meta_unlock(f->meta);
	return row;
}

static struct settle *
begin(struct fixture *f)
{
	struct settle *s;

	assert_int_equal(settle_begin(f->c, f->meta, f->ss, f->keys, &s), 0);
	return s;
}

static uint64_t
finish(struct settle *s)
{
	uint64_t len = 0;

	assert_int_equal(settle_finish(s, &len), 0);
	return len;
}

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

/* Of a chunk with one extent: settles it.  true: it was not sealed anew. */
static bool
keeps_its_id(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list before = extents_of(f, ino, no);

	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list after = extents_of(f, ino, no);
	bool kept = memcmp(before.v[0].x_id, after.v[0].x_id, sizeof(after.v[0].x_id)) == 0;

	assert_int_equal(after.count, 1);
	assert_int_equal(segment_of(f, before.v[0].seg).kind, SEGMENT_HOT);
	assert_int_equal(segment_of(f, after.v[0].seg).kind, SEGMENT_SETTLED);
	extent_list_clear(&before);
	extent_list_clear(&after);
	return kept;
}

static void
noise_that_is_whole_goes_as_it_is_sealed_and_all_else_is_sealed_anew(void **state)
{
	const uint8_t epoch_key[32] = {7};
	struct fixture *f = *state;
	uint64_t whole = new_file(f), later = new_file(f), text = new_file(f), cut = new_file(f);
	static uint8_t noise[MIB], words[MIB];

	fill(noise, sizeof(noise), 1);
	repeat(words, sizeof(words));
	write_file(f, whole, 0, noise, sizeof(noise));
	write_file(f, later, 0, noise, sizeof(noise));
	write_file(f, text, 0, words, sizeof(words));
	write_file(f, cut, 0, noise, sizeof(noise));
	write_file(f, cut, 5, "new", 3);
	assert_true(keeps_its_id(f, whole, 0));
	assert_false(keeps_its_id(f, text, 0));
	assert_false(keeps_its_id(f, cut, 0));
	/* Somebody was removed: what goes to the store is not under what he knew. */
	assert_int_equal(keyring_add(f->keys, 9, epoch_key), 0);
	assert_false(keeps_its_id(f, later, 0));
	fixture_reopen(f, true);
	assert_int_equal(keyring_add(f->keys, 9, epoch_key), 0);
	assert_content(f, whole, 0, noise, sizeof(noise));
	assert_content(f, later, 0, noise, sizeof(noise));
	assert_content(f, text, 0, words, sizeof(words));
	memcpy(noise + 5, "new", 3);
	assert_content(f, cut, 0, noise, sizeof(noise));
}

/* Settles what was written in `count` pieces as long as each other.  true: none was sealed anew, or joined with another. */
static bool
keeps_all(struct fixture *f, uint64_t ino, uint32_t count)
{
	struct extent_list before = extents_of(f, ino, 0);
	bool kept = true;

	assert_int_equal(before.count, count);
	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list after = extents_of(f, ino, 0);

	assert_true(after.count == count || after.count == 1);
	for (uint32_t k = 0; k < after.count; k++) {
		kept = kept && memcmp(before.v[k].x_id, after.v[k].x_id, sizeof(after.v[k].x_id)) == 0;
		assert_int_equal(segment_of(f, after.v[k].seg).kind, SEGMENT_SETTLED);
	}
	assert_int_equal(kept, after.count == count);
	extent_list_clear(&before);
	extent_list_clear(&after);
	return kept;
}

static uint64_t
new_file_in_pieces(struct fixture *f, const uint8_t *data, uint32_t count)
{
	uint64_t ino = new_file(f);

	for (uint32_t k = 0; k < count; k++)
		write_file(f, ino, k * (uint64_t)(MIB / count), data + k * (size_t)(MIB / count), MIB / count);
	return ino;
}

static void
long_pieces_of_noise_go_as_they_are_sealed_and_others_become_one(void **state)
{
	const uint8_t epoch_key[32] = {7};
	static uint8_t noise[MIB], words[MIB];
	struct fixture *f = *state;

	fill(noise, sizeof(noise), 1);
	repeat(words, sizeof(words));

	const uint64_t inos[] = {new_file_in_pieces(f, noise, 2), new_file_in_pieces(f, noise, 8), new_file_in_pieces(f, noise, 16),
	    new_file_in_pieces(f, words, 2), new_file_in_pieces(f, noise, 4)};

	assert_true(keeps_all(f, inos[0], 2));
	assert_true(keeps_all(f, inos[1], 8));
	assert_false(keeps_all(f, inos[2], 16));
	assert_false(keeps_all(f, inos[3], 2));
	/* Somebody was removed: what goes to the store is not under what he knew. */
	assert_int_equal(keyring_add(f->keys, 9, epoch_key), 0);
	assert_false(keeps_all(f, inos[4], 4));
	fixture_reopen(f, true);
	assert_int_equal(keyring_add(f->keys, 9, epoch_key), 0);
	for (unsigned k = 0; k < ARRAY_LEN(inos); k++)
		assert_content(f, inos[k], 0, k == 3 ? words : noise, MIB);
}

/* A merge has given its number to another key meanwhile. */
static void
what_was_sealed_under_a_key_that_the_file_has_no_more_is_not_used(void **state)
{
	const uint8_t epoch_key[32] = {7};
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct settle *s;
	struct inode *i;

	write_file(f, ino, 0, "content", 7);
	assert_int_equal(keyring_add(f->keys, 9, epoch_key), 0);
	s = begin(f);
	assert_int_equal(settle_inode(s, ino), 0);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(i->key_count, 2);
	assert_int_equal(keyring_new_file_key(f->keys, i->keys[1].version, &i->keys[1]), 0);
	meta_inode_dirty(f->meta, i);
	meta_unlock(f->meta);
	assert_int_equal(finish(s), 0);
	assert_content(f, ino, 0, "content", 7);
	assert_int_equal(settle_one(f, ino), 0);
	assert_content(f, ino, 0, "content", 7);
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

/* The first bytes of what a chunk has first. */
static void
damage(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list l = extents_of(f, ino, no);
	uint8_t junk[64] = {0};
	char path[128];

	segment_path(f, l.v[0].seg, path);

	FILE *file = fopen(path, "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, (long)l.v[0].seg_off, SEEK_SET), 0);
	assert_int_equal(fwrite(junk, 5, 1, file), 1);
	fclose(file);
	extent_list_clear(&l);
}

static enum segment_kind
kind_of(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list l = extents_of(f, ino, no);
	enum segment_kind kind = segment_of(f, l.v[0].seg).kind;

	extent_list_clear(&l);
	return kind;
}

static void
a_damaged_hot_part_is_eio_and_the_other_chunks_are_settled(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);

	write_file(f, ino, 0, "first", 5);
	write_file(f, ino, MIB, "second", 6);
	damage(f, ino, 0);
	assert_int_equal(settle_one(f, ino), -EIO);
	assert_int_equal(kind_of(f, ino, 1), SEGMENT_SETTLED);
	assert_content(f, ino, MIB, "second", 6);
}

static void
a_damaged_chunk_among_many_of_noise_stays_and_the_others_go(void **state)
{
	enum { CHUNKS = 9, DAMAGED = 4 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t noise[CHUNKS * MIB];

	fill(noise, sizeof(noise), 1);
	write_file(f, ino, 0, noise, sizeof(noise));
	damage(f, ino, DAMAGED);
	assert_int_equal(settle_one(f, ino), -EIO);
	for (uint64_t no = 0; no < CHUNKS; no++)
		assert_int_equal(kind_of(f, ino, no), no == DAMAGED ? SEGMENT_HOT : SEGMENT_SETTLED);
	assert_content(f, ino, 0, noise, (size_t)DAMAGED * MIB);
	assert_content(f, ino, (DAMAGED + 1) * MIB, noise + (DAMAGED + 1) * MIB, (size_t)(CHUNKS - DAMAGED - 1) * MIB);
}

/* Failing disks. */

struct strike {
	unsigned after;
	atomic_uint seen; /* by several threads */
};

static err_t
strike_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct strike *k = ctx;

	(void)operation, (void)fd, (void)name, (void)data, (void)off, (void)len;
	return k->seen++ >= k->after ? -ENOSPC : 0;
}

static void
a_disk_that_fails_at_any_operation_leaves_all_files_readable(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[2 * MIB + 500];
	uint64_t ino = new_file(f);
	unsigned failures = 0;

	repeat(data, sizeof(data));
	write_file(f, ino, 0, data, sizeof(data));
	for (unsigned after = 0;; after++) {
		struct strike k = {.after = after};
		struct settle *s = begin(f);
		uint64_t len;

		disk_watch(strike_fn, &k);

		err_t e = settle_inode(s, ino);

		if (e)
			settle_abandon(s);
		else
			e = settle_finish(s, &len);
		disk_watch(NULL, NULL);
		assert_content(f, ino, 0, data, sizeof(data));
		if (!e)
			break;
		failures++;
	}
	assert_true(failures > 5);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, sizeof(data));
}

/* Who wants full segments. */
struct taker {
	unsigned calls;
	unsigned right;
	uint64_t len;  /* of all segments */
	uint64_t last; /* its number */
	bool change;   /* keeps the object and leaves other memory */
	struct bytes kept;
	err_t answer;
};

static err_t
take_full(void *ctx, const struct segment *row, struct bytes *object)
{
	struct taker *t = ctx;
	uint8_t sha256[HASH_LEN];

	t->calls++;
	t->len += row->size;
	assert_true(row->id > t->last);
	t->last = row->id;
	if (object->len == row->size && hash_sha256(object->data, object->len, sha256) == 0 &&
	    memcmp(sha256, row->sha256, sizeof(sha256)) == 0)
		t->right++;
	if (t->change) {
		struct bytes other = t->kept;

		t->kept = *object;
		*object = other;
	}
	return t->answer;
}

enum { FULL_LEN = 40 * MIB };

static uint64_t
make_noise(struct fixture *f, uint8_t **data_out)
{
	uint64_t ino = new_file(f);

	*data_out = malloc(FULL_LEN);
	assert_non_null(*data_out);
	fill(*data_out, FULL_LEN, 7);
	write_file(f, ino, 0, *data_out, FULL_LEN);
	return ino;
}

static void
segments_are_handed_out_with_what_is_in_them(void **state)
{
	struct fixture *f = *state;
	uint8_t *data;
	uint64_t ino = make_noise(f, &data);

	for (unsigned change = 0; change < 2; change++) {
		struct taker t = {.change = change};
		struct settle *s = begin(f);

		settle_set_full(s, take_full, &t);
		assert_int_equal(settle_inode(s, ino), 0);
		assert_int_equal(finish(s), FULL_LEN);
		assert_int_equal(t.calls, 3); /* the last one is not full */
		assert_int_equal(t.right, 3);
		assert_content(f, ino, 0, data, FULL_LEN);
		bytes_clear(&t.kept);
		write_file(f, ino, 0, data, FULL_LEN);
	}
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static err_t
pause_now_and_then(void *ctx)
{
	unsigned *calls = ctx;

	return ++*calls % 3 == 0 ? -EINPROGRESS : 0;
}

static void
settling_goes_on_where_a_pause_has_ended_it_and_fills_the_same_segment(void **state)
{
	struct fixture *f = *state;
	struct taker t = {0};
	unsigned calls = 0, pauses = 0;
	uint8_t *data;
	uint64_t ino = make_noise(f, &data);
	struct settle *s = begin(f);
	err_t e;

	settle_set_full(s, take_full, &t);
	settle_set_pause(s, pause_now_and_then, &calls);
	while ((e = settle_inode(s, ino)) == -EINPROGRESS) {
		pauses++;
		assert_int_equal(settle_catch_up(s), 0);
		assert_in_range(pauses, 1, FULL_LEN / MIB);
	}
	assert_int_equal(e, 0);
	assert_true(pauses > 10);
	assert_int_equal(finish(s), FULL_LEN);
	assert_int_equal(t.calls, 3);
	assert_in_range(t.len, FULL_LEN, FULL_LEN + FULL_LEN / 16);
	assert_content(f, ino, 0, data, FULL_LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static void
who_does_not_want_a_full_segment_ends_settling_and_all_stays_readable(void **state)
{
	struct fixture *f = *state;
	struct taker t = {.answer = -ENOSPC};
	uint8_t *data;
	uint64_t len, ino = make_noise(f, &data);
	struct settle *s = begin(f);

	settle_set_full(s, take_full, &t);

	err_t e = settle_inode(s, ino);

	if (e)
		settle_abandon(s);
	else
		e = settle_finish(s, &len);
	assert_int_equal(e, -ENOSPC);
	assert_int_equal(t.calls, 1);
	assert_content(f, ino, 0, data, FULL_LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static void
abandoning_while_a_segment_is_on_its_way_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct taker t = {0};
	uint8_t *data;
	uint64_t ino = make_noise(f, &data);
	struct settle *s = begin(f);

	settle_set_full(s, take_full, &t);
	assert_int_equal(settle_inode(s, ino), 0);
	settle_abandon(s);
	assert_int_equal(t.calls, 2);
	assert_content(f, ino, 0, data, FULL_LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static void
abandoning_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct settle *s = begin(f);

	write_file(f, ino, 0, "hello", 5);

	struct extent_list before = extents_of(f, ino, 0);

	assert_int_equal(settle_inode(s, ino), 0);
	settle_abandon(s);

	struct extent_list after = extents_of(f, ino, 0);

	assert_true(extent_list_equal(&before, &after));
	assert_false(segment_exists(f, before.v[0].seg + 1));
	extent_list_clear(&before);
	extent_list_clear(&after);
	assert_content(f, ino, 0, "hello", 5);
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
		TEST(noise_that_is_whole_goes_as_it_is_sealed_and_all_else_is_sealed_anew),
		TEST(long_pieces_of_noise_go_as_they_are_sealed_and_others_become_one),
		TEST(what_was_sealed_under_a_key_that_the_file_has_no_more_is_not_used),
		TEST(a_segment_into_which_nothing_points_is_not_kept),
		TEST(settling_leaves_pending_what_is_pending_and_the_chain_s_list_alone),
		TEST(hot_bytes_that_were_settled_are_given_back),
		TEST(hot_segments_of_an_earlier_run_go_when_all_was_settled),
		TEST(a_small_change_does_not_settle_the_whole_chunk_again),
		TEST(only_hot_parts_are_settled_where_others_are_in_the_store_alone),
		TEST(what_is_settled_already_is_left_alone),
		TEST(a_damaged_hot_part_is_eio_and_the_other_chunks_are_settled),
		TEST(a_damaged_chunk_among_many_of_noise_stays_and_the_others_go),
		TEST(a_disk_that_fails_at_any_operation_leaves_all_files_readable),
		TEST(segments_are_handed_out_with_what_is_in_them),
		TEST(settling_goes_on_where_a_pause_has_ended_it_and_fills_the_same_segment),
		TEST(who_does_not_want_a_full_segment_ends_settling_and_all_stays_readable),
		TEST(abandoning_while_a_segment_is_on_its_way_loses_nothing),
		TEST(abandoning_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
