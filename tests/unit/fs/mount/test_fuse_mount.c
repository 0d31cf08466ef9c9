/* A mounted vault: what a pull changes behind the kernel's back is seen, and few messages do. */
#include "fuse_mount_fixture.h"

#include <errno.h>

/* As a pull does: content, size and time. */
static void
change_behind_the_kernel(struct fixture *f, uint64_t ino, const char *text)
{
	struct stat attr = { .st_size = (off_t)strlen(text), .st_mtim = { 1234567890, 987654321 } };

	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)text, strlen(text), false), 0);
	assert_int_equal(vfs_setattr(f->vfs, ino, &attr, VFS_SET_SIZE, &attr), 0);
	attr.st_mtim = (struct timespec){ 1234567890, 987654321 };
	assert_int_equal(vfs_setattr(f->vfs, ino, &attr, VFS_SET_MTIME, &attr), 0);
	fuse_mount_forget_inode(f->mount, ino);
}

static void
a_file_that_somebody_has_open_shows_its_new_content_size_and_time(void **state)
{
	static const char *const texts[] = { "longer than what was there before", "short", "SHORT" };
	struct fixture *f = *state;
	struct stat st;
	uint64_t ino;
	int fd;

	put(f, "f", "original content");
	ino = number_of(f, "f");
	fd = open(path_of(f, "f"), O_RDONLY);
	assert_true(fd >= 0);
	expect_content(fd, "original content");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		change_behind_the_kernel(f, ino, texts[i]);
		expect_content(fd, texts[i]);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mtim.tv_sec, 1234567890);
		assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	}
	close(fd);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
}

/* Also where the kernel knows a file by a name that it no longer has, so that it is found by its number. */
static void
what_the_kernel_is_told_is_no_use_of_the_folder(void **state)
{
	struct fixture *f = *state;
	uint64_t ino, use;
	int fd;

	put(f, "f", "original content");
	ino = number_of(f, "f");
	fd = open(path_of(f, "f"), O_RDONLY);
	assert_true(fd >= 0);
	use = fuse_mount_use(f->mount);
	change_behind_the_kernel(f, ino, "longer than what was there before");
	fuse_mount_write_inode(f->mount, ino);
	assert_int_equal(vfs_rename(f->vfs, ROOT, "f", ROOT, "g", 0), 0);
	change_behind_the_kernel(f, ino, "short");
	assert_int_equal(fuse_mount_use(f->mount), use);
	expect_content(fd, "short");
	assert_int_not_equal(fuse_mount_use(f->mount), use);
	close(fd);
}

static void
a_file_that_nobody_may_write_to_shows_its_new_content(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;
	int fd;

	put(f, "f", "original content");
	assert_int_equal(chmod(path_of(f, "f"), 0400), 0);
	ino = number_of(f, "f");
	change_behind_the_kernel(f, ino, "changed elsewhere");
	fd = open(path_of(f, "f"), O_RDONLY);
	assert_true(fd >= 0);
	expect_content(fd, "changed elsewhere");
	close(fd);
}

static void
what_an_open_file_holds_unwritten_is_kept_when_it_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = open(path_of(f, "f"), O_CREAT | O_RDWR, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "unwritten", 9), 9);
	fuse_mount_forget_inode(f->mount, number_of(f, "f"));
	assert_int_equal(vfs_getattr(f->vfs, number_of(f, "f"), &st), 0);
	assert_int_equal(st.st_size, 9);
	expect_content(fd, "unwritten");
	close(fd);
}

static void
names_that_come_and_go_elsewhere_are_seen(void **state)
{
	struct fixture *f = *state;
	struct vfs_caller me = { .uid = getuid(), .gid = getgid() };
	struct stat st;

	assert_int_equal(access(path_of(f, "new"), F_OK), -1);
	assert_int_equal(vfs_mknod(f->vfs, &me, ROOT, "new", 0644, 0, &st), 0);
	fuse_mount_forget_entry(f->mount, ROOT, "new");
	assert_int_equal(access(path_of(f, "new"), F_OK), 0);
	assert_int_equal(vfs_unlink(f->vfs, ROOT, "new"), 0);
	fuse_mount_forget_entry(f->mount, ROOT, "new");
	assert_int_equal(access(path_of(f, "new"), F_OK), -1);
	fuse_mount_forget_entry(f->mount, 4711, "never known");
	fuse_mount_forget_inode(f->mount, 4711);
}

/* Of a name that the kernel takes for free. */
static void
take_behind_the_kernel(struct fixture *f, const char *name)
{
	struct vfs_caller me = { .uid = getuid(), .gid = getgid() };
	struct stat st;

	assert_int_equal(access(path_of(f, name), F_OK), -1);
	assert_int_equal(vfs_mknod(f->vfs, &me, ROOT, name, S_IFREG | 0600, 0, &st), 0);
}

static void
who_makes_what_has_just_come_opens_it_unless_it_must_be_new(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	take_behind_the_kernel(f, "opened");
	fd = open(path_of(f, "opened"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, number_of(f, "opened"));
	close(fd);
	take_behind_the_kernel(f, "new");
	assert_int_equal(open(path_of(f, "new"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), -1);
	assert_int_equal(errno, EEXIST);
	take_behind_the_kernel(f, "node");
	assert_int_equal(mknod(path_of(f, "node"), S_IFREG | 0600, 0), -1);
	assert_int_equal(errno, EEXIST);
}

static void
messages_are_counted_and_opens_are_not_sent(void **state)
{
	struct fixture *f = *state;
	const char *names[64];
	uint64_t counts[64], lookups = 0, opens = 0;
	size_t count;
	char name[16];

	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put(f, name, "x");
	}
	count = fuse_mount_counters(f->mount, names, counts, ARRAY_LEN(names));
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], "LOOKUP") == 0)
			lookups = counts[i];
		else if (strcmp(names[i], "OPEN") == 0 || strcmp(names[i], "RELEASE") == 0 || strcmp(names[i], "FLUSH") == 0)
			opens += counts[i];
	}
	assert_int_equal(lookups, 10);
	assert_true(opens <= 2);
	assert_int_equal(fuse_mount_counters(f->mount, names, counts, 1), 1);
}

static void
a_second_mount_of_the_same_place_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fuse_mount_options o = { .mountpoint = f->mountpoint, .fsname = "second" };
	struct fuse_mount *second = NULL;
	char *why = NULL;

	assert_int_equal(fuse_mount_new(f->vfs, &o, &second, &why), -EBUSY);
	assert_non_null(strstr(why, "already"));
	free(why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_somebody_has_open_shows_its_new_content_size_and_time),
		TEST(what_the_kernel_is_told_is_no_use_of_the_folder),
		TEST(a_file_that_nobody_may_write_to_shows_its_new_content),
		TEST(what_an_open_file_holds_unwritten_is_kept_when_it_is_forgotten),
		TEST(names_that_come_and_go_elsewhere_are_seen),
		TEST(who_makes_what_has_just_come_opens_it_unless_it_must_be_new),
		TEST(messages_are_counted_and_opens_are_not_sent),
		TEST(a_second_mount_of_the_same_place_is_refused),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
