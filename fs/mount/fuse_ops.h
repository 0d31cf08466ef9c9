/*
 * fuse_ops.h: the mount: translates FUSE's messages to vfs.h and back.  This file owns libfuse.  Uses vfs.h.
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

/* A moment: of a commit's number, or of a time. */
struct fuse_past_key {
	bool is_commit;
	uint64_t value;
};
/* Who knows the past, for the hidden folder .snugfs (fuse_past.c).  Any thread; may take long. */
struct fuse_past_source {
	void *ctx;
	/* What a name in .snugfs/at means.  -EINVAL: nothing. */
	err_t (*parse)(void *ctx, const char *name, struct fuse_past_key *out);
	/* The tree then, to be read until leave.  *commit: where it is found, UINT64_MAX before that. */
	err_t (*enter)(void *ctx, const struct fuse_past_key *key, uint64_t *commit, struct vfs **out, void **token_out);
	void (*leave)(void *ctx, void *token);
	/* Names worth listing, until fn returns non-zero. */
	err_t (*list)(void *ctx, int (*fn)(void *fn_ctx, const char *name), void *fn_ctx);
	/* The mount is ending: what is under way gives up. */
	void (*end)(void *ctx);
};

struct fuse_mount_options {
	const char *mountpoint; /* absolute */
	const char *fsname;     /* shown in mount(8) */
	const char *options;    /* comma-separated, checked: allow_other, ro, dev, nodev, suid, nosuid, exec, noexec, noatime…; may be NULL */
	bool debug;
	const struct fuse_past_source *past; /* borrowed; NULL: there is no hidden folder */
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
void fuse_mount_forget_inode(struct fuse_mount *fm, uint64_t ino); /* attributes and pages; dirty pages are written first */

/* Messages served so far by kind, for status --counters: fills at most max names and counts, returns how many. */
size_t fuse_mount_counters(struct fuse_mount *fm, const char **names, uint64_t *counts, size_t max);

#endif
