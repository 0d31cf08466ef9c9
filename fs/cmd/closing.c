/* Hears a daemon's end: its last word on the control socket, then the end of its process. */
#include "closing.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.h"
#include "err.h"
#include "handles.h"
#include "mountstate.h"
#include "tell.h"

#define GREETING_TIMEOUT_MS 20000
#define LOOK_INTERVAL_MS 100
/* A last commit that takes so long is told about; for longer it is not waited for. */
#define PATIENCE_MS 5000
#define END_TIMEOUT_MS 300000
#define EXIT_TIMEOUT_MS 60000 /* to wipe and free takes moments, where the computer is not starved */

void
closing_clear(struct closing *e)
{
	handle_close_fd(&e->connection);
	handle_close_fd(&e->process);
}

/* -1, where it is refused. */
static int
open_process(int connection)
{
	pid_t pid = control_peer(connection);

	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

static err_t
await_end(const struct place *p, struct closing *out)
{
	CLEANUP(handle_close_fd) int fd = -1;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	err_t err = control_connect(p->vault_dir, &fd);

	if (err == 0)
		err = control_send(fd, json_pack("{s:s}", "op", "await-end"));
	if (err == 0)
		err = control_receive(fd, GREETING_TIMEOUT_MS, &answer);
	if (err != 0)
		return err;
	*out = (struct closing){ fd, open_process(fd) };
	fd = -1;
	return 0;
}

int
closing_begin(const struct place *p, struct closing *out)
{
	err_t err = await_end(p, out);

	if (err != 0 && err != -ENOENT && err != -ECONNREFUSED && err != -EACCES)
		return tell_failure("the background process of %s does not answer (%s): see the system's log", p->mountpoint,
		    tell_reason(err));
	return 0;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
closing_begin_unmounted(const struct place *p, struct closing *out)
{
	CLEANUP(closing_clear) struct closing e = CLOSING_NONE;
	/* A folder that can't be reached has nobody who could be asked: it is as one that nobody has opened. */
	int status = is_folder(p->vault_dir) ? closing_begin(p, &e) : 0;

	/* A daemon is asked only after it has mounted: what it had mounted is off if nothing is there now. */
	if (status != 0 || e.connection < 0 || mountstate_has_mounted(control_peer(e.connection), p->vault_dir))
		return status;
	*out = e;
	e = CLOSING_NONE;
	return 0;
}

static bool
has_begun(const struct place *p)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const char *text;

	return control_call(p->vault_dir, json_pack("{s:s}", "op", "status"), &answer) != 0 || !control_is_ok(answer, &text);
}

int
closing_await_begin(const struct place *p, const struct closing *e)
{
	struct pollfd word = { .fd = e->connection, .events = POLLIN };

	/* The kernel ends the connection with the last mount and the last file; the daemon may need a moment to see it. */
	for (int waited = 0; !has_begun(p); waited += LOOK_INTERVAL_MS) {
		if (waited >= PATIENCE_MS)
			return tell_failure("%s is unmounted, but a program still uses what it has open there: close it there and try again, or lock "
			    "it anyway with \"snugfs lock --force\"", p->mountpoint);
		if (poll(&word, 1, LOOK_INTERVAL_MS) != 0)
			break;
	}
	return 0;
}

err_t
closing_tell_to_end(const struct closing *e)
{
	pid_t pid;

	if (e->connection < 0)
		return 0;
	if (e->process >= 0 && syscall(SYS_pidfd_send_signal, e->process, SIGTERM, NULL, 0) == 0)
		return 0;
	/* Where that is refused: as long as the daemon holds its end of the connection, the number is its. */
	pid = control_peer(e->connection);
	if (pid <= 0)
		return -ESRCH;
	return kill(pid, SIGTERM) == 0 ? 0 : -errno;
}

/* What the daemon has to say when it has saved all that it could. */
static err_t
hear_last_word(const struct place *p, const struct closing *e, json_t **out)
{
	err_t err = control_receive(e->connection, PATIENCE_MS, out);

	if (err != -ETIMEDOUT)
		return err;
	fprintf(stderr, "snugfs: the last changes in %s are being saved in %s...\n", p->mountpoint, p->vault_dir);
	return control_receive(e->connection, END_TIMEOUT_MS - PATIENCE_MS, out);
}

int
closing_hear_end(const struct place *p, const struct closing *e)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	/* Where a pidfd is refused, the end of the connection is the end of the process. */
	struct pollfd end = { .fd = e->process >= 0 ? e->process : e->connection, .events = POLLIN };
	const char *text;
	pid_t pid;
	err_t err;

	if (e->connection < 0)
		return 0;
	err = hear_last_word(p, e, &answer);
	if (err == -ETIMEDOUT)
		return tell_failure("%s is unmounted, and its last changes are still being saved in %s: wait before you switch off",
		    p->mountpoint, p->vault_dir);
	if (err != 0)
		return tell_failure("%s is unmounted, but its background process ended without a word: see the system's log",
		    p->mountpoint);
	if (!control_is_ok(answer, &text))
		return tell_failure("%s is unmounted, but %s", p->mountpoint, text);
	if (poll(&end, 1, EXIT_TIMEOUT_MS) != 0)
		return 0;
	pid = control_peer(e->connection);
	if (pid <= 0) /* of another PID namespace */
		return tell_failure("%s is unmounted, all is saved and the keys are wiped, but its background process has not ended: look what "
		    "keeps it", p->mountpoint);
	return tell_failure("%s is unmounted, all is saved and the keys are wiped, but its background process (%d) has not ended: look what keeps "
	    "it, or end it with \"kill -9 %d\"", p->mountpoint, (int)pid, (int)pid);
}
