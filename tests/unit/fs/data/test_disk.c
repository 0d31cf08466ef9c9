/* disk: files come back as written, the classic failures have their errors, and the watch sees and can stop everything. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct place {
	char dir[64];
	int dirfd;
};

static int
place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/snugfs-data-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->dirfd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->dirfd >= 0);
	*state = p;
	return 0;
}

static int
place_teardown(void **state)
{
	struct place *p = *state;

	disk_watch(NULL, NULL);
	close(p->dirfd);
	run_command("rm -rf '%s'", p->dir);
	free(p);
	return 0;
}

static void
what_was_written_is_read_back(void **state)
{
	struct place *p = *state;
	uint8_t data[10000], back[10000];
	int fd;

	fill(data, sizeof(data), 1);
	assert_int_equal(disk_create(p->dirfd, "f", &fd), 0);
	assert_int_equal(disk_pwrite(fd, data, sizeof(data), 123), 0);
	assert_int_equal(disk_flush(fd), 0);
	close(fd);
	assert_int_equal(disk_open_read(p->dirfd, "f", &fd), 0);
	assert_int_equal(disk_pread(fd, back, sizeof(back), 123), 0);
	assert_memory_equal(back, data, sizeof(data));
	close(fd);
}

static void
reading_past_the_end_is_enodata(void **state)
{
	struct place *p = *state;
	uint8_t buf[8];
	int fd;

	assert_int_equal(disk_create(p->dirfd, "f", &fd), 0);
	assert_int_equal(disk_pwrite(fd, "1234567", 7, 0), 0);
	assert_int_equal(disk_pread(fd, buf, 7, 0), 0);
	assert_int_equal(disk_pread(fd, buf, 8, 0), -ENODATA);
	assert_int_equal(disk_pread(fd, buf, 1, 7), -ENODATA);
	close(fd);
}

static unsigned told;

static void
count_waits(void)
{
	told++;
}

/* The kernel never has in memory what lies behind a file's end. */
static void
a_thread_that_wants_to_know_is_told_of_reads_that_memory_cannot_serve(void **state)
{
	struct place *p = *state;
	uint8_t data[10000], back[10001];
	int fd;

	fill(data, sizeof(data), 1);
	assert_int_equal(disk_create(p->dirfd, "f", &fd), 0);
	assert_int_equal(disk_pwrite(fd, data, sizeof(data), 0), 0);
	assert_int_equal(disk_flush(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	disk_tell_wait(count_waits);
	assert_int_equal(disk_pread(fd, back, sizeof(data), 0), 0);
	assert_memory_equal(back, data, sizeof(data));
	told = 0;
	assert_int_equal(disk_pread(fd, back, sizeof(data) + 1, 0), -ENODATA);
	assert_int_equal(told, 1);
	disk_tell_wait(NULL);
	assert_int_equal(disk_pread(fd, back, sizeof(data) + 1, 0), -ENODATA);
	assert_int_equal(told, 1);
	close(fd);
}

/* The page at off. */
static bool
is_in_memory(uint8_t *mapped, size_t off)
{
	unsigned char there = 0;

	assert_int_equal(mincore(mapped + off, 1, &there), 0);
	return there & 1;
}

static void
what_is_read_ahead_comes_into_memory_by_itself(void **state)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct place *p = *state;
	static uint8_t data[1 << 20];
	uint8_t *mapped;
	int fd;

	fill(data, sizeof(data), 1);
	assert_int_equal(disk_create(p->dirfd, "f", &fd), 0);
	assert_int_equal(disk_pwrite(fd, data, sizeof(data), 0), 0);
	assert_int_equal(disk_flush(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	mapped = mmap(NULL, sizeof(data), PROT_READ, MAP_SHARED, fd, 0);
	assert_true(mapped != MAP_FAILED);
	if (is_in_memory(mapped, 0) || is_in_memory(mapped, 3 * sizeof(data) / 4)) {
		munmap(mapped, sizeof(data));
		close(fd);
		print_message("this file system keeps its files in memory\n");
		skip();
	}
	/* It is a wish, which a kernel that has other things to do may not grant at once. */
	for (unsigned tries = 0; tries < 60000 && !is_in_memory(mapped, 3 * sizeof(data) / 4); tries++) {
		disk_read_ahead(fd, 2 * sizeof(data));
		nanosleep(&pause, NULL);
	}
	assert_true(is_in_memory(mapped, 3 * sizeof(data) / 4));
	munmap(mapped, sizeof(data));
	close(fd);
	disk_read_ahead(-1, sizeof(data));
}

static void
creating_what_exists_fails_and_opening_what_does_not_exist_fails(void **state)
{
	struct place *p = *state;
	struct stat st;
	int fd = -7;

	assert_int_equal(disk_open_write(p->dirfd, "f", &fd), -ENOENT);
	assert_int_equal(fd, -7);
	assert_int_equal(disk_create(p->dirfd, "f", &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
	assert_int_equal(disk_create(p->dirfd, "f", &fd), -EEXIST);
	assert_int_equal(disk_unlink(p->dirfd, "f"), 0);
	assert_int_equal(disk_unlink(p->dirfd, "f"), -ENOENT);
}

static void
a_symbolic_link_is_not_followed(void **state)
{
	struct place *p = *state;
	int fd;

	assert_int_equal(symlinkat("/etc/passwd", p->dirfd, "f"), 0);
	assert_int_equal(disk_open_read(p->dirfd, "f", &fd), -ELOOP);
	assert_int_equal(disk_open_write(p->dirfd, "f", &fd), -ELOOP);
}

static void
a_punched_range_reads_as_zeros_and_keeps_the_size(void **state)
{
	struct place *p = *state;
	uint8_t data[3 * 4096], zeros[4096] = {0};
	struct stat st;
	int fd;

	fill(data, sizeof(data), 2);
	assert_int_equal(disk_create(p->dirfd, "f", &fd), 0);
	assert_int_equal(disk_pwrite(fd, data, sizeof(data), 0), 0);
	assert_int_equal(disk_punch(fd, 4096, 8192), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, sizeof(data));
	assert_int_equal(disk_pread(fd, data + 4096, 4096, 4096), 0);
	assert_memory_equal(data + 4096, zeros, 4096);
	close(fd);
}

static void
a_small_file_is_replaced_whole(void **state)
{
	struct place *p = *state;
	uint8_t back[5];
	struct stat st;
	int fd;

	assert_int_equal(disk_write_file(p->dirfd, "f", "first one", 9, 0600), 0);
	assert_int_equal(disk_write_file(p->dirfd, "f.new", "left by a crash", 15, 0600), 0);
	assert_int_equal(disk_write_file(p->dirfd, "f", "later", 5, 0640), 0);
	assert_int_equal(disk_open_read(p->dirfd, "f", &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(disk_pread(fd, back, 5, 0), 0);
	assert_memory_equal(back, "later", 5);
	close(fd);
}

static void
making_a_folder_twice_is_fine_but_not_over_a_file(void **state)
{
	struct place *p = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/d", p->dir);
	assert_int_equal(disk_make_dir(path), 0);
	assert_int_equal(disk_make_dir(path), 0);
	assert_int_equal(disk_write_file(p->dirfd, "f", "x", 1, 0600), 0);
	snprintf(path, sizeof(path), "%s/f", p->dir);
	assert_int_equal(disk_make_dir(path), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/no/such", p->dir);
	assert_int_equal(disk_make_dir(path), -ENOENT);
}

struct strike {
	unsigned after; /* operations that pass */
	unsigned seen;
};

static err_t
strike_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct strike *k = ctx;

	(void)operation, (void)fd, (void)name, (void)data, (void)off, (void)len;
	return k->seen++ >= k->after ? -EIO : 0;
}

static void
a_failure_at_any_step_of_a_replacement_leaves_the_old_file_or_the_new_one(void **state)
{
	struct place *p = *state;
	unsigned failures = 0;

	assert_int_equal(disk_write_file(p->dirfd, "f", "old", 3, 0600), 0);
	for (unsigned after = 0;; after++) {
		struct strike k = {.after = after};
		uint8_t back[3];
		int fd;

		disk_watch(strike_fn, &k);

		err_t e = disk_write_file(p->dirfd, "f", "new", 3, 0600);

		disk_watch(NULL, NULL);
		assert_int_equal(disk_open_read(p->dirfd, "f", &fd), 0);
		assert_int_equal(disk_pread(fd, back, 3, 0), 0);
		close(fd);
		if (!e) {
			assert_memory_equal(back, "new", 3);
			break;
		}
		assert_int_equal(e, -EIO);
		assert_true(!memcmp(back, "old", 3) || !memcmp(back, "new", 3));
		failures++;
	}
	/* unlink, create, pwrite, flush, rename, flush of the folder */
	assert_int_equal(failures, 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read_back, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(reading_past_the_end_is_enodata, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(a_thread_that_wants_to_know_is_told_of_reads_that_memory_cannot_serve,
		    place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(what_is_read_ahead_comes_into_memory_by_itself, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(creating_what_exists_fails_and_opening_what_does_not_exist_fails, place_setup,
		    place_teardown),
		cmocka_unit_test_setup_teardown(a_symbolic_link_is_not_followed, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(a_punched_range_reads_as_zeros_and_keeps_the_size, place_setup,
		    place_teardown),
		cmocka_unit_test_setup_teardown(a_small_file_is_replaced_whole, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(making_a_folder_twice_is_fine_but_not_over_a_file, place_setup,
		    place_teardown),
		cmocka_unit_test_setup_teardown(a_failure_at_any_step_of_a_replacement_leaves_the_old_file_or_the_new_one,
		    place_setup, place_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
