/* Tables in which items come and go for ever: found each time, and no larger than what is in them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "hash_table.h"

struct item {
	uint64_t key;
	UT_hash_handle hh;
};

/* One after the other they would be spread more evenly than keys are. */
static uint64_t
scramble(uint64_t k)
{
	k = (k ^ (k >> 30)) * 0xbf58476d1ce4e5b9u;
	k = (k ^ (k >> 27)) * 0x94d049bb133111ebu;
	return k ^ (k >> 31);
}

static struct item *
find(struct item *table, uint64_t key)
{
	struct item *i;

	HASH_FIND(hh, table, &key, sizeof(key), i);
	return i;
}

static void
add(struct item **table, uint64_t key)
{
	struct item *i = calloc(1, sizeof(*i));

	assert_non_null(i);
	i->key = key;
	HASH_ADD(hh, *table, key, sizeof(i->key), i);
}

static void
drop(struct item **table, uint64_t key)
{
	struct item *i = find(*table, key);

	assert_non_null(i);
	HASH_DEL(*table, i);
	free(i);
}

static void
a_table_in_which_items_come_and_go_does_not_grow(void **state)
{
	enum { ITEMS = 5000, ROUNDS = 200 };
	struct item *table = NULL;

	(void)state;
	for (uint64_t k = 0; k < (uint64_t)ITEMS * ROUNDS; k++) {
		add(&table, scramble(k));
		if (k >= ITEMS)
			drop(&table, scramble(k - ITEMS));
		assert_in_range(table->hh.tbl->num_buckets, 1, 4 * ITEMS);
	}
	assert_int_equal(HASH_COUNT(table), ITEMS);
	for (uint64_t k = 0; k < ITEMS; k++)
		drop(&table, scramble((uint64_t)ITEMS * (ROUNDS - 1) + k));
	assert_null(table);
}

static void
a_table_grows_with_what_is_in_it(void **state)
{
	enum { ITEMS = 100000 };
	struct item *table = NULL;

	(void)state;
	for (uint64_t k = 0; k < ITEMS; k++) {
		add(&table, scramble(k));
		assert_true(HASH_COUNT(table) < 1000 || table->hh.tbl->num_buckets >= HASH_COUNT(table) / 4);
	}
	for (uint64_t k = 0; k < ITEMS; k++) {
		assert_non_null(find(table, scramble(k)));
		assert_null(find(table, scramble(k + ITEMS)));
	}
	for (uint64_t k = 0; k < ITEMS; k++)
		drop(&table, scramble(k));
	assert_null(table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_in_which_items_come_and_go_does_not_grow),
		cmocka_unit_test(a_table_grows_with_what_is_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
