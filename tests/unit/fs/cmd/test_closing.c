/* The end of a daemon is heard, and what it leaves undone is told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "closing.h"
#include "control.h"
#include "mountstate.h"
#include "tell.h"
#include "../../tempdir.h"

/* A process whose end nobody waits for. */
static int impatient_of = -1;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return __real_poll(fds, count, impatient_of >= 0 && fds[0].fd == impatient_of ? 0 : timeout_ms);
}

static err_t last_word; /* how waiting for it ends */

err_t __real_control_receive(int fd, int timeout_ms, json_t **out);
err_t __wrap_control_receive(int fd, int timeout_ms, json_t **out);
err_t
__wrap_control_receive(int fd, int timeout_ms, json_t **out)
{
	int was = impatient_of;
	err_t err;

	if (last_word != 0)
		return last_word;
	impatient_of = -1; /* a word may come in parts */
	err = __real_control_receive(fd, timeout_ms, out);
	impatient_of = was;
	return err;
}

static bool is_mounted;

bool __wrap_mountstate_has_mounted(pid_t daemon, const char *vault_dir);
bool
__wrap_mountstate_has_mounted(pid_t daemon, const char *vault_dir)
{
	(void)daemon, (void)vault_dir;
	return is_mounted;
}

/* The number that something was sent to; nothing is. */
static pid_t killed;

int __wrap_kill(pid_t pid, int number);
int
__wrap_kill(pid_t pid, int number)
{
	(void)number;
	killed = pid;
	return 0;
}

static json_t *
answer(void *ctx, struct control_call *call, const char *op, const json_t *request)
{
	(void)ctx, (void)call, (void)op, (void)request;
	return json_pack("{s:b}", "ok", 1);
}

struct scene {
	char dir[64];
	struct place place;
	struct closing end;
	pid_t daemon;
	int tell_fd; /* its pipe: "e": say that all is saved */
	FILE *told;  /* instead of stderr */
	int stderr_fd;
};

/* Ends when the pipe does. */
static _Noreturn void
daemon_main(const char *dir, int orders, int ready)
{
	struct control *c;
	int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char order;

	if (dir_fd < 0 || control_start(dir_fd, answer, NULL, &c) != 0 || write(ready, "r", 1) != 1 || read(orders, &order, 1) != 1)
		_exit(1);
	control_quiesce(c);
	control_stop(c);
	control_finish(c, NULL);
	while (read(orders, &order, 1) > 0)
		;
	_exit(0);
}

static void
begin(struct scene *s)
{
	int orders[2], ready[2];
	char byte;

	last_word = 0;
	snprintf(s->dir, sizeof(s->dir), "/tmp/snugfs-closing-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->place = (struct place){ .mountpoint = s->dir, .vault_dir = s->dir };
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	s->daemon = fork();
	assert_true(s->daemon >= 0);
	if (s->daemon == 0) {
		close(orders[1]);
		daemon_main(s->dir, orders[0], ready[1]);
	}
	close(orders[0]);
	close(ready[1]);
	s->tell_fd = orders[1];
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	s->told = tmpfile();
	assert_non_null(s->told);
	s->stderr_fd = dup(STDERR_FILENO);
	assert_int_equal(closing_begin(&s->place, &s->end), 0);
}

static int
hear(struct scene *s)
{
	int status;

	assert_true(dup2(fileno(s->told), STDERR_FILENO) >= 0);
	status = closing_hear_end(&s->place, &s->end);
	assert_true(dup2(s->stderr_fd, STDERR_FILENO) >= 0);
	return status;
}

static void
assert_told(const struct scene *s, const char *part)
{
	char text[2048] = "";

	rewind(s->told);
	assert_true(fread(text, 1, sizeof(text) - 1, s->told) > 0 || part[0] == '\0');
	assert_non_null(strstr(text, part));
}

static void
end(struct scene *s)
{
	int ended;

	close(s->tell_fd);
	assert_int_equal(waitpid(s->daemon, &ended, 0), s->daemon);
	assert_true(WIFEXITED(ended));
	closing_clear(&s->end);
	fclose(s->told);
	close(s->stderr_fd);
	tempdir_remove(s->dir);
}

static void
a_process_that_ends_is_waited_for(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	assert_int_equal(write(s.tell_fd, "e", 1), 1);
	close(s.tell_fd);
	s.tell_fd = -1;
	assert_int_equal(hear(&s), 0);
	end(&s);
}

static void
a_process_that_has_saved_all_and_does_not_end_is_a_failure(void **state)
{
	struct scene s;
	char number[32];

	(void)state;
	begin(&s);
	assert_int_equal(write(s.tell_fd, "e", 1), 1);
	impatient_of = s.end.process;
	assert_int_equal(hear(&s), EXIT_TOLD);
	impatient_of = -1;
	assert_told(&s, "all is saved and the keys are wiped, but its background process");
	snprintf(number, sizeof(number), "kill -9 %d", (int)s.daemon);
	assert_told(&s, number);
	end(&s);
}

static void
what_takes_long_to_save_is_told_and_then_a_failure(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	last_word = -ETIMEDOUT;
	assert_int_equal(hear(&s), EXIT_TOLD);
	assert_told(&s, "are being saved in");
	assert_told(&s, "wait before you switch off");
	last_word = 0;
	assert_int_equal(write(s.tell_fd, "e", 1), 1);
	end(&s);
}

/* In another PID namespace, where the daemon has no number. */

#define NO_NAMESPACE 100
#define NOT_REACHED 101

static int
run_elsewhere(struct scene *s, int (*fn)(struct scene *s))
{
	int ended, status = NOT_REACHED;
	pid_t outer = fork(), inner;

	assert_true(outer >= 0);
	if (outer == 0) {
		if (unshare(geteuid() == 0 ? CLONE_NEWPID : CLONE_NEWUSER | CLONE_NEWPID) != 0)
			_exit(NO_NAMESPACE);
		inner = fork();
		if (inner == 0)
			_exit(fn(s));
		if (inner > 0 && waitpid(inner, &ended, 0) == inner && WIFEXITED(ended))
			status = WEXITSTATUS(ended);
		_exit(status);
	}
	assert_int_equal(waitpid(outer, &ended, 0), outer);
	assert_true(WIFEXITED(ended));
	return WEXITSTATUS(ended);
}

/* Hears that all is saved, and then waits in vain for the end. */
static int
hear_in_vain(struct scene *s)
{
	struct closing e = CLOSING_NONE;
	int status;

	if (closing_begin(&s->place, &e) != 0 || control_peer(e.connection) != -1 || write(s->tell_fd, "e", 1) != 1)
		return NOT_REACHED;
	if (dup2(fileno(s->told), STDERR_FILENO) < 0)
		return NOT_REACHED;
	impatient_of = e.process >= 0 ? e.process : e.connection;
	status = closing_hear_end(&s->place, &e);
	closing_clear(&e);
	return status;
}

static int
tell_to_end(struct scene *s)
{
	struct closing e = CLOSING_NONE;

	if (closing_begin(&s->place, &e) != 0)
		return NOT_REACHED;
	killed = 0;
	return closing_tell_to_end(&e) == -ESRCH && killed == 0 ? 0 : EXIT_TOLD;
}

static void
a_process_that_has_no_number_here_is_not_advised_to_be_killed(void **state)
{
	struct scene s;
	char text[2048] = "";
	int status;

	(void)state;
	begin(&s);
	status = run_elsewhere(&s, hear_in_vain);
	if (status != NO_NAMESPACE) {
		assert_int_equal(status, EXIT_TOLD);
		assert_told(&s, "all is saved and the keys are wiped, but its background process has not ended");
		rewind(s.told);
		assert_true(fread(text, 1, sizeof(text) - 1, s.told) > 0);
		assert_null(strstr(text, "kill"));
	}
	end(&s);
	if (status == NO_NAMESPACE)
		skip();
}

static void
nothing_is_sent_to_a_process_that_has_no_number_here(void **state)
{
	struct scene s;
	int status;

	(void)state;
	begin(&s);
	status = run_elsewhere(&s, tell_to_end);
	if (status != NO_NAMESPACE)
		assert_int_equal(status, 0);
	assert_int_equal(write(s.tell_fd, "e", 1), 1);
	end(&s);
	if (status == NO_NAMESPACE)
		skip();
}

/* When nothing is mounted any more. */

static void
begin_unmounted(struct scene *s, bool mounted)
{
	begin(s);
	closing_clear(&s->end);
	s->end = CLOSING_NONE;
	is_mounted = mounted;
	assert_int_equal(closing_begin_unmounted(&s->place, &s->end), 0);
	is_mounted = false;
}

static void
the_end_of_one_that_has_unmounted_already_is_heard(void **state)
{
	struct scene s;

	(void)state;
	begin_unmounted(&s, false);
	assert_true(s.end.connection >= 0);
	assert_int_equal(write(s.tell_fd, "e", 1), 1);
	close(s.tell_fd);
	s.tell_fd = -1;
	assert_int_equal(hear(&s), 0);
	end(&s);
}

static void
one_that_is_mounted_elsewhere_is_left_alone(void **state)
{
	struct scene s;

	(void)state;
	begin_unmounted(&s, true);
	assert_int_equal(s.end.connection, -1);
	assert_int_equal(write(s.tell_fd, "e", 1), 1);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_that_ends_is_waited_for),
		cmocka_unit_test(a_process_that_has_saved_all_and_does_not_end_is_a_failure),
		cmocka_unit_test(what_takes_long_to_save_is_told_and_then_a_failure),
		cmocka_unit_test(a_process_that_has_no_number_here_is_not_advised_to_be_killed),
		cmocka_unit_test(nothing_is_sent_to_a_process_that_has_no_number_here),
		cmocka_unit_test(the_end_of_one_that_has_unmounted_already_is_heard),
		cmocka_unit_test(one_that_is_mounted_elsewhere_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
