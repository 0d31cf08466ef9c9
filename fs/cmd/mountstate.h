/*
 * mountstate.h: what is mounted at a mount point, and how it comes off again.  Uses err.h, mount_check.h,
 * connection.h, control.h, tell.h.
 */
#ifndef SNUGFS_MOUNTSTATE_H
#define SNUGFS_MOUNTSTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

enum mountstate {
	MOUNT_NONE,
	MOUNT_OURS,  /* by this program, and it answers */
	MOUNT_STALE, /* by this program, whose process has died */
	MOUNT_OTHER, /* another file system */
};

/*
 * mountpoint: absolute, without symbolic links.  Where a daemon was killed in such a way that asking the mount would hang, nobody waits
 * for it any more when this returns, and it is told on stderr.
 */
enum mountstate mountstate_get(const char *mountpoint);
/* The vault's folder of what is mounted there by this program, malloc'ed; NULL: nothing is. */
char *mountstate_vault_dir(const char *mountpoint);
/* Is the vault in that folder mounted anywhere? */
bool mountstate_is_mounted(const char *vault_dir);
/* The same as that process sees it, whose mount namespace may be another; as it is seen here, if that can't be told (-1: no number). */
bool mountstate_has_mounted(pid_t daemon, const char *vault_dir);

/* umount(2), or fusermount3 for an ordinary user.  lazy: detach at once even if it is in use.  -EBUSY: in use; -EPERM. */
MUST_CHECK err_t mountstate_unmount(const char *mountpoint, int lazy);
/* Names a process that uses something below the mount point: "bash (1234)"; "" if none can be seen. */
void mountstate_who_uses(const char *mountpoint, char *out, size_t out_len);

#endif
