/*
 * fuse_ops.h: the mount: translates FUSE's messages to vfs.h and back.  The files fuse_*.c own libfuse.  Uses vfs.h.
 *
 * Low-level API, one thread pool, writeback cache, readdirplus, long timeouts; OPEN, OPENDIR and FLUSH are answered ENOSYS
 * (there is no state per open).
 */
#ifndef SNUGFS_FUSE_OPS_H
#define SNUGFS_FUSE_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "vfs.h"

struct fuse_mount;

struct hidden_source;

struct fuse_mount_options {
	const char *mountpoint; /* absolute */
	const char *fsname;     /* shown in mount(8) */
	const char *options;    /* comma-separated, checked: allow_other, ro, dev, nodev, suid, nosuid, exec, noexec, noatime…; may be NULL */
	bool debug;
	const struct hidden_source *hidden; /* borrowed; NULL: there is no hidden folder */
};

/*
 * Mounts.  why_out: a malloc'ed sentence on failure (no /dev/fuse, not permitted, not a directory, unknown option,
 * allow_other not permitted by /etc/fuse.conf).
 */
MUST_CHECK err_t fuse_mount_new(struct vfs *v, const struct fuse_mount_options *o, struct fuse_mount **out, char **why_out);
/* Serves until unmounted or fuse_mount_stop; SIGINT, SIGTERM, SIGHUP end it too.  0 or the session's error. */
MUST_CHECK err_t fuse_mount_serve(struct fuse_mount *fm);
/* Makes serve return, from any thread. */
void fuse_mount_stop(struct fuse_mount *fm);
/* Unmounts if still mounted, and frees. */
void fuse_mount_free(struct fuse_mount *fm);

/*
 * Tells the kernel that something changed behind its back.  Not with any lock held that an operation wants.  Does
 * nothing for what the kernel does not know.
 */
void fuse_mount_forget_entry(struct fuse_mount *fm, uint64_t parent, const char *name);
/* Writes what is dirty of it, and waits for nobody who reads it. */
void fuse_mount_write_inode(struct fuse_mount *fm, uint64_t ino);
void fuse_mount_forget_inode(struct fuse_mount *fm, uint64_t ino); /* attributes and pages; dirty pages are written first */

/* Messages served so far by kind, for status --counters: fills at most max names and counts, returns how many. */
size_t fuse_mount_counters(struct fuse_mount *fm, const char **names, uint64_t *counts, size_t max);
/* Another number whenever somebody has used the folder in between: what only this process or the kernel itself wanted is none. */
uint64_t fuse_mount_use(struct fuse_mount *fm);

#endif
