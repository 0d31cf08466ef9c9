/* snugfs unmount: closes the folder, and ends only when its daemon has saved everything. */
#include <errno.h>
#include <stdio.h>

#include "closing.h"
#include "commands.h"
#include "drain.h"
#include "err.h"
#include "mountstate.h"
#include "tell.h"

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
	CLEANUP(closing_clear) struct closing end = CLOSING_NONE;
	err_t err;
	int status;

	if (o->wait && (status = drain_place(o, p)) != 0)
		return status;
	if ((status = closing_begin(p, &end)) != 0)
		return status;
	err = mountstate_unmount(p->mountpoint, 0);
	if (err != 0 && mountstate_get(p->mountpoint) != MOUNT_NONE)
		return tell_unmount(err, p);
	return closing_hear_end(p, &end);
}

/* It may have come off a moment ago, by itself or by umount(8); that the store has everything cannot be asked for any more. */
static int
unmount_none(const struct options *o)
{
	CLEANUP(closing_clear) struct closing end = CLOSING_NONE;
	CLEANUP(place_clear) struct place p = { 0 };
	int status = 0;

	if (!o->wait && (status = place_find(o, &p)) == 0)
		status = closing_begin_unmounted(&p, &end);
	if (status != 0)
		return status;
	if (end.connection < 0)
		return tell_failure("%s is not mounted: \"snugfs status\" lists what is", o->mountpoint);
	status = closing_await_begin(&p, &end);
	return status != 0 ? status : closing_hear_end(&p, &end);
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
		return unmount_none(o);
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
