/*
 * The process is told in two ways: the pipe's end when all of the daemon is gone, and before that a signal when the thread is gone that
 * has started it (prctl(2), PR_SET_PDEATHSIG).  So that thread does nothing else: whatever the others wait for, it dies at once.
 */
#include "mountwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connection.h"
#include "handles.h"
#include "log.h"
#include "tell.h"

#define DEATH_SIGNAL SIGUSR1

struct mountwatch {
	pthread_t thread;
	int abort_fd; /* the thread's */
	int there_fd; /* the process's end of the pipe; the same */
	int here_fd;
};

/* There. */

static void
on_death(int number)
{
	(void)number;
}

/* Signals that are meant for the daemon come here, too, when they are sent to all of a group: it goes on until that has ended. */
static void
keep_signals_out(sigset_t *while_waiting_out)
{
	struct sigaction death = { .sa_handler = on_death };
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigaction(DEATH_SIGNAL, &death, NULL);
	*while_waiting_out = all;
	sigdelset(while_waiting_out, DEATH_SIGNAL);
}

int
mountwatch_main(void)
{
	struct pollfd daemon = { .fd = STDIN_FILENO };
	sigset_t while_waiting;

	keep_signals_out(&while_waiting);
	(void)prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
	closefrom(STDERR_FILENO + 1); /* what the daemon has opened or inherited is none of its business */
	(void)!chdir("/");
	(void)prctl(PR_SET_NAME, MOUNTWATCH_NAME); /* last: who sees it knows that nothing is missed from now on */
	(void)ppoll(&daemon, 1, NULL, &while_waiting);
	return connection_abort(STDOUT_FILENO) == 0 ? EXIT_SUCCESS : EXIT_TOLD;
}

/* Here. */

static void
drop_fd(int *fd)
{
	handle_close_fd(fd);
	*fd = -1;
}

static err_t
spawn(const struct mountwatch *w, pid_t *pid_out)
{
	char name[] = MOUNTWATCH_NAME;
	char *argv[] = { name, NULL };
	posix_spawn_file_actions_t actions;
	int failed;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if ((failed = posix_spawn_file_actions_adddup2(&actions, w->there_fd, STDIN_FILENO)) == 0 &&
	    (failed = posix_spawn_file_actions_adddup2(&actions, w->abort_fd, STDOUT_FILENO)) == 0 &&
	    (failed = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)) == 0)
		failed = posix_spawn(pid_out, "/proc/self/exe", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -failed;
}

static void *
run(void *arg)
{
	struct mountwatch *w = arg;
	pid_t pid;
	err_t err = spawn(w, &pid);

	drop_fd(&w->there_fd);
	drop_fd(&w->abort_fd);
	if (err != 0)
		log_warn("should this process be killed, programs may hang: %s", strerror(-err));
	while (err == 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return NULL;
}

static void
free_watch(struct mountwatch *w)
{
	if (w == NULL)
		return;
	drop_fd(&w->abort_fd);
	drop_fd(&w->there_fd);
	drop_fd(&w->here_fd);
	free(w);
}

static void
free_watch_ptr(struct mountwatch **w)
{
	free_watch(*w);
}

static err_t
open_pipe(struct mountwatch *w)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	w->there_fd = fds[0];
	w->here_fd = fds[1];
	return 0;
}

/* To start the process takes a quarter of the time in which a folder is mounted, so nobody waits for that. */
err_t
mountwatch_start(const char *mountpoint, struct mountwatch **out)
{
	CLEANUP(free_watch_ptr) struct mountwatch *w = calloc(1, sizeof(*w));
	err_t err;

	if (w == NULL)
		return -ENOMEM;
	*w = (struct mountwatch){ .abort_fd = -1, .there_fd = -1, .here_fd = -1 };
	if ((err = connection_open(mountpoint, "abort", O_WRONLY, &w->abort_fd)) != 0 || (err = open_pipe(w)) != 0 ||
	    (err = -pthread_create(&w->thread, NULL, run, w)) != 0)
		return err;
	*out = STEAL(w);
	return 0;
}

void
mountwatch_end(struct mountwatch *w)
{
	if (w == NULL)
		return;
	drop_fd(&w->here_fd);
	pthread_join(w->thread, NULL);
	free_watch(w);
}
