/*
 * mountwatch.h: a process beside the daemon that has the kernel give the mount up when the daemon has died, be it by kill -9.
 *
 * The kernel does so by itself when the last descriptor of the connection is closed.  But a thread that was killed while it told the
 * kernel of a change, or while it flushed the mount, may sit in the kernel until a page is read or written that only the daemon could
 * read or write: it holds the descriptors, and everybody would wait for ever.  That process holds no keys.  Uses err.h,
 * connection.h.
 */
#ifndef SNUGFS_MOUNTWATCH_H
#define SNUGFS_MOUNTWATCH_H

#include "err.h"

/* What the program is called when it is that process: at most 15 characters, so that all of it is seen (prctl(2), PR_SET_NAME). */
#define MOUNTWATCH_NAME "snugfs-watchdog"
_Static_assert(sizeof(MOUNTWATCH_NAME) <= 16, "the kernel would cut the name");
/* That process: its standard input is a pipe that the daemon holds, its standard output the connection's "abort".  An exit status. */
int mountwatch_main(void);

/* The daemon's side. */
struct mountwatch;
/* Once it is mounted.  -ENOENT: the kernel does not show the connection (connection.h). */
MUST_CHECK err_t mountwatch_start(const char *mountpoint, struct mountwatch **out);
/* Once it is unmounted.  NULL: nothing. */
void mountwatch_end(struct mountwatch *w);

#endif
