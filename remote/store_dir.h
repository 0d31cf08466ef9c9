/*
 * store_dir.h: a directory as the store (a local path, a mounted disk, a network file system).
 *
 * put: a temporary file in DIR/tmp, fsync, rename, fsync of the folder; create_if_absent: the same with link(2), which
 * fails if the name exists.  Folders are made as needed, and flushed.  Left-over temporaries older than a day go at open.
 *
 * A directory is a store if it has the folder tmp (or the object v).  DIR itself and tmp are only ever made by an open: if
 * they are gone later, the disk was unmounted, and all calls answer -EAGAIN until it is back.  Nothing in DIR is kept
 * open between calls, so that the disk can be unmounted.  Uses store.h.
 */
#ifndef SNUGFS_STORE_DIR_H
#define SNUGFS_STORE_DIR_H

#include "store.h"

/* path absolute.  create: DIR and tmp are made, DIR's own parent is not.  Errors as store_open. */
MUST_CHECK err_t store_dir_open(const char *path, bool create, struct store **out, char **why_out);

#endif
