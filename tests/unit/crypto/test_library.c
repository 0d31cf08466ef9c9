/* Libraries that are loaded when they are needed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "library.h"

#define FUNCTIONS(F) F(ldexp) F(hypot)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

static void
functions_of_a_library_that_is_there_can_be_called(void **state)
{
	(void)state;
	assert_int_equal(library_load("libm.so.6", symbols, ARRAY_LEN(symbols)), 0);
	assert_true(lib.ldexp(3.0, 2) == 12.0);
	assert_true(lib.hypot(3.0, 4.0) == 5.0);
}

static void
a_library_that_is_not_there_is_told(void **state)
{
	(void)state;
	assert_int_equal(library_load("libsnugfs-nowhere.so.0", symbols, ARRAY_LEN(symbols)), -ELIBACC);
}

static void
a_library_without_one_of_the_functions_changes_no_pointer(void **state)
{
	static void *first = &first, *second = &second;
	const struct library_symbol some[] = { { "ldexp", &first }, { "snugfs_nothing", &second } };

	(void)state;
	assert_int_equal(library_load("libm.so.6", some, ARRAY_LEN(some)), -ELIBBAD);
	assert_ptr_equal(first, &first);
	assert_ptr_equal(second, &second);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_of_a_library_that_is_there_can_be_called),
		cmocka_unit_test(a_library_that_is_not_there_is_told),
		cmocka_unit_test(a_library_without_one_of_the_functions_changes_no_pointer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
