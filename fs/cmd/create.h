/*
 * create.h: making the local half of a vault, for init, up and join.  Functions return exit statuses (tell.h).
 * Uses place.h, prompt.h, vault.h, store.h.
 */
#ifndef SNUGFS_CREATE_H
#define SNUGFS_CREATE_H

#include "options.h"
#include "place.h"
#include "prompt.h"
#include "vault.h"

/*
 * Makes the vault of a place that has none, shows its recovery key once (or writes it to --recovery-key-file), and remembers
 * it.  passphrase_out: empty with --no-passphrase.  remote: normalized, or NULL.
 */
int create_vault(const struct options *o, struct place *p, const char *remote, struct secret *passphrase_out);

/* --remote, normalized and malloc'ed; NULL if it was not given. */
int create_remote_url(const struct options *o, char **out);
int create_check_device_name(const struct options *o);
/* --device-name, or the host's name. */
void create_device_name(const struct options *o, char out[static TRUST_NAME_MAX + 1]);
/*
 * A recovery key on its way to a person: to a file, of which the room is taken before there is a key, or shown.
 * text: as recoverykey.h writes it.
 */
int create_reserve_key_file(const char *path, int *fd_out);
MUST_CHECK err_t create_fill_key_file(int fd, const char *text);
MUST_CHECK err_t create_print_key(const char *text);
/* How a vault is locked with that passphrase (empty: not), or unlocked by what mounting_unlock gave. */
struct vault_unlock create_lock(const struct secret *passphrase);
/*
 * The store can be written to here, and holds no vault but that of `id` (NULL: none at all).  create: make its folder.
 */
int create_check_store(const char *remote, bool create, const uint8_t *id, const char *mountpoint);

#endif
