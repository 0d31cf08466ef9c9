/* Where things are: names of vaults, and what lies in what. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paths.h"

static void
a_folder_is_inside_itself_and_what_only_begins_like_it_is_not(void **state)
{
	(void)state;
	assert_true(paths_is_inside("/a/b", "/a/b"));
	assert_true(paths_is_inside("/a/b/c", "/a/b"));
	assert_true(paths_is_inside("/a/b/c", "/a/b/"));
	assert_true(paths_is_inside("/a", "/"));
	assert_true(paths_is_inside("/", "/"));
	assert_false(paths_is_inside("/a/bc", "/a/b"));
	assert_false(paths_is_inside("/a", "/a/b"));
	assert_false(paths_is_inside("/", "/a"));
}

static void
assert_vault_name(const char *mountpoint, const char *want)
{
	char *name = NULL;

	assert_int_equal(paths_vault_name(mountpoint, &name), 0);
	assert_string_equal(name, want);
	free(name);
}

static void
a_vault_is_named_after_its_mount_point(void **state)
{
	(void)state;
	assert_vault_name("/home/ann/Private", "home-ann-Private");
	assert_vault_name("/srv", "srv");
	assert_vault_name("/", "root");
}

static void
long_mount_points_that_end_alike_have_different_names_that_fit(void **state)
{
	char first[1024], second[1024];
	char *a = NULL, *b = NULL;

	(void)state;
	memset(first, 'x', sizeof(first) - 1);
	first[0] = '/';
	first[sizeof(first) - 1] = '\0';
	memcpy(second, first, sizeof(second));
	second[1] = 'y';
	assert_int_equal(paths_vault_name(first, &a), 0);
	assert_int_equal(paths_vault_name(second, &b), 0);
	assert_true(strlen(a) <= 255 && strlen(b) <= 255 && strcmp(a, b) != 0);
	assert_null(strchr(a, '/'));
	free(a);
	free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_folder_is_inside_itself_and_what_only_begins_like_it_is_not),
		cmocka_unit_test(a_vault_is_named_after_its_mount_point),
		cmocka_unit_test(long_mount_points_that_end_alike_have_different_names_that_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
