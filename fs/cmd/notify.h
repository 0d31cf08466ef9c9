/*
 * notify.h: tells a program of the user's choice what happened (on-event in the configuration).  Uses config.h, log.h.
 */
#ifndef SNUGFS_NOTIFY_H
#define SNUGFS_NOTIFY_H

/*
 * Runs the program with two arguments, kind and text, without a shell; does not wait for it.  What the configuration says is
 * read anew each time.  No program: nothing happens; one that can't be run, or several that never end, are logged.
 */
void notify_run(const char *kind, const char *text);

#endif
