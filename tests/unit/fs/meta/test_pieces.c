/* test_pieces.c: which pieces a range of a segment touches, and how long they are. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "pieces.h"

#define MIB (UINT64_C(1) << 20)

static void
pieces_are_of_one_mebibyte_up_to_64_of_them_and_longer_beyond(void **state)
{
	(void)state;
	assert_int_equal(pieces_len(1), MIB);
	assert_int_equal(pieces_len(64 * MIB), MIB);
	assert_int_equal(pieces_len(64 * MIB + 1), 2 * MIB);
	assert_int_equal(pieces_count(0), 0);
	assert_int_equal(pieces_count(MIB), 1);
	assert_int_equal(pieces_count(MIB + 1), 2);
	assert_int_equal(pieces_count(64 * MIB), 64);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t size = UINT64_C(1) << bit;

		assert_true(pieces_count(size) >= 1 && pieces_count(size) <= PIECES_MAX);
		assert_true(pieces_count(size - 1) <= PIECES_MAX);
		assert_true(pieces_count(size + 1) <= PIECES_MAX);
	}
	assert_true(pieces_count(UINT64_MAX) <= PIECES_MAX);
}

static void
a_range_touches_the_pieces_that_have_bytes_of_it_and_none_outside_the_object(void **state)
{
	(void)state;
	assert_int_equal(pieces_touching(10 * MIB, 0, 1), 1);
	assert_int_equal(pieces_touching(10 * MIB, MIB - 1, 2), 3);
	assert_int_equal(pieces_touching(10 * MIB, MIB, MIB), 2);
	assert_int_equal(pieces_touching(10 * MIB, 9 * MIB, 100 * MIB), 1 << 9);
	assert_int_equal(pieces_touching(10 * MIB, 9 * MIB, UINT64_MAX), 1 << 9);
	assert_int_equal(pieces_touching(10 * MIB, 10 * MIB, 1), 0);
	assert_int_equal(pieces_touching(10 * MIB, 5, 0), 0);
	assert_true(pieces_touching(64 * MIB, 0, 64 * MIB) == UINT64_MAX);
	assert_true(pieces_all(64 * MIB) == UINT64_MAX);
}

static void
runs_are_found_in_order_and_the_last_piece_counts_as_short_as_it_is(void **state)
{
	unsigned first = 99;

	(void)state;
	assert_int_equal(pieces_first_run(0, 4, &first), 0);
	assert_int_equal(pieces_first_run(0x0e, 4, &first), 3);
	assert_int_equal(first, 1);
	assert_int_equal(pieces_first_run(UINT64_MAX, 64, &first), 64);
	assert_int_equal(pieces_first_run(UINT64_MAX, 4, &first), 4);
	assert_int_equal(pieces_bytes(2 * MIB + 7, 7), 2 * MIB + 7);
	assert_int_equal(pieces_bytes(2 * MIB + 7, 4), 7);
	assert_int_equal(pieces_bytes(2 * MIB + 7, 5), MIB + 7);
	assert_int_equal(pieces_bytes(2 * MIB, 2), MIB);
	assert_int_equal(pieces_bytes(2 * MIB, UINT64_MAX), 2 * MIB);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_of_one_mebibyte_up_to_64_of_them_and_longer_beyond),
		cmocka_unit_test(a_range_touches_the_pieces_that_have_bytes_of_it_and_none_outside_the_object),
		cmocka_unit_test(runs_are_found_in_order_and_the_last_piece_counts_as_short_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
