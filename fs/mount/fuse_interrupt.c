/*
 * Requests that are called off.
 *
 * The kernel sends INTERRUPT once, for the first signal that comes to who waits, whether that signal ends him or not; a fatal one
 * that comes later is not told.  Few programs expect EINTR of a file, and where a page of a mapped file was asked for it would be
 * SIGBUS: with a timer, or a language that sends itself signals, they would see it all the time.  So only who is dying is let go,
 * and from the first INTERRUPT on /proc is asked for that.
 */
#define FUSE_USE_VERSION 314
#include "fuse_private.h"

#include <fuse_lowlevel.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define BIT(number) (UINT64_C(1) << ((number) - 1))

/* They end nobody who has no handler for them. */
#define HARMLESS (BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU))

/* A thread's signals, as proc(5) shows them. */
struct signals {
	uint64_t pending; /* the thread's and its process's */
	uint64_t kept;    /* blocked, ignored, or handled */
};

static void
close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static void
add_line(struct signals *s, const char *line)
{
	char name[8];
	unsigned long long mask;

	if (sscanf(line, "%7[A-Za-z]: %llx", name, &mask) != 2)
		return;
	if (strcmp(name, "SigPnd") == 0 || strcmp(name, "ShdPnd") == 0)
		s->pending |= mask;
	else if (strcmp(name, "SigBlk") == 0 || strcmp(name, "SigIgn") == 0 || strcmp(name, "SigCgt") == 0)
		s->kept |= mask;
}

/* Who can't be looked at, since he is in a container of his own, waits on. */
static bool
is_dying(pid_t tid)
{
	struct signals s = { 0 };
	char path[32], line[256];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);

	CLEANUP(close_file) FILE *f = fopen(path, "re");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		add_line(&s, line);
	/* Once it is certain that a process ends, each of its threads has SIGKILL pending. */
	return (s.pending & BIT(SIGKILL)) != 0 || (s.pending & ~s.kept & ~HARMLESS) != 0;
}

static void
on_interrupt(fuse_req_t req, void *data)
{
	const struct fuse_interrupt *s = data;

	(void)req;
	s->fn(s->fn_ctx);
}

/* libfuse calls with a lock of the request's held, which this takes, too: hence nobody is called when it returns. */
static void
listen(void *ctx, interrupt_fn *fn, void *fn_ctx)
{
	struct fuse_interrupt *s = ctx;

	if (fn) {
		s->fn = fn;
		s->fn_ctx = fn_ctx;
	}
	fuse_req_interrupt_func(s->req, fn ? on_interrupt : NULL, fn ? s : NULL);
}

static bool
is_over(void *ctx)
{
	const struct fuse_interrupt *s = ctx;

	return is_dying(fuse_req_ctx(s->req)->pid);
}

void
fuse_interrupt_begin(struct fuse_interrupt *s, struct fuse_req *req)
{
	*s = (struct fuse_interrupt){ .req = req, .source = { .listen = listen, .is_over = is_over, .ctx = s } };
	interrupt_use(&s->source);
}

void
fuse_interrupt_end(void)
{
	interrupt_use(NULL);
}
