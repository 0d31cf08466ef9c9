/* Words of one byte on a socket; 'f' is followed by why it can't be watched, and the end. */
#include "watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handles.h"
#include "tell.h"

/* A bus that does not answer is waited for without an eye on the daemon, which may be gone meanwhile. */
#define BEGIN_S 30
#define SENTENCE_MAX 512

/* There. */

static void
say(const char *text)
{
	(void)send(STDIN_FILENO, text, strlen(text), MSG_NOSIGNAL);
}

void
watcher_say(char word)
{
	(void)alarm(0);
	say((const char[]){ word, '\0' });
}

_Noreturn void
watcher_run(const char *name, err_t (*watch)(char **why_out))
{
	char *why = NULL;
	err_t err;

	(void)prctl(PR_SET_NAME, name);
	closefrom(STDERR_FILENO + 1); /* what the daemon has opened or inherited is none of its business */
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(BEGIN_S);
	err = watch(&why);
	if (err != 0) {
		say("f");
		say(why != NULL ? why : strerror(-err));
		free(why);
	}
	_exit(err == 0 ? EXIT_SUCCESS : EXIT_TOLD); /* GLib's own thread is still at work: nothing is torn down under it */
}

/* Here. */

static err_t
spawn(const char *program, int fd, pid_t *pid_out)
{
	CLEANUP(free_ptr) char *name = strdup(program);
	char *argv[] = { name, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int failed;

	sigemptyset(&none);
	if (name == NULL || posix_spawn_file_actions_init(&actions) != 0)
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

err_t
watcher_start(const char *name, struct watcher *out)
{
	struct watcher w = WATCHER_NONE;
	int fds[2];
	err_t err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -errno;
	w.fd = fds[0];
	err = spawn(name, fds[1], &w.pid);
	close(fds[1]);
	if (err != 0) {
		watcher_end(&w);
		return err;
	}
	*out = w;
	return 0;
}

/* The rest of what it has said: it ends then; unless it is stopped just now, which is to hold up nobody. */
static void
read_why(int fd, char **why_out)
{
	const struct timeval patience = { .tv_sec = 1 };
	char text[SENTENCE_MAX];
	size_t len = 0;
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0)
		len += (size_t)n;
	*why_out = strndup(text, len);
}

err_t
watcher_hear(const struct watcher *w, char *word_out, char **why_out)
{
	char byte = 0;
	ssize_t n = recv(w->fd, &byte, 1, MSG_DONTWAIT);

	*why_out = NULL;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n == 1 && byte != 'f') {
		*word_out = byte;
		return 0;
	}
	if (n == 1)
		read_why(w->fd, why_out);
	return -ENOTCONN;
}

void
watcher_end(struct watcher *w)
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
	*w = WATCHER_NONE;
}
