/* recovery_check.h: whether a recovery key is the right one.  Returns exit statuses (tell.h).  Uses session.h, identity.h. */
#ifndef SNUGFS_RECOVERY_CHECK_H
#define SNUGFS_RECOVERY_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "options.h"

/*
 * Compares it with the one of the vault of the mount point that was given, or of the only vault that is known; if that leaves
 * none, only says so.  quiet: nothing is said if it is right.
 */
int recovery_check(const struct options *o, const uint8_t key[static RECOVERY_KEY_LEN], bool quiet);

#endif
