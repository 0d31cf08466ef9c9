/*
 * mount_check.h: what can be known to be wrong before the kernel is asked to mount, as sentences for a person.
 * Uses err.h.
 */
#ifndef SNUGFS_MOUNT_CHECK_H
#define SNUGFS_MOUNT_CHECK_H

#include <stdbool.h>

#include "err.h"

/* The type that /proc/self/mounts shows. */
#define MOUNT_SUBTYPE "snugfs"
#define MOUNT_TYPE "fuse." MOUNT_SUBTYPE

/* Options that this program does not hand on, or must know. */
struct mount_wishes {
	bool allow_other;
	bool nonempty; /* hide what is in the folder */
};

/*
 * Checks comma-separated options (may be NULL) against those that make sense here.  kernel_out: what goes on to the
 * kernel, comma-separated, malloc'ed, maybe "".  -EINVAL: one is not known; why_out (malloc'ed) names it.
 */
MUST_CHECK err_t mount_check_options(const char *options, struct mount_wishes *wishes_out, char **kernel_out, char **why_out);

/*
 * May dir be mounted on, by this user and on this machine?  -EBUSY: it is a mount of this program already; -ENOTCONN: of
 * one that died; -ENOENT, -ENOTDIR, -ENOTEMPTY, -EACCES; -ENODEV: no /dev/fuse; -EPERM: allow_other is not for this user.
 * why_out (malloc'ed) is the sentence.
 */
MUST_CHECK err_t mount_check_place(const char *dir, const struct mount_wishes *wishes, char **why_out);

/*
 * False: the kernel is sure that nothing is mounted at dir itself, which must not be a symbolic link.  Asks no file system, so that a
 * dead one holds nobody up, and spares most callers the table of mounts, which grows with whatever else is mounted.
 */
bool mount_check_may_be_mounted(const char *dir);
/* Is the topmost mount at dir one of this program? */
bool mount_check_is_ours(const char *dir);

#endif
