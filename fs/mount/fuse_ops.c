/*
 * The handlers: each translates one FUSE message to a call of vfs.h and its result back.  No semantics live here.  Those for what is
 * in files are in fuse_data.c.
 *
 * What is not here is on purpose.  CREATE: without it the kernel sends MKNOD, and a file that was made that way needs no
 * RELEASE.  RELEASE, FLUSH, OPENDIR's handle: there is no state per open.  Locks: the kernel's own are right on one host.
 */
#define FUSE_USE_VERSION 314
#include "fuse_listing.h"
#include "fuse_private.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

/* Seconds.  All that changes behind the kernel's back is invalidated, so what it knows stays true. */
#define FOREVER (365.0 * 24 * 60 * 60)

#define BACKGROUND_MAX 64U

struct vfs *
fuse_ops_vfs(fuse_req_t req)
{
	const struct fuse_serving *s = fuse_req_userdata(req);

	return s->vfs;
}

static struct fuse_listings *
listings_of(fuse_req_t req)
{
	const struct fuse_serving *s = fuse_req_userdata(req);

	return s->listings;
}

static struct vfs_caller
caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct vfs_caller){ .uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask };
}

/* That a reply cannot be delivered means that the connection is gone, which the receiving side learns by itself. */

static void
reply_err(fuse_req_t req, err_t err)
{
	fuse_reply_err(req, -err);
}

static void
reply_attr(fuse_req_t req, err_t err, const struct stat *attr)
{
	if (err)
		reply_err(req, err);
	else
		fuse_reply_attr(req, attr, FOREVER);
}

static struct fuse_entry_param
entry_of(fuse_req_t req, const struct stat *attr)
{
	return (struct fuse_entry_param){ .ino = attr->st_ino, .generation = vfs_generation(fuse_ops_vfs(req), attr), .attr = *attr,
		.attr_timeout = FOREVER, .entry_timeout = FOREVER };
}

static void
reply_entry(fuse_req_t req, err_t err, const struct stat *attr)
{
	struct fuse_entry_param entry;

	if (err) {
		reply_err(req, err);
		return;
	}
	entry = entry_of(req, attr);
	fuse_reply_entry(req, &entry);
}

static void
op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable & (FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS | FUSE_CAP_NO_OPEN_SUPPORT |
	    FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_POSIX_ACL |
	    FUSE_CAP_DONT_MASK | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_EXPORT_SUPPORT);
	/*
	 * Truncation on open must come as SETATTR, since OPEN does not come.  Entries always come with their attributes: most who
	 * read a folder ask for those next, many only when they have read all names, too late for READDIRPLUS_AUTO.  Data is
	 * never spliced: it is decrypted into and encrypted from memory.  Who reads past the kernel's cache waits for each message,
	 * since only then can he be killed meanwhile.
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO |
	    FUSE_CAP_ASYNC_DIO | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_write = FUSE_DATA_MAX;
	conn->max_readahead = FUSE_DATA_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->time_gran = 1;
}

/* For fuse_tell.c, which may know no name of a file; whoever else asks sees his own names, and what he misses is not remembered. */
static bool
is_by_number(fuse_ino_t parent, const char *name)
{
	return parent == FUSE_ROOT_ID && strncmp(name, FUSE_BY_NUMBER, strlen(FUSE_BY_NUMBER)) == 0;
}

static void
lookup_by_number(fuse_req_t req, const char *name)
{
	bool ours = fuse_wire_is_own(fuse_req_ctx(req)->pid);
	struct fuse_entry_param entry;
	struct stat attr;
	err_t err = ours ? vfs_lookup_known_file(fuse_ops_vfs(req), strtoull(name + strlen(FUSE_BY_NUMBER), NULL, 10), &attr) :
	    vfs_lookup(fuse_ops_vfs(req), FUSE_ROOT_ID, name, &attr);

	if (err != 0) {
		reply_err(req, err);
		return;
	}
	entry = entry_of(req, &attr);
	entry.entry_timeout = ours ? 0 : FOREVER;
	fuse_reply_entry(req, &entry);
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct stat attr;
	err_t err;

	if (is_by_number(parent, name)) {
		lookup_by_number(req, name);
		return;
	}
	err = vfs_lookup(fuse_ops_vfs(req), parent, name, &attr);
	if (err == -ENOENT) {
		/* Inode 0: the kernel may remember that there is no such name. */
		struct fuse_entry_param nothing = { .entry_timeout = FOREVER };

		fuse_reply_entry(req, &nothing);
		return;
	}
	reply_entry(req, err, &attr);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	vfs_forget(fuse_ops_vfs(req), ino, nlookup);
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		vfs_forget(fuse_ops_vfs(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;
	err_t err = vfs_getattr(fuse_ops_vfs(req), ino, &attr);

	(void)fi;
	reply_attr(req, err, &attr);
}

static unsigned
set_mask(int to_set)
{
	static const struct {
		int fuse;
		unsigned vfs;
	} bits[] = {
		{ FUSE_SET_ATTR_MODE, VFS_SET_MODE }, { FUSE_SET_ATTR_UID, VFS_SET_UID }, { FUSE_SET_ATTR_GID, VFS_SET_GID },
		{ FUSE_SET_ATTR_SIZE, VFS_SET_SIZE }, { FUSE_SET_ATTR_ATIME, VFS_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, VFS_SET_MTIME }, { FUSE_SET_ATTR_ATIME_NOW, VFS_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, VFS_SET_MTIME_NOW }, { FUSE_SET_ATTR_CTIME, VFS_SET_CTIME },
	};
	unsigned mask = 0;

	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		if (to_set & bits[i].fuse)
			mask |= bits[i].vfs;
	return mask;
}

/* Is the caller in the group?  Costs a look into /proc if it is not the caller's first one. */
static bool
is_member(fuse_req_t req, gid_t group)
{
	gid_t few[32], *groups = few;
	CLEANUP(free_ptr) gid_t *many = NULL;
	int count;

	if (fuse_req_ctx(req)->gid == group)
		return true;
	count = fuse_req_getgroups(req, ARRAY_LEN(few), few);
	if (count > (int)ARRAY_LEN(few)) {
		many = calloc((size_t)count, sizeof(*many));
		groups = many;
		count = many ? fuse_req_getgroups(req, count, many) : 0;
	}
	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/*
 * The kernel asks for set-id bits to be cleared, but does not say whether the caller is in the file's group, which matters to a
 * set-group-id bit without group execution, and when an ACL is set.
 */
bool
fuse_ops_has_foreign_setgid(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st;

	if (vfs_getattr(fuse_ops_vfs(req), ino, &st) != 0 || !(st.st_mode & S_ISGID))
		return false;
	return !is_member(req, st.st_gid);
}

/* A change by somebody without privileges that may take set-id bits: of the size, the owner, or none (see vfs_setattr). */
static bool
may_take_setgid(fuse_req_t req, unsigned mask)
{
	if (mask & (VFS_SET_MODE | VFS_SET_ATIME | VFS_SET_MTIME))
		return mask & VFS_SET_KILL_SUIDGID;
	return fuse_req_ctx(req)->uid != 0;
}

/*
 * Whether it is chown(2) with -1 and -1 by somebody who may not change the mode: Linux asks nobody's permission for it, because it
 * leaves to the file system what it takes.  It comes with the time of change alone, or of what is no regular file with nothing.  With
 * nothing, but of a regular file, comes what was about to change its contents, which the kernel has allowed.
 */
static bool
is_by_stranger(fuse_req_t req, fuse_ino_t ino, unsigned mask)
{
	uid_t who = fuse_req_ctx(req)->uid;
	struct stat st;

	if ((mask & ~(unsigned)VFS_SET_CTIME) != 0 || who == 0 || vfs_getattr(fuse_ops_vfs(req), ino, &st) != 0)
		return false;
	return st.st_uid != who && ((mask & VFS_SET_CTIME) || !S_ISREG(st.st_mode));
}

static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int to_set, struct fuse_file_info *fi)
{
	unsigned mask = set_mask(to_set) | (fuse_wire_kill_suidgid() ? (unsigned)VFS_SET_KILL_SUIDGID : 0U);
	struct stat attr;
	err_t err;

	(void)fi;
	if (is_by_stranger(req, ino, mask))
		mask |= VFS_SET_STRANGER;
	if (may_take_setgid(req, mask) && fuse_ops_has_foreign_setgid(req, ino))
		mask |= VFS_SET_FOREIGN_GROUP;
	if (fuse_loop_is_refresh(fuse_req_ctx(req)->pid))
		err = vfs_getattr(fuse_ops_vfs(req), ino, &attr);
	else
		err = vfs_setattr(fuse_ops_vfs(req), ino, wanted, mask, &attr);
	reply_attr(req, err, &attr);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[4097]; /* PATH_MAX and a NUL */
	err_t err = vfs_readlink(fuse_ops_vfs(req), ino, target, sizeof(target));

	if (err)
		reply_err(req, err);
	else
		fuse_reply_readlink(req, target);
}

static void
op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct vfs_caller who = caller_of(req);
	struct stat attr;
	err_t err;

	fuse_listings_note_change(listings_of(req), parent);
	err = vfs_mknod(fuse_ops_vfs(req), &who, parent, name, mode, rdev, &attr);
	/* The kernel did not know the name, which another device's has just taken: it looks again, and opens that or fails with -EEXIST. */
	reply_entry(req, err == -EEXIST ? -ESTALE : err, &attr);
}

static void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct vfs_caller who = caller_of(req);
	struct stat attr;
	err_t err;

	fuse_listings_note_change(listings_of(req), parent);
	err = vfs_mkdir(fuse_ops_vfs(req), &who, parent, name, mode, &attr);
	reply_entry(req, err, &attr);
}

static void
op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct vfs_caller who = caller_of(req);
	struct stat attr;
	err_t err;

	fuse_listings_note_change(listings_of(req), parent);
	err = vfs_symlink(fuse_ops_vfs(req), &who, target, parent, name, &attr);
	reply_entry(req, err, &attr);
}

static void
op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct stat attr;
	err_t err;

	fuse_listings_note_change(listings_of(req), new_parent);
	err = vfs_link(fuse_ops_vfs(req), ino, new_parent, new_name, &attr);
	reply_entry(req, err, &attr);
}

static void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_listings_note_change(listings_of(req), parent);
	reply_err(req, vfs_unlink(fuse_ops_vfs(req), parent, name));
}

static void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_listings_note_change(listings_of(req), parent);
	reply_err(req, vfs_rmdir(fuse_ops_vfs(req), parent, name));
}

static void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct vfs_caller who = caller_of(req);

	fuse_listings_note_change(listings_of(req), parent);
	fuse_listings_note_change(listings_of(req), new_parent);
	if (flags & RENAME_WHITEOUT)
		reply_err(req, vfs_rename_whiteout(fuse_ops_vfs(req), &who, parent, name, new_parent, new_name, flags));
	else
		reply_err(req, vfs_rename(fuse_ops_vfs(req), parent, name, new_parent, new_name, flags));
}

/* The kernel takes this as "works without", and does not ask again. */
static void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply_err(req, -ENOSYS);
}

static int
add_entry(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct fuse_answer_list *list = ctx;
	struct fuse_entry_param entry = entry_of(list->req, attr);

	/* "." and ".." carry no lookup. */
	if (cookie <= 2)
		entry.ino = 0;
	return fuse_answer_add(list, name, &entry, cookie);
}

static void
read_entries(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct fuse_answer_list list = fuse_answer_begin(req, size, plus);
	err_t err;

	if (off == 0)
		fuse_listings_begin(listings_of(req), ino);
	err = vfs_readdir(fuse_ops_vfs(req), ino, (uint64_t)off, plus, add_entry, &list);
	if (!err && list.len == 0 && !fuse_listings_end(listings_of(req), ino))
		fuse_loop_forget_listing(ino);
	fuse_answer_list(&list, err);
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_entries(req, ino, size, off, false);
}

static void
op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_entries(req, ino, size, off, true);
}

static void
op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	err_t err = vfs_statfs(fuse_ops_vfs(req), &st);

	(void)ino;
	if (err)
		reply_err(req, err);
	else
		fuse_reply_statfs(req, &st);
}

static void
op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	if (strcmp(name, "system.posix_acl_access") == 0 && fuse_req_ctx(req)->uid != 0 && fuse_ops_has_foreign_setgid(req, ino))
		flags |= VFS_XATTR_DROP_SETGID;
	reply_err(req, vfs_setxattr(fuse_ops_vfs(req), ino, name, value, size, flags));
}

static void
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *value = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err = vfs_getxattr(fuse_ops_vfs(req), ino, name, value, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, &len);

	fuse_answer_xattr(req, err, value, size, len);
}

/* xattr(7): the names of trusted attributes are shown to the administrator alone.  Returns the length that is left. */
static size_t
hide_trusted(char *list, size_t len)
{
	static const char prefix[] = "trusted.";
	size_t kept = 0, name_len;

	for (size_t at = 0; at < len; at += name_len) {
		name_len = strlen(list + at) + 1;
		if (strncmp(list + at, prefix, sizeof(prefix) - 1) == 0)
			continue;
		memmove(list + kept, list + at, name_len);
		kept += name_len;
	}
	return kept;
}

static void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *list = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err = vfs_listxattr(fuse_ops_vfs(req), ino, list, FUSE_DATA_MAX, &len);

	if (!err && fuse_req_ctx(req)->uid != 0)
		len = hide_trusted(list, len);
	if (!err && size != 0 && len > size)
		err = -ERANGE;
	fuse_answer_xattr(req, err, list, size, len);
}

static void
op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	reply_err(req, vfs_removexattr(fuse_ops_vfs(req), ino, name));
}

const struct fuse_lowlevel_ops *
fuse_ops_handlers(void)
{
	static const struct fuse_lowlevel_ops handlers = {
		.init = op_init, .lookup = op_lookup, .forget = op_forget, .forget_multi = op_forget_multi,
		.getattr = op_getattr, .setattr = op_setattr, .readlink = op_readlink, .mknod = op_mknod, .mkdir = op_mkdir,
		.symlink = op_symlink, .link = op_link, .unlink = op_unlink, .rmdir = op_rmdir, .rename = op_rename,
		.open = op_open, .opendir = op_open, .read = fuse_data_read, .write = fuse_data_write, .fsync = fuse_data_fsync,
		.fsyncdir = fuse_data_fsync, .fallocate = fuse_data_fallocate, .lseek = fuse_data_lseek,
		.copy_file_range = fuse_data_copy_file_range, .readdir = op_readdir, .readdirplus = op_readdirplus,
		.statfs = op_statfs, .setxattr = op_setxattr, .getxattr = op_getxattr, .listxattr = op_listxattr,
		.removexattr = op_removexattr,
	};

	return &handlers;
}
