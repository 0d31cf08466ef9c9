/*
 * suspendwatch.h: the process beside the daemon that talks to logind (watcher.h).  It holds sleep up until the daemon has ended, since
 * its side of the socket closes only then.  Uses watcher.h.
 */
#ifndef SNUGFS_SUSPENDWATCH_H
#define SNUGFS_SUSPENDWATCH_H

#include "watcher.h"

/* What the program is called when it is that process. */
#define SUSPENDWATCH_NAME "snugfs-suspend"
_Static_assert(sizeof(SUSPENDWATCH_NAME) <= 16, "the kernel would cut the name");
_Noreturn void suspendwatch_main(void);

/* The computer is about to sleep. */
#define SUSPENDWATCH_SLEEP 's'
/* Returns when sleep waits, or with why it does not: a malloc'ed sentence, maybe NULL. */
MUST_CHECK err_t suspendwatch_start(struct watcher *out, char **why_out);

#endif
