/* A directory as the store, on disks that go away, are full or read-only; how it is opened, and by which URLs. */
#include "dir_store.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- what is flushed ---- */

static ino_t flushed[32];
static size_t flushed_count;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && flushed_count < 32)
		flushed[flushed_count++] = st.st_ino;
	return __real_fsync(fd);
}

static bool was_flushed(const char *path)
{
	struct stat st;
	bool found = false;

	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < flushed_count; i++)
		found = found || flushed[i] == st.st_ino;
	return found;
}

/* Who had made it may have been killed before that. */
static void a_name_that_is_taken_is_durable_when_that_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_create_if_absent(f->store, "c/1", text("x"), 1), 0);
	assert_true(was_flushed(in_store(f, "c")));
	flushed_count = 0;
	assert_int_equal(store_create_if_absent(f->store, "c/1", text("x"), 1), -EEXIST);
	assert_true(was_flushed(in_store(f, "c")));
}

/* ---- the disk ---- */

static void expect_unreachable(struct store *s)
{
	struct bytes got = {0};
	struct seen seen = {0};
	uint64_t a = 0, b = 0;

	assert_int_equal(store_put(s, "c/2", text("x"), 1), -EAGAIN);
	assert_int_equal(store_create_if_absent(s, "c/2", text("x"), 1), -EAGAIN);
	assert_int_equal(store_get(s, "c/1", 10, &got), -EAGAIN);
	assert_int_equal(store_get_range(s, "c/1", 0, 1, &got), -EAGAIN);
	assert_int_equal(store_size(s, "c/1", &a), -EAGAIN);
	assert_int_equal(store_remove(s, "c/1"), -EAGAIN);
	assert_int_equal(store_list(s, "", see, &seen), -EAGAIN);
	assert_int_equal(store_space(s, &a, &b), -EAGAIN);
}

static void a_disk_that_went_away_is_eagain_until_it_is_back(void **state)
{
	struct fixture *f = *state;
	char away[100];
	char why[300];
	struct stat st;

	(void)snprintf(away, sizeof(away), "%s/away", f->base);
	assert_int_equal(store_put(f->store, "c/1", text("one"), 3), 0);
	assert_int_equal(rename(f->path, away), 0);
	expect_unreachable(f->store);
	/* The directory is never made again behind the user's back. */
	assert_int_equal(lstat(f->path, &st), -1);
	store_explain(f->store, -EAGAIN, why, sizeof(why));
	assert_non_null(strstr(why, "cannot be reached"));
	assert_non_null(strstr(why, f->path));
	/* The mount point is there, and empty. */
	assert_int_equal(mkdir(f->path, 0700), 0);
	expect_unreachable(f->store);
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(rename(away, f->path), 0);
	expect_object(f->store, "c/1", "one");
	assert_int_equal(store_put(f->store, "c/2", text("two"), 3), 0);
}

static void a_disk_can_be_unmounted_while_the_store_is_open(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;
	char disk[100];

	(void)snprintf(disk, sizeof(disk), "%s/disk", f->base);
	assert_int_equal(mkdir(disk, 0700), 0);
	if (mount("none", disk, "tmpfs", 0, "size=1m") != 0) {
		print_message("skipped: no file system can be mounted here (%s)\n", strerror(errno));
		skip();
	}
	err_t opened = store_dir_open(disk, true, &s, NULL);
	err_t written = opened ? opened : store_put(s, "c/1", text("one"), 3);
	int unmounted = umount(disk);
	if (unmounted != 0)
		(void)umount2(disk, MNT_DETACH);
	assert_int_equal(opened, 0);
	assert_int_equal(written, 0);
	assert_int_equal(unmounted, 0);
	expect_unreachable(s);
	store_free(s);
}

static void a_full_disk_is_enospc_and_leaves_no_trace(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;
	uint8_t *data = calloc(1, BIG);
	char disk[100];
	char left[120];
	unsigned written = 0;
	err_t err, full_create = 0, after = 0;
	uint64_t free_bytes = 0, total = 0;
	int no_temp = 0;

	(void)snprintf(disk, sizeof(disk), "%s/disk", f->base);
	assert_int_equal(mkdir(disk, 0700), 0);
	if (mount("none", disk, "tmpfs", 0, "size=1m") != 0) {
		free(data);
		print_message("skipped: no file system can be mounted here (%s)\n", strerror(errno));
		skip();
	}
	err = store_dir_open(disk, true, &s, NULL);
	while (err == 0 && written < 100) {
		char name[20];

		(void)snprintf(name, sizeof(name), "s/%u", written);
		err = store_put(s, name, data, BIG);
		written += err == 0;
	}
	if (s) {
		full_create = store_create_if_absent(s, "c/1", data, BIG);
		(void)snprintf(left, sizeof(left), "%s/tmp", disk);
		no_temp = rmdir(left) == 0 && mkdir(left, 0700) == 0;
		assert_int_equal(store_space(s, &free_bytes, &total), 0);
		after = store_remove(s, "s/0");
		if (after == 0)
			after = store_put(s, "c/1", data, BIG);
		store_free(s);
	}
	(void)umount2(disk, MNT_DETACH);
	free(data);
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(full_create, -ENOSPC);
	assert_in_range(written, 1, 4);
	assert_true(no_temp);
	assert_int_equal(total, 1 << 20);
	assert_true(free_bytes < BIG);
	assert_int_equal(after, 0);
}

static void a_read_only_disk_can_be_read_and_refuses_writes(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL, *again = NULL;
	struct bytes got = {0};
	char disk[100];
	char fresh[120];
	err_t prepared, put, create, removed, get, reopened, made;

	(void)snprintf(disk, sizeof(disk), "%s/disk", f->base);
	(void)snprintf(fresh, sizeof(fresh), "%s/fresh", disk);
	assert_int_equal(mkdir(disk, 0700), 0);
	if (mount("none", disk, "tmpfs", 0, "size=1m") != 0) {
		print_message("skipped: no file system can be mounted here (%s)\n", strerror(errno));
		skip();
	}
	prepared = store_dir_open(disk, true, &s, NULL);
	if (prepared == 0)
		prepared = store_put(s, "c/1", text("one"), 3);
	assert_int_equal(mount("none", disk, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	put = store_put(s, "c/2", text("x"), 1);
	create = store_create_if_absent(s, "c/2", text("x"), 1);
	removed = store_remove(s, "c/1");
	get = store_get(s, "c/1", 10, &got);
	reopened = store_dir_open(disk, false, &again, NULL);
	store_free(again);
	again = NULL;
	made = store_dir_open(fresh, true, &again, NULL);
	store_free(again);
	store_free(s);
	(void)umount2(disk, MNT_DETACH);
	assert_int_equal(prepared, 0);
	assert_int_equal(put, -EACCES);
	assert_int_equal(create, -EACCES);
	assert_int_equal(removed, -EACCES);
	assert_int_equal(get, 0);
	assert_int_equal(got.len, 3);
	assert_int_equal(reopened, 0);
	assert_int_equal(made, -EROFS);
	bytes_clear(&got);
}

/* The exit status of a child that runs fn, without rights: 0 if all is as expected. */
static int in_child(int (*fn)(const struct fixture *f, err_t expected), const struct fixture *f, err_t expected)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		_exit(geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0) ? 100 : fn(f, expected));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int change(const struct fixture *f, err_t expected)
{
	struct bytes got = {0};
	struct store *s = NULL;
	char *why = NULL;
	int failed = 0;

	failed |= store_put(f->store, "c/2", text("x"), 1) != expected;
	failed |= (store_create_if_absent(f->store, "c/2", text("x"), 1) != expected) << 1;
	failed |= (store_remove(f->store, "c/1") != expected) << 2;
	failed |= (store_get(f->store, "c/1", 10, &got) != 0) << 3;
	failed |= (store_dir_open(in_store(f, "deeper"), true, &s, &why) != expected || !why) << 4;
	bytes_clear(&got);
	free(why);
	return failed;
}

static void a_directory_without_write_permission_is_eacces(void **state)
{
	struct fixture *f = *state;
	int failed;

	assert_int_equal(store_put(f->store, "c/1", text("one"), 3), 0);
	assert_int_equal(chmod(in_store(f, "c/1"), 0444), 0);
	assert_int_equal(chmod(in_store(f, "c"), 0555), 0);
	assert_int_equal(chmod(in_store(f, "tmp"), 0555), 0);
	assert_int_equal(chmod(f->path, 0555), 0);
	assert_int_equal(chmod(f->base, 0755), 0);
	failed = in_child(change, f, -EACCES);
	(void)chmod(f->path, 0755);
	(void)chmod(in_store(f, "c"), 0755);
	(void)chmod(in_store(f, "tmp"), 0755);
	assert_int_equal(failed, 0);
}

static int list(const struct fixture *f, err_t expected)
{
	struct seen seen = {0};

	return store_list(f->store, "", see, &seen) != expected || (expected == 0 && strcmp(seen.names, "<c/1>") != 0);
}

static void a_hidden_folder_of_somebody_else_does_not_end_a_listing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_put(f->store, "c/1", text("one"), 3), 0);
	assert_int_equal(mkdir(in_store(f, ".snapshots"), 0), 0);
	assert_int_equal(chmod(in_store(f, "c"), 0755), 0);
	assert_int_equal(chmod(f->path, 0755), 0);
	assert_int_equal(chmod(f->base, 0755), 0);
	assert_int_equal(in_child(list, f, 0), 0);
	/* What may have objects in it is not passed over. */
	assert_int_equal(chmod(in_store(f, "c"), 0), 0);
	assert_int_equal(in_child(list, f, -EACCES), 0);
	assert_int_equal(chmod(in_store(f, "c"), 0755), 0);
}

/* ---- opening ---- */

static void what_cannot_be_opened_is_explained(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;
	char path[120];
	char *why = NULL;

	(void)snprintf(path, sizeof(path), "%s/none", f->base);
	assert_int_equal(store_dir_open(path, false, &s, &why), -ENOENT);
	assert_non_null(strstr(why, path));
	free(why);
	(void)snprintf(path, sizeof(path), "%s/no/parent", f->base);
	assert_int_equal(store_dir_open(path, true, &s, &why), -ENOENT);
	assert_non_null(strstr(why, "mount its disk"));
	free(why);
	(void)snprintf(path, sizeof(path), "%s/file", f->base);
	assert_int_equal(close(creat(path, 0600)), 0);
	assert_int_equal(store_dir_open(path, true, &s, &why), -ENOTDIR);
	assert_non_null(strstr(why, "not a folder"));
	free(why);
	/* A directory that nobody has made a store of: perhaps the mount point of a disk that is away. */
	(void)snprintf(path, sizeof(path), "%s/empty", f->base);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(store_dir_open(path, false, &s, &why), -ENOENT);
	assert_non_null(strstr(why, "mounted"));
	free(why);
	assert_null(s);
	assert_int_equal(store_dir_open(path, true, &s, NULL), 0);
	store_free(s);
}

static void a_copy_of_a_store_without_its_empty_folders_opens(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;

	assert_int_equal(store_put(f->store, "v", text("mark"), 4), 0);
	assert_int_equal(rmdir(in_store(f, "tmp")), 0);
	assert_int_equal(store_dir_open(f->path, false, &s, NULL), 0);
	expect_object(s, "v", "mark");
	assert_int_equal(store_put(s, "c/1", text("x"), 1), 0);
	store_free(s);
}

static void opening_removes_temporaries_older_than_a_day_only(void **state)
{
	struct fixture *f = *state;
	struct timespec old[2] = {{.tv_sec = time(NULL) - 2 * 24 * 3600}, {.tv_sec = time(NULL) - 2 * 24 * 3600}};
	struct store *s = NULL;
	struct stat st;

	assert_int_equal(close(creat(in_store(f, "tmp/old"), 0600)), 0);
	assert_int_equal(utimensat(AT_FDCWD, in_store(f, "tmp/old"), old, 0), 0);
	assert_int_equal(close(creat(in_store(f, "tmp/new"), 0600)), 0);
	assert_int_equal(store_dir_open(f->path, false, &s, NULL), 0);
	assert_int_equal(lstat(in_store(f, "tmp/old"), &st), -1);
	assert_int_equal(lstat(in_store(f, "tmp/new"), &st), 0);
	store_free(s);
}

static void expect_mode(const char *store, const char *name, mode_t mode)
{
	char path[200];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", store, name);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void objects_are_for_those_who_may_write_into_the_directory(void **state)
{
	static const struct { mode_t top, folder, object; } cases[] = {
		{ 0700, 0700, 0600 }, { 02770, 02770, 0660 }, { 0777, 0777, 0666 }, { 0755, 0700, 0600 }, { 02775, 02770, 0660 },
		{ 01777, 0700, 0600 }, { 01770, 0700, 0600 },
	};
	struct fixture *f = *state;
	mode_t mask = umask(077); /* as the program has it */

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store *s = NULL;
		char path[120];

		(void)snprintf(path, sizeof(path), "%s/shared-%zu", f->base, i);
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chmod(path, cases[i].top), 0);
		assert_int_equal(store_dir_open(path, true, &s, NULL), 0);
		assert_int_equal(store_put(s, "c/1", text("x"), 1), 0);
		assert_int_equal(store_create_if_absent(s, "c/2", text("x"), 1), 0);
		expect_mode(path, "tmp", cases[i].folder);
		expect_mode(path, "c", cases[i].folder);
		expect_mode(path, "c/1", cases[i].object);
		expect_mode(path, "c/2", cases[i].object);
		store_free(s);
	}
	umask(mask);
}

/* Whoever made them may have been killed in between, or have been an earlier version. */
static void folders_that_are_less_open_than_that_are_opened_up(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;

	assert_int_equal(store_put(f->store, "c/1", text("x"), 1), 0);
	assert_int_equal(chmod(f->path, 0770), 0);
	assert_int_equal(store_dir_open(f->path, true, &s, NULL), 0);
	expect_mode(f->path, "tmp", 0770);
	assert_int_equal(store_put(s, "c/2", text("x"), 1), 0);
	expect_mode(f->path, "c", 0770);
	store_free(s);
}

/* ---- URLs ---- */

static void expect_url(const char *url, const char *normal)
{
	char *out = NULL;

	assert_int_equal(store_url_normalize(url, &out, NULL), 0);
	assert_string_equal(out, normal);
	free(out);
}

static void urls_become_absolute_without_guessing_about_links(void **state)
{
	struct fixture *f = *state;
	char real[4096], expected[5000];
	char *cwd = getcwd(NULL, 0);

	expect_url("dir:/a/b", "dir:/a/b");
	expect_url("/a//b/./c/", "dir:/a/b/c");
	expect_url("/", "dir:/");
	expect_url("/../a", "dir:/a");
	expect_url("/a/../b", "dir:/a/../b");
	assert_non_null(realpath(f->base, real));
	assert_int_equal(chdir(f->base), 0);
	(void)snprintf(expected, sizeof(expected), "dir:%s/x", real);
	expect_url("./x", expected);
	expect_url("dir:x", expected);
	(void)snprintf(expected, sizeof(expected), "dir:%s/x/../y", real);
	expect_url("./x/../y", expected);
	*strrchr(real, '/') = '\0';
	(void)snprintf(expected, sizeof(expected), "dir:%s/x", real);
	expect_url("../x", expected);
	expect_url("../../../../../../../../../../x", "dir:/x");
	assert_int_equal(chdir(cwd), 0);
	free(cwd);
	assert_int_equal(setenv("HOME", "/home/me", 1), 0);
	expect_url("~/x", "dir:/home/me/x");
	expect_url("dir:~/x", "dir:/home/me/x");
}

static void what_is_no_url_is_refused_with_a_hint(void **state)
{
	static const struct {
		const char *url, *hint;
	} cases[] = {
		{"", "empty"}, {"dir:", "empty"}, {"backup", "./backup"}, {"a/b", "./a/b"}, {"https://host/x", "s3:"},
		{"s3s:x", "dir:/path"}, {"/a\nb", "control"}, {"dir:/a\x7f", "control"}, {"C:\\x", "dir:/path"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store *s = NULL;
		char *why = NULL;
		char *out = NULL;

		assert_int_equal(store_url_normalize(cases[i].url, &out, NULL), -EINVAL);
		assert_null(out);
		assert_int_equal(store_open(cases[i].url, true, &s, NULL), -EINVAL);
		assert_int_equal(store_open(cases[i].url, true, &s, &why), -EINVAL);
		assert_null(s);
		assert_non_null(why);
		assert_non_null(strstr(why, cases[i].hint));
		free(why);
	}
}

static void a_store_opens_by_its_url_again(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;
	char *why = NULL;

	assert_int_equal(store_put(f->store, "v", text("mark"), 4), 0);
	assert_int_equal(store_open(f->store->url, false, &s, &why), 0);
	assert_null(why);
	assert_string_equal(s->url, f->store->url);
	expect_object(s, "v", "mark");
	store_free(s);
}

static void every_error_has_a_sentence_that_names_the_store(void **state)
{
	static const err_t errors[] = {-ENOENT, -EEXIST, -EACCES, -ENOSPC, -EAGAIN, -ENOTSUP, -EBADMSG, -EPROTO, -ENOMEM,
		-EINVAL, -EIO, -ECANCELED, -EROFS};
	struct fixture *f = *state;
	char small[8];

	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		char why[300];

		store_explain(f->store, errors[i], why, sizeof(why));
		assert_non_null(strstr(why, f->store->url));
		assert_true(why[strlen(why) - 1] != '.');
	}
	store_explain(f->store, -EIO, small, sizeof(small));
	assert_string_equal(small, "the sto");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_name_that_is_taken_is_durable_when_that_is_told),
		T(a_disk_that_went_away_is_eagain_until_it_is_back),
		T(a_disk_can_be_unmounted_while_the_store_is_open),
		T(a_full_disk_is_enospc_and_leaves_no_trace),
		T(a_read_only_disk_can_be_read_and_refuses_writes),
		T(a_directory_without_write_permission_is_eacces),
		T(a_hidden_folder_of_somebody_else_does_not_end_a_listing),
		T(what_cannot_be_opened_is_explained),
		T(a_copy_of_a_store_without_its_empty_folders_opens),
		T(opening_removes_temporaries_older_than_a_day_only),
		T(objects_are_for_those_who_may_write_into_the_directory),
		T(folders_that_are_less_open_than_that_are_opened_up),
		T(urls_become_absolute_without_guessing_about_links),
		T(what_is_no_url_is_refused_with_a_hint),
		T(a_store_opens_by_its_url_again),
		T(every_error_has_a_sentence_that_names_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
