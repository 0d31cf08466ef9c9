/*
 * The process is told in two ways: the pipe's end when all of the daemon is gone, and before that a signal when the thread is gone that
 * has started it (prctl(2), PR_SET_PDEATHSIG).  So that thread does nothing else: whatever the others wait for, it dies at once.
 */
#include "mountwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connection.h"
#include "handles.h"
#include "tell.h"

#define DEATH_SIGNAL SIGUSR1

struct mountwatch {
	pthread_t thread;
	sem_t started;
	err_t err;    /* of starting; once that is posted */
	int abort_fd; /* until then */
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

	(void)prctl(PR_SET_NAME, MOUNTWATCH_NAME);
	keep_signals_out(&while_waiting);
	(void)prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
	closefrom(STDERR_FILENO + 1); /* what the daemon has opened or inherited is none of its business */
	(void)!chdir("/");
	(void)ppoll(&daemon, 1, NULL, &while_waiting);
	return connection_abort(STDOUT_FILENO) == 0 ? EXIT_SUCCESS : EXIT_TOLD;
}

/* Here. */

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
	err_t err = w->err = spawn(w, &pid);

	sem_post(&w->started);
	while (err == 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return NULL;
}

/* Of what it has; the thread has ended, or never was. */
static void
free_watch(struct mountwatch *w)
{
	handle_close_fd(&w->here_fd);
	sem_destroy(&w->started);
	free(w);
}

static err_t
start_thread(struct mountwatch *w)
{
	err_t err = -pthread_create(&w->thread, NULL, run, w);

	if (err != 0)
		return err;
	while (sem_wait(&w->started) < 0)
		; /* a signal */
	if (w->err != 0)
		pthread_join(w->thread, NULL);
	return w->err;
}

err_t
mountwatch_start(const char *mountpoint, struct mountwatch **out)
{
	CLEANUP(handle_close_fd) int abort_fd = -1, there_fd = -1;
	struct mountwatch *w;
	int fds[2];
	err_t err = connection_open(mountpoint, "abort", O_WRONLY, &abort_fd);

	if (err != 0)
		return err;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	there_fd = fds[0];
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		close(fds[1]);
		return -ENOMEM;
	}
	*w = (struct mountwatch){ .abort_fd = abort_fd, .there_fd = there_fd, .here_fd = fds[1] };
	sem_init(&w->started, 0, 0);
	err = start_thread(w);
	if (err != 0) {
		free_watch(w);
		return err;
	}
	*out = w;
	return 0;
}

void
mountwatch_end(struct mountwatch *w)
{
	if (w == NULL)
		return;
	handle_close_fd(&w->here_fd);
	w->here_fd = -1;
	pthread_join(w->thread, NULL);
	free_watch(w);
}
