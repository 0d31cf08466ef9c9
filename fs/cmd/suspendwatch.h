/*
 * suspendwatch.h: a process beside the daemon that talks to logind, so that D-Bus is in no process that has keys.  It holds sleep up
 * until the daemon has ended, since its side of a socket closes only then.  Uses err.h.
 */
#ifndef SNUGFS_SUSPENDWATCH_H
#define SNUGFS_SUSPENDWATCH_H

#include <sys/types.h>

#include "err.h"

/* What the program is called when it is that process: at most 15 characters, so that all of it is seen (prctl(2), PR_SET_NAME). */
#define SUSPENDWATCH_NAME "snugfs-suspend"
_Static_assert(sizeof(SUSPENDWATCH_NAME) <= 16, "the kernel would cut the name");
/* That process: its standard input is the socket. */
_Noreturn void suspendwatch_main(void);

/* The daemon's side; fd -1: none runs.  Begin with SUSPENDWATCH_NONE. */
struct suspendwatch {
	int fd; /* a byte 's' comes when the computer is about to sleep; its end: the watch has ended */
	pid_t pid;
};
#define SUSPENDWATCH_NONE (struct suspendwatch){ -1, -1 }
/* Returns when sleep waits, or with why it does not: a malloc'ed sentence, maybe NULL. */
MUST_CHECK err_t suspendwatch_start(struct suspendwatch *out, char **why_out);
/* Lets sleep go; nothing if none runs. */
void suspendwatch_end(struct suspendwatch *w);

#endif
