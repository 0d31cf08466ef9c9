/* Trying again: how often, how long between, and what ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "retry.h"

/* A store that only knows how long it wants to be left alone. */
struct busy {
	struct store base;
	unsigned wish_ms;
};

static unsigned wish(struct store *s)
{
	return ((struct busy *)s)->wish_ms;
}

static const struct store_ops busy_ops = {.wait_ms = wish};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static unsigned count_tries(struct retry *r, struct store *s, err_t answer, err_t *outcome)
{
	unsigned tries = 0;

	do {
		tries++;
		*outcome = answer;
	} while (retry_again(r, s, outcome));
	return tries;
}

static void only_eagain_is_tried_again_and_only_so_often(void **state)
{
	struct busy busy = {.base = {.ops = &busy_ops}};
	const struct retry_policy policy = {.tries = 4, .first_ms = 1, .last_ms = 2};
	err_t outcome;

	(void)state;
	for (unsigned tries = 1; tries <= 4; tries++) {
		struct retry r = {.policy = policy};
		r.policy.tries = tries;
		assert_int_equal(count_tries(&r, &busy.base, -EAGAIN, &outcome), tries);
		assert_int_equal(outcome, -EAGAIN);
	}
	static const err_t final[] = {0, -ENOENT, -EEXIST, -EACCES, -ENOSPC, -ENOTSUP, -EBADMSG, -EIO, -ENOMEM, -ECANCELED};
	for (size_t i = 0; i < ARRAY_LEN(final); i++) {
		struct retry r = {.policy = policy};
		assert_int_equal(count_tries(&r, &busy.base, final[i], &outcome), 1);
		assert_int_equal(outcome, final[i]);
	}
}

static void a_pause_is_at_least_what_the_store_asked_for(void **state)
{
	struct busy busy = {.base = {.ops = &busy_ops}, .wish_ms = 120};
	struct retry r = {.policy = {.tries = 3, .first_ms = 1, .last_ms = 1}};
	uint64_t begun = now_ms();
	err_t outcome;

	(void)state;
	assert_int_equal(count_tries(&r, &busy.base, -EAGAIN, &outcome), 3);
	assert_true(now_ms() - begun >= 240);
}

static void there_is_no_pause_beyond_the_deadline(void **state)
{
	struct busy busy = {.base = {.ops = &busy_ops}, .wish_ms = 10000};
	struct retry r = {.policy = {.tries = 3, .first_ms = 1, .last_ms = 1, .deadline_ms = 5000}};
	err_t outcome;

	(void)state;
	assert_int_equal(count_tries(&r, &busy.base, -EAGAIN, &outcome), 1);
	assert_int_equal(outcome, -EAGAIN);
}

static void *stop_soon(void *arg)
{
	atomic_bool *stop = arg;

	usleep(50000);
	atomic_store(stop, true);
	return NULL;
}

static void a_stop_ends_the_pause(void **state)
{
	struct busy busy = {.base = {.ops = &busy_ops}, .wish_ms = 50000};
	atomic_bool stop = false;
	struct retry r = {.policy = {.tries = 3, .first_ms = 1, .last_ms = 1, .stop = &stop}};
	pthread_t stopper;
	err_t outcome;

	(void)state;
	assert_int_equal(pthread_create(&stopper, NULL, stop_soon, &stop), 0);
	assert_int_equal(count_tries(&r, &busy.base, -EAGAIN, &outcome), 1);
	assert_int_equal(outcome, -ECANCELED);
	pthread_join(stopper, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_eagain_is_tried_again_and_only_so_often),
		cmocka_unit_test(a_pause_is_at_least_what_the_store_asked_for),
		cmocka_unit_test(there_is_no_pause_beyond_the_deadline),
		cmocka_unit_test(a_stop_ends_the_pause),
	};

	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
