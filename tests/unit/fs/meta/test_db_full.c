/* A database on a disk that is full, where whoever wrote it was killed. */
#include "db_fixture.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "disk.h"
#include "secmem.h"

#define DISK "size=12m"
#define LARGER_DISK "size=120m"
#define COMMITS 300
#define ROWS 350
#define ROW_LEN 2000
/* What the disk has left: less than the rows take, and nearly nothing. */
#define LITTLE (512u << 10)
#define NEXT_TO_NOTHING (16u << 10)

/* Of one table, and far apart in it: hardly two of those that change are in a page. */
#define MANY 60000u
#define SCATTERED 2650u
#define APART 33u
#define SHORT_LEN 159

static char text[ROW_LEN + 1];
static char short_text[SHORT_LEN + 1];
static bool is_mounted;

/* A WAL of some MiB, all of the same few pages, and a journal full of rows that are in no page yet. */
static err_t
write_much(struct fixture *f)
{
	struct db_row rows[ROWS];
	err_t e = 0;

	for (unsigned i = 0; i < COMMITS && !e; i++) {
		struct db_row row = text_row(DB_KV, 1, 0, i % 2 ? "odd" : "even");

		e = db_write(f->db, &row, 1);
		if (!e && db_journal_room(f->db) < ROWS * (ROW_LEN + DB_JOURNAL_ROW_OVERHEAD))
			e = db_journal_make_room(f->db); /* there with the next */
	}
	for (unsigned i = 0; i < ROWS; i++)
		rows[i] = text_row(DB_INODE, 100 + i, 0, text);
	return e ? e : db_journal(f->db, rows, ROWS);
}

static struct db_row
scattered_row(unsigned i, uint64_t b)
{
	struct db_row row = text_row(DB_DENTRY, 100 + i, b, short_text);

	row.hash = (int64_t)(i * 2654435761u);
	return row;
}

/* A WAL of some MiB goes with it. */
static err_t
open_anew(struct fixture *f)
{
	db_close(f->db);
	f->db = NULL;
	rowseal_free(f->rs);
	f->rs = new_rowseal(LOCAL_KEY);
	return db_open(f->path, false, f->rs, &f->db);
}

static err_t
write_scattered(struct fixture *f)
{
	struct db_row *rows = calloc(MANY, sizeof(*rows));
	struct db_row one = text_row(DB_KV, 1, 0, "odd");
	err_t e = rows ? 0 : -ENOMEM;

	for (unsigned i = 0; i < MANY && !e; i++)
		rows[i] = scattered_row(i, 1);
	if (!e)
		e = db_write(f->db, rows, MANY);
	if (!e)
		e = open_anew(f);
	if (!e)
		e = db_journal_make_room(f->db); /* there with the next */
	if (!e)
		e = db_write(f->db, &one, 1);
	if (!e)
		e = db_checkpoint(f->db);
	for (unsigned i = 0; i < SCATTERED && !e; i++)
		rows[i] = scattered_row(i * APART % MANY, 2);
	if (!e)
		e = db_journal(f->db, rows, SCATTERED);
	free(rows);
	return e;
}

static void
make_and_be_killed(struct fixture *f, err_t (*write)(struct fixture *f))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		err_t e = db_open(f->path, true, f->rs, &f->db);

		_exit(e || write(f) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
fill(const char *dir, uint64_t left)
{
	char name[64];
	struct statvfs st;

	(void)snprintf(name, sizeof(name), "%s/other", dir);
	assert_int_equal(statvfs(dir, &st), 0);

	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_true((uint64_t)st.f_bavail * st.f_frsize > left);
	assert_int_equal(fallocate(fd, 0, 0, (off_t)(st.f_bavail * st.f_frsize - left)), 0);
	assert_int_equal(close(fd), 0);
}

/* write: what was done there before the disk became full; NULL: nothing. */
static int
setup_disk(void **state, const char *size, err_t (*write)(struct fixture *f))
{
	if (setup(state))
		return -1;

	struct fixture *f = *state;

	memset(text, 'x', ROW_LEN);
	memset(short_text, 'x', SHORT_LEN);
	db_close(f->db);
	f->db = NULL;
	remove_with_wal(f->path);
	is_mounted = !mount("none", f->dir, "tmpfs", 0, size);
	if (!is_mounted)
		print_message("skipped: no file system can be mounted here (%s)\n", strerror(errno));
	else if (write)
		make_and_be_killed(f, write);
	return 0;
}

static int
setup_on_small_disk(void **state)
{
	return setup_disk(state, DISK, write_much);
}

static int
setup_scattered(void **state)
{
	return setup_disk(state, LARGER_DISK, write_scattered);
}

static int
setup_empty(void **state)
{
	return setup_disk(state, LARGER_DISK, NULL);
}

static int
teardown_small_disk(void **state)
{
	struct fixture *f = *state;

	disk_watch(NULL, NULL);
	db_close(f->db);
	rowseal_free(f->rs);
	(void)umount2(f->dir, MNT_DETACH);

	int r = rmdir(f->dir);

	free(f);
	return r;
}

/* -1: there is no small disk. */
static int
open_with(struct fixture *f, uint64_t left)
{
	if (!is_mounted)
		return -1;
	assert_true(wal_len(f->path) > 2 * LITTLE);
	fill(f->dir, left);
	return db_open(f->path, false, f->rs, &f->db);
}

static void
expect_all_rows(struct fixture *f)
{
	for (unsigned i = 0; i < ROWS; i++)
		assert_row(f->db, DB_INODE, 100 + i, 0, text);
}

static void
the_journal_comes_back_where_the_disk_has_less_room_than_it(void **state)
{
	struct fixture *f = *state;
	int e = open_with(f, LITTLE);

	if (e == -1)
		skip();
	assert_int_equal(e, 0);
	expect_all_rows(f);
}

/* Its own unused half is what there is. */
static void
the_journal_comes_back_on_a_full_disk(void **state)
{
	struct fixture *f = *state;
	int e = open_with(f, NEXT_TO_NOTHING);

	if (e == -1)
		skip();
	assert_int_equal(e, 0);
	expect_all_rows(f);
}

static err_t
fail_to_read(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)fd;
	(void)data;
	(void)off;
	(void)len;
	return strcmp(operation, "open_read") == 0 && strstr(name, ".journal") ? -ENOSPC : 0;
}

static void
a_journal_that_could_not_be_read_is_not_given_back_to_the_disk(void **state)
{
	struct fixture *f = *state;

	if (!is_mounted)
		skip();
	disk_watch(fail_to_read, NULL);
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), -ENOSPC);
	disk_watch(NULL, NULL);
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), 0);
	expect_all_rows(f);
}

static err_t
fail_to_punch(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)fd;
	(void)name;
	(void)data;
	(void)off;
	(void)len;
	return strcmp(operation, "punch") ? 0 : -EIO;
}

static void
a_journal_that_came_back_in_part_comes_back_whole_with_more_room(void **state)
{
	struct fixture *f = *state;
	char name[64];

	disk_watch(fail_to_punch, NULL);

	int e = open_with(f, LITTLE);

	if (e == -1)
		skip();
	assert_int_equal(e, -ENOSPC);
	disk_watch(NULL, NULL);
	(void)snprintf(name, sizeof(name), "%s/other", f->dir);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), 0);
	expect_all_rows(f);
}

static void
a_journal_of_rows_far_apart_comes_back_on_a_full_disk(void **state)
{
	struct fixture *f = *state;

	if (!is_mounted)
		skip();
	fill(f->dir, NEXT_TO_NOTHING);
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), 0);
	for (unsigned i = 0; i < SCATTERED; i++)
		assert_row(f->db, DB_DENTRY, 100 + i * APART % MANY, 2, short_text);
}

static uint64_t
free_bytes(const struct fixture *f)
{
	struct statvfs st;

	assert_int_equal(statvfs(f->dir, &st), 0);
	return (uint64_t)st.f_bavail * st.f_frsize;
}

static err_t
fail_far_out(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)fd;
	(void)name;
	(void)data;
	(void)len;
	return strcmp(operation, "pwrite") == 0 && off >= (3u << 20) ? -ENOSPC : 0;
}

static err_t
fail_far_out_and_to_cut(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	return strcmp(operation, "truncate") == 0 ? -EIO : fail_far_out(ctx, operation, fd, name, data, off, len);
}

/* One that has records in it, with more room behind them. */
static void
begin_journal(struct fixture *f)
{
	struct db_row row = text_row(DB_KV, 1, 0, "odd");

	assert_int_equal(db_open(f->path, true, f->rs, &f->db), 0);
	assert_int_equal(db_journal_make_room(f->db), 0);
	assert_int_equal(db_write(f->db, &row, 1), 0);
	assert_int_equal(db_journal_make_room(f->db), 0);
}

/* refuse: how the disk says so; NULL: it has little left. */
static void
expect_no_growth(struct fixture *f, uint64_t left, disk_watch_fn *refuse, err_t expected)
{
	uint64_t before;

	if (!is_mounted)
		skip();
	begin_journal(f);
	fill(f->dir, left);
	before = free_bytes(f);
	disk_watch(refuse, NULL);
	assert_int_equal(db_journal_make_room(f->db), expected);
	disk_watch(NULL, NULL);
	assert_int_equal(free_bytes(f), before);
}

static void
a_journal_that_could_not_be_made_longer_has_taken_nothing(void **state)
{
	expect_no_growth(*state, 100u << 20, fail_far_out, -ENOSPC);
}

static void
a_journal_is_not_made_longer_by_much_of_what_the_disk_has_left(void **state)
{
	expect_no_growth(*state, 5u << 20, NULL, 0);
}

static void
make_room_in_vain(struct fixture *f, FILE *told)
{
	int stderr_fd = dup(STDERR_FILENO);

	assert_true(dup2(fileno(told), STDERR_FILENO) >= 0);
	disk_watch(fail_far_out_and_to_cut, NULL);
	assert_int_equal(db_journal_make_room(f->db), -ENOSPC);
	disk_watch(NULL, NULL);
	assert_true(dup2(stderr_fd, STDERR_FILENO) >= 0);
	close(stderr_fd);
}

static void
a_journal_that_cannot_give_back_what_it_took_in_vain_goes_on_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct db_row row = text_row(DB_INODE, 100, 0, text);
	FILE *told = tmpfile();
	char said[256] = "";
	size_t room;

	if (!is_mounted)
		skip();
	assert_non_null(told);
	begin_journal(f);
	room = db_journal_room(f->db);
	make_room_in_vain(f, told);
	rewind(told);
	assert_non_null(fgets(said, sizeof(said), told));
	assert_non_null(strstr(said, "the journal keeps room that it has no use for"));
	fclose(told);
	assert_int_equal(db_journal_room(f->db), room);
	assert_int_equal(db_journal(f->db, &row, 1), 0);
	assert_int_equal(db_journal_make_room(f->db), 0);
	assert_true(db_journal_room(f->db) > room);
	assert_int_equal(open_anew(f), 0);
	assert_row(f->db, DB_INODE, 100, 0, text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_journal_comes_back_where_the_disk_has_less_room_than_it, setup_on_small_disk,
		    teardown_small_disk),
		cmocka_unit_test_setup_teardown(the_journal_comes_back_on_a_full_disk, setup_on_small_disk, teardown_small_disk),
		cmocka_unit_test_setup_teardown(a_journal_that_could_not_be_read_is_not_given_back_to_the_disk, setup_on_small_disk,
		    teardown_small_disk),
		cmocka_unit_test_setup_teardown(a_journal_that_came_back_in_part_comes_back_whole_with_more_room, setup_on_small_disk,
		    teardown_small_disk),
		cmocka_unit_test_setup_teardown(a_journal_of_rows_far_apart_comes_back_on_a_full_disk, setup_scattered, teardown_small_disk),
		cmocka_unit_test_setup_teardown(a_journal_that_could_not_be_made_longer_has_taken_nothing, setup_empty, teardown_small_disk),
		cmocka_unit_test_setup_teardown(a_journal_that_cannot_give_back_what_it_took_in_vain_goes_on_and_says_so, setup_empty,
		    teardown_small_disk),
		cmocka_unit_test_setup_teardown(a_journal_is_not_made_longer_by_much_of_what_the_disk_has_left, setup_empty,
		    teardown_small_disk),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
