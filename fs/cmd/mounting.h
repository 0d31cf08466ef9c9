/*
 * mounting.h: what mount and up share: the checks before a mount, unlocking, and the daemon.
 * Functions return exit statuses (tell.h).  Uses place.h, prompt.h, daemon.h, mount_check.h.
 */
#ifndef SNUGFS_MOUNTING_H
#define SNUGFS_MOUNTING_H

#include "options.h"
#include "place.h"
#include "prompt.h"

/* Whatever can be known to be wrong before anybody is asked for anything; takes off a mount that died. */
int mounting_check(const struct options *o, const struct place *p);
/* Unlocks a vault that exists; empty if it needs no unlocking.  Call it before there are threads. */
int mounting_unlock(const struct options *o, const struct place *p, struct secret *out);
/*
 * Mounts and serves until it is over.  announce: say on stdout what was done once the folder is usable.
 * remote: for a vault that has none yet, normalized, or NULL.
 */
int mounting_serve(const struct options *o, const struct place *p, const struct secret *passphrase, const char *remote,
    bool announce);

#endif
