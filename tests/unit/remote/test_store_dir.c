/* A directory as the store: objects, listings, and what somebody may have put there. */
#include "dir_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
