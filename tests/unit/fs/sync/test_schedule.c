/* When to push and when to ask: a made-up world and a made-up clock, looked at every 250 ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netwatch.h"
#include "schedule.h"

#define STEP_MS 250
#define NONE (-1)

struct world {
	struct schedule s;
	struct schedule_view v;
	err_t answer;  /* of the store */
	bool news;     /* commits of others come with each answer */
	bool leaves;   /* what is pending cannot go */
	bool hopeless; /* ... unless a person does something */
	unsigned polls;
	unsigned pushes;
};

static void
look(struct world *w)
{
	enum schedule_action action = schedule_next(&w->s, &w->v);

	w->v.kicked = w->v.network = w->v.freed = false;
	w->polls += action == SCHEDULE_POLL;
	w->pushes += action == SCHEDULE_PUSH;
	if (action == SCHEDULE_NOTHING)
		return;
	if (action == SCHEDULE_PUSH && w->answer == 0 && !w->leaves)
		w->v.pending = false;
	schedule_ended(&w->s, w->v.now_ms, action, w->answer, w->news, 0);
	if (w->hopeless)
		schedule_left(&w->s);
}

static void
pass(struct world *w, int64_t ms)
{
	for (int64_t k = 0; k < ms; k += STEP_MS) {
		w->v.now_ms += STEP_MS;
		w->v.awake_ms += STEP_MS;
		look(w);
	}
}

static void
change(struct world *w)
{
	w->v.change++;
	w->v.pending = true;
}

/* How long it takes until there is one more of them; NONE: not within the limit. */
static int64_t
until_more(struct world *w, const unsigned *count, int64_t limit_ms)
{
	unsigned before = *count;

	for (int64_t waited = 0; waited <= limit_ms; waited += STEP_MS) {
		if (*count != before)
			return waited;
		pass(w, STEP_MS);
	}
	return NONE;
}

/* An idle folder that has been looked at for a while. */
static struct world
quiet_world(void)
{
	struct world w = { .v = { .now_ms = 5000000, .awake_ms = 4000000 } };

	pass(&w, 10000);
	w.polls = w.pushes = 0;
	return w;
}

static void
a_change_goes_within_three_seconds_of_the_last_write(void **state)
{
	struct world w = quiet_world();
	int64_t waited;

	(void)state;
	change(&w);
	waited = until_more(&w, &w.pushes, 60000);
	assert_true(waited >= SCHEDULE_QUIET_MS && waited <= 2500);
	assert_int_equal(until_more(&w, &w.pushes, 60000), NONE);
}

static void
writes_without_an_end_go_twice_a_minute(void **state)
{
	struct world w = quiet_world();

	(void)state;
	for (int k = 0; k < 240; k++) {
		change(&w);
		pass(&w, 1000);
	}
	assert_in_range(w.pushes, 6, 9);
}

static void
what_cannot_go_now_is_not_tried_all_the_time(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.leaves = true;
	change(&w);
	pass(&w, 120000);
	assert_in_range(w.pushes, 3, 5);
	w.leaves = false;
	change(&w);
	assert_in_range(until_more(&w, &w.pushes, 60000), SCHEDULE_QUIET_MS, 2500);
}

static void
what_a_push_leaves_for_a_person_is_tried_seldom_and_all_else_goes_as_ever(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.leaves = w.hopeless = true;
	change(&w);
	pass(&w, 18 * 60000);
	assert_int_equal(w.pushes, 4);
	assert_true(w.polls > 30);
	change(&w);
	assert_in_range(until_more(&w, &w.pushes, 60000), SCHEDULE_QUIET_MS, 2500);
	w.hopeless = false;
	change(&w);
	assert_in_range(until_more(&w, &w.pushes, 60000), SCHEDULE_QUIET_MS, 2500);
	assert_in_range(until_more(&w, &w.pushes, 60000), SCHEDULE_QUIET_MS, SCHEDULE_PATIENCE_MS + 1000);
}

static void
the_store_is_asked_every_few_seconds_while_the_folder_is_used(void **state)
{
	struct world w = quiet_world();

	(void)state;
	for (int k = 0; k < 600; k++) {
		w.v.use++;
		pass(&w, 6000);
		assert_true(w.polls >= (unsigned)(k + 1)); /* every look at it shows what is new within five seconds */
	}
	assert_in_range(w.polls, 1000, 1300);
}

static void
an_idle_day_costs_a_few_thousand_requests(void **state)
{
	struct world w = quiet_world();

	(void)state;
	pass(&w, INT64_C(24) * 3600 * 1000);
	assert_in_range(w.polls, 2500, 4500);
	assert_int_equal(w.pushes, 0);
}

static void
whoever_comes_back_sees_what_is_new_at_once(void **state)
{
	struct world w = quiet_world();

	(void)state;
	pass(&w, 12 * 3600 * 1000);
	(void)until_more(&w, &w.polls, 60000);
	w.v.use++;
	assert_int_equal(until_more(&w, &w.polls, 60000), STEP_MS);
}

static void
news_make_it_ask_more_often(void **state)
{
	struct world w = quiet_world();
	unsigned before;

	(void)state;
	pass(&w, 12 * 3600 * 1000);
	w.news = true;
	(void)until_more(&w, &w.polls, 60000);
	w.news = false;
	before = w.polls;
	pass(&w, 60000);
	assert_true(w.polls - before >= 15);
}

static void
errors_are_tried_again_ever_more_slowly(void **state)
{
	struct world w = quiet_world();
	unsigned first_minute;

	(void)state;
	w.answer = -EAGAIN;
	change(&w);
	pass(&w, 60000);
	first_minute = w.pushes;
	assert_in_range(first_minute, 4, 7);
	pass(&w, 3600 * 1000);
	assert_in_range(w.pushes - first_minute, 55, 61);
	w.answer = 0;
	assert_in_range(until_more(&w, &w.pushes, 70000), 0, SCHEDULE_BACKOFF_MAX_MS + STEP_MS);
	change(&w);
	assert_in_range(until_more(&w, &w.pushes, 60000), SCHEDULE_QUIET_MS, 2500);
}

static void
what_only_a_person_can_mend_is_left_alone_longer(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.answer = -EBADMSG;
	pass(&w, 3600 * 1000);
	assert_in_range(w.polls, 11, 13);
}

static void
a_store_that_wants_to_be_left_alone_is(void **state)
{
	struct world w = quiet_world();

	(void)state;
	assert_int_not_equal(schedule_next(&w.s, &w.v), SCHEDULE_PUSH);
	schedule_ended(&w.s, w.v.now_ms, SCHEDULE_POLL, -EAGAIN, false, 20000);
	assert_in_range(until_more(&w, &w.polls, 60000), 20000, 20000 + STEP_MS);
}

static void
waking_from_sleep_starts_at_once(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.answer = -EAGAIN;
	change(&w);
	pass(&w, 600 * 1000);
	(void)until_more(&w, &w.pushes, 120000); /* a pause of a minute begins */
	w.answer = 0;
	w.v.now_ms += 8 * 3600 * 1000; /* the other clock stood still; and so it would by itself, but for the next: */
	w.s.not_before_ms = w.v.now_ms + 30000;
	assert_int_equal(until_more(&w, &w.pushes, 60000), STEP_MS);
}

static void
sleep_alone_is_reason_enough_to_ask(void **state)
{
	struct world w = quiet_world();

	(void)state;
	pass(&w, 12 * 3600 * 1000);
	(void)until_more(&w, &w.polls, 60000);
	w.v.now_ms += 2000;
	assert_int_equal(until_more(&w, &w.polls, 60000), STEP_MS);
}

static void
a_returning_network_starts_at_once(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.answer = -EAGAIN;
	change(&w);
	pass(&w, 600 * 1000);
	(void)until_more(&w, &w.pushes, 120000);
	w.answer = 0;
	w.v.network = true;
	assert_int_equal(until_more(&w, &w.pushes, 60000), STEP_MS);
	assert_int_equal(until_more(&w, &w.pushes, 60000), NONE);
}

static void
what_failed_before_it_was_held_goes_at_once_when_it_is_not_held_any_more(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.answer = -EAGAIN;
	change(&w);
	pass(&w, 600 * 1000);
	(void)until_more(&w, &w.pushes, 120000);
	w.answer = 0;
	w.v.held = true;
	pass(&w, 1000);
	w.v.held = false;
	w.v.freed = true;
	assert_int_equal(until_more(&w, &w.pushes, 60000), STEP_MS);
}

static void
a_network_that_comes_while_nothing_fails_does_not_cut_the_quiet_short(void **state)
{
	struct world w = quiet_world();

	(void)state;
	change(&w);
	w.v.network = true;
	assert_int_equal(until_more(&w, &w.pushes, 60000), SCHEDULE_QUIET_MS + STEP_MS);
}

static void
nothing_happens_while_it_is_held_but_what_somebody_waits_for(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.v.held = true;
	change(&w);
	pass(&w, 3600 * 1000);
	w.v.network = true;
	pass(&w, 3600 * 1000);
	assert_int_equal(w.polls + w.pushes, 0);
	w.v.kicked = true;
	assert_int_equal(until_more(&w, &w.pushes, 60000), STEP_MS);
	change(&w);
	pass(&w, 60000);
	assert_int_equal(w.pushes, 1);
	w.v.held = false;
	assert_in_range(until_more(&w, &w.pushes, 60000), 0, STEP_MS);
}

static void
somebody_who_waits_ends_a_pause_after_errors(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.answer = -EAGAIN;
	pass(&w, 600 * 1000);
	(void)until_more(&w, &w.polls, 120000);
	w.v.kicked = true;
	assert_int_equal(until_more(&w, &w.pushes, 60000), STEP_MS);
}

static void
what_was_interrupted_is_taken_up_again(void **state)
{
	struct world w = quiet_world();

	(void)state;
	w.answer = -ECANCELED;
	change(&w);
	(void)until_more(&w, &w.pushes, 60000);
	w.answer = 0;
	assert_int_equal(until_more(&w, &w.pushes, 60000), STEP_MS);
}

enum { MOUNTS_SEEN, MOUNTS_MISSED, MOUNTS_NOT_PERMITTED };

/* In a table of mounts of its own, to which nothing comes that others mount meanwhile. */
static int
watch_mounts(void)
{
	int fd;

	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return MOUNTS_NOT_PERMITTED;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return MOUNTS_NOT_PERMITTED;
	fd = netwatch_open_mounts();
	if (netwatch_has_new_mounts(fd))
		return MOUNTS_MISSED;
	if (mount("none", "/tmp", "tmpfs", 0, NULL) != 0)
		return MOUNTS_NOT_PERMITTED;
	return netwatch_has_new_mounts(fd) && !netwatch_has_new_mounts(fd) ? MOUNTS_SEEN : MOUNTS_MISSED;
}

static void
a_disk_that_is_mounted_is_news_once(void **state)
{
	int ended = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(watch_mounts());
	assert_int_equal(waitpid(pid, &ended, 0), pid);
	assert_true(WIFEXITED(ended));
	if (WEXITSTATUS(ended) == MOUNTS_NOT_PERMITTED)
		skip();
	assert_int_equal(WEXITSTATUS(ended), MOUNTS_SEEN);
	assert_false(netwatch_has_new_mounts(-1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_goes_within_three_seconds_of_the_last_write),
		cmocka_unit_test(writes_without_an_end_go_twice_a_minute),
		cmocka_unit_test(what_cannot_go_now_is_not_tried_all_the_time),
		cmocka_unit_test(what_a_push_leaves_for_a_person_is_tried_seldom_and_all_else_goes_as_ever),
		cmocka_unit_test(the_store_is_asked_every_few_seconds_while_the_folder_is_used),
		cmocka_unit_test(an_idle_day_costs_a_few_thousand_requests),
		cmocka_unit_test(whoever_comes_back_sees_what_is_new_at_once),
		cmocka_unit_test(news_make_it_ask_more_often),
		cmocka_unit_test(errors_are_tried_again_ever_more_slowly),
		cmocka_unit_test(what_only_a_person_can_mend_is_left_alone_longer),
		cmocka_unit_test(a_store_that_wants_to_be_left_alone_is),
		cmocka_unit_test(waking_from_sleep_starts_at_once),
		cmocka_unit_test(sleep_alone_is_reason_enough_to_ask),
		cmocka_unit_test(a_returning_network_starts_at_once),
		cmocka_unit_test(a_disk_that_is_mounted_is_news_once),
		cmocka_unit_test(what_failed_before_it_was_held_goes_at_once_when_it_is_not_held_any_more),
		cmocka_unit_test(a_network_that_comes_while_nothing_fails_does_not_cut_the_quiet_short),
		cmocka_unit_test(nothing_happens_while_it_is_held_but_what_somebody_waits_for),
		cmocka_unit_test(somebody_who_waits_ends_a_pause_after_errors),
		cmocka_unit_test(what_was_interrupted_is_taken_up_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
