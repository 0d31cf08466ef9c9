/* opening.h: vault_open for a command that comes while another is just ending.  Uses vault.h, mountstate.h. */
#ifndef SNUGFS_OPENING_H
#define SNUGFS_OPENING_H

#include "vault.h"

/*
 * As vault_open; but whoever has the vault open without having it mounted (a daemon that saves its last changes, a sync) is
 * waited for, for a bounded time.  -EBUSY: it is mounted somewhere, or the wait was too long.
 */
MUST_CHECK err_t opening_vault(const char *dir, const struct vault_unlock *u, struct vault **out);

#endif
