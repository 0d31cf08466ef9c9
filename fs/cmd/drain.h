/*
 * drain.h: "the store has everything", waited for, with progress on a terminal; by the daemon or by this process.
 * Functions return exit statuses (tell.h).  Uses control.h, place.h, sync.h.
 */
#ifndef SNUGFS_DRAIN_H
#define SNUGFS_DRAIN_H

#include "options.h"
#include "place.h"
#include "vault.h"

/* Mounted: the daemon does it. */
int drain_mounted(const struct place *p);
/* Not mounted: an open vault that has a remote, here and now. */
int drain_vault(struct vault *v);

#endif
