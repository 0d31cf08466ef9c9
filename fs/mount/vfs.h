/*
 * vfs.h: POSIX semantics over metadata and content: what each operation means, without a word of FUSE.  Can be driven by a
 * test without a mount.
 *
 * Permissions are the kernel's (default_permissions); here is what the kernel leaves to a file system: link counts, times,
 * set-id clearing, setgid inheritance, default ACLs, sticky deletion is the kernel's.  All functions are thread-safe,
 * return 0 or a negative errno as the system call of that name would, and never wait for the network except for
 * vfs_read of bytes that only the store has.
 * Uses meta.h, content.h, lookups.h.
 */
#ifndef SNUGFS_VFS_H
#define SNUGFS_VFS_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "content.h"
#include "lookups.h"
#include "meta.h"

struct vfs;

struct vfs_caller {
	uid_t uid;
	gid_t gid;
	mode_t umask; /* applied here, unless the directory has a default ACL */
};

/* All borrowed; space_dir: a directory on the disk that holds the vault, for statfs. */
MUST_CHECK err_t vfs_new(struct meta *m, struct content *c, struct lookups *l, const char *space_dir, struct vfs **out);
void vfs_free(struct vfs *v);
/* After a crash: frees inodes without names that nobody can have open any more (those that the chain knows are kept). */
MUST_CHECK err_t vfs_reap_orphans(struct vfs *v);

/*
 * Functions that hand out an entry count one lookup of its inode on success (kernel's nlookup).  attr_out: st_ino, st_mode,
 * st_nlink, st_uid, st_gid, st_rdev, st_size, st_blocks, st_blksize, times.
 */
MUST_CHECK err_t vfs_lookup(struct vfs *v, uint64_t parent, const char *name, struct stat *attr_out);
void vfs_forget(struct vfs *v, uint64_t ino, uint64_t n);
/* With it the number says which directory it is, also if one that was removed has come back (lookups.h). */
uint64_t vfs_generation(struct vfs *v, const struct stat *attr);
MUST_CHECK err_t vfs_getattr(struct vfs *v, uint64_t ino, struct stat *attr_out);
/* Is it a regular file that has a name, and that the kernel knows?  The same as a lookup of it, by its number.  -ENOENT: it is none. */
MUST_CHECK err_t vfs_lookup_known_file(struct vfs *v, uint64_t ino, struct stat *attr_out);
bool vfs_is_known_file(struct vfs *v, uint64_t ino);
/* One of its paths, without the first slash; what it leads to must be looked at.  -ENOENT: there is no such inode. */
MUST_CHECK err_t vfs_path(struct vfs *v, uint64_t ino, char *out, size_t out_len);

enum vfs_set { /* a mask */
	VFS_SET_MODE = 1, VFS_SET_UID = 2, VFS_SET_GID = 4, VFS_SET_SIZE = 8, VFS_SET_ATIME = 16, VFS_SET_MTIME = 32,
	VFS_SET_ATIME_NOW = 64, VFS_SET_MTIME_NOW = 128, VFS_SET_CTIME = 256,
	VFS_SET_KILL_SUIDGID = 512, /* with SIZE: the caller is not privileged: clear set-id bits */
	VFS_SET_FOREIGN_GROUP = 1024, /* where set-id bits are cleared: the caller is not in the file's group */
	VFS_SET_STRANGER = 2048, /* where they are cleared: the caller may not change the file's mode, so -EPERM if there are any */
};
MUST_CHECK err_t vfs_setattr(struct vfs *v, uint64_t ino, const struct stat *attr, unsigned mask, struct stat *attr_out);

/* mode: type (0 means regular) and permissions; fifos, sockets, devices, regular files. */
MUST_CHECK err_t vfs_mknod(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, mode_t mode,
    dev_t rdev, struct stat *attr_out);
MUST_CHECK err_t vfs_mkdir(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, mode_t mode,
    struct stat *attr_out);
MUST_CHECK err_t vfs_symlink(struct vfs *v, const struct vfs_caller *who, const char *target, uint64_t parent,
    const char *name, struct stat *attr_out);
MUST_CHECK err_t vfs_link(struct vfs *v, uint64_t ino, uint64_t parent, const char *name, struct stat *attr_out);
/* out[out_len] gets the target and a NUL; -ENAMETOOLONG. */
MUST_CHECK err_t vfs_readlink(struct vfs *v, uint64_t ino, char *out, size_t out_len);
MUST_CHECK err_t vfs_unlink(struct vfs *v, uint64_t parent, const char *name);
MUST_CHECK err_t vfs_rmdir(struct vfs *v, uint64_t parent, const char *name);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE; others -EINVAL. */
MUST_CHECK err_t vfs_rename(struct vfs *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
    unsigned flags);
/* With RENAME_WHITEOUT among the flags: the old name leads to a new device 0:0 of the caller's.  Not with RENAME_EXCHANGE. */
MUST_CHECK err_t vfs_rename_whiteout(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name,
    uint64_t new_parent, const char *new_name, unsigned flags);

MUST_CHECK err_t vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out);
enum vfs_write_flags { /* a mask */
	VFS_WRITE_KILL_SUIDGID = 1, /* the caller is not privileged: the write clears set-id bits */
	VFS_WRITE_BACK = 2,         /* written earlier into the kernel's cache: the kernel sets the times itself */
	VFS_WRITE_FOREIGN_GROUP = 4, /* with KILL_SUIDGID: the caller is not in the file's group */
};
MUST_CHECK err_t vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags);
/* FALLOC_FL_KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE; others -EOPNOTSUPP.  -ENOSPC when the disk has not that much. */
MUST_CHECK err_t vfs_fallocate(struct vfs *v, uint64_t ino, int mode, uint64_t off, uint64_t len);
MUST_CHECK err_t vfs_seek(struct vfs *v, uint64_t ino, uint64_t off, int whence, uint64_t *out);
/* At most len bytes; *copied_out is what was copied (less at the source's end). */
MUST_CHECK err_t vfs_copy_range(struct vfs *v, uint64_t from, uint64_t from_off, uint64_t to, uint64_t to_off, size_t len,
    size_t *copied_out);
MUST_CHECK err_t vfs_fsync(struct vfs *v, uint64_t ino);

/*
 * Entries after `after` (0: from the start, "." and ".." come first and have cookies 1 and 2), until fn returns non-zero
 * (then 0 is returned: the buffer is full).  attr is filled in full if with_attr, else only st_ino and st_mode's type.
 * fn is called under the meta lock: it copies, it does not block.  With with_attr, fn returning 0 counts a lookup of every
 * entry but "." and "..".
 */
typedef int vfs_dir_fn(void *ctx, const char *name, const struct stat *attr, uint64_t cookie);
MUST_CHECK err_t vfs_readdir(struct vfs *v, uint64_t ino, uint64_t after, bool with_attr, vfs_dir_fn *fn, void *ctx);

/*
 * Among the flags of vfs_setxattr: who sets an access ACL is neither privileged nor in the file's group, so its set-group-id bit
 * goes (posix_acl_update_mode in Linux).
 */
#define VFS_XATTR_DROP_SETGID (1 << 16)
/* As setxattr(2) and friends.  size 0 asks for the length.  -ENODATA, -ERANGE, -EEXIST, -E2BIG, -ENOSPC, -EOPNOTSUPP. */
MUST_CHECK err_t vfs_setxattr(struct vfs *v, uint64_t ino, const char *name, const void *value, size_t len, int flags);
MUST_CHECK err_t vfs_getxattr(struct vfs *v, uint64_t ino, const char *name, void *value, size_t size, size_t *len_out);
MUST_CHECK err_t vfs_listxattr(struct vfs *v, uint64_t ino, char *list, size_t size, size_t *len_out);
/* An ACL that is not there: 0. */
MUST_CHECK err_t vfs_removexattr(struct vfs *v, uint64_t ino, const char *name);

MUST_CHECK err_t vfs_statfs(struct vfs *v, struct statvfs *out);

#endif
