/* settle: what would be sealed again in the same way goes as it is, and nothing else does. */
#include "settle_steps.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(noise_that_is_whole_goes_as_it_is_sealed_and_all_else_is_sealed_anew),
		TEST(long_pieces_of_noise_go_as_they_are_sealed_and_others_become_one),
		TEST(what_was_sealed_under_a_key_that_the_file_has_no_more_is_not_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
