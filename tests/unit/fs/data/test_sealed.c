/* sealed: what lies close together in a segment is read at once, and everything reads as it was written. */
#include "fixture.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#define KIB 1024u
#define MIB (1u << 20)
#define PAGE 4096u

static err_t
count_reads(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	atomic_uint *count = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (strcmp(operation, "pread") == 0)
		atomic_fetch_add(count, 1);
	return 0;
}

/* How often the disk is asked for that part of the file, which is what data says. */
static unsigned
reads_of(struct fixture *f, uint64_t ino, uint64_t off, const uint8_t *data, size_t len)
{
	atomic_uint count = 0;

	disk_watch(count_reads, &count);
	assert_content(f, ino, off, data, len);
	disk_watch(NULL, NULL);
	return count;
}

static uint8_t *
new_data(size_t len)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	fill(p, len, len);
	return p;
}

/* As the kernel does it that wrote back before a megabyte was complete. */
static void
long_writes_that_meet_within_a_chunk_are_read_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_data(4 * MIB);

	write_file(f, ino, 0, data, 516 * KIB);
	for (size_t off = 516 * KIB; off < 3 * MIB; off += MIB)
		write_file(f, ino, off, data + off, MIB);
	for (unsigned chunk = 0; chunk < 3; chunk++) {
		struct extent_list l = extents_of(f, ino, chunk);

		assert_int_equal(l.count, 2);
		extent_list_clear(&l);
		assert_int_equal(reads_of(f, ino, chunk * MIB, data + chunk * MIB, MIB), 1);
	}
	assert_int_equal(reads_of(f, ino, MIB + 5, data + MIB + 5, MIB - 10), 1);
	free(data);
}

static void
short_writes_one_behind_the_other_are_read_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_data(64 * PAGE);

	for (unsigned k = 0; k < 64; k++)
		write_file(f, ino, k * PAGE, data + k * PAGE, PAGE);
	assert_int_equal(reads_of(f, ino, 0, data, 64 * PAGE), 1);
	assert_int_equal(reads_of(f, ino, 3 * PAGE + 1, data + 3 * PAGE + 1, 7 * PAGE), 1);
	free(data);
}

static void
a_little_of_another_file_in_between_is_read_along_and_much_is_not(void **state)
{
	static const struct {
		size_t between;
		unsigned reads;
	} cases[] = {{8 * KIB, 1}, {64 * KIB, 2}};
	uint8_t *data = new_data(64 * KIB);
	struct fixture *f = *state;

	for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
		uint64_t ino = new_file(f), other = new_file(f);

		write_file(f, ino, 0, data, PAGE);
		write_file(f, other, 0, data, cases[k].between);
		write_file(f, ino, PAGE, data + PAGE, PAGE);
		assert_int_equal(reads_of(f, ino, 0, data, 2 * PAGE), cases[k].reads);
		assert_content(f, other, 0, data, cases[k].between);
	}
	free(data);
}

static void
what_was_written_backwards_or_changed_since_reads_right(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_data(32 * PAGE);

	for (unsigned k = 32; k-- > 0;)
		write_file(f, ino, k * PAGE, data + k * PAGE, PAGE);
	assert_int_equal(reads_of(f, ino, 0, data, 32 * PAGE), 32);
	fill(data + 5 * PAGE + 100, 3 * PAGE, 77);
	write_file(f, ino, 5 * PAGE + 100, data + 5 * PAGE + 100, 3 * PAGE);
	assert_int_equal(settle_one(f, ino), 0);
	fill(data + 9 * PAGE, 2 * PAGE, 78);
	write_file(f, ino, 9 * PAGE, data + 9 * PAGE, PAGE);
	write_file(f, ino, 10 * PAGE, data + 10 * PAGE, PAGE);
	assert_content(f, ino, 0, data, 32 * PAGE);
	assert_content(f, ino, 9 * PAGE + 7, data + 9 * PAGE + 7, 2 * PAGE);
	free(data);
}

/* The bytes of the file's k-th extent begin with others, or the segment ends there. */
static void
harm(struct fixture *f, uint64_t ino, uint32_t k, bool cut)
{
	struct extent_list l = extents_of(f, ino, 0);
	char path[128];

	assert_true(k < l.count);
	segment_path(f, l.v[k].seg, path);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	if (cut)
		assert_int_equal(ftruncate(fd, (off_t)l.v[k].seg_off), 0);
	else
		assert_int_equal(pwrite(fd, "other", 5, (off_t)l.v[k].seg_off), 5);
	close(fd);
	extent_list_clear(&l);
}

static void
damage_of_one_piece_is_an_error_where_it_is_and_nowhere_else(void **state)
{
	struct fixture *f = *state;

	for (int cut = 0; cut < 2; cut++) {
		uint64_t ino = new_file(f);
		uint8_t *data = new_data(8 * PAGE), buf[8 * PAGE];
		size_t n;

		for (unsigned k = 0; k < 8; k++)
			write_file(f, ino, k * PAGE, data + k * PAGE, PAGE);
		harm(f, ino, 6, cut);
		assert_int_equal(content_read(f->c, ino, 0, 8 * PAGE, buf, &n), -EIO);
		assert_int_equal(content_read(f->c, ino, 6 * PAGE, PAGE, buf, &n), -EIO);
		assert_content(f, ino, 0, data, 6 * PAGE);
		if (!cut)
			assert_content(f, ino, 7 * PAGE, data + 7 * PAGE, PAGE);
		free(data);
	}
}

/* What one read has left in the thread's buffer is not taken for what the next one wants. */
static void
what_a_write_leaves_in_the_buffer_is_not_taken_for_what_was_read(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f), other = new_file(f);
	uint8_t *data = new_data(8 * PAGE);

	for (unsigned k = 0; k < 8; k++)
		write_file(f, ino, k * PAGE, data + k * PAGE, PAGE);
	assert_content(f, ino, 0, data, 8 * PAGE);
	write_file(f, other, 0, data, 8 * PAGE);

	struct extent_list l = extents_of(f, ino, 0);
	struct inode i = inode_of(f, ino);
	uint8_t buf[PAGE];

	assert_int_equal(content_open_extent(f->c, i.origin, &i.keys[0], &l.v[3], 3 * PAGE, PAGE, buf), 0);
	assert_memory_equal(buf, data + 3 * PAGE, PAGE);
	extent_list_clear(&l);
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(long_writes_that_meet_within_a_chunk_are_read_at_once),
		TEST(short_writes_one_behind_the_other_are_read_at_once),
		TEST(a_little_of_another_file_in_between_is_read_along_and_much_is_not),
		TEST(what_was_written_backwards_or_changed_since_reads_right),
		TEST(damage_of_one_piece_is_an_error_where_it_is_and_nowhere_else),
		TEST(what_a_write_leaves_in_the_buffer_is_not_taken_for_what_was_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
