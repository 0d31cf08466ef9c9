/*
 * joining.h: what making this computer a device of a vault needs, whatever it comes in by.  Functions that return int return exit
 * statuses (tell.h).  Uses create.h, remote_open.h.
 */
#ifndef SNUGFS_JOINING_H
#define SNUGFS_JOINING_H

#include "place.h"
#include "prompt.h"
#include "remote_open.h"
#include "vault.h"

/* Begins as zero. */
struct joining {
	struct place place;
	char *remote;
	struct remote_keys keys; /* given on the command line: this device goes on with them */
	struct store *store;
	struct secret passphrase;
	char device_name[TRUST_NAME_MAX + 1];
	struct vault_create_params params; /* of the others; for sync_join and sync_join_invited */
};
void joining_clear(struct joining *j);

/* Where it is to be: there must be no vault yet.  And the keys to the store, if they are given. */
int joining_begin(const struct options *o, struct joining *j);
/* Takes over remote, which is normalized.  invited: keys that an invitation has, or NULL; those that were given go before. */
int joining_open_store(struct joining *j, char *remote, const struct store_credentials *invited);
/* Asks for the new passphrase, makes the mount point, and fills params. */
int joining_prepare(const struct options *o, struct joining *j);
/* After the sync's part, with its error and its sentence (malloc'ed, or NULL): remembers the vault, and tells. */
int joining_finish(const struct joining *j, err_t err, char *why);

#endif
