/*
 * paths.h: where things are: absolute mount points, and the XDG base directories (specification of freedesktop.org).
 * Uses err.h, hash.h.
 */
#ifndef SNUGFS_PATHS_H
#define SNUGFS_PATHS_H

#include <stdbool.h>

#include "err.h"

/*
 * Absolute and without symbolic links, malloc'ed, also when the last component does not exist or is the mount point of a
 * file system that died.  -ENOENT: not even the folder above it exists.
 */
MUST_CHECK err_t paths_absolute(const char *path, char **out);

/*
 * The same for a name of which more may be missing, and whose last component is not followed if it is a symbolic link:
 * something deleted, with the folders that it was in.  -EINVAL: "." or ".." behind what exists.
 */
MUST_CHECK err_t paths_absolute_name(const char *path, char **out);

/* $XDG_DATA_HOME/snugfs and $XDG_CONFIG_HOME/snugfs, or what stands for them; malloc'ed.  -ENOENT: no home directory. */
MUST_CHECK err_t paths_data_dir(char **out);
MUST_CHECK err_t paths_config_dir(char **out);

/* A folder's name made of an absolute mount point: "/home/ann/Private" gives "home-ann-Private"; malloc'ed. */
MUST_CHECK err_t paths_vault_name(const char *mountpoint, char **out);

/* Its bytes as hexadecimal digits, malloc'ed; NULL: no memory.  For requests: JSON takes only UTF-8; hex_parse_path there. */
char *paths_hex(const char *path);

/* Is `path` dir or inside it?  Both absolute. */
bool paths_is_inside(const char *path, const char *dir);

/* Makes a directory (0700) and those above it. An existing one is fine. */
MUST_CHECK err_t paths_make_dirs(const char *path);

#endif
