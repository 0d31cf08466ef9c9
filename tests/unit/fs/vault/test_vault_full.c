/* A vault is opened on a disk that became full while a process that was killed had room ahead of what it wrote. */
#include "vault_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DATA_LEN (64u << 10)
#define ROOM_LEN (4u << 20)
#define RESERVE_LEN (1u << 20)
#define LITTLE (256u << 10)

static char segment[192], reserve[192];

/* Who needs more than there is, as long as the two files take more than `most`. */
static enum { NOBODY, DATABASE, REDO } needing;
static uint64_t most;

static struct stat
stat_of(const char *path)
{
	struct stat st = { 0 };

	(void)stat(path, &st);
	return st;
}

static bool
is_full(void)
{
	return (uint64_t)(stat_of(segment).st_blocks + stat_of(reserve).st_blocks) * 512 > most;
}

err_t __real_db_open(const char *path, bool create, struct rowseal *rs, struct db **out);
err_t __wrap_db_open(const char *path, bool create, struct rowseal *rs, struct db **out);
err_t
__wrap_db_open(const char *path, bool create, struct rowseal *rs, struct db **out)
{
	return needing == DATABASE && is_full() ? -ENOSPC : __real_db_open(path, create, rs, out);
}

err_t __real_segstore_apply_redo(struct segstore *ss, struct db *db);
err_t __wrap_segstore_apply_redo(struct segstore *ss, struct db *db);
err_t
__wrap_segstore_apply_redo(struct segstore *ss, struct db *db)
{
	return needing == REDO && is_full() ? -ENOSPC : __real_segstore_apply_redo(ss, db);
}

int __real_fstatfs64(int fd, struct statfs *st);
int __wrap_fstatfs64(int fd, struct statfs *st);
int
__wrap_fstatfs64(int fd, struct statfs *st)
{
	int rc = __real_fstatfs64(fd, st);

	st->f_type = EXT4_SUPER_MAGIC;
	return rc;
}

static bool spent;

static err_t
see_reserve_go(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx, (void)fd, (void)data, (void)off, (void)len;
	spent |= strcmp(operation, "unlink") == 0 && strcmp(name, "reserve") == 0;
	return 0;
}

static void
make_file(const char *path, uint32_t data_len, uint32_t room_len)
{
	static uint8_t data[DATA_LEN];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	memset(data, 'x', sizeof(data));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, data_len), data_len);
	assert_int_equal(fallocate(fd, 0, data_len, room_len), 0);
	assert_int_equal(close(fd), 0);
}

static void
make_vault(const struct fixture *f)
{
	uint8_t recovery[RECOVERY_KEY_LEN];

	needing = NOBODY;
	create(f, recovery);
	snprintf(segment, sizeof(segment), "%s/segments/%016x", f->dir, 0x77);
	snprintf(reserve, sizeof(reserve), "%s/reserve", f->dir);
	make_file(segment, DATA_LEN, ROOM_LEN);
	make_file(reserve, 0, RESERVE_LEN);
}

static void
open_it(const struct fixture *f, uint64_t most_taken)
{
	struct vault *v;

	most = most_taken;
	spent = false;
	disk_watch(see_reserve_go, NULL);
	v = open_vault(f);
	disk_watch(NULL, NULL);
	needing = NOBODY;
	assert_int_equal(vault_close(v), 0);
}

static void
what_the_database_needs_comes_from_that_room_and_not_from_the_reserve(void **state)
{
	make_vault(*state);
	needing = DATABASE;
	open_it(*state, RESERVE_LEN + LITTLE);
	assert_false(spent);
}

static void
what_was_not_in_its_place_yet_has_that_room_and_not_the_reserve(void **state)
{
	make_vault(*state);
	needing = REDO;
	open_it(*state, RESERVE_LEN + LITTLE);
	assert_false(spent);
}

static void
where_that_room_is_not_enough_there_is_the_reserve_too(void **state)
{
	make_vault(*state);
	needing = DATABASE;
	open_it(*state, LITTLE);
	assert_true(spent);
}

static void
where_there_is_room_enough_nothing_is_given_back(void **state)
{
	make_vault(*state);
	open_it(*state, 0);
	assert_true((uint64_t)stat_of(segment).st_blocks * 512 >= ROOM_LEN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_the_database_needs_comes_from_that_room_and_not_from_the_reserve),
		TEST(what_was_not_in_its_place_yet_has_that_room_and_not_the_reserve),
		TEST(where_that_room_is_not_enough_there_is_the_reserve_too),
		TEST(where_there_is_room_enough_nothing_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
