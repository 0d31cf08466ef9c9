/* Mount options and mount points: what is refused, and that the sentence names it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "mount_check.h"

static void
options_for_the_kernel_are_handed_on_and_those_for_others_are_not(void **state)
{
	struct mount_wishes wishes;
	char *kernel = NULL, *why = NULL;

	(void)state;
	assert_int_equal(mount_check_options("rw,noexec,noauto,_netdev,x-systemd.automount,user,allow_other,nodev", &wishes,
	    &kernel, &why), 0);
	assert_string_equal(kernel, "rw,noexec,nodev");
	assert_true(wishes.allow_other);
	assert_false(wishes.nonempty);
	free(kernel);
}

static void
no_options_are_fine(void **state)
{
	static const char *const none[] = { NULL, "", ",", "defaults" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		struct mount_wishes wishes;
		char *kernel = NULL, *why = NULL;

		assert_int_equal(mount_check_options(none[i], &wishes, &kernel, &why), 0);
		assert_string_equal(kernel, "");
		assert_false(wishes.allow_other || wishes.nonempty);
		free(kernel);
	}
}

static void
an_unknown_option_is_refused_by_name(void **state)
{
	static const char *const unknown[] = { "nonsense", "fd=3", "subtype=ext4", "allow_other=1", "ro ", "sync", "x" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		struct mount_wishes wishes = { .nonempty = true };
		char list[64], quoted[64], *kernel = NULL, *why = NULL;

		snprintf(list, sizeof(list), "rw,%s,noexec", unknown[i]);
		snprintf(quoted, sizeof(quoted), "\"%s\"", unknown[i]);
		assert_int_equal(mount_check_options(list, &wishes, &kernel, &why), -EINVAL);
		assert_non_null(strstr(why, quoted));
		assert_null(kernel);
		assert_true(wishes.nonempty);
		free(why);
	}
}

static void
who_wants_to_remount_is_told_how(void **state)
{
	struct mount_wishes wishes;
	char *kernel = NULL, *why = NULL;

	(void)state;
	assert_int_equal(mount_check_options("remount,ro", &wishes, &kernel, &why), -EINVAL);
	assert_non_null(strstr(why, "mount -i -o remount"));
	free(why);
}

static void
expect_refusal(const char *dir, err_t err, const char *word)
{
	struct mount_wishes wishes = { false, false };
	char *why = NULL;

	assert_int_equal(mount_check_place(dir, &wishes, &why), err);
	assert_non_null(why);
	assert_non_null(strstr(why, dir));
	assert_non_null(strstr(why, word));
	free(why);
}

static void
a_place_that_cannot_be_mounted_on_is_refused_with_the_reason(void **state)
{
	char top[] = "/tmp/test_mount_check.XXXXXX", file[64], missing[64];
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(top));
	snprintf(file, sizeof(file), "%s/file", top);
	snprintf(missing, sizeof(missing), "%s/missing", top);
	f = fopen(file, "w");
	assert_non_null(f);
	fclose(f);
	expect_refusal(missing, -ENOENT, "does not exist");
	expect_refusal(file, -ENOTDIR, "not a folder");
	expect_refusal(top, -ENOTEMPTY, "not empty");
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(top), 0);
}

static void
a_place_without_a_mount_of_ours_is_not_ours(void **state)
{
	(void)state;
	assert_false(mount_check_is_ours("/"));
	assert_false(mount_check_is_ours("/proc"));
	assert_false(mount_check_is_ours("/nowhere"));
}

static void
what_may_be_mounted_is_told_from_what_is_not(void **state)
{
	struct statx stx;

	(void)state;
	assert_true(mount_check_may_be_mounted("/proc"));
	assert_true(mount_check_may_be_mounted("/nowhere"));
	if (statx(AT_FDCWD, "/proc/self", 0, 0, &stx) != 0 || (stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0)
		skip(); /* before Linux 5.8, or where it is refused, nothing but the table tells */
	assert_false(mount_check_may_be_mounted("/proc/sys/kernel/random"));
	assert_false(mount_check_may_be_mounted("/proc/self")); /* a link */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_for_the_kernel_are_handed_on_and_those_for_others_are_not),
		cmocka_unit_test(no_options_are_fine),
		cmocka_unit_test(an_unknown_option_is_refused_by_name),
		cmocka_unit_test(who_wants_to_remount_is_told_how),
		cmocka_unit_test(a_place_that_cannot_be_mounted_on_is_refused_with_the_reason),
		cmocka_unit_test(a_place_without_a_mount_of_ours_is_not_ours),
		cmocka_unit_test(what_may_be_mounted_is_told_from_what_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
