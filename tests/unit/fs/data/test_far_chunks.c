/* Long files with holes, of very many chunks: what is done to them goes in steps, and looks at a few chunks at a time. */
#include "../../tempdir.h"

#define FIXTURE_PLACE tempdir_quick() /* many flushes, which may take 50 ms each on a slow disk */

#include "content_internal.h"
#include "fixture.h"
#include "meta_internal.h" /* what is in memory can't be asked for otherwise */

#define MIB (1u << 20)

/* One block in each of so many chunks, two apart. */
#define FAR_CHUNKS 300

static uint64_t
make_far(struct fixture *f)
{
	uint64_t ino = new_file(f);

	for (uint64_t k = 0; k < FAR_CHUNKS; k++)
		write_file(f, ino, 2 * k * MIB + 5, "a piece", 7);
	return ino;
}

/* The longest list of chunks since it was set to 0: it is made with the lock held. */
static size_t listed_most;
/* From now on none can be made. */
static bool interrupted;
/* Between steps: how many there were since it was set to 0, the most that was changed in one, and the one to be the last. */
static unsigned steps, last_step;
static size_t changed_most;

void __real_meta_throttle(struct meta *m);
void __wrap_meta_throttle(struct meta *m);

/* What is changed is durable after each. */
void
__wrap_meta_throttle(struct meta *m)
{
	meta_lock(m);
	changed_most = m->dirty.count > changed_most ? m->dirty.count : changed_most;
	meta_unlock(m);
	assert_int_equal(meta_sync(m), 0);
	interrupted = ++steps == last_step;
	__real_meta_throttle(m);
}

err_t __real_meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out,
    size_t *count_out);
err_t __wrap_meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out,
    size_t *count_out);

err_t
__wrap_meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out, size_t *count_out)
{
	err_t err = interrupted ? -EIO : __real_meta_chunk_numbers(m, i, from, most, nos_out, count_out);

	if (err == 0 && *count_out > listed_most)
		listed_most = *count_out;
	return err;
}

static void
assert_chunks(struct fixture *f, uint64_t ino, uint64_t from, size_t expected)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	struct inode *i;
	size_t count;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_numbers(f->meta, i, from, SIZE_MAX, &nos, &count), 0);
	assert_int_equal(count, expected);
	for (size_t k = 0; k < count; k++)
		assert_true(nos[k] >= from && nos[k] % 2 == 0 && (k == 0 || nos[k] > nos[k - 1]));
	meta_unlock(f->meta);
}

static void
the_first_chunks_are_listed_wherever_they_are(void **state)
{
	struct fixture *f = *state;
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	uint64_t ino = make_far(f);
	struct inode *i;
	size_t count;

	fixture_reopen(f, true);
	write_file(f, ino, 5 * MIB, "in memory", 9);
	write_file(f, ino, 7 * MIB, "in memory", 9);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_numbers(f->meta, i, 3, 4, &nos, &count), 0);
	meta_unlock(f->meta);
	assert_int_equal(count, 4);
	for (size_t k = 0; k < count; k++)
		assert_int_equal(nos[k], 4 + k);
}

/* Chunks that were looked at since the lock was let go, and the most that ever were. */
static size_t looked, looked_most;

void __real_meta_unlock(struct meta *m);
void __wrap_meta_unlock(struct meta *m);

void
__wrap_meta_unlock(struct meta *m)
{
	looked = 0;
	__real_meta_unlock(m);
}

static err_t
look(void *ctx, struct inode *i, struct chunk *c)
{
	uint64_t *next = ctx;

	assert_int_equal(c->no, *next);
	assert_int_equal(c->current.count, 1);
	assert_true(i->size > c->no * MIB);
	looked++;
	looked_most = looked > looked_most ? looked : looked_most;
	*next += 2;
	return *next == 2 * FAR_CHUNKS ? -EAGAIN : 0;
}

static void
a_long_file_is_looked_through_with_the_lock_let_go_now_and_then(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_far(f), next = 0;

	fixture_reopen(f, true);
	looked_most = 0;
	assert_int_equal(meta_chunk_scan_file(f->meta, ino, look, &next), -EAGAIN);
	assert_int_equal(next, 2 * FAR_CHUNKS);
	assert_in_range(looked_most, 1, FAR_CHUNKS / 3);
	assert_int_equal(meta_chunk_scan_file(f->meta, ino + 1, look, &next), -ENOENT);
}

static void
a_file_of_many_chunks_is_cut_to_any_size(void **state)
{
	static const uint64_t SIZES[] = {(2 * 290 * (uint64_t)MIB) + 7, 2 * 150 * (uint64_t)MIB, 6, 0};
	static const size_t LEFT[] = {291, 150, 1, 0};
	struct fixture *f = *state;
	uint64_t ino = make_far(f);

	assert_chunks(f, ino, 0, FAR_CHUNKS);
	assert_chunks(f, ino, 301, FAR_CHUNKS - 151);
	fixture_reopen(f, true);
	for (unsigned k = 0; k < ARRAY_LEN(SIZES); k++) {
		assert_int_equal(content_truncate(f->c, ino, SIZES[k]), 0);
		assert_int_equal(inode_of(f, ino).size, SIZES[k]);
		assert_chunks(f, ino, 0, LEFT[k]);
		if (SIZES[k] > 2 * MIB)
			assert_content(f, ino, 2 * MIB + 5, "a piece", 7);
		if (k % 2)
			fixture_reopen(f, true);
		assert_chunks(f, ino, 0, LEFT[k]);
	}
	assert_int_equal(inode_of(f, ino).mapped, 0);
}

static void
assert_zeros(struct fixture *f, uint64_t ino, uint64_t off, size_t len)
{
	uint8_t *zeros = calloc(1, len);

	assert_non_null(zeros);
	assert_content(f, ino, off, zeros, len);
	free(zeros);
}

static void
a_long_cut_changes_a_bounded_number_of_rows_in_each_step(void **state)
{
	struct fixture *f = *state;

	for (unsigned known = 0; known < 2; known++) {
		uint64_t ino = make_far(f), size = inode_of(f, ino).size;

		if (known)
			make_known(f, ino);
		fixture_reopen(f, true);
		listed_most = steps = changed_most = 0;
		assert_int_equal(content_truncate(f->c, ino, 2 * MIB + 7), 0);
		assert_in_range(steps, FAR_CHUNKS / STEP_CHUNKS - 1, FAR_CHUNKS / STEP_CHUNKS + 1);
		assert_in_range(changed_most, STEP_CHUNKS, 2 * STEP_CHUNKS + 4);
		assert_in_range(listed_most, STEP_CHUNKS, STEP_CHUNKS + 1);
		assert_int_equal(inode_of(f, ino).mapped, 7 + 2);
		if (!known)
			assert_chunks(f, ino, 0, 2);
		assert_int_equal(content_truncate(f->c, ino, size), 0);
		assert_zeros(f, ino, 4 * MIB, 100);
	}
}

/* A cut that ends before its time, though the size is durable. */
static void
cut_partly(struct fixture *f, uint64_t ino, uint64_t size, unsigned after)
{
	steps = 0;
	last_step = after;
	assert_int_equal(content_truncate(f->c, ino, size), 0);
	assert_int_equal(steps, after);
	last_step = 0;
}

static void
after_a_power_cut_in_a_long_cut_the_file_has_its_new_size_and_the_rest_goes(void **state)
{
	struct fixture *f = *state;

	for (unsigned k = 0; k < 6; k++) {
		uint64_t ino = make_far(f), size = inode_of(f, ino).size, at = 0;

		if (k % 2)
			make_known(f, ino);
		fixture_reopen(f, true);
		cut_partly(f, ino, 2 * MIB + 7, 1 + k / 2);
		interrupted = false;
		fixture_reopen(f, false);
		assert_int_equal(inode_of(f, ino).size, 2 * MIB + 7);
		assert_true(inode_of(f, ino).mapped > 9);
		assert_content(f, ino, 2 * MIB + 5, "a ", 2);
		assert_int_equal(content_seek(f->c, ino, 2 * MIB + 7, true, &at), -ENXIO);
		assert_int_equal(content_seek(f->c, ino, 0, false, &at), 0);
		assert_int_equal(at, 0);
		content_finish_truncations(f->c);
		assert_int_equal(inode_of(f, ino).mapped, 9);
		if (k % 2 == 0)
			assert_chunks(f, ino, 0, 2);
		fixture_reopen(f, true);
		assert_int_equal(f->c->cut_count, 0);
		assert_int_equal(content_truncate(f->c, ino, size), 0);
		for (uint64_t no = 2; no < FAR_CHUNKS; no++)
			assert_zeros(f, ino, 2 * no * MIB + 5, 7);
	}
}

static void
a_power_cut_before_a_long_cut_is_durable_leaves_the_old_file(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_far(f), size = inode_of(f, ino).size;

	fixture_reopen(f, true);
	f->c->step = FAR_CHUNKS;
	assert_int_equal(content_truncate(f->c, ino, 3), 0);
	fixture_reopen(f, false);
	assert_int_equal(f->c->cut_count, 0);
	assert_int_equal(inode_of(f, ino).size, size);
	for (uint64_t no = 0; no < FAR_CHUNKS; no++)
		assert_content(f, ino, 2 * no * MIB + 5, "a piece", 7);
}

static void
what_could_not_be_cut_off_is_never_seen_again(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_far(f), size = inode_of(f, ino).size;

	fixture_reopen(f, true);
	cut_partly(f, ino, 2 * MIB + 7, 1);
	assert_int_equal(content_truncate(f->c, ino, size), -EIO);
	assert_int_equal(content_write(f->c, ino, size, (const uint8_t *)"x", 1), -EIO);
	assert_int_equal(inode_of(f, ino).size, 2 * MIB + 7);
	write_file(f, ino, 2 * MIB, "within", 6);
	interrupted = false;
	write_file(f, ino, size, "x", 1);
	assert_zeros(f, ino, 4 * MIB, 100);
	assert_content(f, ino, size, "x", 1);
	assert_int_equal(f->c->cut_count, 0);
}

static void
a_file_of_many_chunks_is_discarded(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_far(f);

	fixture_reopen(f, true);
	listed_most = 0;
	assert_int_equal(content_discard(f->c, ino), 0);
	assert_in_range(listed_most, 1, FAR_CHUNKS / 3);
	assert_chunks(f, ino, 0, 0);
	assert_int_equal(inode_of(f, ino).size, 0);
	assert_int_equal(inode_of(f, ino).mapped, 0);
}

static void
a_hole_of_many_chunks_is_punched_and_found(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_far(f), size = inode_of(f, ino).size, at = 0;

	listed_most = 0;
	assert_int_equal(content_punch(f->c, ino, 2 * MIB, 2 * 280 * (uint64_t)MIB), 0);
	assert_in_range(listed_most, 1, FAR_CHUNKS / 3);
	assert_chunks(f, ino, 0, FAR_CHUNKS - 280);
	assert_content(f, ino, 5, "a piece", 7);
	assert_int_equal(content_seek(f->c, ino, 12, true, &at), 0);
	assert_int_equal(at, 2 * 281 * (uint64_t)MIB + 5);
	assert_int_equal(content_punch(f->c, ino, 12, UINT64_MAX), 0);
	assert_chunks(f, ino, 0, 1);
	assert_int_equal(inode_of(f, ino).size, size);
	assert_int_equal(inode_of(f, ino).mapped, 7);
}

static void
an_end_that_is_many_chunks_away_is_found(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = calloc(1, MIB);
	uint64_t ino = new_file(f), at = 0;

	assert_non_null(data);
	for (uint64_t k = 0; k < 70; k++)
		write_file(f, ino, k * MIB, data, MIB);
	write_file(f, ino, 71 * MIB, "x", 1);
	assert_int_equal(content_seek(f->c, ino, 3, false, &at), 0);
	assert_int_equal(at, 70 * MIB);
	assert_int_equal(content_seek(f->c, ino, 70 * MIB, true, &at), 0);
	assert_int_equal(at, 71 * MIB);
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_chunks_are_listed_wherever_they_are),
		TEST(a_long_file_is_looked_through_with_the_lock_let_go_now_and_then),
		TEST(a_file_of_many_chunks_is_cut_to_any_size),
		TEST(a_long_cut_changes_a_bounded_number_of_rows_in_each_step),
		TEST(after_a_power_cut_in_a_long_cut_the_file_has_its_new_size_and_the_rest_goes),
		TEST(a_power_cut_before_a_long_cut_is_durable_leaves_the_old_file),
		TEST(what_could_not_be_cut_off_is_never_seen_again),
		TEST(a_file_of_many_chunks_is_discarded),
		TEST(a_hole_of_many_chunks_is_punched_and_found),
		TEST(an_end_that_is_many_chunks_away_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
