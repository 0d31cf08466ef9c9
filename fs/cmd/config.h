/*
 * config.h: the small file that remembers which mount point belongs to which vault: $XDG_CONFIG_HOME/snugfs/config.ini.
 *
 * One section for each, [vault 1], [vault 2], …, with the keys mountpoint, directory and remote.  In values every byte but
 * letters, digits and /._+,:@~- is written %XX, and what is long goes on in indented lines (INI readers cut long lines).
 * The section [settings], which only people write, has up-limit, down-limit, metered and on-event.
 * Other sections, other keys and comments outside the rewritten section stay as they are.  Uses paths.h, inih.
 */
#ifndef SNUGFS_CONFIG_H
#define SNUGFS_CONFIG_H

#include <stddef.h>

#include "err.h"

struct config_entry {
	char section[32];
	char *mountpoint;
	char *directory;
	char *remote; /* NULL: none */
};

struct config {
	struct config_entry *entries;
	size_t count;
	char *up_limit;   /* of the section [settings], as they stand there; NULL: they do not */
	char *down_limit;
	char *metered;    /* "pause" or "sync" */
	char *on_event;
};

void config_clear(struct config *c);
/* An absent file is an empty configuration.  -EBADMSG: not an INI file. */
MUST_CHECK err_t config_load(struct config *out);
/* NULL if there is none. */
const struct config_entry *config_find(const struct config *c, const char *mountpoint);
const struct config_entry *config_find_directory(const struct config *c, const char *directory);
/*
 * Adds or replaces the entry of a mount point, atomically, mode 0600.  remote may be NULL.  -EBADMSG: not an INI file.  -ENOTUNIQ:
 * somebody has edited it so that this would change more than that.
 */
MUST_CHECK err_t config_remember(const char *mountpoint, const char *directory, const char *remote);
/* The file's path for messages, malloc'ed, or NULL. */
char *config_path(void);

#endif
