/* Lines of secret text: byte by byte, so that no buffer of the C library ever holds one. */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "handles.h"
#include "secmem.h"

static const int watched_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
static volatile sig_atomic_t caught_signal;

static void
on_signal(int number)
{
	caught_signal = number;
}

/* Signals are let in only while nothing is read yet, so that none comes just before a read that would then not end. */
static err_t
wait_for_input(int fd, const sigset_t *let_in)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return ppoll(&p, 1, NULL, let_in) < 0 ? -errno : 0;
}

/* let_in: the signal mask while waiting, or NULL for something that signals need not interrupt. */
static err_t
read_line(int fd, const sigset_t *let_in, char *line_out, size_t *len_out)
{
	size_t len = 0;
	err_t err;

	for (;;) {
		char c = '\0';
		ssize_t got;

		if (let_in != NULL && (err = wait_for_input(fd, let_in)) != 0)
			return err;
		got = read(fd, &c, 1);
		if (got < 0)
			return -errno;
		if (got == 0 && len == 0)
			return -ENODATA;
		if (got == 0 || c == '\n')
			break;
		if (len == SECRET_LINE_MAX - 1) {
			secmem_wipe(line_out, len);
			return -E2BIG;
		}
		line_out[len++] = c;
		secmem_wipe(&c, 1);
	}
	line_out[len] = '\0';
	*len_out = len;
	return 0;
}

err_t
terminal_read_line(int fd, char *line_out, size_t *len_out)
{
	return read_line(fd, NULL, line_out, len_out);
}

/* What is to be put back in order. */
struct quiet {
	struct termios terminal;
	struct sigaction actions[ARRAY_LEN(watched_signals)];
	sigset_t mask;
};

static err_t
echo_off(int tty, struct quiet *before)
{
	struct sigaction note = { .sa_handler = on_signal };
	struct termios silent;
	sigset_t watched;

	if (tcgetattr(tty, &before->terminal) != 0)
		return -errno;
	sigemptyset(&note.sa_mask);
	sigemptyset(&watched);
	for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++)
		sigaddset(&watched, watched_signals[i]);
	sigprocmask(SIG_BLOCK, &watched, &before->mask);
	caught_signal = 0;
	for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++)
		sigaction(watched_signals[i], &note, &before->actions[i]);
	silent = before->terminal;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	(void)tcsetattr(tty, TCSAFLUSH, &silent); /* fails only where tcgetattr does */
	return 0;
}

/* The signal that interrupted the question does its work last. */
static void
echo_back(int tty, const struct quiet *before)
{
	(void)tcsetattr(tty, TCSAFLUSH, &before->terminal);
	for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++)
		sigaction(watched_signals[i], &before->actions[i], NULL);
	sigprocmask(SIG_SETMASK, &before->mask, NULL);
	if (caught_signal != 0)
		(void)raise(caught_signal);
}

static void
print(int tty, const char *text)
{
	ssize_t written = write(tty, text, strlen(text));

	(void)written; /* a terminal that shows no question may still have an answer */
}

static err_t
ask_quietly(int tty, const char *question, char *line_out, size_t *len_out)
{
	struct quiet before;
	err_t err = echo_off(tty, &before);

	if (err != 0)
		return err;
	print(tty, question);
	err = read_line(tty, &before.mask, line_out, len_out);
	print(tty, "\n");
	echo_back(tty, &before);
	return err;
}

err_t
terminal_ask(const char *question, char *line_out, size_t *len_out)
{
	CLEANUP(handle_close_fd) int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	err_t err;

	if (tty < 0)
		return -ENXIO;
	/* After SIGTSTP and SIGCONT the question is asked once more. */
	do
		err = ask_quietly(tty, question, line_out, len_out);
	while (err == -EINTR);
	return err;
}
