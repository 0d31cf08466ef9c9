/* Without the library that the system bus needs, who asks is told so, and nothing else happens. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "systembus.h"

err_t __wrap_library_load(const char *file, const struct library_symbol *symbols, size_t count);
err_t
__wrap_library_load(const char *file, const struct library_symbol *symbols, size_t count)
{
	(void)file;
	(void)symbols;
	(void)count;
	return -ELIBACC;
}

static void
never(void *ctx)
{
	(void)ctx;
	fail();
}

static void
never_metered(void *ctx, uint32_t how)
{
	(void)ctx;
	(void)how;
	fail();
}

static void
who_would_hear_of_sleep_is_told_that_the_library_is_missing(void **state)
{
	const struct systembus_sleep_hooks hooks = { NULL, never, never };
	char *why = NULL;

	(void)state;
	assert_int_equal(systembus_watch_sleep(-1, &hooks, &why), -ENOTSUP);
	assert_non_null(why);
	assert_true(strstr(why, "libgio") != NULL || strstr(why, "GIO") != NULL);
	assert_non_null(strstr(why, "when it sleeps"));
	free(why);
}

static void
who_would_hear_of_the_network_is_told_that_the_library_is_missing(void **state)
{
	const struct systembus_network_hooks hooks = { NULL, never_metered };
	char *why = NULL;

	(void)state;
	assert_int_equal(systembus_watch_network(-1, &hooks, &why), -ENOTSUP);
	assert_non_null(why);
	assert_true(strstr(why, "libgio") != NULL || strstr(why, "GIO") != NULL);
	assert_non_null(strstr(why, "metered"));
	free(why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_would_hear_of_sleep_is_told_that_the_library_is_missing),
		cmocka_unit_test(who_would_hear_of_the_network_is_told_that_the_library_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
