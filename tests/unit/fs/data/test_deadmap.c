/* deadmap: counts are the same whether few blocks are known or all. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "deadmap.h"

#define BLOCKS 16384u

static void
counts_of_any_blocks_in_any_order_are_kept(void **state)
{
	struct deadmap d = {0};
	uint16_t *expected = calloc(BLOCKS, sizeof(*expected));
	uint32_t at = 1;

	(void)state;
	assert_non_null(expected);
	for (unsigned n = 0; n < 6000; n++) {
		at = at * 1103515245u + 12345u;

		uint16_t block = (uint16_t)(at >> 16) % (n < 3000 ? 700 : BLOCKS);

		expected[block] = (uint16_t)(expected[block] + 7);
		assert_int_equal(deadmap_add(&d, block, 7, BLOCKS), expected[block]);
		assert_true(n >= 3000 || !d.all);
	}
	assert_non_null(d.all); /* it has become a table on the way */
	for (unsigned block = 0; block < BLOCKS; block++)
		assert_int_equal(deadmap_add(&d, (uint16_t)block, 1, BLOCKS), expected[block] + 1);
	deadmap_clear(&d);
	free(expected);
}

static void
few_blocks_take_little(void **state)
{
	struct deadmap d = {0};

	(void)state;
	for (unsigned k = 0; k < 64; k++)
		assert_int_equal(deadmap_add(&d, (uint16_t)(BLOCKS - 1 - k * 200), 4000, BLOCKS), 4000);
	assert_null(d.all);
	assert_true(d.few_cap <= 64);
	assert_int_equal(deadmap_add(&d, BLOCKS - 1, 96, BLOCKS), 4096);
	deadmap_clear(&d);
	assert_null(d.few);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_of_any_blocks_in_any_order_are_kept),
		cmocka_unit_test(few_blocks_take_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
