/* test_copies.c: what came from the store is in memory, too, until it was read. */
#include <stdatomic.h>

#include "shelf_store.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PART (8 * MIB)

static atomic_uint preads;

static err_t
count(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx, (void)fd, (void)name, (void)data, (void)off, (void)len;
	preads += strcmp(operation, "pread") == 0;
	return 0;
}

struct scene {
	struct shelf_store k;
	uint64_t ino;
	uint8_t *buf;
};

/* A file in the store alone, and a count of what is read from the disk. */
static void
begin(struct fixture *f, struct scene *s, size_t len)
{
	memset(s, 0, sizeof(*s));
	shelf_open(f, &s->k);
	s->ino = shelf_file(&s->k, len, 3);
	shelf_evict(&s->k);
	s->buf = malloc(PART);
	assert_non_null(s->buf);
	preads = 0;
	disk_watch(count, NULL);
}

static void
end(struct scene *s)
{
	disk_watch(NULL, NULL);
	free(s->buf);
	shelf_clear(&s->k);
}

/* What comes of a segment; of a damaged store, with one bit wrong in each piece.  Returns the memory that was given for it. */
static struct bytes
come(struct scene *s, unsigned n, uint64_t off, size_t len, bool damaged, bool copied)
{
	struct bytes b = {0};

	assert_int_equal(bytes_append(&b, s->k.objects[n].data + off, len), 0);
	for (size_t at = 1000; damaged && at < len; at += MIB)
		b.data[at] ^= 1;
	assert_int_equal(segstore_put_pieces(s->k.f->ss, s->k.rows[n].id, off, b.data, len, false), 0);
	if (copied)
		segstore_keep_copy(s->k.f->ss, s->k.rows[n].id, off, &b);
	else
		bytes_clear(&b);
	return b;
}

static void
come_with_copy(struct scene *s, unsigned n, uint64_t off, size_t len)
{
	struct bytes memory = come(s, n, off, len, false, true);

	bytes_clear(&memory);
}

/* Are they right?  Returns how often that took the disk. */
static unsigned
read_back(struct scene *s, unsigned n, uint64_t off, uint32_t len)
{
	unsigned before = preads;

	assert_int_equal(segstore_read(s->k.f->ss, s->k.rows[n].id, off, len, s->buf), 0);
	assert_memory_equal(s->buf, s->k.objects[n].data + off, len);
	return preads - before;
}

static void
what_came_is_read_from_memory_first_and_from_the_disk_when_all_of_it_was_read(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, 2 * MIB);
	assert_int_equal(read_back(&s, 0, 0, MIB), 0);
	assert_int_equal(read_back(&s, 0, MIB, MIB), 0);
	assert_int_not_equal(read_back(&s, 0, 0, 2 * MIB), 0);
	end(&s);
}

static void
what_lies_in_two_copies_is_read_from_both(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, MIB);
	come_with_copy(&s, 0, MIB, MIB);
	assert_int_equal(read_back(&s, 0, MIB - 5000, 10000), 0);
	end(&s);
}

static void
what_is_partly_in_a_copy_comes_from_the_disk(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, MIB);

	struct bytes none = come(&s, 0, MIB, MIB, false, false);

	assert_null(none.data);
	assert_int_not_equal(read_back(&s, 0, MIB - 5000, 10000), 0);
	end(&s);
}

static void
the_oldest_copies_make_room_for_new_ones_and_give_their_memory(void **state)
{
	struct scene s;

	begin(*state, &s, 90 * MIB);
	assert_true(s.k.count >= 5);
	for (unsigned n = 0; n < 4; n++) {
		struct bytes memory = come(&s, n, 0, PART, false, true);

		assert_null(memory.data);
	}

	struct bytes memory = come(&s, 4, 0, PART, false, true);

	assert_int_equal(memory.cap, PART);
	bytes_clear(&memory);
	assert_int_not_equal(read_back(&s, 0, 0, PART), 0);
	for (unsigned n = 1; n < 5; n++)
		assert_int_equal(read_back(&s, n, 0, PART), 0);
	end(&s);
}

static void
what_is_larger_than_all_copies_may_be_is_none(void **state)
{
	struct bytes huge = {0};
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, MIB);
	assert_int_equal(bytes_reserve(&huge, 40 * MIB), 0);
	assert_int_equal(bytes_append(&huge, s.k.objects[0].data, MIB), 0);
	segstore_keep_copy(s.k.f->ss, s.k.rows[0].id, 0, &huge);
	assert_int_equal(huge.len, MIB);
	bytes_clear(&huge);
	end(&s);
}

static void
a_copy_goes_with_its_pieces(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, 2 * MIB);

	struct segstore_leaving v = {.seg = s.k.rows[0].id, .mask = 1};

	assert_int_equal(segstore_drop_pieces(s.k.f->ss, &v, 1), 0);
	assert_true(v.done);
	assert_int_equal(segstore_read(s.k.f->ss, s.k.rows[0].id, 0, 1000, s.buf), -ENODATA);
	come_with_copy(&s, 0, 0, 2 * MIB);
	assert_int_equal(segstore_drop(s.k.f->ss, s.k.rows[0].id), 0);
	assert_int_equal(segstore_read(s.k.f->ss, s.k.rows[0].id, 0, 1000, s.buf), -ENODATA);
	end(&s);
}

static void
what_comes_anew_takes_the_place_of_its_copy(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);

	struct bytes memory = come(&s, 0, 0, 2 * MIB, true, true);

	bytes_clear(&memory);
	(void)come(&s, 0, 0, 2 * MIB, false, false);
	(void)read_back(&s, 0, 0, 2 * MIB);
	end(&s);
}

static void
what_was_found_to_be_whole_is_not_replaced_by_what_comes(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, (size_t)s.k.rows[0].size);
	assert_int_equal(segstore_save_pieces(s.k.f->ss), 0);
	(void)read_back(&s, 0, 0, (uint32_t)s.k.rows[0].size);

	struct bytes memory = come(&s, 0, 0, 2 * MIB, true, true);

	bytes_clear(&memory);
	(void)read_back(&s, 0, 0, 2 * MIB);
	end(&s);
}

static void
copies_that_are_forgotten_are_read_from_the_disk(void **state)
{
	struct scene s;

	begin(*state, &s, 4 * MIB);
	come_with_copy(&s, 0, 0, 2 * MIB);
	segstore_forget_copies(s.k.f->ss);
	assert_int_not_equal(read_back(&s, 0, 0, MIB), 0);
	end(&s);
}

static void
what_somebody_waited_for_is_not_read_from_the_disk(void **state)
{
	struct scene s;

	begin(*state, &s, 6 * MIB);
	shelf_assert_file(&s.k, s.ino, 3, 2 * MIB + 5000, 2000);
	assert_int_equal(preads, 0);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_came_is_read_from_memory_first_and_from_the_disk_when_all_of_it_was_read),
		TEST(what_lies_in_two_copies_is_read_from_both),
		TEST(what_is_partly_in_a_copy_comes_from_the_disk),
		TEST(the_oldest_copies_make_room_for_new_ones_and_give_their_memory),
		TEST(what_is_larger_than_all_copies_may_be_is_none),
		TEST(a_copy_goes_with_its_pieces),
		TEST(what_comes_anew_takes_the_place_of_its_copy),
		TEST(what_was_found_to_be_whole_is_not_replaced_by_what_comes),
		TEST(copies_that_are_forgotten_are_read_from_the_disk),
		TEST(what_somebody_waited_for_is_not_read_from_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
