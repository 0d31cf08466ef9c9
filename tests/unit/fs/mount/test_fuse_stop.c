/* A mounted vault that is stopped: what open files hold is saved. */
#include "fuse_mount_held.h"

#include <stdatomic.h>
#include <sys/mount.h>

static void
stopping_saves_what_an_open_file_has_written(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = open(path_of(f, "f"), O_CREAT | O_RDWR, 0644);
	uint64_t ino = number_of(f, "f");

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "unwritten", 9), 9);
	end_mount(f);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_size, 9);
	assert_int_equal(access(path_of(f, "f"), F_OK), -1);
	close(fd);
}

/* Open files with something that the kernel has not handed over. */
#define UNWRITTEN_MAX 150

struct unwritten {
	unsigned count;
	int fd[UNWRITTEN_MAX];
	uint64_t ino[UNWRITTEN_MAX];
};

static void
write_to_many(const struct fixture *f, unsigned count, struct unwritten *u)
{
	char name[16];

	u->count = count;
	for (unsigned k = 0; k < count; k++) {
		snprintf(name, sizeof(name), "%u", k);
		u->fd[k] = open(path_of(f, name), O_CREAT | O_RDWR, 0644);
		u->ino[k] = number_of(f, name);
		assert_int_equal(write(u->fd[k], "unwritten", 9), 9);
	}
}

static void
assert_all_are_written(const struct fixture *f, const struct unwritten *u)
{
	struct stat st;

	for (unsigned k = 0; k < u->count; k++) {
		assert_int_equal(vfs_getattr(f->vfs, u->ino[k], &st), 0);
		assert_int_equal(st.st_size, 9);
		close(u->fd[k]);
	}
}

static void
stopping_saves_what_many_open_files_have_written_however_slow_the_disk_is(void **state)
{
	const struct timespec all_are_held = { .tv_nsec = 500000000 };
	struct fixture *f = *state;
	struct unwritten u;

	write_to_many(f, UNWRITTEN_MAX, &u);
	hold(true);
	fuse_mount_stop(f->mount);
	wait_for_held(1);
	(void)nanosleep(&all_are_held, NULL);
	hold(false);
	end_mount(f);
	assert_all_are_written(f, &u);
}

struct handing_over {
	int fd; /* of the mount */
	atomic_bool done;
};

static void *
hand_over(void *arg)
{
	struct handing_over *h = arg;

	assert_int_equal(syncfs(h->fd), 0);
	atomic_store(&h->done, true);
	return NULL;
}

static void
stopping_serves_what_the_kernel_has_handed_over_of_a_mount_that_was_detached(void **state)
{
	enum { LOOKS = 1000, FEW_ENOUGH_FOR_THE_KERNEL = 40 };
	const struct timespec moment = { .tv_nsec = 5000000 }, until_they_end = { .tv_nsec = 300000000 };
	struct fixture *f = *state;
	struct handing_over h = { .fd = open(f->mountpoint, O_RDONLY | O_DIRECTORY) };
	struct unwritten u;
	pthread_t thread;
	bool detached;

	write_to_many(f, FEW_ENOUGH_FOR_THE_KERNEL, &u);
	hold(true);
	assert_int_equal(pthread_create(&thread, NULL, hand_over, &h), 0);
	for (unsigned k = 0; k < LOOKS && !atomic_load(&h.done); k++)
		(void)nanosleep(&moment, NULL);
	detached = atomic_load(&h.done) && umount2(f->mountpoint, MNT_DETACH) == 0;
	if (detached) {
		fuse_mount_stop(f->mount);
		(void)nanosleep(&until_they_end, NULL);
	}
	hold(false);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(h.fd);
	end_mount(f);
	assert_all_are_written(f, &u);
	if (!detached) {
		print_message("this kernel hands over nothing before it is served, or only root detaches\n");
		skip();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stopping_saves_what_an_open_file_has_written),
		TEST(stopping_saves_what_many_open_files_have_written_however_slow_the_disk_is),
		TEST(stopping_serves_what_the_kernel_has_handed_over_of_a_mount_that_was_detached),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
