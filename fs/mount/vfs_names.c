/* Names: creating, linking, removing, renaming, listing. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vfs_internal.h"

#define LINK_COUNT_MAX 0x7fffffffu

/* A directory that can take new names. */
static err_t
get_parent(struct vfs *v, uint64_t ino, struct inode **out)
{
	err_t err = meta_inode_get(v->meta, ino, out);

	if (err != 0)
		return err;
	if (!S_ISDIR((*out)->mode))
		return -ENOTDIR;
	return (*out)->nlink == 0 ? -ENOENT : 0;
}

/* The inode behind a name; -ENOENT when the name is not there. */
static err_t
get_named(struct vfs *v, uint64_t parent, const char *name, struct inode **out)
{
	struct dentry *d;
	err_t err = meta_dentry_get(v->meta, parent, name, &d);

	if (err != 0)
		return err;
	return d->ino == 0 ? -ENOENT : meta_inode_get(v->meta, d->ino, out);
}

static err_t
check_absent(struct vfs *v, uint64_t parent, const char *name)
{
	struct dentry *d;
	err_t err = meta_dentry_get(v->meta, parent, name, &d);

	if (err == -ENOENT)
		return 0;
	if (err != 0)
		return err;
	return d->ino == 0 ? 0 : -EEXIST;
}

/* A directory's entries changed by `entries` names and `subdirs` directories. */
static void
directory_changed(struct vfs *v, struct inode *dir, int entries, int subdirs)
{
	dir->entry_count += (uint64_t)(int64_t)entries;
	dir->nlink += (uint32_t)subdirs;
	vfs_changed(v, dir, PENDING_MTIME);
	dir->mtime = dir->ctime;
}

static uint8_t
dirent_type(const struct inode *i)
{
	return (uint8_t)((i->mode & S_IFMT) >> 12); /* DT_* are S_IF* so shifted: readdir(3) */
}

struct new_node {
	mode_t mode;
	dev_t rdev;
	const char *target;
};

/* [meta lock] */
static err_t
make_node(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, const struct new_node *what,
    struct inode **out)
{
	struct inode *dir, *i;
	char *target = NULL;
	err_t err;

	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if ((err = get_parent(v, parent, &dir)) != 0 || (err = check_absent(v, parent, name)) != 0)
		return err;
	if (S_ISDIR(what->mode) && dir->nlink >= LINK_COUNT_MAX)
		return -EMLINK;
	if (what->target != NULL && (target = strdup(what->target)) == NULL)
		return -ENOMEM;
	if ((err = meta_inode_new(v->meta, &i)) != 0) {
		free(target);
		return err;
	}
	i->mode = what->mode;
	i->rdev = what->rdev;
	i->target = target;
	i->uid = who->uid;
	i->gid = dir->mode & S_ISGID ? dir->gid : who->gid;
	if (S_ISDIR(i->mode))
		i->mode |= dir->mode & S_ISGID;
	i->nlink = S_ISDIR(i->mode) ? 2 : 1;
	i->parent = parent;
	if ((err = vfs_acl_inherit(v, dir, i, who->umask)) != 0 ||
	    (err = meta_dentry_set(v->meta, parent, name, i->ino, dirent_type(i))) != 0) {
		i->nlink = 0;
		if (meta_inode_remove(v->meta, i) != 0)
			meta_poison(v->meta, -ENOMEM);
		return err;
	}
	vfs_changed(v, i, PENDING_NEW);
	i->atime = i->mtime = i->btime = i->ctime;
	directory_changed(v, dir, 1, S_ISDIR(i->mode) ? 1 : 0);
	*out = i;
	return 0;
}

static err_t
make_entry(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, const struct new_node *what,
    struct stat *attr_out)
{
	struct inode *i;
	err_t err;

	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = make_node(v, who, parent, name, what, &i);
	if (err == 0) {
		vfs_fill_stat(i, attr_out);
		err = lookups_add(v->lookups, i->ino);
	}
	meta_unlock(v->meta);
	return err;
}

err_t
vfs_mknod(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
    struct stat *attr_out)
{
	struct new_node what = { .mode = mode, .rdev = S_ISCHR(mode) || S_ISBLK(mode) ? rdev : 0 };

	if ((mode & S_IFMT) == 0)
		what.mode |= S_IFREG;
	if (S_ISDIR(what.mode) || S_ISLNK(what.mode))
		return -EINVAL;
	return make_entry(v, who, parent, name, &what, attr_out);
}

err_t
vfs_mkdir(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, mode_t mode,
    struct stat *attr_out)
{
	struct new_node what = { .mode = S_IFDIR | (mode & 07777) };

	return make_entry(v, who, parent, name, &what, attr_out);
}

err_t
vfs_symlink(struct vfs *v, const struct vfs_caller *who, const char *target, uint64_t parent, const char *name,
    struct stat *attr_out)
{
	struct new_node what = { .mode = S_IFLNK | 0777, .target = target };
	struct vfs_caller no_umask = *who;

	if (strlen(target) > SYMLINK_LEN_MAX)
		return -ENAMETOOLONG;
	no_umask.umask = 0;
	return make_entry(v, &no_umask, parent, name, &what, attr_out);
}

err_t
vfs_readlink(struct vfs *v, uint64_t ino, char *out, size_t out_len)
{
	struct inode *i;
	err_t err;

	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0 && (!S_ISLNK(i->mode) || i->target == NULL))
		err = -EINVAL;
	else if (err == 0 && strlen(i->target) >= out_len)
		err = -ENAMETOOLONG;
	else if (err == 0)
		memcpy(out, i->target, strlen(i->target) + 1);
	meta_unlock(v->meta);
	return err;
}

/* [meta lock] */
static err_t
link_node(struct vfs *v, uint64_t ino, uint64_t parent, const char *name, struct inode **out)
{
	struct inode *dir, *i;
	err_t err;

	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if ((err = get_parent(v, parent, &dir)) != 0 || (err = meta_inode_get(v->meta, ino, &i)) != 0)
		return err;
	if (S_ISDIR(i->mode))
		return -EPERM;
	if (i->nlink == 0)
		return -ENOENT;
	if (i->nlink >= LINK_COUNT_MAX)
		return -EMLINK;
	if ((err = check_absent(v, parent, name)) != 0 ||
	    (err = meta_dentry_set(v->meta, parent, name, ino, dirent_type(i))) != 0)
		return err;
	i->nlink++;
	vfs_changed(v, i, PENDING_CTIME);
	directory_changed(v, dir, 1, 0);
	*out = i;
	return 0;
}

err_t
vfs_link(struct vfs *v, uint64_t ino, uint64_t parent, const char *name, struct stat *attr_out)
{
	struct inode *i;
	err_t err;

	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = link_node(v, ino, parent, name, &i);
	if (err == 0) {
		vfs_fill_stat(i, attr_out);
		err = lookups_add(v->lookups, ino);
	}
	meta_unlock(v->meta);
	return err;
}

/* A name of i is gone already; what follows for i. */
static void
lost_name(struct vfs *v, struct inode *i)
{
	i->nlink = S_ISDIR(i->mode) ? 0 : i->nlink - 1;
	vfs_changed(v, i, S_ISDIR(i->mode) ? 0 : PENDING_CTIME);
	if (S_ISDIR(i->mode))
		lookups_retire(v->lookups, i->ino);
	vfs_after_unlink(v, i);
}

/* [meta lock] */
static err_t
remove_name(struct vfs *v, uint64_t parent, const char *name, bool directory)
{
	struct inode *dir, *i;
	err_t err;

	if ((err = get_parent(v, parent, &dir)) != 0 || (err = get_named(v, parent, name, &i)) != 0)
		return err;
	if (directory && !S_ISDIR(i->mode))
		return -ENOTDIR;
	if (!directory && S_ISDIR(i->mode))
		return -EISDIR;
	if (directory && i->entry_count != 0)
		return -ENOTEMPTY;
	if ((err = meta_dentry_set(v->meta, parent, name, 0, 0)) != 0)
		return err;
	directory_changed(v, dir, -1, directory ? -1 : 0);
	lost_name(v, i);
	return 0;
}

err_t
vfs_unlink(struct vfs *v, uint64_t parent, const char *name)
{
	err_t err;

	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = remove_name(v, parent, name, false);
	meta_unlock(v->meta);
	return err;
}

err_t
vfs_rmdir(struct vfs *v, uint64_t parent, const char *name)
{
	err_t err;

	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = remove_name(v, parent, name, true);
	meta_unlock(v->meta);
	return err;
}

/* One side of a rename. */
struct place {
	struct inode *dir;
	const char *name;
	struct inode *node; /* what is there; NULL: nothing */
};

static err_t
find_place(struct vfs *v, uint64_t parent, const char *name, struct place *p)
{
	err_t err;

	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	*p = (struct place){ .name = name };
	if ((err = get_parent(v, parent, &p->dir)) != 0)
		return err;
	err = get_named(v, parent, name, &p->node);
	return err == -ENOENT ? 0 : err;
}

/* Is `dir` the directory `top` or below it? */
static err_t
is_below(struct vfs *v, struct inode *dir, uint64_t top, bool *out)
{
	err_t err;

	while (dir->ino != top && dir->ino != INODE_ROOT)
		if ((err = meta_inode_get(v->meta, dir->parent, &dir)) != 0)
			return err;
	*out = dir->ino == top;
	return 0;
}

static err_t
check_no_cycle(struct vfs *v, const struct place *from, const struct place *to)
{
	bool below = false;
	err_t err;

	if (from->node == NULL || !S_ISDIR(from->node->mode))
		return 0;
	err = is_below(v, to->dir, from->node->ino, &below);
	return err != 0 ? err : below ? -EINVAL : 0;
}

static err_t
check_replaceable(const struct inode *from, const struct inode *to)
{
	if (S_ISDIR(from->mode) && !S_ISDIR(to->mode))
		return -ENOTDIR;
	if (!S_ISDIR(from->mode) && S_ISDIR(to->mode))
		return -EISDIR;
	return S_ISDIR(to->mode) && to->entry_count != 0 ? -ENOTEMPTY : 0;
}

/* i has got its name in dir. */
static void
moved(struct vfs *v, struct inode *i, const struct inode *dir)
{
	i->parent = dir->ino;
	vfs_changed(v, i, PENDING_CTIME);
}

static err_t
exchange(struct vfs *v, const struct place *a, const struct place *b)
{
	int a_dir = S_ISDIR(a->node->mode), b_dir = S_ISDIR(b->node->mode);
	err_t err;

	if ((err = check_no_cycle(v, a, b)) != 0 || (err = check_no_cycle(v, b, a)) != 0)
		return err;
	if ((err = meta_dentry_set(v->meta, a->dir->ino, a->name, b->node->ino, dirent_type(b->node))) != 0)
		return err;
	if ((err = meta_dentry_set(v->meta, b->dir->ino, b->name, a->node->ino, dirent_type(a->node))) != 0) {
		meta_poison(v->meta, err);
		return err;
	}
	moved(v, a->node, b->dir);
	moved(v, b->node, a->dir);
	directory_changed(v, a->dir, 0, b_dir - a_dir);
	directory_changed(v, b->dir, 0, a_dir - b_dir);
	return 0;
}

static err_t
move(struct vfs *v, const struct place *from, const struct place *to)
{
	int is_dir = S_ISDIR(from->node->mode);
	bool replaces = to->node != NULL;
	err_t err;

	if ((err = check_no_cycle(v, from, to)) != 0)
		return err;
	if (replaces && (err = check_replaceable(from->node, to->node)) != 0)
		return err;
	if ((err = meta_dentry_set(v->meta, to->dir->ino, to->name, from->node->ino, dirent_type(from->node))) != 0)
		return err;
	if ((err = meta_dentry_set(v->meta, from->dir->ino, from->name, 0, 0)) != 0) {
		meta_poison(v->meta, err);
		return err;
	}
	directory_changed(v, from->dir, -1, -is_dir);
	directory_changed(v, to->dir, replaces ? 0 : 1, replaces ? 0 : is_dir);
	moved(v, from->node, to->dir);
	if (replaces)
		lost_name(v, to->node);
	return 0;
}

/* [meta lock] */
static err_t
rename_node(struct vfs *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name, unsigned flags)
{
	struct place from, to;
	err_t err;

	if ((err = find_place(v, parent, name, &from)) != 0 || (err = find_place(v, new_parent, new_name, &to)) != 0)
		return err;
	if (from.node == NULL)
		return -ENOENT;
	if (flags & RENAME_EXCHANGE)
		return to.node == NULL ? -ENOENT : from.node == to.node ? 0 : exchange(v, &from, &to);
	if (to.node != NULL && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (from.node == to.node)
		return 0; /* two names of one file: rename(2) does nothing */
	return move(v, &from, &to);
}

err_t
vfs_rename(struct vfs *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name, unsigned flags)
{
	err_t err;

	if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 ||
	    (flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = rename_node(v, parent, name, new_parent, new_name, flags);
	meta_unlock(v->meta);
	return err;
}

/* [meta lock] */
static err_t
leave_whiteout(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name)
{
	struct new_node what = { .mode = S_IFCHR };
	struct inode *i;
	err_t err = check_absent(v, parent, name);

	/* Two names of one file: nothing was renamed. */
	if (err == -EEXIST)
		return 0;
	if (err == 0)
		err = make_node(v, who, parent, name, &what, &i);
	if (err != 0)
		meta_poison(v->meta, err);
	return err;
}

err_t
vfs_rename_whiteout(struct vfs *v, const struct vfs_caller *who, uint64_t parent, const char *name, uint64_t new_parent,
    const char *new_name, unsigned flags)
{
	err_t err;

	if ((flags & ~(unsigned)RENAME_NOREPLACE) != RENAME_WHITEOUT)
		return -EINVAL;
	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = rename_node(v, parent, name, new_parent, new_name, flags & RENAME_NOREPLACE);
	if (err == 0)
		err = leave_whiteout(v, who, parent, name);
	meta_unlock(v->meta);
	return err;
}

/* Listing. */
struct listing {
	struct vfs *v;
	vfs_dir_fn *fn;
	void *ctx;
};

#define LISTING_FULL (-ECANCELED)

static err_t
list_entry(void *ctx, const struct dentry *d, struct inode *i)
{
	struct listing *l = ctx;
	struct stat st = { .st_ino = d->ino, .st_mode = (mode_t)d->type << 12 };
	err_t err;

	/* An inode that can't be read must not hide its neighbours: the name is listed without attributes. */
	if (i != NULL)
		vfs_fill_stat(i, &st);
	if (l->fn(l->ctx, d->name, &st, d->cookie) != 0)
		return LISTING_FULL;
	if (i != NULL && (err = lookups_add(l->v->lookups, d->ino)) != 0)
		return err;
	return 0;
}

/* "." and "..". */
static err_t
list_dots(struct listing *l, struct inode *dir, uint64_t after)
{
	struct stat st = { .st_ino = dir->ino, .st_mode = S_IFDIR };

	if (after < 1 && l->fn(l->ctx, ".", &st, 1) != 0)
		return LISTING_FULL;
	st.st_ino = dir->ino == INODE_ROOT ? INODE_ROOT : dir->parent;
	if (after < 2 && l->fn(l->ctx, "..", &st, 2) != 0)
		return LISTING_FULL;
	return 0;
}

err_t
vfs_readdir(struct vfs *v, uint64_t ino, uint64_t after, bool with_attr, vfs_dir_fn *fn, void *ctx)
{
	struct listing l = { .v = v, .fn = fn, .ctx = ctx };
	struct inode *dir;
	err_t err;

	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &dir);
	if (err == 0 && !S_ISDIR(dir->mode))
		err = -ENOTDIR;
	if (err == 0)
		err = list_dots(&l, dir, after);
	if (err == 0)
		err = meta_list(v->meta, ino, after, with_attr, list_entry, &l);
	meta_unlock(v->meta);
	return err == LISTING_FULL ? 0 : err;
}
