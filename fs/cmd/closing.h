/*
 * closing.h: the end of a folder's daemon, waited for: unmounting is over when everything is saved.
 * Functions that return int return exit statuses (tell.h).  Uses place.h, control.h, mountstate.h.
 */
#ifndef SNUGFS_CLOSING_H
#define SNUGFS_CLOSING_H

#include "err.h"
#include "place.h"

/* No connection (-1): there is no daemon to be heard of. */
struct closing {
	int connection;
	int process; /* a pidfd; -1 where the system refuses them, too */
};
#define CLOSING_NONE (struct closing){ -1, -1 }
void closing_clear(struct closing *e);

/* Before the mount is taken off: from now on the daemon's end is heard of. */
int closing_begin(const struct place *p, struct closing *out);
/* When nothing is mounted any more: of a daemon that has not ended yet, which may have to save much.  Without one there is no connection. */
int closing_begin_unmounted(const struct place *p, struct closing *out);
/* Then, with a connection: a failure, if the daemon does not begin to end, since what was detached lives on while a program uses it. */
int closing_await_begin(const struct place *p, const struct closing *e);
/* What a mount that is taken off cannot do while somebody has files open there.  It is no error if there is no daemon. */
MUST_CHECK err_t closing_tell_to_end(const struct closing *e);
/* After: waits for it. */
int closing_hear_end(const struct place *p, const struct closing *e);

#endif
