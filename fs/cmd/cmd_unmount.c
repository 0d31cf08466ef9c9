/* snugfs unmount: closes the folder, and ends only when its daemon has saved everything. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "commands.h"
#include "control.h"
#include "drain.h"
#include "err.h"
#include "handles.h"
#include "mountstate.h"
#include "tell.h"

#define GREETING_TIMEOUT_MS 20000
/* A last commit that takes longer is told about, not waited for. */
#define END_TIMEOUT_MS 300000
#define EXIT_TIMEOUT_MS 10000

/* Both -1: there is no daemon to be heard of. */
struct ending {
	int connection;
	int process;
};

static void
ending_clear(struct ending *e)
{
	handle_close_fd(&e->connection);
	handle_close_fd(&e->process);
}

/* A pidfd, or -1: then the last word on the connection must do. */
static int
open_process(int connection)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

/* From now on the daemon's end is heard of. */
static err_t
await_end(const struct place *p, struct ending *out)
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
	*out = (struct ending){ fd, open_process(fd) };
	fd = -1;
	return 0;
}

static int
hear_end(const struct place *p, const struct ending *e)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	struct pollfd process = { .fd = e->process, .events = POLLIN };
	const char *text;
	err_t err = control_receive(e->connection, END_TIMEOUT_MS, &answer);

	if (err == -ETIMEDOUT)
		return tell_failure("%s is unmounted, and its last changes are still being saved in %s: wait before you switch off",
		    p->mountpoint, p->vault_dir);
	if (err != 0)
		return tell_failure("%s is unmounted, but its background process ended without a word: see the system's log",
		    p->mountpoint);
	if (!control_is_ok(answer, &text))
		return tell_failure("%s is unmounted, but %s", p->mountpoint, text);
	/* All is saved: only for the sake of who looks for the process. */
	if (e->process >= 0)
		(void)poll(&process, 1, EXIT_TIMEOUT_MS);
	return 0;
}

static int
tell_unmount(err_t err, const struct place *p)
{
	char who[64];

	if (err == -EPERM)
		return tell_failure("%s cannot be unmounted: it was mounted by another user", p->mountpoint);
	if (err != -EBUSY)
		return tell_failure("%s cannot be unmounted: %s", p->mountpoint, tell_reason(err));
	mountstate_who_uses(p->mountpoint, who, sizeof(who));
	return tell_failure("%s is in use%s%s: close it there and try again, or detach it now with \"umount -l %s\"",
	    p->mountpoint, who[0] != '\0' ? " by " : "", who, p->mountpoint);
}

static int
unmount_live(const struct options *o, const struct place *p)
{
	CLEANUP(ending_clear) struct ending end = { -1, -1 };
	err_t err;
	int status;

	if (o->wait && (status = drain_place(o, p)) != 0)
		return status;
	err = await_end(p, &end);
	if (err != 0 && err != -ENOENT && err != -ECONNREFUSED && err != -EACCES)
		return tell_failure("the background process of %s does not answer (%s): see the system's log", p->mountpoint,
		    tell_reason(err));
	err = mountstate_unmount(p->mountpoint, 0);
	if (err != 0)
		return tell_unmount(err, p);
	return end.connection >= 0 ? hear_end(p, &end) : 0;
}

static int
unmount_stale(const struct place *p)
{
	err_t err = mountstate_unmount(p->mountpoint, 1);

	if (err != 0)
		return tell_unmount(err, p);
	printf("%s had lost its background process; it is unmounted now.\n", p->mountpoint);
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	int status;

	switch (mountstate_get(o->mountpoint)) {
	case MOUNT_NONE:
		return tell_failure("%s is not mounted", o->mountpoint);
	case MOUNT_OTHER:
		return tell_failure("what is mounted at %s is not snugfs: use umount", o->mountpoint);
	case MOUNT_STALE:
	case MOUNT_OURS:
		break;
	}
	if ((status = place_find(o, &p)) != 0)
		return status;
	return mountstate_get(o->mountpoint) == MOUNT_STALE ? unmount_stale(&p) : unmount_live(o, &p);
}

const struct command cmd_unmount = {
	.name = "unmount",
	.synopsis = "MOUNTPOINT [--wait]",
	.summary = "close the folder",
	.details = "Unmounts MOUNTPOINT; returns when everything is saved on this computer.\n"
	    "\n"
	    "  --wait                    not before the store has everything\n",
	.accepts = ACCEPT_WAIT,
	.place = PLACE_REQUIRED,
	.run = run,
};
