/*
 * systembus.h: hears over D-Bus, from systemd-logind, that the computer is about to sleep, and holds that up for a moment; and from
 * NetworkManager whether the network is metered.  For processes of their own: each runs GLib's main loop, and ends when the bus does.
 * Uses err.h.
 */
#ifndef SNUGFS_SYSTEMBUS_H
#define SNUGFS_SYSTEMBUS_H

#include <stdint.h>

#include "err.h"

/*
 * Both go on until end_fd can be read from, or is closed on the other side: 0.  -ENOTSUP: built without GIO, or it is not installed;
 * -ENOTCONN: no system bus, or not that service on it.  *why_out: a malloc'ed sentence.
 */

struct systembus_sleep_hooks {
	void *ctx;
	void (*ready)(void *ctx); /* from now on sleep waits */
	void (*sleep)(void *ctx); /* it is about to: it waits until this process ends, or for as long as logind is willing to */
};
MUST_CHECK err_t systembus_watch_sleep(int end_fd, const struct systembus_sleep_hooks *hooks, char **why_out);

/* What NetworkManager says of the network that everything goes over (NMMetered in its D-Bus API). */
enum systembus_metered {
	SYSTEMBUS_METERED_UNKNOWN = 0, /* also: it has gone, or does not say */
	SYSTEMBUS_METERED_YES = 1,
	SYSTEMBUS_METERED_NO = 2,
	SYSTEMBUS_METERED_GUESS_YES = 3,
	SYSTEMBUS_METERED_GUESS_NO = 4,
};
struct systembus_network_hooks {
	void *ctx;
	void (*metered)(void *ctx, uint32_t how); /* at first, and when it may have changed; values of later versions, too */
};
MUST_CHECK err_t systembus_watch_network(int end_fd, const struct systembus_network_hooks *hooks, char **why_out);

#endif
