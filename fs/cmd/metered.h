/*
 * metered.h: while the network is metered nothing is synced by itself, as if "pause" had been said: a thread of the daemon has a process
 * beside it (watcher.h) that asks NetworkManager.  What nobody can tell is not metered, and nobody is kept waiting for it but the sync
 * thread, for some seconds after the mount and between two networks.
 *
 * Only for a store that is reached over a network, and unless the configuration has metered = sync; else nothing runs at all.
 * Uses config.h, netwatch.h, store.h, systembus.h, uplink.h, watcher.h.
 */
#ifndef SNUGFS_METERED_H
#define SNUGFS_METERED_H

#include <stdbool.h>

#include "uplink.h"

/* What the program is called when it is the process that asks. */
#define METERED_WATCH_NAME "snugfs-network"
_Static_assert(sizeof(METERED_WATCH_NAME) <= 16, "the kernel would cut the name");
_Noreturn void metered_watch_main(void);

struct metered;
/*
 * Before the uplink is started; u and mountpoint are borrowed.  *out is NULL where nothing is to be watched; else nothing is synced by
 * itself until metered_start has had an answer, or has waited long enough for one.
 */
MUST_CHECK err_t metered_new(struct uplink *u, const char *url, const char *mountpoint, struct metered **out);
/* Once the folder is mounted: returns at once.  NULL is fine, here and below. */
void metered_start(struct metered *m);
/* The process is gone then. */
void metered_free(struct metered *m);

#endif
