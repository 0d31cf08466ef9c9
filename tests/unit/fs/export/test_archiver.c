/* What was written out is said to be whole only when it is safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archiver.h"

static int disk_error; /* that the disk has for us; 0: none */

int __wrap_syncfs(int fd);
int __wrap_fsync(int fd);
int __real_fsync(int fd);

int
__wrap_syncfs(int fd)
{
	assert_true(fd >= 0);
	errno = disk_error;
	return disk_error ? -1 : 0;
}

int
__wrap_fsync(int fd)
{
	if (!disk_error)
		return __real_fsync(fd);
	errno = disk_error;
	return -1;
}

static char top[] = "/tmp/test-archiver-XXXXXX";

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(top) == NULL || chdir(top) != 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink("file");
	(void)unlink("tar");
	return chdir("/") != 0 || rmdir(top) != 0;
}

/* Takes over a. */
static err_t
write_out(struct archiver *a)
{
	const struct archiver_entry file = { .path = "file", .mode = S_IFREG | 0600, .size = 5 };
	err_t err;

	assert_int_equal(archiver_begin(a, &file), 0);
	assert_int_equal(archiver_write(a, 0, (const uint8_t *)"hello", 5), 0);
	assert_int_equal(archiver_end(a), 0);
	err = archiver_finish(a);
	archiver_free(a);
	return err;
}

static err_t
write_tar(int fd)
{
	struct archiver *a = NULL;

	assert_true(fd >= 0);
	assert_int_equal(archiver_new_tar(fd, &a), 0);
	return write_out(a);
}

static void
files_that_do_not_reach_the_disk_are_not_written(void **state)
{
	struct archiver *a = NULL;

	(void)state;
	disk_error = EDQUOT;
	assert_int_equal(archiver_new_folder(false, &a), 0);
	assert_int_equal(write_out(a), -EDQUOT);
	disk_error = 0;
	assert_int_equal(archiver_new_folder(false, &a), 0);
	assert_int_equal(write_out(a), 0);
}

static void
nor_is_a_tar_file(void **state)
{
	int fd = open("tar", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	disk_error = EIO;
	assert_int_equal(write_tar(fd), -EIO);
	disk_error = 0;
	assert_int_equal(write_tar(fd), 0);
	close(fd);
}

static void
a_pipe_is_no_disk(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write_tar(fds[1]), 0);
	close(fds[0]);
	close(fds[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_do_not_reach_the_disk_are_not_written),
		cmocka_unit_test(nor_is_a_tar_file),
		cmocka_unit_test(a_pipe_is_no_disk),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
