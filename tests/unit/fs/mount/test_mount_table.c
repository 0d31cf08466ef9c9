/* The table of mounts: every field as it was before the kernel wrote it down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "mount_table.h"

static char path[] = "/tmp/snugfs-mount-table-XXXXXX";

static int
set_up(void **state)
{
	int fd = mkstemp(path);

	*state = fd >= 0 ? fdopen(fd, "w") : NULL;
	return *state != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	return 0;
}

static void
open_table(void **state, struct mount_table *t)
{
	assert_int_equal(fclose(*state), 0);
	assert_true(mount_table_open(t, path));
}

static void
what_the_kernel_has_escaped_is_read_as_it_was(void **state)
{
	struct mount_table t;

	fputs("/a\\043b /m\\040n\\011o\\012p fuse.snugfs rw 0 0\n/a\\134043b /\\134040 ext4 rw 0 0\n", *state);
	open_table(state, &t);
	assert_true(mount_table_next(&t));
	assert_string_equal(t.source, "/a#b");
	assert_string_equal(t.place, "/m n\to\np");
	assert_string_equal(t.type, "fuse.snugfs");
	assert_true(mount_table_next(&t));
	assert_string_equal(t.source, "/a\\043b");
	assert_string_equal(t.place, "/\\040");
	assert_false(mount_table_next(&t));
	mount_table_close(&t);
}

static void
a_line_may_be_longer_than_a_path(void **state)
{
	static char name[4096 * 4];
	struct mount_table t;

	memset(name, 'n', sizeof(name) - 1);
	fprintf(*state, "/%s /%s fuse.snugfs rw 0 0\n", name, name);
	open_table(state, &t);
	assert_true(mount_table_next(&t));
	assert_string_equal(t.place + 1, name);
	assert_string_equal(t.type, "fuse.snugfs");
	mount_table_close(&t);
}

static void
what_is_no_line_of_the_table_is_passed_over(void **state)
{
	struct mount_table t;

	fputs("\nnone\nnone /x\nnone /y tmpfs\\04", *state);
	open_table(state, &t);
	assert_true(mount_table_next(&t));
	assert_string_equal(t.place, "/y");
	assert_string_equal(t.type, "tmpfs\\04");
	assert_false(mount_table_next(&t));
	mount_table_close(&t);
	assert_false(mount_table_open(&t, "/nowhere/at/all"));
	mount_table_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_the_kernel_has_escaped_is_read_as_it_was, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_line_may_be_longer_than_a_path, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_line_of_the_table_is_passed_over, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
