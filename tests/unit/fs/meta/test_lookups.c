/* lookups: counts come and go as the kernel's do, also when it knows a file by a great many names. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lookups.h"

static int
setup(void **state)
{
	struct lookups *l = NULL;

	if (lookups_new(&l) != 0)
		return -1;
	*state = l;
	return 0;
}

static int
teardown(void **state)
{
	lookups_free(*state);
	return 0;
}

static void
add(struct lookups *l, uint64_t ino, unsigned n)
{
	while (n-- > 0)
		assert_int_equal(lookups_add(l, ino), 0);
}

static void
what_was_added_is_counted_and_goes_in_steps(void **state)
{
	struct lookups *l = *state;

	assert_int_equal(lookups_count(l, 7), 0);
	assert_int_equal(lookups_drop(l, 7, 1), 0);
	add(l, 7, 3);
	add(l, 8, 1);
	assert_int_equal(lookups_count(l, 7), 3);
	assert_int_equal(lookups_drop(l, 7, 1), 2);
	assert_int_equal(lookups_drop(l, 7, 5), 0); /* more than there are */
	assert_int_equal(lookups_count(l, 7), 0);
	assert_int_equal(lookups_count(l, 8), 1);
}

static void
counts_beyond_a_byte_are_exact_at_every_step(void **state)
{
	struct lookups *l = *state;

	for (unsigned n = 1; n <= 600; n++) {
		add(l, 9, 1);
		assert_int_equal(lookups_count(l, 9), n);
	}
	for (unsigned n = 600; n-- > 0;)
		assert_int_equal(lookups_drop(l, 9, 1), n);
	add(l, 9, 300);
	assert_int_equal(lookups_drop(l, 9, 300), 0);
	add(l, 9, 1);
	assert_int_equal(lookups_count(l, 9), 1);
	add(l, 9, 400);
	assert_int_equal(lookups_drop(l, 9, 200), 201);
	add(l, 9, 54);
	assert_int_equal(lookups_count(l, 9), 255);
	add(l, 9, 1);
	assert_int_equal(lookups_count(l, 9), 256);
}

static void
inodes_of_all_devices_are_counted_apart(void **state)
{
	struct lookups *l = *state;

	for (uint64_t member = 0; member < 20; member++)
		for (uint64_t k = 0; k < 5000; k += 99)
			add(l, (member << 40) + k, (unsigned)(member + 1));
	for (uint64_t member = 0; member < 20; member++)
		for (uint64_t k = 0; k < 5000; k += 99)
			assert_int_equal(lookups_drop(l, (member << 40) + k, member), 1);
	assert_int_equal(lookups_count(l, 1), 0);
	assert_int_equal(lookups_count(l, 99), 1);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(what_was_added_is_counted_and_goes_in_steps),
		EACH(counts_beyond_a_byte_are_exact_at_every_step),
		EACH(inodes_of_all_devices_are_counted_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
