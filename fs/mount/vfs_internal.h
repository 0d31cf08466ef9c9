/* vfs_internal.h: shared by vfs*.c and by nobody else.  All functions here need the meta lock. */
#ifndef SNUGFS_VFS_INTERNAL_H
#define SNUGFS_VFS_INTERNAL_H

#include "vfs.h"

struct vfs {
	struct meta *meta;
	struct content *content;
	struct lookups *lookups;
	char *space_dir;
};

void vfs_now(struct timespec *ts);
void vfs_fill_stat(const struct inode *i, struct stat *st);
/* Sets ctime to now, marks `bits` pending, notes the change. */
void vfs_changed(struct vfs *v, struct inode *i, unsigned bits);
/* What becomes of an inode whose last name is gone: kept while somebody has it open or the chain knows it. */
void vfs_after_unlink(struct vfs *v, struct inode *i);
/* Set-id bits as a write or chown clears them (foreign_group: by no member of the group): true if the mode changed. */
bool vfs_kill_suidgid(struct inode *i, bool foreign_group);
/* Whether there are any that it would clear. */
bool vfs_has_suidgid(const struct inode *i, bool foreign_group);

/* vfs_acl.c: POSIX ACLs as their extended attributes. */
#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
/* Applies umask or the parent's default ACL to a new inode's mode, and sets its ACLs. */
MUST_CHECK err_t vfs_acl_inherit(struct vfs *v, struct inode *parent, struct inode *child, mode_t umask);
/* After chmod: the access ACL follows the mode. */
MUST_CHECK err_t vfs_acl_chmod(struct vfs *v, struct inode *i);
/* Before an access ACL is stored: the mode follows it.  *keep_out false: it says no more than the mode, store none. */
MUST_CHECK err_t vfs_acl_apply(struct inode *i, const uint8_t *acl, size_t len, bool *keep_out);

/* vfs_xattr.c */
MUST_CHECK err_t vfs_xattr_put(struct vfs *v, struct inode *i, const char *name, const void *value, size_t len);
MUST_CHECK err_t vfs_xattr_drop(struct vfs *v, struct inode *i, const char *name); /* -ENODATA */
MUST_CHECK err_t vfs_xattr_find(struct vfs *v, struct inode *i, const char *name, const struct xattr **out); /* -ENODATA */

#endif
