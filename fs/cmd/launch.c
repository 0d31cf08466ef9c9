/* Two processes: the one that waits, and the one that becomes the daemon. */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "tell.h"

static int ready_fd = -1; /* in the child: its one byte tells the parent */
static int *inherited;
static size_t inherited_count;

/*
 * A lock file of a calling script, for example, must not stay locked as long as the folder is mounted; nor by what is started here, which
 * may live a moment longer than the caller waits.
 */
static err_t
note_inherited(void)
{
	DIR *all = opendir("/proc/self/fd");
	const struct dirent *one;

	if (all == NULL)
		return -errno;
	while ((one = readdir(all)) != NULL) {
		int fd = (int)strtol(one->d_name, NULL, 10); /* 0 of "." and ".." */
		int *grown;

		if (fd <= STDERR_FILENO || fd == dirfd(all) || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
			continue;
		grown = reallocarray(inherited, inherited_count + 1, sizeof(*grown));
		if (grown == NULL) {
			closedir(all);
			return -ENOMEM;
		}
		inherited = grown;
		inherited[inherited_count++] = fd;
	}
	closedir(all);
	return 0;
}

void
launch_hold_standard_streams(void)
{
	int fd;

	do
		fd = open("/", O_PATH); /* may be neither read nor written; needs no device, and is there in what is started here, too */
	while (fd >= STDIN_FILENO && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* Ends as the child did. */
static _Noreturn void
follow(pid_t child)
{
	int ended = 0;

	while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(ended)) {
		signal(WTERMSIG(ended), SIG_DFL);
		raise(WTERMSIG(ended));
	}
	_exit(WIFEXITED(ended) ? WEXITSTATUS(ended) : EXIT_TOLD);
}

static _Noreturn void
wait_for(pid_t child, int fd)
{
	char byte;
	ssize_t got;

	/* The child puts the terminal in order first. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		_exit(EXIT_SUCCESS);
	follow(child);
}

int
launch_background(void)
{
	int fds[2];
	pid_t child;

	err_t err = note_inherited();

	if (err != 0)
		return tell_failure("what the caller has open cannot be told from /proc/self/fd: %s", tell_reason(err));
	if (pipe2(fds, O_CLOEXEC) != 0)
		return tell_failure("no process could be started: %s", tell_reason(-errno));
	child = fork();
	if (child < 0) {
		int error = errno;

		close(fds[0]);
		close(fds[1]);
		return tell_failure("no process could be started: %s", tell_reason(-error));
	}
	if (child > 0) {
		close(fds[1]);
		wait_for(child, fds[0]);
	}
	close(fds[0]);
	ready_fd = fds[1];
	return 0;
}

void
launch_leave_memory_out_of_cores(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "0", 1) != 1)
		log_error("memory can't be left out of core dumps: %s", tell_reason(-errno));
	close(fd);
}

void
launch_leave_terminal(void)
{
	if (ready_fd >= 0)
		(void)setsid(); /* fails only for the leader of a group, which a fresh child is not */
}

void
launch_ready(void)
{
	int null_fd;
	ssize_t written;

	if (ready_fd < 0)
		return;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = STDIN_FILENO; null_fd >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null_fd, fd);
	if (null_fd > STDERR_FILENO)
		close(null_fd);
	for (size_t i = 0; i < inherited_count; i++)
		close(inherited[i]);
	free(inherited);
	inherited = NULL;
	inherited_count = 0;
	if (chdir("/") != 0)
		(void)chdir("."); /* it stays where it is */
	written = write(ready_fd, "r", 1);
	(void)written; /* whoever waited for it may have been killed */
	close(ready_fd);
	ready_fd = -1;
}
