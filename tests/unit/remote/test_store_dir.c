/* A directory as the store: durable whole objects, one winner, and no trap in the directory that catches us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store.h"
#include "store_dir.h"

#include "../tempdir.h"

#define RACE_ROUNDS 200
#define KILL_ROUNDS 12
#define BIG (256 * 1024)

struct fixture {
	char base[64];
	char path[80]; /* base/store */
	struct store *store;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(f);
	assert_true(snprintf(f->base, sizeof(f->base), "%.40s/store_dir.XXXXXX", tmp ? tmp : "/tmp") < (int)sizeof(f->base));
	assert_non_null(mkdtemp(f->base));
	(void)snprintf(f->path, sizeof(f->path), "%s/store", f->base);
	assert_int_equal(store_dir_open(f->path, true, &f->store, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	tempdir_remove(f->base);
	free(f);
	return 0;
}

static const uint8_t *text(const char *s)
{
	return (const uint8_t *)s;
}

static const char *in_store(const struct fixture *f, const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	return path;
}

static void expect_object(struct store *s, const char *name, const char *expected)
{
	struct bytes got = {0};

	assert_int_equal(store_get(s, name, 1 << 20, &got), 0);
	assert_int_equal(got.len, strlen(expected));
	if (got.len > 0)
		assert_memory_equal(got.data, expected, got.len);
	bytes_clear(&got);
}

static unsigned count_files(const struct fixture *f, const char *folder)
{
	char command[200];
	unsigned count = 0;
	FILE *p;

	(void)snprintf(command, sizeof(command), "ls -A '%s/%s' | wc -l", f->path, folder);
	p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%u", &count), 1);
	pclose(p);
	return count;
}

/* ---- the plain behaviour ---- */

static void an_object_that_was_put_comes_back_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 0;

	assert_int_equal(store_put(f->store, "s/ab/one", text("hello"), 5), 0);
	expect_object(f->store, "s/ab/one", "hello");
	assert_int_equal(store_size(f->store, "s/ab/one", &size), 0);
	assert_int_equal(size, 5);
	assert_int_equal(count_files(f, "tmp"), 0);
}

static void an_empty_object_is_an_object(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};

	assert_int_equal(store_put(f->store, "v", NULL, 0), 0);
	assert_int_equal(store_get(f->store, "v", 0, &got), 0);
	assert_int_equal(got.len, 0);
	bytes_clear(&got);
}

static void put_replaces_an_object_whole(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_put(f->store, "b/1", text("a long first one"), 16), 0);
	assert_int_equal(store_put(f->store, "b/1", text("short"), 5), 0);
	expect_object(f->store, "b/1", "short");
}

static void create_leaves_what_exists_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_create_if_absent(f->store, "c/1", text("first"), 5), 0);
	assert_int_equal(store_create_if_absent(f->store, "c/1", text("other"), 5), -EEXIST);
	expect_object(f->store, "c/1", "first");
	assert_int_equal(count_files(f, "tmp"), 0);
}

static void what_is_not_there_is_enoent_and_removing_it_is_no_error(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};
	uint64_t size = 77;

	assert_int_equal(store_get(f->store, "c/9", 100, &got), -ENOENT);
	assert_int_equal(store_get(f->store, "never/was/here", 100, &got), -ENOENT);
	assert_int_equal(store_size(f->store, "c/9", &size), -ENOENT);
	assert_int_equal(size, 77);
	assert_int_equal(store_remove(f->store, "c/9"), 0);
	assert_int_equal(store_remove(f->store, "never/was/here"), 0);
	assert_int_equal(store_put(f->store, "c/9", text("x"), 1), 0);
	assert_int_equal(store_remove(f->store, "c/9"), 0);
	assert_int_equal(store_get(f->store, "c/9", 100, &got), -ENOENT);
	assert_int_equal(got.len, 0);
}

static void an_object_larger_than_the_limit_is_not_read(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};

	assert_int_equal(store_put(f->store, "v", text("12345"), 5), 0);
	assert_int_equal(bytes_append(&got, "before", 6), 0);
	assert_int_equal(store_get(f->store, "v", 4, &got), -EBADMSG);
	assert_int_equal(got.len, 6);
	assert_int_equal(store_get(f->store, "v", 5, &got), 0);
	assert_int_equal(got.len, 11);
	assert_memory_equal(got.data, "before12345", 11);
	bytes_clear(&got);
}

static void every_range_inside_is_served_and_every_other_refused(void **state)
{
	struct fixture *f = *state;
	const char *object = "0123456789";

	assert_int_equal(store_put(f->store, "v", text(object), 10), 0);
	for (uint64_t off = 0; off <= 12; off++) {
		for (size_t len = 0; len <= 12; len++) {
			struct bytes got = {0};
			err_t err = store_get_range(f->store, "v", off, len, &got);

			if (off + len <= 10) {
				assert_int_equal(err, 0);
				assert_int_equal(got.len, len);
				if (len > 0)
					assert_memory_equal(got.data, object + off, len);
			} else {
				assert_int_equal(err, -EBADMSG);
				assert_int_equal(got.len, 0);
			}
			bytes_clear(&got);
		}
	}
	struct bytes none = {0};
	assert_int_equal(store_get_range(f->store, "v", UINT64_MAX, 2, &none), -EBADMSG);
	assert_int_equal(store_get_range(f->store, "v", 5, SIZE_MAX, &none), -EBADMSG);
	assert_int_equal(store_get_range(f->store, "v", UINT64_MAX, SIZE_MAX, &none), -EBADMSG);
	assert_int_equal(store_get_range(f->store, "w", 0, 0, &none), -ENOENT);
}

static void names_outside_the_rules_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "...", "a/..", "../a", "a/./b", "A", "a b",
		"a_b", "\xc3\xa4", "a\n", "a*", "a\\b", "a/.../b", "tmp", "tmp/x"};
	static const char *const good[] = {"a", "a.b", ".a", "..a", "a-", "-", "0/1/2/3", "tmpx", "a/tmp", "a/tmp/b"};
	char name[STORE_NAME_MAX + 2];
	struct bytes got = {0};
	uint64_t size;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(store_put(f->store, bad[i], text("x"), 1), -EINVAL);
		assert_int_equal(store_create_if_absent(f->store, bad[i], text("x"), 1), -EINVAL);
		assert_int_equal(store_get(f->store, bad[i], 10, &got), -EINVAL);
		assert_int_equal(store_get_range(f->store, bad[i], 0, 1, &got), -EINVAL);
		assert_int_equal(store_size(f->store, bad[i], &size), -EINVAL);
		assert_int_equal(store_remove(f->store, bad[i]), -EINVAL);
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		/* Some of them are folders of others. */
		assert_int_equal(store_put(f->store, good[i], text("x"), 1), 0);
		assert_int_equal(store_remove(f->store, good[i]), 0);
	}
	memset(name, 'a', sizeof(name));
	name[STORE_NAME_MAX + 1] = '\0';
	assert_int_equal(store_put(f->store, name, text("x"), 1), -EINVAL);
	name[STORE_NAME_MAX] = '\0';
	assert_int_equal(store_put(f->store, name, text("x"), 1), 0);
	expect_object(f->store, name, "x");
}

/* ---- listing ---- */

struct seen {
	char names[4096];
	unsigned count;
	uint64_t sizes;
	unsigned stop_after;
};

static err_t see(void *ctx, const char *name, uint64_t size)
{
	struct seen *s = ctx;

	assert_true(strlen(s->names) + strlen(name) + 3 < sizeof(s->names));
	strcat(s->names, "<");
	strcat(s->names, name);
	strcat(s->names, ">");
	s->count++;
	s->sizes += size;
	return s->stop_after > 0 && s->count == s->stop_after ? -EXFULL : 0;
}

static void list_shows_the_objects_with_the_prefix_and_no_others(void **state)
{
	struct fixture *f = *state;
	struct seen all = {0}, bases = {0}, part = {0}, none = {0};

	assert_int_equal(store_put(f->store, "v", text("1"), 1), 0);
	assert_int_equal(store_put(f->store, "b/10", text("22"), 2), 0);
	assert_int_equal(store_put(f->store, "b/11", text("333"), 3), 0);
	assert_int_equal(store_put(f->store, "ba", text("4444"), 4), 0);
	assert_int_equal(store_put(f->store, "s/ab/cd", text("55555"), 5), 0);
	assert_int_equal(store_list(f->store, "", see, &all), 0);
	assert_int_equal(all.count, 5);
	assert_int_equal(all.sizes, 15);
	assert_non_null(strstr(all.names, "<s/ab/cd>"));
	assert_int_equal(store_list(f->store, "b/", see, &bases), 0);
	assert_int_equal(bases.count, 2);
	assert_int_equal(bases.sizes, 5);
	assert_int_equal(store_list(f->store, "s/a", see, &part), 0);
	assert_string_equal(part.names, "<s/ab/cd>");
	assert_int_equal(store_list(f->store, "x/y", see, &none), 0);
	assert_int_equal(none.count, 0);
	assert_int_equal(store_list(f->store, "X", see, &none), -EINVAL);
}

static void list_passes_over_what_is_foreign(void **state)
{
	struct fixture *f = *state;
	struct seen s = {0};
	char deep[600];

	assert_int_equal(store_put(f->store, "b/1", text("x"), 1), 0);
	assert_int_equal(symlink("1", in_store(f, "b/2")), 0);
	assert_int_equal(symlink("/", in_store(f, "b/3")), 0);
	assert_int_equal(mkfifo(in_store(f, "b/4"), 0600), 0);
	assert_int_equal(mkdir(in_store(f, "lost+found"), 0), 0);
	assert_int_equal(close(creat(in_store(f, "b/README.txt"), 0600)), 0);
	assert_int_equal(close(creat(in_store(f, "b/\xff\xfe"), 0600)), 0);
	assert_int_equal(close(creat(in_store(f, "tmp/0123"), 0600)), 0);
	/* Deeper than names can be. */
	(void)snprintf(deep, sizeof(deep), "%s/b", f->path);
	for (int i = 0; i < 110; i++) {
		strcat(deep, "/d");
		assert_int_equal(mkdir(deep, 0700), 0);
	}
	strcat(deep, "/x");
	assert_int_equal(close(creat(deep, 0600)), 0);
	assert_int_equal(store_list(f->store, "", see, &s), 0);
	assert_string_equal(s.names, "<b/1>");
}

static void what_the_callback_returns_ends_the_listing(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.stop_after = 2};

	for (int i = 0; i < 5; i++) {
		char name[20];

		(void)snprintf(name, sizeof(name), "b/%d", i);
		assert_int_equal(store_put(f->store, name, text("x"), 1), 0);
	}
	assert_int_equal(store_list(f->store, "b/", see, &s), -EXFULL);
	assert_int_equal(s.count, 2);
}

/* ---- traps ---- */

static void traps_in_the_place_of_objects_are_ebadmsg_and_hang_nobody(void **state)
{
	static const char *const traps[] = {"c/link", "c/dangling", "c/fifo", "c/folder", "c/null"};
	struct fixture *f = *state;
	struct bytes got = {0};
	uint64_t size;

	assert_int_equal(store_put(f->store, "c/real", text("secret"), 6), 0);
	assert_int_equal(symlink("real", in_store(f, "c/link")), 0);
	assert_int_equal(symlink("nowhere", in_store(f, "c/dangling")), 0);
	assert_int_equal(mkfifo(in_store(f, "c/fifo"), 0600), 0);
	assert_int_equal(mkdir(in_store(f, "c/folder"), 0700), 0);
	/* Not everybody may make a device. */
	if (mknod(in_store(f, "c/null"), S_IFCHR | 0600, (1 << 8) | 3) != 0)
		assert_int_equal(mkdir(in_store(f, "c/null"), 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(traps); i++) {
		assert_int_equal(store_get(f->store, traps[i], 100, &got), -EBADMSG);
		assert_int_equal(store_get_range(f->store, traps[i], 0, 1, &got), -EBADMSG);
		assert_int_equal(store_size(f->store, traps[i], &size), -EBADMSG);
		assert_int_equal(store_create_if_absent(f->store, traps[i], text("x"), 1), -EEXIST);
	}
	assert_int_equal(got.len, 0);
	assert_int_equal(store_remove(f->store, "c/folder"), -EBADMSG);
	assert_int_equal(store_put(f->store, "c/folder", text("x"), 1), -EBADMSG);
	assert_int_equal(count_files(f, "tmp"), 0);
}

static void put_replaces_a_link_and_never_writes_through_it(void **state)
{
	struct fixture *f = *state;
	char outside[100];
	char content[10] = "";
	int fd;

	(void)snprintf(outside, sizeof(outside), "%s/outside", f->base);
	fd = open(outside, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	assert_int_equal(store_put(f->store, "c/1", text("x"), 1), 0);
	assert_int_equal(symlink(outside, in_store(f, "c/link")), 0);
	assert_int_equal(store_put(f->store, "c/link", text("theirs"), 6), 0);
	expect_object(f->store, "c/link", "theirs");
	assert_int_equal(pread(fd, content, sizeof(content), 0), 4);
	assert_string_equal(content, "mine");
	close(fd);
}

static void a_folder_that_became_a_link_is_not_followed(void **state)
{
	struct fixture *f = *state;
	char outside[100];
	struct bytes got = {0};
	struct seen s = {0};
	struct stat st;

	(void)snprintf(outside, sizeof(outside), "%s/outside", f->base);
	assert_int_equal(mkdir(outside, 0700), 0);
	/* The store knows the folder by now. */
	assert_int_equal(store_put(f->store, "s/ab/1", text("x"), 1), 0);
	assert_int_equal(store_remove(f->store, "s/ab/1"), 0);
	assert_int_equal(rmdir(in_store(f, "s/ab")), 0);
	assert_int_equal(symlink(outside, in_store(f, "s/ab")), 0);
	assert_int_equal(store_put(f->store, "s/ab/1", text("x"), 1), -EBADMSG);
	assert_int_equal(store_create_if_absent(f->store, "s/ab/1", text("x"), 1), -EBADMSG);
	assert_int_equal(store_get(f->store, "s/ab/1", 10, &got), -EBADMSG);
	assert_int_equal(store_remove(f->store, "s/ab/1"), -EBADMSG);
	assert_int_equal(store_list(f->store, "", see, &s), 0);
	assert_int_equal(s.count, 0);
	strcat(outside, "/1");
	assert_int_equal(lstat(outside, &st), -1);
	/* So is the folder of temporaries. */
	assert_int_equal(rmdir(in_store(f, "tmp")), 0);
	*strrchr(outside, '/') = '\0';
	assert_int_equal(symlink(outside, in_store(f, "tmp")), 0);
	assert_int_equal(store_put(f->store, "c/1", text("x"), 1), -EBADMSG);
}

static void a_folder_that_was_tidied_away_is_made_again(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_put(f->store, "s/ab/1", text("x"), 1), 0);
	assert_int_equal(store_remove(f->store, "s/ab/1"), 0);
	assert_int_equal(rmdir(in_store(f, "s/ab")), 0);
	assert_int_equal(rmdir(in_store(f, "s")), 0);
	assert_int_equal(store_put(f->store, "s/ab/1", text("again"), 5), 0);
	expect_object(f->store, "s/ab/1", "again");
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

/* What a user without rights sees, as the exit status of a child: 0 if all is as it should be. */
static int without_rights(const struct fixture *f)
{
	struct bytes got = {0};
	struct store *s = NULL;
	char *why = NULL;
	int failed = 0;

	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 100;
	failed |= store_put(f->store, "c/2", text("x"), 1) != -EACCES;
	failed |= (store_create_if_absent(f->store, "c/2", text("x"), 1) != -EACCES) << 1;
	failed |= (store_remove(f->store, "c/1") != -EACCES) << 2;
	failed |= (store_get(f->store, "c/1", 10, &got) != 0) << 3;
	failed |= (store_dir_open(in_store(f, "deeper"), true, &s, &why) != -EACCES || !why) << 4;
	bytes_clear(&got);
	free(why);
	return failed;
}

static void a_directory_without_write_permission_is_eacces(void **state)
{
	struct fixture *f = *state;
	int status = 0;
	pid_t child;

	assert_int_equal(store_put(f->store, "c/1", text("one"), 3), 0);
	assert_int_equal(chmod(in_store(f, "c/1"), 0444), 0);
	assert_int_equal(chmod(in_store(f, "c"), 0555), 0);
	assert_int_equal(chmod(in_store(f, "tmp"), 0555), 0);
	assert_int_equal(chmod(f->path, 0555), 0);
	assert_int_equal(chmod(f->base, 0755), 0);
	child = fork();
	if (child == 0)
		_exit(without_rights(f));
	assert_int_equal(waitpid(child, &status, 0), child);
	(void)chmod(f->path, 0755);
	(void)chmod(in_store(f, "c"), 0755);
	(void)chmod(in_store(f, "tmp"), 0755);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
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

static void objects_are_as_open_to_others_as_the_directory_is(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;
	char path[120];
	struct stat st;
	mode_t mask = umask(0);

	assert_int_equal(store_put(f->store, "c/1", text("x"), 1), 0);
	assert_int_equal(lstat(in_store(f, "c/1"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	(void)snprintf(path, sizeof(path), "%s/shared", f->base);
	assert_int_equal(mkdir(path, 0770), 0);
	assert_int_equal(store_dir_open(path, true, &s, NULL), 0);
	assert_int_equal(store_put(s, "c/1", text("x"), 1), 0);
	strcat(path, "/c");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0770);
	strcat(path, "/1");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	store_free(s);
	umask(mask);
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

/* ---- races and crashes ---- */

struct race {
	pthread_barrier_t start;
	err_t result[2][RACE_ROUNDS];
};

struct runner {
	struct store *store;
	struct race *race;
	unsigned number;
};

static void *run(void *arg)
{
	struct runner *me = arg;

	for (unsigned i = 0; i < RACE_ROUNDS; i++) {
		uint8_t mine[64];
		char name[20];

		memset(mine, (int)me->number, sizeof(mine));
		(void)snprintf(name, sizeof(name), "c/%u", i);
		pthread_barrier_wait(&me->race->start);
		me->race->result[me->number][i] = store_create_if_absent(me->store, name, mine, sizeof(mine));
	}
	return NULL;
}

static struct race *new_race(bool shared)
{
	struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_t attr;

	assert_ptr_not_equal(race, MAP_FAILED);
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
	assert_int_equal(pthread_barrier_init(&race->start, &attr, 2), 0);
	pthread_barrierattr_destroy(&attr);
	return race;
}

static void expect_one_winner_each(struct fixture *f, struct race *race)
{
	for (unsigned i = 0; i < RACE_ROUNDS; i++) {
		unsigned winner = race->result[0][i] == 0 ? 0 : 1;
		struct bytes got = {0};
		char name[20];

		(void)snprintf(name, sizeof(name), "c/%u", i);
		assert_int_equal(race->result[winner][i], 0);
		assert_int_equal(race->result[1 - winner][i], -EEXIST);
		assert_int_equal(store_get(f->store, name, 64, &got), 0);
		assert_int_equal(got.len, 64);
		for (size_t k = 0; k < got.len; k++)
			assert_int_equal(got.data[k], winner);
		bytes_clear(&got);
	}
	assert_int_equal(count_files(f, "tmp"), 0);
}

static void of_two_racing_threads_exactly_one_creates(void **state)
{
	struct fixture *f = *state;
	struct race *race = new_race(false);
	struct runner runners[2] = {{f->store, race, 0}, {f->store, race, 1}};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	expect_one_winner_each(f, race);
	munmap(race, sizeof(*race));
}

static void of_two_racing_processes_exactly_one_creates(void **state)
{
	struct fixture *f = *state;
	struct race *race = new_race(true);
	pid_t children[2];

	for (unsigned i = 0; i < 2; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			struct runner me = {NULL, race, i};

			if (store_dir_open(f->path, false, &me.store, NULL) != 0)
				_exit(1);
			(void)run(&me);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		int status = 0;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	expect_one_winner_each(f, race);
	munmap(race, sizeof(*race));
}

/* Each object says its number and is full of it, so that any part of another would show. */
static _Noreturn void put_for_ever(const struct fixture *f, unsigned round)
{
	uint8_t *data = malloc(BIG);

	for (unsigned i = 0; data; i++) {
		char name[40];

		memset(data, (int)(i % 251), BIG);
		(void)snprintf(name, sizeof(name), "s/%02x/%u-%u", i % 7, round, i);
		if (store_create_if_absent(f->store, name, data, BIG) != 0)
			break;
		(void)snprintf(name, sizeof(name), "b/%u", i % 3);
		memset(data, (int)((round + i) % 251), BIG);
		if (store_put(f->store, name, data, BIG) != 0)
			break;
	}
	_exit(1);
}

static err_t check_whole(void *ctx, const char *name, uint64_t size)
{
	struct fixture *f = ctx;
	struct bytes got = {0};

	assert_int_equal(size, BIG);
	assert_int_equal(store_get(f->store, name, BIG, &got), 0);
	assert_int_equal(got.len, BIG);
	assert_int_equal(memcmp(got.data, got.data + 1, BIG - 1), 0);
	if (name[0] == 's')
		assert_int_equal(got.data[0], atoi(strrchr(name, '-') + 1) % 251);
	bytes_clear(&got);
	return 0;
}

static void a_writer_that_is_killed_leaves_only_whole_objects(void **state)
{
	struct fixture *f = *state;
	struct seen s = {0};

	for (unsigned round = 0; round < KILL_ROUNDS; round++) {
		struct timespec pause = {.tv_nsec = 3000000L + (long)round * 2500000L};
		int status = 0;
		pid_t child = fork();

		if (child == 0)
			put_for_ever(f, round);
		(void)nanosleep(&pause, NULL);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(store_list(f->store, "", check_whole, f), 0);
		s.count++;
	}
	assert_int_equal(s.count, KILL_ROUNDS);
	/* What it left does not stand in the way of the next. */
	assert_int_equal(store_put(f->store, "b/0", text("x"), 1), 0);
	expect_object(f->store, "b/0", "x");
}

struct user {
	struct store *store;
	unsigned number;
	err_t err;
};

static void *use(void *arg)
{
	struct user *me = arg;

	for (unsigned i = 0; i < 40 && me->err == 0; i++) {
		struct bytes got = {0};
		char name[40];

		(void)snprintf(name, sizeof(name), "s/%02x/%u-%u", i % 8, me->number, i);
		me->err = store_put(me->store, name, text("shared"), 6);
		if (me->err == 0)
			me->err = store_get(me->store, name, 6, &got);
		if (me->err == 0 && i % 2 == 0)
			me->err = store_remove(me->store, name);
		bytes_clear(&got);
	}
	return NULL;
}

static void many_threads_share_one_store(void **state)
{
	struct fixture *f = *state;
	struct user users[4];
	pthread_t threads[4];
	struct seen s = {0};

	for (unsigned i = 0; i < 4; i++) {
		users[i] = (struct user){f->store, i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(users[i].err, 0);
	}
	assert_int_equal(store_list(f->store, "s/", see, &s), 0);
	assert_int_equal(s.count, 80);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(an_object_that_was_put_comes_back_whole),
		T(an_empty_object_is_an_object),
		T(put_replaces_an_object_whole),
		T(create_leaves_what_exists_alone),
		T(what_is_not_there_is_enoent_and_removing_it_is_no_error),
		T(an_object_larger_than_the_limit_is_not_read),
		T(every_range_inside_is_served_and_every_other_refused),
		T(names_outside_the_rules_are_refused),
		T(list_shows_the_objects_with_the_prefix_and_no_others),
		T(list_passes_over_what_is_foreign),
		T(what_the_callback_returns_ends_the_listing),
		T(traps_in_the_place_of_objects_are_ebadmsg_and_hang_nobody),
		T(put_replaces_a_link_and_never_writes_through_it),
		T(a_folder_that_became_a_link_is_not_followed),
		T(a_folder_that_was_tidied_away_is_made_again),
		T(a_disk_that_went_away_is_eagain_until_it_is_back),
		T(a_disk_can_be_unmounted_while_the_store_is_open),
		T(a_full_disk_is_enospc_and_leaves_no_trace),
		T(a_read_only_disk_can_be_read_and_refuses_writes),
		T(a_directory_without_write_permission_is_eacces),
		T(what_cannot_be_opened_is_explained),
		T(a_copy_of_a_store_without_its_empty_folders_opens),
		T(opening_removes_temporaries_older_than_a_day_only),
		T(objects_are_as_open_to_others_as_the_directory_is),
		T(urls_become_absolute_without_guessing_about_links),
		T(what_is_no_url_is_refused_with_a_hint),
		T(a_store_opens_by_its_url_again),
		T(every_error_has_a_sentence_that_names_the_store),
		T(of_two_racing_threads_exactly_one_creates),
		T(of_two_racing_processes_exactly_one_creates),
		T(a_writer_that_is_killed_leaves_only_whole_objects),
		T(many_threads_share_one_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
