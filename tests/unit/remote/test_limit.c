/* How fast bytes may pass: counted against a made-up clock; with the true one, only that those who wait are woken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limit.h"
#include "store.h"

#include "../await.h"

#define SECOND UINT64_C(1000000000)
#define MIB (1u << 20)

/* Somebody who always wants more, for so long. */
static uint64_t pull_for(struct limit_bucket *b, uint64_t *now, uint64_t ns, size_t wanted)
{
	uint64_t end = *now + ns, passed = 0;

	for (;;) {
		uint64_t wait = 0;
		size_t taken = limit_bucket_take(b, *now, wanted, &wait);

		assert_true(taken <= wanted);
		passed += taken;
		if (taken > 0)
			continue;
		assert_true(wait > 0 && wait <= SECOND);
		if (*now + wait > end)
			return passed;
		*now += wait;
	}
}

static void no_more_passes_than_the_rate_says_and_no_less(void **state)
{
	static const uint64_t rates[] = {1024, 1500, 10000, 65536, 1000000, 123456789, 10000000000};
	static const size_t wants[] = {1, 7, 100, 4096, 65536, 16 * MIB};

	(void)state;
	for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
		for (size_t w = 0; w < ARRAY_LEN(wants); w++) {
			struct limit_bucket b = {0};
			uint64_t now = 77 * SECOND + 5, passed;

			if (rates[r] / wants[w] > 10000000)
				continue; /* the same, only long */
			limit_bucket_set(&b, now, rates[r]);
			passed = pull_for(&b, &now, 3 * SECOND, wants[w]);
			assert_true(passed <= rates[r] * 3 + 1);
			assert_true(passed >= rates[r] * 3 - rates[r] / 8);
			assert_int_equal(b.total, passed);
		}
	}
}

static void rest_saves_no_more_than_a_quarter_of_a_second(void **state)
{
	struct limit_bucket b = {0};
	uint64_t now = SECOND, passed;

	(void)state;
	limit_bucket_set(&b, now, 100000);
	now += 3600 * SECOND;
	passed = pull_for(&b, &now, SECOND, 1000);
	assert_true(passed <= 125000 && passed >= 123000);
}

static void without_a_limit_all_passes_and_is_counted(void **state)
{
	struct limit_bucket b = {0};
	uint64_t wait = 0;

	(void)state;
	assert_int_equal(limit_bucket_take(&b, SECOND, 16 * MIB, &wait), 16 * MIB);
	assert_int_equal(limit_bucket_take(&b, SECOND, 16 * MIB, &wait), 16 * MIB);
	assert_int_equal(b.total, 32 * MIB);
	assert_int_equal(wait, 0);
}

static void a_limit_can_be_changed_and_lifted_under_way(void **state)
{
	struct limit_bucket b = {0};
	uint64_t now = SECOND, wait;

	(void)state;
	limit_bucket_set(&b, now, 1000000);
	(void)pull_for(&b, &now, SECOND, 4096);
	limit_bucket_set(&b, now, 10000);
	assert_true(pull_for(&b, &now, 2 * SECOND, 4096) <= 20001);
	limit_bucket_set(&b, now, 0);
	assert_int_equal(limit_bucket_take(&b, now, MIB, &wait), MIB);
	limit_bucket_set(&b, now, 1);
	assert_int_equal(b.rate, LIMIT_RATE_MIN);
}

static void the_speed_is_that_of_the_last_seconds(void **state)
{
	struct limit_bucket b = {0};
	uint64_t now = 50 * SECOND, wait;

	(void)state;
	assert_int_equal(limit_bucket_speed(&b, now), 0);
	for (int k = 0; k < 20; k++, now += SECOND)
		(void)limit_bucket_take(&b, now, 3000, &wait);
	assert_int_equal(limit_bucket_speed(&b, now), 3000);
	now += 2 * SECOND;
	assert_int_equal(limit_bucket_speed(&b, now), 3 * 3000 / 5);
	now += 3600 * SECOND;
	assert_int_equal(limit_bucket_speed(&b, now), 0);
}

/* With threads. */

struct waiter {
	struct limit *l;
	struct store *s;
	atomic_bool begun;
	size_t taken;
	err_t err;
};

static void *wait_for_all(void *arg)
{
	struct waiter *w = arg;
	size_t n;

	atomic_store(&w->begun, true);
	while ((n = limit_take(w->l, LIMIT_UP, MIB)) > 0)
		w->taken += n;
	return NULL;
}

static void cancelling_wakes_those_who_wait(void **state)
{
	struct waiter w = {0};
	pthread_t thread;

	(void)state;
	assert_int_equal(limit_new(&w.l), 0);
	limit_set(w.l, LIMIT_UP, LIMIT_RATE_MIN);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_all, &w), 0);
	AWAIT(atomic_load(&w.begun));
	limit_cancel(w.l, true);
	pthread_join(thread, NULL);
	assert_int_equal(limit_take(w.l, LIMIT_UP, 1), 0);
	limit_cancel(w.l, false);
	limit_set(w.l, LIMIT_UP, 0);
	assert_int_equal(limit_take(w.l, LIMIT_UP, 5), 5);
	assert_int_equal(limit_take(w.l, LIMIT_DOWN, 7), 7);
	assert_int_equal(limit_total(w.l, LIMIT_DOWN), 7);
	assert_int_equal(limit_take(NULL, LIMIT_UP, 9), 9);
	limit_free(w.l);
}

/* A directory as the store goes by the same rates. */

static void *put_much(void *arg)
{
	struct waiter *w = arg;
	uint8_t *data = calloc(1, MIB);

	atomic_store(&w->begun, true);
	w->err = store_put(w->s, "s/aa/slow", data, MIB);
	free(data);
	return NULL;
}

static uint64_t sent_up(struct store *s)
{
	struct store_traffic t;

	store_get_traffic(s, &t);
	return t.up;
}

static void a_directory_is_written_as_slowly_as_was_asked_and_lets_go(void **state)
{
	char dir[] = "/tmp/test_limit.XXXXXX", command[64];
	struct bytes out = {0};
	struct store_traffic t;
	struct waiter w = {0};
	pthread_t thread;
	uint64_t size;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(store_open(dir, true, &w.s, NULL), 0);
	store_set_rates(w.s, 4096, 4096);
	assert_int_equal(pthread_create(&thread, NULL, put_much, &w), 0);
	AWAIT(sent_up(w.s) > 0);
	store_set_rates(w.s, LIMIT_RATE_MIN, LIMIT_RATE_MIN); /* what is left takes a quarter of an hour */
	store_cancel(w.s, true);
	pthread_join(thread, NULL);
	assert_int_equal(w.err, -ECANCELED);
	store_get_traffic(w.s, &t);
	assert_true(t.up < MIB);
	store_cancel(w.s, false);
	assert_int_equal(store_size(w.s, "s/aa/slow", &size), -ENOENT);
	store_set_rates(w.s, 0, 0);
	(void)put_much(&w);
	assert_int_equal(w.err, 0);
	assert_int_equal(store_get(w.s, "s/aa/slow", MIB, &out), 0);
	store_get_traffic(w.s, &t);
	assert_int_equal(t.down, MIB);
	assert_true(t.up >= MIB && t.up < 2 * MIB);
	store_cancel(w.s, true);
	assert_int_equal(store_get(w.s, "s/aa/slow", MIB, &out), -ECANCELED);
	assert_int_equal(out.len, MIB);
	bytes_clear(&out);
	store_free(w.s);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_more_passes_than_the_rate_says_and_no_less),
		cmocka_unit_test(rest_saves_no_more_than_a_quarter_of_a_second),
		cmocka_unit_test(without_a_limit_all_passes_and_is_counted),
		cmocka_unit_test(a_limit_can_be_changed_and_lifted_under_way),
		cmocka_unit_test(the_speed_is_that_of_the_last_seconds),
		cmocka_unit_test(cancelling_wakes_those_who_wait),
		cmocka_unit_test(a_directory_is_written_as_slowly_as_was_asked_and_lets_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
