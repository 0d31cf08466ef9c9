/*
 * place.h: which vault a mount point means, and whether the two (and the store) may lie where they lie.
 * Functions that return int return exit statuses (tell.h).  Uses config.h, paths.h, options.h, vault.h, store.h.
 */
#ifndef SNUGFS_PLACE_H
#define SNUGFS_PLACE_H

#include <stdbool.h>

#include "err.h"
#include "options.h"

struct place {
	char *mountpoint;
	char *vault_dir;
	char *remote;          /* as the configuration remembers it, else NULL */
	bool exists;           /* there is a vault in vault_dir */
	bool wants_passphrase; /* if it exists */
};

void place_clear(struct place *p);
/*
 * The vault's folder is --vault, or what is mounted there, or what the configuration remembers, or (also for one that is to
 * be made) a folder under the XDG directories named after the mount point.
 */
int place_find(const struct options *o, struct place *out);
/* The same for a mount point that is known from elsewhere, without options. */
int place_find_remembered(const char *mountpoint, struct place *out);
/* place_find, and an error unless there is a vault. */
int place_find_existing(const struct options *o, struct place *out);

/*
 * The vault in whose folder a path lies, mounted or remembered; path_out gets the path below the mount point, malloc'ed, ""
 * for the mount point itself.  The last component is not followed, and need not exist.
 */
int place_find_containing(const char *path, struct place *out, char **path_out);

/* Mount point, vault and the directory of a dir: store (normalized URL, may be NULL) must not contain one another. */
int place_check_apart(const struct place *p, const char *remote);
/* Makes the mount point unless something is there. */
int place_make_mountpoint(const struct place *p);
/* What was found (and `remote`, maybe NULL) is remembered for next time. */
int place_remember(const struct place *p, const char *remote);
/* The configuration cannot be used: why, for the end of a sentence about it; and the whole sentence. */
const char *place_config_reason(err_t err);
int place_tell_config(err_t err);

#endif
