/* The computer's clocks as one number. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "clock.h"
#include "err.h"

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static void a_clock_says_the_same_in_nanoseconds_and_in_milliseconds(void **state)
{
	const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(clocks); i++) {
		struct timespec before, after;
		int64_t ns, ms;

		assert_int_equal(clock_gettime(clocks[i], &before), 0);
		ns = clock_ns(clocks[i]);
		ms = clock_ms(clocks[i]);
		assert_int_equal(clock_gettime(clocks[i], &after), 0);
		assert_in_range(ns, ns_of(&before), ns_of(&after));
		assert_in_range(ms, ns / 1000000, ns_of(&after) / 1000000);
	}
}

static void a_deadline_lies_so_many_milliseconds_ahead(void **state)
{
	const unsigned waits_ms[] = { 0, 1, 999, 1000, 1001, 5000, 4294967295u };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(waits_ms); i++) {
		int64_t wait_ns = (int64_t)waits_ms[i] * 1000000;
		int64_t before = clock_ns(CLOCK_MONOTONIC);
		struct timespec then = clock_deadline(waits_ms[i]);
		int64_t after = clock_ns(CLOCK_MONOTONIC);

		assert_in_range(then.tv_nsec, 0, 999999999);
		assert_in_range(ns_of(&then), before + wait_ns, after + wait_ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_says_the_same_in_nanoseconds_and_in_milliseconds),
		cmocka_unit_test(a_deadline_lies_so_many_milliseconds_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
