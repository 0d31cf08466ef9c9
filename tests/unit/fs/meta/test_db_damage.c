/* The database when something is wrong: another key, damaged rows, a power cut, a log that is cut short, a full or broken disk. */
#include "db_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "secmem.h"

static void
copy_file(const char *from, const char *to, off_t most)
{
	static char buf[1 << 20];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while (most > 0 && (n = read(in, buf, most < (off_t)sizeof(buf) ? (size_t)most : sizeof(buf))) > 0) {
		assert_int_equal(write(out, buf, (size_t)n), n);
		most -= n;
	}
	close(in);
	close(out);
}

/* The files as they are at this moment, as after a power cut; of the WAL only the first wal_most bytes. */
static void
copy_database(struct fixture *f, off_t wal_most)
{
	char from[128];
	char to[128];

	remove_with_wal(f->copy);
	copy_file(f->path, f->copy, INT64_MAX);
	(void)snprintf(from, sizeof(from), "%s-wal", f->path);
	(void)snprintf(to, sizeof(to), "%s-wal", f->copy);
	copy_file(from, to, wal_most);
}

/* Somebody else's hands on the file. */
static void
tamper(const char *path, const char *sql)
{
	sqlite3 *conn = NULL;

	assert_int_equal(sqlite3_open(path, &conn), SQLITE_OK);
	assert_int_equal(sqlite3_exec(conn, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(conn);
}

static void
a_database_without_the_youngest_tables_is_brought_up(void **state)
{
	struct fixture *f = *state;

	put(f->db, DB_CHUNK, 7, 1, "from before");
	db_close(f->db);
	f->db = NULL;
	tamper(f->path, "DROP TABLE chunk_part; PRAGMA user_version = 2");
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), 0);
	assert_row(f->db, DB_CHUNK, 7, 1, "from before");
	put(f->db, DB_CHUNK_PART, 7, 33, "from now on");
	assert_row(f->db, DB_CHUNK_PART, 7, 33, "from now on");
}

static void
opening_tells_what_is_wrong(void **state)
{
	struct fixture *f = *state;
	struct db *db = NULL;
	FILE *file;

	assert_int_equal(db_open(f->path, true, f->rs, &db), -EEXIST);
	assert_int_equal(db_open(f->copy, false, f->rs, &db), -ENOENT);
	assert_int_equal(db_open("/tmp/test_db.no/such/dir", true, f->rs, &db), -ENOENT);

	file = fopen(f->copy, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(db_open(f->copy, false, f->rs, &db), -EBADMSG); /* empty */
	file = fopen(f->copy, "w");
	assert_non_null(file);
	for (unsigned i = 0; i < 10000; i++)
		fputs("not a database ", file);
	fclose(file);
	assert_int_equal(db_open(f->copy, false, f->rs, &db), -EBADMSG);
	remove_with_wal(f->copy);
	tamper(f->copy, "CREATE TABLE t(x)");
	assert_int_equal(db_open(f->copy, false, f->rs, &db), -EBADMSG); /* somebody else's */

	db_close(f->db);
	f->db = NULL;
	tamper(f->path, "PRAGMA user_version = 4");
	assert_int_equal(db_open(f->path, false, f->rs, &db), -EPROTO);
	tamper(f->path, "PRAGMA user_version = 3; DELETE FROM kv");
	assert_int_equal(db_open(f->path, false, f->rs, &db), -EBADMSG);
	assert_null(db);
}

/* What another process's SQLite would meet: is the range locked by which readers say that they are there? */
static int
is_locked(const char *path)
{
	struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && fcntl(fd, F_GETLK, &shared) == 0 && shared.l_type == F_WRLCK;
}

static void
nobody_else_opens_what_is_open(void **state)
{
	struct fixture *f = *state;
	char shared[128];
	int status = 0;

	put(f->db, DB_INODE, 1, 0, "one");
	db_read_ahead(f->db); /* through a descriptor of its own, which takes all locks with it when it is closed */

	/* A process does not meet its own locks. */
	pid_t other = fork();

	assert_true(other >= 0);
	if (other == 0)
		_exit(is_locked(f->path));
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	(void)snprintf(shared, sizeof(shared), "%s-shm", f->path);
	assert_int_equal(access(shared, F_OK), -1); /* nothing that somebody could cut short under a mapping */
	assert_row(f->db, DB_INODE, 1, 0, "one");
}

static void
a_file_that_is_cut_short_while_it_is_open_gives_errors_and_no_signal(void **state)
{
	enum { COUNT = 2000, LEN = 400 };
	struct fixture *f = *state;
	uint8_t data[LEN] = {0};
	struct db_row rows[COUNT];
	unsigned count = 0;

	for (unsigned i = 0; i < COUNT; i++)
		rows[i] = (struct db_row){.table = DB_XATTRS, .a = 1 + i, .data = data, .len = LEN};
	assert_int_equal(db_write(f->db, rows, COUNT), 0);
	close_and_open(f); /* the file alone has them */
	assert_int_equal(db_scan_all(f->db, DB_XATTRS, 0, 0, 1, ignore_row, &count), 0); /* the reader's transaction goes on */
	assert_int_equal(truncate(f->path, 8192), 0);
	count = 0;

	err_t e = db_scan_all(f->db, DB_XATTRS, 0, 0, COUNT, ignore_row, &count);

	assert_true(e == -EBADMSG || e == -EIO);
	assert_true(count < COUNT);
}

#define NOBODY 65534

static void
a_place_that_may_not_be_written_is_told_as_such(void **state)
{
	struct fixture *f = *state;
	struct db *db = NULL;

	/* root may write everywhere: be somebody who may not; teardown comes back. */
	if (geteuid() == 0) {
		assert_int_equal(chown(f->dir, NOBODY, NOBODY), 0);
		assert_int_equal(chown(f->path, NOBODY, NOBODY), 0);
		assert_int_equal(setresuid(NOBODY, NOBODY, 0), 0);
	}
	assert_int_equal(chmod(f->dir, 0500), 0);
	assert_int_equal(db_open(f->copy, true, f->rs, &db), -EACCES);
	assert_int_equal(chmod(f->dir, 0700), 0);
	db_close(f->db);
	f->db = NULL;
	assert_int_equal(chmod(f->path, 0400), 0);
	assert_int_equal(db_open(f->path, false, f->rs, &db), -EACCES);
	assert_int_equal(chmod(f->path, 0600), 0);
}

static void
a_row_that_was_moved_or_damaged_does_not_open(void **state)
{
	struct fixture *f = *state;
	CLEANUP(bytes_clear) struct bytes out = {0};
	struct found got = {0};

	put(f->db, DB_INODE, 10, 0, "ten");
	put(f->db, DB_INODE, 11, 0, "eleven");
	put(f->db, DB_INODE, 12, 0, "twelve");
	put(f->db, DB_XATTRS, 13, 0, "thirteen");
	db_close(f->db);
	f->db = NULL;
	tamper(f->path, "UPDATE inode SET row = (SELECT row FROM inode WHERE ino = 10) WHERE ino = 11;"
			"UPDATE inode SET row = substr(row, 1, 20) WHERE ino = 12;"
			"INSERT INTO inode SELECT 13, 0, 0, row FROM xattrs WHERE ino = 13;"
			"INSERT INTO inode VALUES(14, 0, 0, x'');");
	close_and_open(f);
	assert_row(f->db, DB_INODE, 10, 0, "ten");
	for (unsigned ino = 11; ino <= 14; ino++)
		assert_int_equal(db_get(f->db, DB_INODE, ino, 0, &out), -EBADMSG);
	assert_int_equal(out.len, 0);
	assert_int_equal(db_scan_all(f->db, DB_INODE, 0, 0, 100, note_row, &got), -EBADMSG);
	assert_int_equal(got.count, 1);
}

static bool
file_contains(const char *path, const char *what)
{
	FILE *file = fopen(path, "r");
	static char buf[4 << 20];

	assert_non_null(file);

	size_t n = fread(buf, 1, sizeof(buf), file);

	fclose(file);
	return memmem(buf, n, what, strlen(what)) != NULL;
}

static void
nothing_of_a_row_is_on_the_disk_in_the_clear(void **state)
{
	struct fixture *f = *state;
	char wal[128];

	(void)snprintf(wal, sizeof(wal), "%s-wal", f->path);
	put(f->db, DB_DENTRY, 1, 1, "tax declaration.pdf");
	assert_false(file_contains(wal, "declaration"));
	assert_true(file_contains(wal, "CREATE TABLE")); /* the search does find what is there */
	close_and_open(f);
	assert_false(file_contains(f->path, "declaration"));
	assert_true(file_contains(f->path, "CREATE TABLE"));
}

static void
a_batch_that_was_written_survives_a_power_cut(void **state)
{
	struct fixture *f = *state;
	struct rowseal *rs = new_rowseal(LOCAL_KEY);
	struct db *db = NULL;

	put(f->db, DB_INODE, 1, 0, "one");
	put(f->db, DB_INODE, 2, 0, "two");
	copy_database(f, INT64_MAX);
	assert_int_equal(db_open(f->copy, false, rs, &db), 0);
	assert_row(db, DB_INODE, 1, 0, "one");
	assert_row(db, DB_INODE, 2, 0, "two");
	db_close(db);
	rowseal_free(rs);
}

static void
a_log_cut_short_anywhere_leaves_whole_batches(void **state)
{
	struct fixture *f = *state;
	unsigned whole[4] = {0}; /* cuts after which so many batches were there */
	off_t before;

	/* From here on the file alone opens, and the log holds three batches of forty rows. */
	close_and_open(f);
	before = wal_len(f->path) < 0 ? 0 : wal_len(f->path);
	for (unsigned batch = 1; batch <= 3; batch++) {
		struct db_row rows[40];

		for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
			rows[i] = text_row(DB_INODE, batch * 1000 + i, 0, "a row among others");
		assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
	}
	for (off_t cut = before; cut <= wal_len(f->path); cut += 1531) {
		struct rowseal *rs = new_rowseal(LOCAL_KEY);
		struct db *db = NULL;
		unsigned batches = 0;

		copy_database(f, cut);
		assert_int_equal(db_open(f->copy, false, rs, &db), 0);
		for (unsigned batch = 1; batch <= 3; batch++) {
			CLEANUP(bytes_clear) struct bytes got = {0};
			err_t first = db_get(db, DB_INODE, batch * 1000, 0, &got);

			assert_true(first == 0 || first == -ENOENT);
			assert_true(first != 0 || batches == batch - 1);
			batches += first == 0;
			for (unsigned i = 1; i < 40; i++)
				assert_int_equal(db_get(db, DB_INODE, batch * 1000 + i, 0, &got), first);
		}
		whole[batches]++;
		db_close(db);
		rowseal_free(rs);
	}
	assert_true(whole[0] && whole[1] && whole[2]);
}

/*
 * A disk that fails: SQLite's own way to files, with writes and syncs that fail once `fault_after` has come down to 0.
 */
static sqlite3_io_methods real_io;
static sqlite3_io_methods faulty_io[2]; /* SQLite treats the database itself and its other files by different tables */
static sqlite3_vfs faulty_vfs;
static sqlite3_vfs *real_vfs;
static long fault_after = -1; /* -1: never */
static int fault_write = SQLITE_FULL;
static int fault_sync = SQLITE_IOERR_FSYNC;

static bool
fault_now(void)
{
	if (fault_after > 0)
		fault_after--;
	return fault_after == 0;
}

static int
faulty_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 off)
{
	return fault_now() ? fault_write : real_io.xWrite(file, data, len, off);
}

static int
faulty_sync(sqlite3_file *file, int flags)
{
	return fault_now() ? fault_sync : real_io.xSync(file, flags);
}

static int
faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	int rc = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);

	(void)vfs;
	if (rc == SQLITE_OK) {
		sqlite3_io_methods *io = &faulty_io[(flags & SQLITE_OPEN_MAIN_DB) != 0];

		real_io = *file->pMethods; /* both tables write and sync alike */
		*io = real_io;
		io->xWrite = faulty_write;
		io->xSync = faulty_sync;
		file->pMethods = io;
	}
	return rc;
}

static void
use_faulty_disk(void)
{
	real_vfs = sqlite3_vfs_find("unix-excl"); /* as db.c wants it, and of that name: found first */
	faulty_vfs = *real_vfs;
	faulty_vfs.xOpen = faulty_open;
	assert_int_equal(sqlite3_vfs_register(&faulty_vfs, 0), SQLITE_OK);
}

static void
use_real_disk(void)
{
	fault_after = -1;
	sqlite3_vfs_unregister(&faulty_vfs);
}

static unsigned
count_of(struct db *db, const char *text)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 200; i++) {
		CLEANUP(bytes_clear) struct bytes got = {0};

		assert_int_equal(db_get(db, DB_INODE, 1 + i, 0, &got), 0);
		n += got.len == strlen(text) && memcmp(got.data, text, got.len) == 0;
	}
	return n;
}

/* Each failing step of a write in turn, then the same write on a disk that has recovered. */
static void
fail_each_step(struct fixture *f, err_t write_error, err_t sync_error)
{
	struct db_row rows[200];
	unsigned failures = 0;
	err_t e = -1;

	use_faulty_disk();
	close_and_open(f);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = text_row(DB_INODE, 1 + i, 0, "old");
	assert_int_equal(db_write(f->db, rows, ARRAY_LEN(rows)), 0);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = text_row(DB_INODE, 1 + i, 0, "new");
	for (long after = 1; e; after++) {
		fault_after = after;
		e = db_write(f->db, rows, ARRAY_LEN(rows));
		fault_after = -1;
		assert_true(e == 0 || e == write_error || e == sync_error);
		assert_int_equal(count_of(f->db, e ? "old" : "new"), 200);
		failures += e != 0;
	}
	assert_true(failures >= 3);
	close_and_open(f);
	assert_int_equal(count_of(f->db, "new"), 200);
	db_close(f->db);
	f->db = NULL;
	use_real_disk();
	close_and_open(f);
	assert_int_equal(count_of(f->db, "new"), 200);
}

static void
a_full_disk_leaves_all_as_it_was_and_a_later_try_succeeds(void **state)
{
	fault_write = SQLITE_FULL;
	fail_each_step(*state, -ENOSPC, -EIO);
}

static void
a_broken_disk_leaves_all_as_it_was_and_a_later_try_succeeds(void **state)
{
	fault_write = SQLITE_IOERR_WRITE;
	fail_each_step(*state, -EIO, -EIO);
}

static void
a_session_whose_first_write_failed_is_stored_by_the_next(void **state)
{
	struct fixture *f = *state;
	struct db_row row = text_row(DB_INODE, 1, 0, "one");

	fault_write = SQLITE_FULL;
	use_faulty_disk();
	close_and_open(f);
	fault_after = 1;
	assert_int_equal(db_write(f->db, &row, 1), -ENOSPC);
	fault_after = -1;
	assert_int_equal(db_write(f->db, &row, 1), 0);

	/* And across a reopening with the same rowseal, which knows of a session that the file does not. */
	close_and_open(f);
	fault_after = 1;
	assert_int_equal(db_write(f->db, &row, 1), -ENOSPC);
	fault_after = -1;
	db_close(f->db);
	f->db = NULL;
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), 0);
	put(f->db, DB_INODE, 2, 0, "two");
	db_close(f->db);
	f->db = NULL;
	use_real_disk();
	close_and_open(f);
	assert_row(f->db, DB_INODE, 1, 0, "one");
	assert_row(f->db, DB_INODE, 2, 0, "two");
}

static void
a_creation_that_fails_leaves_no_file(void **state)
{
	struct fixture *f = *state;
	err_t e = -1;
	unsigned failures = 0;

	fault_write = SQLITE_FULL;
	use_faulty_disk();
	for (long after = 1; e; after++) {
		struct rowseal *rs = new_rowseal(LOCAL_KEY);
		struct db *db = NULL;

		fault_after = after;
		e = db_open(f->copy, true, rs, &db);
		fault_after = -1;
		if (e) {
			assert_true(e == -ENOSPC || e == -EIO);
			assert_int_equal(access(f->copy, F_OK), -1);
			assert_int_equal(wal_len(f->copy), -1);
			failures++;
		}
		db_close(db);
		rowseal_free(rs);
	}
	use_real_disk();
	assert_true(failures >= 3);
}

static err_t
checkpoint_inside_scan(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct db *db = ctx;

	(void)b;
	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	put(db, DB_XATTRS, a, 0, "written while a reader reads");
	assert_int_equal(db_checkpoint(db), 0);
	return 0;
}

static void
a_checkpoint_does_not_wait_for_a_reader_and_loses_nothing(void **state)
{
	struct fixture *f = *state;

	put(f->db, DB_INODE, 1, 0, "one");
	put(f->db, DB_INODE, 2, 0, "two");
	assert_int_equal(db_scan_all(f->db, DB_INODE, 0, 0, 10, checkpoint_inside_scan, f->db), 0);
	db_end_reading(f->db);
	assert_int_equal(db_checkpoint(f->db), 0);

	/* All of it is in the file now: the log's bytes can go. */
	struct rowseal *rs = new_rowseal(LOCAL_KEY);
	struct db *db = NULL;

	copy_database(f, 0);
	assert_int_equal(db_open(f->copy, false, rs, &db), 0);
	assert_row(db, DB_INODE, 2, 0, "two");
	assert_row(db, DB_XATTRS, 2, 0, "written while a reader reads");
	db_close(db);
	rowseal_free(rs);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(a_database_without_the_youngest_tables_is_brought_up),
		WITH_FIXTURE(opening_tells_what_is_wrong),
		WITH_FIXTURE(nobody_else_opens_what_is_open),
		WITH_FIXTURE(a_file_that_is_cut_short_while_it_is_open_gives_errors_and_no_signal),
		WITH_FIXTURE(a_place_that_may_not_be_written_is_told_as_such),
		WITH_FIXTURE(a_row_that_was_moved_or_damaged_does_not_open),
		WITH_FIXTURE(nothing_of_a_row_is_on_the_disk_in_the_clear),
		WITH_FIXTURE(a_batch_that_was_written_survives_a_power_cut),
		WITH_FIXTURE(a_log_cut_short_anywhere_leaves_whole_batches),
		WITH_FIXTURE(a_full_disk_leaves_all_as_it_was_and_a_later_try_succeeds),
		WITH_FIXTURE(a_broken_disk_leaves_all_as_it_was_and_a_later_try_succeeds),
		WITH_FIXTURE(a_session_whose_first_write_failed_is_stored_by_the_next),
		WITH_FIXTURE(a_creation_that_fails_leaves_no_file),
		WITH_FIXTURE(a_checkpoint_does_not_wait_for_a_reader_and_loses_nothing),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
