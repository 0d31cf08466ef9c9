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

static void
a_table_that_began_badly_grows_all_the_same(void **state)
{
	enum { ALIKE = 200, ITEMS = 10000 };
	static struct item items[ITEMS];
	struct item *table = NULL;

	(void)state;
	for (uint64_t k = 0; k < ITEMS; k++) {
		items[k].key = k;
		HASH_ADD_BYHASHVALUE(hh, table, key, sizeof(uint64_t), k < ALIKE ? 0 : hash_table_number(k), &items[k]);
	}
	assert_in_range(items[0].hh.tbl->num_buckets, ITEMS, 4 * ITEMS);
	HASH_CLEAR(hh, table);
}

#define NUMBERS 100000u

/* Numbers one step after the other; what it takes to find one: items looked at, on average. */
static double
steps_to_find(uint64_t count, uint64_t step)
{
	static struct item items[NUMBERS];
	struct item *table = NULL, *found;
	const UT_hash_table *t;
	uint64_t steps = 0;

	for (uint64_t k = 0; k < count; k++) {
		items[k].key = 17 + k * step;
		HASH_ADD_BYHASHVALUE(hh, table, key, sizeof(uint64_t), hash_table_number(items[k].key), &items[k]);
		assert_true(k < items[0].hh.tbl->num_buckets);
	}
	for (uint64_t k = 0; k < count; k++) {
		HASH_FIND_BYHASHVALUE(hh, table, &items[k].key, sizeof(uint64_t), hash_table_number(items[k].key), found);
		assert_ptr_equal(found, &items[k]);
	}
	t = items[0].hh.tbl;
	for (unsigned b = 0; b < t->num_buckets; b++)
		steps += (uint64_t)t->buckets[b].count * (t->buckets[b].count + 1) / 2;
	HASH_CLEAR(hh, table);
	return (double)steps / (double)count;
}

static void
numbers_one_after_the_other_stand_side_by_side(void **state)
{
	(void)state;
	for (uint64_t k = 0; k < NUMBERS; k++)
		if (k % 16 != 0)
			assert_int_equal(hash_table_number(k), hash_table_number(k - 1) + 1);
	for (uint64_t count = 100; count <= NUMBERS; count *= 10)
		assert_true(steps_to_find(count, 1) < 2);
}

static void
numbers_with_any_step_between_them_are_spread(void **state)
{
	(void)state;
	for (uint64_t count = 100; count <= NUMBERS; count *= 10) {
		for (uint64_t step = 2; step < 1000; step = step * 5 / 4 + 1)
			assert_true(steps_to_find(count, step) < 3);
		for (unsigned bit = 1; bit <= 40; bit++)
			assert_true(steps_to_find(count, UINT64_C(1) << bit) < 3);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_in_which_items_come_and_go_does_not_grow),
		cmocka_unit_test(a_table_grows_with_what_is_in_it),
		cmocka_unit_test(a_table_that_began_badly_grows_all_the_same),
		cmocka_unit_test(numbers_one_after_the_other_stand_side_by_side),
		cmocka_unit_test(numbers_with_any_step_between_them_are_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
