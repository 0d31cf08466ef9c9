/*
 * daemon.h: a mounted vault in one process: vault, vfs, mount, sync and control socket, from opening to the last commit.
 * Uses vault.h, vfs.h, fuse_ops.h, uplink.h, control.h, launch.h.
 */
#ifndef SNUGFS_DAEMON_H
#define SNUGFS_DAEMON_H

#include "vault.h"

struct daemon_params {
	const char *mountpoint;
	const char *vault_dir;
	const char *mount_options; /* may be NULL */
	const char *remote;        /* normalized; for a vault that has none yet (another than it has is refused); NULL: leave it */
	const uint64_t *cache_size; /* so much of what the store has is kept here (cache.h); NULL: as before */
	const uint64_t *up_limit, *down_limit; /* bytes a second (settings.h); the same */
	struct vault_unlock unlock;
	/* The folder is usable; may print.  remote: what it syncs with, or NULL. */
	void (*ready)(const void *ctx, const char *remote);
	const void *ctx;
};

/*
 * Opens, mounts, serves until unmounted or told to end by a signal, saves.  Returns an exit status (tell.h); after `ready`
 * failures go to the log as well.
 */
int daemon_run(const struct daemon_params *p);

#endif
