/*
 * logind.h: hears from systemd-logind, over D-Bus, that the computer is about to sleep, and holds that up for a moment.  For a
 * process of its own: it runs GLib's main loop.  Uses err.h.
 */
#ifndef SNUGFS_LOGIND_H
#define SNUGFS_LOGIND_H

#include "err.h"

struct logind_hooks {
	void *ctx;
	void (*ready)(void *ctx); /* from now on sleep waits */
	void (*sleep)(void *ctx); /* it is about to: it waits until this process ends, or for as long as logind is willing to */
};

/*
 * Until end_fd can be read from, or is closed on the other side: 0.  -ENOTSUP: built without GIO, or it is not installed;
 * -ENOTCONN: no system bus, or no logind on it.  *why_out: a malloc'ed sentence.  When the bus goes, the process ends.
 */
MUST_CHECK err_t logind_watch(int end_fd, const struct logind_hooks *hooks, char **why_out);

#endif
