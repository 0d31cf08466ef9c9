/* Vaults are made whole or not at all, where nothing else is, and for their owner only. */
#include "vault_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What some file systems are like. */
static struct {
	bool without_sockets;
	bool without_permissions;
} lacking;

int __real_mknodat(int dir_fd, const char *path, mode_t mode, dev_t dev);
int __wrap_mknodat(int dir_fd, const char *path, mode_t mode, dev_t dev);

int
__wrap_mknodat(int dir_fd, const char *path, mode_t mode, dev_t dev)
{
	if (!lacking.without_sockets)
		return __real_mknodat(dir_fd, path, mode, dev);
	errno = EPERM;
	return -1;
}

char *__real_mkdtemp(char *template);
char *__wrap_mkdtemp(char *template);

char *
__wrap_mkdtemp(char *template)
{
	char *made = __real_mkdtemp(template);

	if (made != NULL && lacking.without_permissions)
		assert_int_equal(chmod(made, 0777), 0);
	return made;
}

static int
end_lacking(void **state)
{
	memset(&lacking, 0, sizeof(lacking));
	return teardown(state);
}

static void
a_second_vault_is_not_made_in_the_same_place(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct vault *v;

	create(f, recovery);
	assert_int_equal(vault_create(&p, recovery), -EEXIST);
	v = open_vault(f);
	assert_int_equal(vault_close(v), 0);
}

static void
a_directory_with_other_things_in_it_is_left_alone(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	uint8_t recovery[RECOVERY_KEY_LEN];
	char path[256];

	snprintf(path, sizeof(path), "%s/share", f->top);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/thesis", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(vault_create(&p, recovery), -ENOTEMPTY);
	assert_int_equal(entries(f->dir), 1);
}

static void
a_vault_that_could_not_be_mounted_is_not_made_but_one_for_reading_is(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	uint8_t recovery[RECOVERY_KEY_LEN];

	lacking.without_sockets = true;
	assert_int_equal(vault_create(&p, recovery), -ESOCKTNOSUPPORT);
	assert_int_equal(entries(f->top), 1);
	p.temporary = true;
	assert_int_equal(vault_create(&p, recovery), 0);
}

static void
permissions_protect_a_vault_only_where_there_are_some(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	uint8_t recovery[RECOVERY_KEY_LEN];

	lacking.without_permissions = true;
	assert_int_equal(vault_create(&p, recovery), -ENOKEY);
	p.lock = (struct vault_unlock){ .passphrase = "correct horse", .passphrase_len = 13 };
	assert_int_equal(vault_create(&p, recovery), 0);
}

static void
an_empty_directory_becomes_the_vault(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	char path[256];
	struct stat st;
	struct vault *v;

	snprintf(path, sizeof(path), "%s/share", f->top);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mkdir(f->dir, 0755), 0);
	create(f, recovery);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	v = open_vault(f);
	assert_int_equal(vault_close(v), 0);
}

static void
the_device_file_is_for_its_owner_only(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	char path[256];
	struct stat st;

	create(f, recovery);
	snprintf(path, sizeof(path), "%s/device", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* Fails the n-th operation of the disk. */
struct failing {
	unsigned left;
	bool failed;
};

static err_t
fail_one(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct failing *fl = ctx;

	(void)operation;
	(void)fd;
	(void)name;
	(void)data;
	(void)off;
	(void)len;
	if (fl->left-- > 0)
		return 0;
	fl->left = 0;
	fl->failed = true;
	return -ENOSPC;
}

static void
whatever_fails_while_making_leaves_nothing_behind(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	uint8_t recovery[RECOVERY_KEY_LEN];
	char parent[256];
	unsigned n;

	snprintf(parent, sizeof(parent), "%s/share", f->top);
	for (n = 0; n < 100; n++) {
		struct failing fl = { .left = n };
		err_t err;

		disk_watch(fail_one, &fl);
		err = vault_create(&p, recovery);
		disk_watch(NULL, NULL);
		if (!fl.failed) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -ENOSPC);
		assert_int_equal(entries(parent), 0);
	}
	assert_in_range(n, 3, 99);
}

static void
a_bad_device_name_is_refused_and_leaves_nothing(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	uint8_t recovery[RECOVERY_KEY_LEN];
	char parent[256];

	p.device_name = "";
	assert_int_equal(vault_create(&p, recovery), -EINVAL);
	snprintf(parent, sizeof(parent), "%s/share", f->top);
	assert_int_equal(entries(parent), 0);
}

static void
remnants_of_a_crash_are_removed_unless_somebody_is_at_work_in_them(void **state)
{
	const struct fixture *f = *state;
	const struct timespec long_ago[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	uint8_t recovery[RECOVERY_KEY_LEN];
	char path[256], lock[300];
	const char *names[] = { "old", "held", "young" };
	int held = -1;

	snprintf(path, sizeof(path), "%s/share", f->top);
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < 3; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s.new-%s", f->dir, names[i]);
		assert_int_equal(mkdir(path, 0700), 0);
		snprintf(lock, sizeof(lock), "%s/lock", path);
		fd = open(lock, O_RDWR | O_CREAT, 0600);
		assert_true(fd >= 0);
		if (i == 1) {
			held = fd;
			assert_int_equal(flock(fd, LOCK_EX), 0);
		} else {
			close(fd);
		}
		if (i < 2)
			assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
	}
	create(f, recovery);
	snprintf(path, sizeof(path), "%s.new-old", f->dir);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s.new-held", f->dir);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s.new-young", f->dir);
	assert_int_equal(access(path, F_OK), 0);
	close(held);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, end_lacking)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_second_vault_is_not_made_in_the_same_place),
		TEST(a_directory_with_other_things_in_it_is_left_alone),
		TEST(a_vault_that_could_not_be_mounted_is_not_made_but_one_for_reading_is),
		TEST(permissions_protect_a_vault_only_where_there_are_some),
		TEST(an_empty_directory_becomes_the_vault),
		TEST(the_device_file_is_for_its_owner_only),
		TEST(whatever_fails_while_making_leaves_nothing_behind),
		TEST(a_bad_device_name_is_refused_and_leaves_nothing),
		TEST(remnants_of_a_crash_are_removed_unless_somebody_is_at_work_in_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
