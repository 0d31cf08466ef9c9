/*
 * watcher.h: processes beside the daemon that hear something for it (systembus.h), so that D-Bus is in no process that has keys.  Each is
 * the program itself under another name, and says what it hears in bytes over a socket, which is its standard input.  Uses err.h.
 */
#ifndef SNUGFS_WATCHER_H
#define SNUGFS_WATCHER_H

#include <sys/types.h>

#include "err.h"

/* There. */

/*
 * Makes the process of a name, of at most 15 characters (prctl(2), PR_SET_NAME), of itself, and runs watch until it returns; an error is
 * said with its *why_out, a malloc'ed sentence or NULL.  Should it not have said anything within half a minute, it is ended.
 */
_Noreturn void watcher_run(const char *name, err_t (*watch)(char **why_out));
/* For watch: the daemon hears this.  Not 'f', which is for errors. */
void watcher_say(char word);

/* Here. */

/* fd -1: none runs.  Begin with WATCHER_NONE. */
struct watcher {
	int fd; /* its end: the watcher has ended */
	pid_t pid;
};
#define WATCHER_NONE (struct watcher){ -1, -1 }
MUST_CHECK err_t watcher_start(const char *name, struct watcher *out);
/* The next word that it says.  -EAGAIN: none yet; -ENOTCONN: it has ended, or is about to; why: a malloc'ed sentence, or NULL. */
MUST_CHECK err_t watcher_hear(const struct watcher *w, char *word_out, char **why_out);
/* Also while another thread polls its fd; nothing if none runs. */
void watcher_end(struct watcher *w);

#endif
