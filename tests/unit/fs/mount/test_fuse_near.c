/* Serving on the sender's processor: where that is, and what becomes of the processors that the thread may use. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "fuse_near.h"

#define FAR 50U    /* yields */
#define FIRST 64U  /* messages */

static cpu_set_t asked[8]; /* with sched_setaffinity, by the tested */
static unsigned asked_count;
static cpu_set_t all;
static int refuses_from = CPU_SETSIZE + 1; /* sets of so many processors */

int __real_sched_setaffinity(pid_t tid, size_t len, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t tid, size_t len, const cpu_set_t *set);

int
__wrap_sched_setaffinity(pid_t tid, size_t len, const cpu_set_t *set)
{
	asked[asked_count++ % 8] = *set;
	if (CPU_COUNT(set) >= refuses_from) {
		errno = EPERM;
		return -1;
	}
	return __real_sched_setaffinity(tid, len, set);
}

static void
bind_to(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	assert_int_equal(__real_sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Two processors that may be used; skips the test if there are none. */
static void
two_processors(int *a, int *b)
{
	*a = *b = -1;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		*a = *b;
		*b = i;
	}
	if (*a < 0)
		skip();
}

static int
forget_asked(void **state)
{
	(void)state;
	asked_count = 0;
	refuses_from = CPU_SETSIZE + 1;
	return 0;
}

static int
unbind(void **state)
{
	(void)state;
	return __real_sched_setaffinity(0, sizeof(all), &all);
}

static void
a_thread_is_where_it_was_put_whatever_its_name(void **state)
{
	(void)state;
	assert_int_equal(prctl(PR_SET_NAME, ") S 1 (x) 7"), 0);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		bind_to(i);
		assert_int_equal(fuse_near_processor(gettid()), i);
	}
}

static void
a_thread_that_is_not_there_is_nowhere(void **state)
{
	(void)state;
	assert_int_equal(fuse_near_processor(INT_MAX), -1);
}

/* A process that has come to a processor and waits there until it is killed. */
static pid_t
start_sender(int processor)
{
	int ready[2];
	pid_t child;
	char c;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		bind_to(processor);
		if (write(ready[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return child;
}

static void
end_sender(pid_t sender)
{
	kill(sender, SIGKILL);
	assert_int_equal(waitpid(sender, NULL, 0), sender);
}

/* So many messages of a sender, each found after the thread gave way so often. */
static void
serve(struct fuse_near *n, unsigned count, unsigned yields, pid_t sender)
{
	while (count-- > 0) {
		fuse_near_found(n, yields);
		fuse_near_follow(n, sender);
	}
}

/* A sender elsewhere, until something is asked for: once the thread is free the kernel may move it there by itself. */
static void
follow_elsewhere(int *there_out)
{
	struct fuse_near n;
	int here;
	pid_t sender;

	two_processors(&here, there_out);
	sender = start_sender(*there_out);
	for (int i = 0; i < 100 && asked_count == 0; i++) {
		n = (struct fuse_near){ 0 };
		bind_to(here);
		assert_int_equal(__real_sched_setaffinity(0, sizeof(all), &all), 0);
		serve(&n, FIRST, FAR, sender);
	}
	end_sender(sender);
}

static bool
may_run_as_before(void)
{
	cpu_set_t now;

	return sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &all);
}

static void
who_is_elsewhere_moves_to_the_sender_and_stays_free_to_go(void **state)
{
	int there;

	(void)state;
	follow_elsewhere(&there);
	assert_int_equal(asked_count, 2);
	assert_int_equal(CPU_COUNT(&asked[0]), 1);
	assert_true(CPU_ISSET(there, &asked[0]));
	assert_int_equal(CPU_COUNT(&asked[1]), CPU_SETSIZE);
	assert_true(may_run_as_before());
}

static void
who_may_not_ask_for_all_processors_asks_for_those_it_had(void **state)
{
	int there;

	(void)state;
	refuses_from = CPU_SETSIZE;
	follow_elsewhere(&there);
	assert_int_equal(asked_count, 3);
	assert_true(CPU_EQUAL(&asked[2], &all));
	assert_true(may_run_as_before());
}

static void
who_is_refused_does_not_ask_again_for_long(void **state)
{
	struct fuse_near n = { 0 };
	int here, there;
	pid_t sender;

	(void)state;
	two_processors(&here, &there);
	sender = start_sender(there);
	bind_to(here);
	assert_int_equal(__real_sched_setaffinity(0, sizeof(all), &all), 0);
	refuses_from = 1;
	serve(&n, 4000, FAR, sender);
	end_sender(sender);
	assert_true(asked_count <= 1);
	assert_true(may_run_as_before());
}

static void
who_may_not_run_where_the_sender_is_stays(void **state)
{
	struct fuse_near n = { 0 };
	int here, there;
	pid_t sender;

	(void)state;
	two_processors(&here, &there);
	sender = start_sender(there);
	bind_to(here);
	serve(&n, FIRST, FAR, sender);
	end_sender(sender);
	assert_int_equal(asked_count, 0);
	assert_true(n.interval > 1000);
}

static void
who_is_on_the_senders_processor_stays(void **state)
{
	struct fuse_near n = { 0 };
	int here, there;
	pid_t sender;

	(void)state;
	two_processors(&here, &there);
	sender = start_sender(there);
	bind_to(there);
	serve(&n, 1000, FAR, sender);
	end_sender(sender);
	assert_int_equal(asked_count, 0);
}

static void
nobody_looks_for_a_sender_whose_messages_come_when_the_thread_gives_way(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	serve(&n, 10000, 1, INT_MAX);
	assert_int_equal(n.messages, 10000);
	/* Nor because one came late, or was there already. */
	serve(&n, 1, FAR, INT_MAX);
	serve(&n, 1000, 0, INT_MAX);
	serve(&n, 1, 1, INT_MAX);
	serve(&n, 1, FAR, INT_MAX);
	assert_int_equal(n.messages, 11003);
}

static void
nobody_looks_for_a_new_sender_before_it_has_sent_for_a_while(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	serve(&n, FIRST - 1, FAR, INT_MAX);
	assert_int_equal(n.messages, FIRST - 1);
	serve(&n, FIRST - 1, FAR, INT_MAX - 1);
	assert_int_equal(n.messages, FIRST - 1);
	serve(&n, 1, FAR, INT_MAX - 1);
	assert_int_equal(n.messages, 0);
}

static void
nobody_looks_where_few_messages_lie_between_longer_ones(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		serve(&n, 10, FAR, INT_MAX);
		fuse_near_start_over(&n);
	}
	assert_true(n.interval < 1000);
}

static void
looks_in_vain_become_fewer_until_one_is_not(void **state)
{
	struct fuse_near n = { 0 };
	unsigned least;

	(void)state;
	bind_to(sched_getcpu());
	serve(&n, FIRST, FAR, gettid());
	serve(&n, FIRST, 1, gettid());
	serve(&n, 2, FAR, gettid());
	assert_int_equal(n.messages, 0);
	least = n.interval;
	serve(&n, 1000, FAR, gettid());
	assert_true(n.interval > least && n.interval < 1000);
	serve(&n, n.interval, 1, gettid());
	serve(&n, 2, FAR, gettid());
	assert_int_equal(n.messages, 0);
	assert_true(n.interval <= least);
}

/* Come together after a while, and just found to be apart: in one place throughout. */
static void
come_apart(struct fuse_near *n)
{
	bind_to(sched_getcpu());
	serve(n, FIRST, FAR, gettid());
	serve(n, FIRST, 1, gettid());
	serve(n, 2, FAR, gettid());
	assert_int_equal(n->messages, 0);
}

static void
who_comes_apart_again_at_once_is_looked_for_after_a_few_messages(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	come_apart(&n);
	serve(&n, 3, FAR, gettid());
	assert_int_equal(n.messages, 3);
	serve(&n, 1, FAR, gettid());
	assert_int_equal(n.messages, 0);
}

/* During 3200 messages of who is apart throughout. */
static unsigned
looks_in_vain(struct fuse_near *n)
{
	unsigned looks = 0;

	for (unsigned i = 0; i < 3200; i++) {
		serve(n, 1, FAR, gettid());
		looks += n->messages == 0;
	}
	return looks;
}

static void
looks_in_vain_go_on_every_few_messages(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	come_apart(&n);
	assert_in_range(looks_in_vain(&n), 100, 110);
}

static void
who_never_comes_together_is_looked_for_every_few_messages_too(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	bind_to(sched_getcpu());
	assert_in_range(looks_in_vain(&n), 95, 105);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, forget_asked, unbind)

static void
read_from_disk(struct fuse_near *n, unsigned count)
{
	while (count-- > 0)
		fuse_near_read(n, n->disk_blocks + 8);
}

static void
read_from_memory(struct fuse_near *n, unsigned count)
{
	while (count-- > 0)
		fuse_near_read(n, n->disk_blocks);
}

static void
who_reads_from_the_disk_sleeps(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	assert_false(fuse_near_sleeps(&n));
	read_from_disk(&n, 2);
	assert_false(fuse_near_sleeps(&n));
	read_from_disk(&n, 10);
	assert_true(fuse_near_sleeps(&n));
	read_from_memory(&n, 1);
	read_from_disk(&n, 1);
	assert_true(fuse_near_sleeps(&n));
}

static void
who_reads_from_memory_looks_again_soon_however_long_the_disk_was_read(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	read_from_disk(&n, 10000);
	read_from_memory(&n, 8);
	assert_false(fuse_near_sleeps(&n));
	read_from_memory(&n, 10000);
	read_from_disk(&n, 8);
	assert_true(fuse_near_sleeps(&n));
}

static void
who_does_something_else_looks_at_once(void **state)
{
	struct fuse_near n = { 0 };

	(void)state;
	read_from_disk(&n, 10);
	fuse_near_forget_reads(&n);
	assert_false(fuse_near_sleeps(&n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_thread_is_where_it_was_put_whatever_its_name),
		TEST(a_thread_that_is_not_there_is_nowhere),
		TEST(who_is_elsewhere_moves_to_the_sender_and_stays_free_to_go),
		TEST(who_may_not_ask_for_all_processors_asks_for_those_it_had),
		TEST(who_is_refused_does_not_ask_again_for_long),
		TEST(who_may_not_run_where_the_sender_is_stays),
		TEST(who_is_on_the_senders_processor_stays),
		TEST(nobody_looks_for_a_sender_whose_messages_come_when_the_thread_gives_way),
		TEST(nobody_looks_for_a_new_sender_before_it_has_sent_for_a_while),
		TEST(nobody_looks_where_few_messages_lie_between_longer_ones),
		TEST(looks_in_vain_become_fewer_until_one_is_not),
		TEST(who_comes_apart_again_at_once_is_looked_for_after_a_few_messages),
		TEST(looks_in_vain_go_on_every_few_messages),
		TEST(who_never_comes_together_is_looked_for_every_few_messages_too),
		TEST(who_reads_from_the_disk_sleeps),
		TEST(who_reads_from_memory_looks_again_soon_however_long_the_disk_was_read),
		TEST(who_does_something_else_looks_at_once),
	};

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return 77; /* more processors than the set holds */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
