/* The reserve on a disk that is far from full; that a full one gets by with it is shown with a real full disk (tests/system). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "clock.h"
#include "disk.h"
#include "reserve.h"

#define ROOMY (UINT64_C(2) << 30)

struct fixture {
	char dir[32];
	int dirfd;
	struct reserve *r;
};

/* A disk of 64 MiB with so much free, of which reserves of 1 MiB are right; 0: the one that is there. */
static uint64_t free_len;
static bool is_silent;
/* Two who fill at once: the second comes while the first allocates, and gets no room. */
static struct reserve *shared;
static unsigned allocations;
static pthread_t second;
static bool second_ended;

int __real_fstatvfs64(int fd, struct statvfs *st);
int __wrap_fstatvfs64(int fd, struct statvfs *st);
err_t __real_disk_allocate(int fd, uint64_t off, uint64_t len);
err_t __wrap_disk_allocate(int fd, uint64_t off, uint64_t len);

int
__wrap_fstatvfs64(int fd, struct statvfs *st)
{
	int rc = __real_fstatvfs64(fd, st);

	if (free_len) {
		st->f_frsize = 4096;
		st->f_blocks = (UINT64_C(64) << 20) / 4096;
		st->f_bavail = free_len / 4096;
	}
	if (is_silent)
		st->f_frsize = st->f_blocks = st->f_bavail = 0;
	return rc;
}

static void *
fill_too(void *arg)
{
	reserve_fill(arg);
	return NULL;
}

err_t
__wrap_disk_allocate(int fd, uint64_t off, uint64_t len)
{
	if (!shared)
		return __real_disk_allocate(fd, off, len);
	if (allocations++ > 0)
		return -ENOSPC;

	const struct timespec until = clock_deadline(300);

	assert_int_equal(pthread_create(&second, NULL, fill_too, shared), 0);
	/* Who has to wait for the first is not waited for. */
	second_ended = pthread_clockjoin_np(second, NULL, CLOCK_MONOTONIC, &until) == 0;
	return __real_disk_allocate(fd, off, len);
}

static int
setup(void **state)
{
	static struct fixture f;
	struct statvfs st;

	f = (struct fixture){ .dir = "/tmp/test_reserve.XXXXXX" };
	assert_non_null(mkdtemp(f.dir));
	f.dirfd = open(f.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f.dirfd >= 0);
	assert_int_equal(fstatvfs(f.dirfd, &st), 0);
	if ((uint64_t)st.f_bavail * st.f_frsize < ROOMY) {
		print_message("/tmp has less than 2 GiB free: on that disk a reserve is right\n");
		rmdir(f.dir);
		exit(77); /* skipped */
	}
	assert_int_equal(reserve_new(f.dirfd, &f.r), 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	reserve_free(f->r);
	close(f->dirfd);
	return rmdir(f->dir); /* fails if a file was left in it */
}

static void
a_disk_with_room_for_long_has_no_reserve(void **state)
{
	struct fixture *f = *state;

	reserve_fill(f->r);
	assert_int_equal(faccessat(f->dirfd, "reserve", F_OK, 0), -1);
	assert_false(reserve_is_spent(f->r));
}

static void
a_disk_that_was_filled_before_there_was_one_is_for_commits_until_it_has_room(void **state)
{
	struct fixture *f = *state;

	reserve_fill(f->r);
	assert_false(reserve_spend(f->r));
	assert_true(reserve_is_spent(f->r));
	reserve_fill(f->r);
	assert_false(reserve_is_spent(f->r));
}

static void
one_that_an_earlier_run_has_left_is_spent_when_it_is_needed(void **state)
{
	struct fixture *f = *state;
	int fd = openat(f->dirfd, "reserve", O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, 1 << 20), 0);
	close(fd);
	reserve_fill(f->r);
	assert_int_equal(faccessat(f->dirfd, "reserve", F_OK, 0), 0);
	assert_true(reserve_spend(f->r));
	assert_int_equal(faccessat(f->dirfd, "reserve", F_OK, 0), -1);
	assert_true(reserve_is_spent(f->r));
	assert_false(reserve_spend(f->r));
}

static void
what_two_fill_at_once_is_there_if_it_is_said_to_be(void **state)
{
	struct fixture *f = *state;

	free_len = UINT64_C(8) << 20;
	shared = f->r;
	reserve_fill(f->r);
	assert_true(allocations > 0);
	if (!second_ended)
		pthread_join(second, NULL);
	shared = NULL;
	free_len = 0;
	assert_int_equal(faccessat(f->dirfd, "reserve", F_OK, 0), 0);
	assert_true(reserve_spend(f->r));
}

static void
a_disk_that_says_nothing_of_its_room_is_not_for_commits_alone(void **state)
{
	struct fixture *f = *state;

	reserve_free(f->r);
	is_silent = true;
	assert_int_equal(reserve_new(f->dirfd, &f->r), 0);
	reserve_fill(f->r);
	is_silent = false;
	assert_false(reserve_is_spent(f->r));
	assert_false(reserve_spend(f->r));
	assert_false(reserve_is_spent(f->r));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_disk_with_room_for_long_has_no_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(a_disk_that_was_filled_before_there_was_one_is_for_commits_until_it_has_room, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_an_earlier_run_has_left_is_spent_when_it_is_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_disk_that_says_nothing_of_its_room_is_not_for_commits_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(what_two_fill_at_once_is_there_if_it_is_said_to_be, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
