/* Attributes: what stat shows and setattr changes, and how long an inode lives. */
#include "vfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "vfs_internal.h"

#define BLOCK_LEN 4096
#define LARGE_MAP (64u << 20) /* bytes that it may map */

err_t
vfs_new(struct meta *m, struct content *c, struct lookups *l, const char *space_dir, struct vfs **out)
{
	struct vfs *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	v->meta = m;
	v->content = c;
	v->lookups = l;
	v->space_dir = strdup(space_dir);
	if (v->space_dir == NULL) {
		free(v);
		return -ENOMEM;
	}
	*out = v;
	return 0;
}

void
vfs_free(struct vfs *v)
{
	if (v == NULL)
		return;
	free(v->space_dir);
	free(v);
}

/* The clock that the kernel stamps writes with: on a finer one, what was made first would seem newer than what was written next. */
void
vfs_now(struct timespec *ts)
{
	clock_gettime(CLOCK_REALTIME_COARSE, ts);
}

/*
 * At least one: what a program that still has the file open wrote is in the kernel's cache, or was written back after the kernel
 * was told of the file, and it does not ask again before somebody closes it.  No blocks at all mean to programs that archive
 * holes as such (tar -S) that there is nothing to be read.
 */
static blkcnt_t
blocks_of(const struct inode *i)
{
	uint64_t blocks = content_blocks(i);

	return blocks != 0 ? (blkcnt_t)blocks : 1;
}

void
vfs_fill_stat(const struct inode *i, struct stat *st)
{
	*st = (struct stat){
		.st_ino = i->ino,
		.st_mode = i->mode,
		.st_nlink = i->nlink,
		.st_uid = i->uid,
		.st_gid = i->gid,
		.st_rdev = i->rdev,
		.st_blksize = BLOCK_LEN,
		.st_atim = i->atime,
		.st_mtim = i->mtime,
		.st_ctim = i->ctime,
	};
	if (S_ISREG(i->mode)) {
		st->st_size = (off_t)i->size;
		st->st_blocks = blocks_of(i);
	} else if (S_ISDIR(i->mode)) {
		st->st_size = BLOCK_LEN;
		st->st_blocks = BLOCK_LEN / 512;
	} else if (S_ISLNK(i->mode) && i->target != NULL) {
		st->st_size = (off_t)strlen(i->target);
	}
}

void
vfs_changed(struct vfs *v, struct inode *i, unsigned bits)
{
	vfs_now(&i->ctime);
	i->pending |= bits;
	meta_inode_dirty(v->meta, i);
	meta_note_local_change(v->meta);
}

/* What can't be read now (its map has to be) stays without a name until the next mount: removing the name has worked. */
void
vfs_after_unlink(struct vfs *v, struct inode *i)
{
	err_t err;

	if (i->nlink != 0 || lookups_count(v->lookups, i->ino) != 0)
		return;
	if ((i->pending & PENDING_NEW) == 0)
		return; /* the chain still has names of it: it goes once they are gone there, too */
	err = meta_inode_remove(v->meta, i);
	if (err != 0)
		log_warn("a removed file's space will be given back at a later mount: %s", strerror(-err));
}

/* Those that somebody without privileges takes with what he does. */
static uint32_t
fleeting_suidgid(const struct inode *i, bool foreign_group)
{
	uint32_t kill = S_ISUID;

	if (S_ISDIR(i->mode))
		return 0;
	/* Set-group-id without group execution once meant mandatory locking: it stays, but only for members of the group. */
	if ((i->mode & S_IXGRP) || foreign_group)
		kill |= S_ISGID;
	return i->mode & kill;
}

bool
vfs_has_suidgid(const struct inode *i, bool foreign_group)
{
	return fleeting_suidgid(i, foreign_group) != 0;
}

bool
vfs_kill_suidgid(struct inode *i, bool foreign_group)
{
	uint32_t kill = fleeting_suidgid(i, foreign_group);

	if (kill == 0)
		return false;
	i->mode &= ~kill;
	i->pending |= PENDING_MODE;
	return true;
}

/* A file whose map is to be dropped piece by piece, before it is removed under the lock. */
static bool
has_large_map(const struct vfs *v, const struct inode *i)
{
	return S_ISREG(i->mode) && i->nlink == 0 && i->pending & PENDING_NEW &&
	    (i->size > LARGE_MAP || content_is_being_cut(v->content, i->ino));
}

/* Nobody has it any more, neither by a name nor open. */
static void
remove_unused(struct vfs *v, uint64_t ino)
{
	struct inode *i;
	bool large;

	meta_lock(v->meta);
	large = meta_inode_get(v->meta, ino, &i) == 0 && has_large_map(v, i) && lookups_count(v->lookups, ino) == 0;
	meta_unlock(v->meta);
	if (large && content_discard(v->content, ino) != 0)
		return; /* the next mount tries again */
	meta_lock(v->meta);
	if (meta_inode_get(v->meta, ino, &i) == 0)
		vfs_after_unlink(v, i);
	meta_unlock(v->meta);
}

err_t
vfs_reap_orphans(struct vfs *v)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	size_t count = 0;
	err_t err;

	meta_lock(v->meta);
	err = meta_inode_scan_removed(v->meta, &inos, &count);
	meta_unlock(v->meta);
	for (size_t k = 0; err == 0 && k < count; k++)
		remove_unused(v, inos[k]);
	return err;
}

/*
 * "." and ".." come for a file handle (name_to_handle_at(2), NFS) of an inode that the kernel does not know any more: they are
 * the inode itself, of any type, and a folder's parent.
 */
static err_t
lookup_dots(struct vfs *v, uint64_t ino, bool up, struct inode **out)
{
	err_t err = meta_inode_get(v->meta, ino, out);

	if (err == 0 && up)
		err = !S_ISDIR((*out)->mode) ? -ENOTDIR : ino == INODE_ROOT ? 0 : meta_inode_get(v->meta, (*out)->parent, out);
	return err == 0 && (*out)->nlink == 0 ? -ENOENT : err;
}

err_t
vfs_lookup(struct vfs *v, uint64_t parent, const char *name, struct stat *attr_out)
{
	struct inode *i;
	err_t err;

	meta_lock_warm_name(v->meta, parent, name);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		err = lookup_dots(v, parent, name[1] == '.', &i);
	else
		err = meta_lookup(v->meta, parent, name, &i);
	if (err == 0)
		err = lookups_add(v->lookups, i->ino);
	if (err == 0)
		vfs_fill_stat(i, attr_out);
	meta_unlock(v->meta);
	return err;
}

void
vfs_forget(struct vfs *v, uint64_t ino, uint64_t n)
{
	bool removed;

	if (lookups_drop(v->lookups, ino, n) != 0)
		return;
	meta_lock(v->meta);
	removed = meta_inode_is_removed(v->meta, ino);
	meta_unlock(v->meta);
	if (removed)
		remove_unused(v, ino);
}

uint64_t
vfs_generation(struct vfs *v, const struct stat *attr)
{
	return S_ISDIR(attr->st_mode) ? lookups_generation(v->lookups, attr->st_ino) : 1;
}

err_t
vfs_getattr(struct vfs *v, uint64_t ino, struct stat *attr_out)
{
	struct inode *i;
	err_t err;

	meta_lock_warm(v->meta, ino, 0, 0);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		vfs_fill_stat(i, attr_out);
	meta_unlock(v->meta);
	return err;
}

/* [meta lock] */
static err_t
get_known_file(struct vfs *v, uint64_t ino, struct inode **out)
{
	err_t err = lookups_count(v->lookups, ino) > 0 ? meta_inode_get(v->meta, ino, out) : -ENOENT;

	return err == 0 && (!S_ISREG((*out)->mode) || (*out)->nlink == 0) ? -ENOENT : err;
}

err_t
vfs_lookup_known_file(struct vfs *v, uint64_t ino, struct stat *attr_out)
{
	struct inode *i;
	err_t err;

	meta_lock(v->meta);
	err = get_known_file(v, ino, &i);
	if (err == 0)
		err = lookups_add(v->lookups, ino);
	if (err == 0)
		vfs_fill_stat(i, attr_out);
	meta_unlock(v->meta);
	return err;
}

bool
vfs_is_known_file(struct vfs *v, uint64_t ino)
{
	struct inode *i;
	bool is;

	meta_lock(v->meta);
	is = get_known_file(v, ino, &i) == 0;
	meta_unlock(v->meta);
	return is;
}

err_t
vfs_path(struct vfs *v, uint64_t ino, char *out, size_t out_len)
{
	struct inode *i;
	err_t err;

	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		meta_path(v->meta, ino, out, out_len);
	meta_unlock(v->meta);
	return err;
}

/*
 * A change of the owner takes set-id bits, even one to the owner that it has: chown(2) with -1 and -1, which comes without any
 * bit, or with that of ctime alone.
 */
static bool
takes_suidgid(unsigned mask)
{
	if (mask & VFS_SET_SIZE)
		return mask & VFS_SET_KILL_SUIDGID;
	if (mask & (VFS_SET_UID | VFS_SET_GID))
		return !(mask & VFS_SET_MODE);
	return (mask & ~(unsigned)(VFS_SET_CTIME | VFS_SET_KILL_SUIDGID | VFS_SET_FOREIGN_GROUP | VFS_SET_STRANGER)) == 0;
}

/* [meta lock] The access ACL goes with it, or all stays as it was. */
static err_t
set_mode(struct vfs *v, struct inode *i, mode_t mode)
{
	const uint32_t before = i->mode;
	err_t err;

	i->mode = (i->mode & S_IFMT) | (mode & 07777);
	err = vfs_acl_chmod(v, i);
	if (err != 0)
		i->mode = before;
	return err;
}

/* [meta lock] Everything but the size. */
static err_t
set_attributes(struct vfs *v, struct inode *i, const struct stat *attr, unsigned mask)
{
	struct timespec now;
	unsigned bits = 0;
	err_t err;

	if ((mask & VFS_SET_STRANGER) && takes_suidgid(mask) && vfs_has_suidgid(i, mask & VFS_SET_FOREIGN_GROUP))
		return -EPERM;
	if ((mask & VFS_SET_MODE) && (err = set_mode(v, i, attr->st_mode)) != 0)
		return err;
	vfs_now(&now);
	if (mask & VFS_SET_MODE)
		bits |= PENDING_MODE;
	if (mask & VFS_SET_UID)
		i->uid = attr->st_uid;
	if (mask & VFS_SET_GID)
		i->gid = attr->st_gid;
	if (mask & (VFS_SET_UID | VFS_SET_GID))
		bits |= PENDING_OWNER;
	if (takes_suidgid(mask))
		vfs_kill_suidgid(i, mask & VFS_SET_FOREIGN_GROUP);
	if (mask & VFS_SET_ATIME)
		i->atime = mask & VFS_SET_ATIME_NOW ? now : attr->st_atim;
	if (mask & VFS_SET_MTIME)
		i->mtime = mask & VFS_SET_MTIME_NOW ? now : attr->st_mtim;
	if (mask & VFS_SET_MTIME)
		bits |= PENDING_MTIME;
	/* Every explicit change moves ctime; that of atime alone is nobody else's business. */
	if (mask != VFS_SET_ATIME && mask != (VFS_SET_ATIME | VFS_SET_ATIME_NOW))
		bits |= PENDING_CTIME;
	vfs_changed(v, i, bits);
	if (mask & VFS_SET_CTIME)
		i->ctime = attr->st_ctim;
	return 0;
}

err_t
vfs_setattr(struct vfs *v, uint64_t ino, const struct stat *attr, unsigned mask, struct stat *attr_out)
{
	struct inode *i;
	err_t err;

	meta_throttle(v->meta);
	if (mask & VFS_SET_ATIME_NOW)
		mask |= VFS_SET_ATIME;
	if (mask & VFS_SET_MTIME_NOW)
		mask |= VFS_SET_MTIME;
	if ((mask & VFS_SET_SIZE) && (err = content_truncate(v->content, ino, (uint64_t)attr->st_size)) != 0)
		return err;
	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		err = set_attributes(v, i, attr, mask);
	if (err == 0)
		vfs_fill_stat(i, attr_out);
	meta_unlock(v->meta);
	return err;
}

err_t
vfs_statfs(struct vfs *v, struct statvfs *out)
{
	uint64_t ahead = segstore_ahead_len(content_segments(v->content)); /* room for writes as well */

	if (statvfs(v->space_dir, out) != 0)
		return -errno;
	if (out->f_frsize > 0) {
		out->f_bfree += ahead / out->f_frsize;
		out->f_bavail += ahead / out->f_frsize;
	}
	out->f_namemax = NAME_LEN_MAX;
	out->f_fsid = 0;
	return 0;
}

err_t
vfs_fsync(struct vfs *v, uint64_t ino)
{
	(void)ino; /* what is on the disk is a prefix of history: one file alone cannot be ahead of the others */
	return meta_flush(v->meta);
}
