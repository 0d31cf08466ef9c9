/* The control socket, when the daemon can start no thread for a request, and at its end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "../../tempdir.h"

#define TIMEOUT_MS 200000

struct place {
	char dir[64];
	struct control *control;
};

/* Of "last": it ends a little after the daemon begins to. */
static atomic_bool last_begun, last_ended;

static json_t *
answer(void *ctx, struct control_call *call, const char *op, const json_t *request)
{
	(void)ctx;
	(void)request;
	if (strcmp(op, "last") == 0) {
		atomic_store(&last_begun, true);
		while (!control_is_over(call))
			usleep(1000);
		usleep(50000);
		atomic_store(&last_ended, true);
	}
	return json_pack("{s:b, s:s}", "ok", 1, "asked", op);
}

/* Of any size that no address space has room for. */
static void
let_no_thread_start(void)
{
	pthread_attr_t huge;

	assert_int_equal(pthread_attr_init(&huge), 0);
	assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 60), 0);
	assert_int_equal(pthread_setattr_default_np(&huge), 0);
	pthread_attr_destroy(&huge);
}

static int
set_up(void **state)
{
	static struct place p;
	int dir_fd;

	snprintf(p.dir, sizeof(p.dir), "/tmp/snugfs-control-XXXXXX");
	assert_non_null(mkdtemp(p.dir));
	dir_fd = open(p.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir_fd >= 0);
	assert_int_equal(control_start(dir_fd, answer, NULL, &p.control), 0);
	close(dir_fd);
	*state = &p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;
	pthread_attr_t usual;

	assert_int_equal(pthread_attr_init(&usual), 0);
	assert_int_equal(pthread_attr_setstacksize(&usual, (size_t)8 << 20), 0);
	assert_int_equal(pthread_setattr_default_np(&usual), 0);
	pthread_attr_destroy(&usual);
	tempdir_remove(p->dir);
	return 0;
}

static int
ask(const struct place *p, const char *op)
{
	int fd;

	assert_int_equal(control_connect(p->dir, &fd), 0);
	assert_int_equal(control_send(fd, json_pack("{s:s}", "op", op)), 0);
	return fd;
}

static json_t *
hear(int fd)
{
	json_t *heard = NULL;

	assert_int_equal(control_receive(fd, TIMEOUT_MS, &heard), 0);
	return heard;
}

static void
assert_asked(const struct place *p, const char *op, const char *refusal)
{
	int fd = ask(p, op);
	json_t *heard = hear(fd);
	const char *text = "";

	assert_int_equal(control_is_ok(heard, &text), refusal == NULL);
	assert_non_null(strstr(text, refusal != NULL ? refusal : ""));
	json_decref(heard);
	close(fd);
}

static void
assert_ok(int fd)
{
	json_t *heard = hear(fd);

	assert_true(json_is_true(json_object_get(heard, "ok")));
	json_decref(heard);
}

static void
without_a_thread_there_is_the_state_and_a_sentence_for_the_rest(void **state)
{
	const struct place *p = *state;

	let_no_thread_start();
	for (int i = 0; i < 3; i++) {
		assert_asked(p, "status", NULL);
		assert_asked(p, "sync", "can start no further thread");
	}
	control_stop(p->control);
	control_finish(p->control, NULL);
}

/* Its unmounting failed. */
static void
go_away_before_the_end(const struct place *p)
{
	int fd = ask(p, "await-end");

	assert_ok(fd);
	close(fd);
}

static void
assert_end_is_heard(const struct place *p)
{
	int fd = ask(p, "await-end");

	assert_ok(fd);
	control_quiesce(p->control);
	control_stop(p->control);
	control_finish(p->control, NULL);
	assert_ok(fd);
	close(fd);
}

static void
without_a_thread_the_end_is_heard(void **state)
{
	let_no_thread_start();
	assert_end_is_heard(*state);
}

static void
assert_heard_after(const struct place *p, int tries)
{
	for (int i = 0; i < tries; i++)
		go_away_before_the_end(p);
	assert_asked(p, "status", NULL);
	assert_end_is_heard(p);
}

static void
who_tries_again_and_again_to_unmount_is_heard_each_time(void **state)
{
	assert_heard_after(*state, 100);
}

static void
without_a_thread_who_tries_again_to_unmount_is_heard(void **state)
{
	let_no_thread_start();
	assert_heard_after(*state, 3);
}

static void
with_threads_everything_is_answered(void **state)
{
	const struct place *p = *state;

	assert_asked(p, "status", NULL);
	assert_asked(p, "sync", NULL);
	control_stop(p->control);
	control_finish(p->control, NULL);
}

static void
while_it_closes_the_end_can_still_be_awaited(void **state)
{
	const struct place *p = *state;
	int fd;

	control_quiesce(p->control);
	control_stop(p->control);
	fd = ask(p, "await-end");
	assert_ok(fd);
	control_finish(p->control, NULL);
	assert_ok(fd);
	close(fd);
}

static void
while_it_closes_all_else_is_refused(void **state)
{
	const struct place *p = *state;

	control_stop(p->control);
	assert_asked(p, "status", "is being unmounted");
	control_finish(p->control, NULL);
}

static void
nothing_that_was_asked_for_runs_while_it_closes(void **state)
{
	const struct place *p = *state;
	int fd = ask(p, "last");

	while (!atomic_load(&last_begun))
		usleep(1000);
	control_stop(p->control);
	assert_true(atomic_load(&last_ended));
	assert_ok(fd);
	close(fd);
	control_finish(p->control, NULL);
}

static void
when_it_has_ended_there_is_no_socket(void **state)
{
	const struct place *p = *state;
	int fd;

	control_stop(p->control);
	control_finish(p->control, NULL);
	assert_int_equal(control_connect(p->dir, &fd), -ENOENT);
}

static void
a_refusal_may_name_what_is_no_text(void **state)
{
	json_t *refusal = control_refusal("%s is missing", "/x\xff");
	const char *text;

	(void)state;
	assert_false(control_is_ok(refusal, &text));
	assert_string_equal(text, "/x\\xff is missing");
	json_decref(refusal);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_may_name_what_is_no_text),
		cmocka_unit_test_setup_teardown(without_a_thread_there_is_the_state_and_a_sentence_for_the_rest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_thread_the_end_is_heard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_tries_again_and_again_to_unmount_is_heard_each_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_thread_who_tries_again_to_unmount_is_heard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(with_threads_everything_is_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(while_it_closes_the_end_can_still_be_awaited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(while_it_closes_all_else_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_that_was_asked_for_runs_while_it_closes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(when_it_has_ended_there_is_no_socket, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
