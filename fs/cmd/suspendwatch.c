/* Bytes on a socket: 'r' ready, 's' about to sleep, or 'f' and why it can't be watched. */
#include "suspendwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handles.h"
#include "logind.h"
#include "tell.h"

#define READY_TIMEOUT_MS 30000
#define SENTENCE_MAX 512

/* There. */

static void
say(const char *text)
{
	(void)send(STDIN_FILENO, text, strlen(text), MSG_NOSIGNAL);
}

static void
on_ready(void *ctx)
{
	(void)ctx;
	say("r");
}

static void
on_sleep(void *ctx)
{
	(void)ctx;
	say("s");
}

_Noreturn void
suspendwatch_main(void)
{
	static const struct logind_hooks hooks = { NULL, on_ready, on_sleep };
	char *why = NULL;
	err_t err;

	(void)prctl(PR_SET_NAME, SUSPENDWATCH_NAME);
	closefrom(STDERR_FILENO + 1); /* what the daemon has opened or inherited is none of its business */
	err = logind_watch(STDIN_FILENO, &hooks, &why);
	if (err != 0) {
		say("f");
		say(why != NULL ? why : strerror(-err));
		free(why);
	}
	_exit(err == 0 ? EXIT_SUCCESS : EXIT_TOLD); /* GLib's own thread is still at work: nothing is torn down under it */
}

/* Here. */

static err_t
spawn(int fd, pid_t *pid_out)
{
	char name[] = SUSPENDWATCH_NAME;
	char *argv[] = { name, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int failed;

	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if ((failed = posix_spawnattr_init(&attributes)) == 0) {
		posix_spawnattr_setsigmask(&attributes, &none);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
		/* Who has started the daemon waits for the end of its output. */
		if ((failed = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO)) == 0 &&
		    (failed = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) == 0 &&
		    (failed = posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)) == 0)
			failed = posix_spawn(pid_out, "/proc/self/exe", &actions, &attributes, argv, environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -failed;
}

/* The rest of what it has said: it ends then. */
static void
read_why(int fd, char **why_out)
{
	char text[SENTENCE_MAX];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0)
		len += (size_t)n;
	*why_out = strndup(text, len);
}

static err_t
await_ready(int fd, char **why_out)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte = 0;
	int n;

	do
		n = poll(&p, 1, READY_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -ETIMEDOUT;
	if (read(fd, &byte, 1) == 1 && byte == 'r')
		return 0;
	if (byte == 'f')
		read_why(fd, why_out);
	return -ENOTCONN;
}

err_t
suspendwatch_start(struct suspendwatch *out, char **why_out)
{
	struct suspendwatch w = SUSPENDWATCH_NONE;
	int fds[2];
	err_t err;

	*why_out = NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -errno;
	w.fd = fds[0];
	err = spawn(fds[1], &w.pid);
	close(fds[1]);
	if (err == 0)
		err = await_ready(w.fd, why_out);
	if (err != 0) {
		suspendwatch_end(&w);
		return err;
	}
	*out = w;
	return 0;
}

void
suspendwatch_end(struct suspendwatch *w)
{
	/* Closing alone would not do while another thread polls it. */
	if (w->fd >= 0)
		(void)shutdown(w->fd, SHUT_RDWR);
	handle_close_fd(&w->fd);
	/* It may be waiting for a bus that does not answer, and holds nothing that is to be kept. */
	if (w->pid > 0)
		(void)kill(w->pid, SIGKILL);
	if (w->pid > 0)
		while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
	*w = SUSPENDWATCH_NONE;
}
