/*
 * store_dir.c: a directory as the store: finds the directory, notices when its disk is away, and gives errors the meaning
 * that store.h says.  How an object lies in it is dirobj.c's matter.
 */
#include "store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dirobj.h"

struct store_dir {
	struct store base;
	char *path;
	struct dirobj_writer writer;
};

/* From the errors of dirobj.h to those of store.h. */
static err_t translate(err_t err)
{
	switch (-err) {
	case 0:
	case ENOENT:
	case EEXIST:
	case ENOTSUP:
	case EBADMSG:
	case EAGAIN:
	case ENOMEM:
	case ECANCELED:
		return err;
	case EACCES:
	case EPERM:
	case EROFS:
		return -EACCES;
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case ELOOP: /* a link, a socket, a folder or a file where something else should be */
	case ENXIO:
	case EISDIR:
	case ENOTDIR:
		return -EBADMSG;
	case ETIMEDOUT: /* file systems over the network */
	case ENOTCONN:
	case ECONNREFUSED:
	case ECONNRESET:
	case ECONNABORTED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETUNREACH:
	case EMFILE: /* passing troubles of our own */
	case ENFILE:
	case EINTR:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

static struct store_dir *from_base(struct store *s)
{
	return (struct store_dir *)s;
}

static bool is_there(int root)
{
	struct stat st;

	return fstatat(root, DIROBJ_TEMP, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	       fstatat(root, "v", &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/*
 * By its path each time: a descriptor kept open would keep a disk from being unmounted, and would go on to a directory
 * that is no longer the one that the user means.
 */
static err_t open_root(const struct store_dir *d, int *root_out)
{
	int root = open(d->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return errno == ENOENT || errno == ENOTDIR ? -EAGAIN : -errno;
	*root_out = root;
	return 0;
}

/* "Not there" means nothing under a mount point whose disk is away. */
static err_t absence(int root)
{
	return is_there(root) ? -ENOENT : -EAGAIN;
}

static err_t dir_write(struct store *s, const char *name, const uint8_t *data, size_t len, bool exclusive)
{
	struct store_dir *d = from_base(s);
	CLEANUP(close_fd) int root = -1;
	err_t err;

	if (dirobj_reserved(name))
		return -EINVAL;
	err = open_root(d, &root);
	if (err == 0)
		err = dirobj_write(&d->writer, root, name, data, len, exclusive, s->limit);
	/* The disk was taken away under us, or somebody tidied up an empty folder. */
	return err == -ENOENT ? -EAGAIN : translate(err);
}

static err_t dir_put(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return dir_write(s, name, data, len, false);
}

static err_t dir_create_if_absent(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return dir_write(s, name, data, len, true);
}

/* Opens the store's directory, for something to be done with that object; the errors are those of store.h. */
static err_t open_root_for(struct store *s, const char *name, int *root_out)
{
	return dirobj_reserved(name) ? -EINVAL : translate(open_root(from_base(s), root_out));
}

/* Opens the store's directory and the object in it; the errors are those of store.h. */
static err_t find_object(struct store *s, const char *name, int *fd_out, uint64_t *size_out)
{
	CLEANUP(close_fd) int root = -1;
	err_t err;

	err = open_root_for(s, name, &root);
	if (err)
		return err;
	err = dirobj_open(root, name, fd_out, size_out);
	return err == -ENOENT ? absence(root) : translate(err);
}

static err_t dir_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	CLEANUP(close_fd) int fd = -1;
	uint64_t size = 0;
	err_t err = find_object(s, name, &fd, &size);

	if (err)
		return err;
	if (size > max_len)
		return -EBADMSG;
	return translate(dirobj_append(fd, 0, (size_t)size, s->limit, out));
}

static err_t dir_get_range(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	CLEANUP(close_fd) int fd = -1;
	uint64_t size = 0;
	err_t err = find_object(s, name, &fd, &size);

	if (err)
		return err;
	if (off > size || len > size - off)
		return -EBADMSG;
	return translate(dirobj_append(fd, off, len, s->limit, out));
}

static err_t dir_size(struct store *s, const char *name, uint64_t *size_out)
{
	CLEANUP(close_fd) int fd = -1;

	return find_object(s, name, &fd, size_out);
}

/* Not flushed: what a power cut brings back is garbage of which nobody speaks, and the next gc removes it. */
static err_t dir_remove(struct store *s, const char *name)
{
	CLEANUP(close_fd) int root = -1;
	err_t err;

	err = open_root_for(s, name, &root);
	if (err)
		return err;
	err = dirobj_remove(root, name);
	if (err == -ENOENT)
		return is_there(root) ? 0 : -EAGAIN;
	return translate(err);
}

static err_t dir_list(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	CLEANUP(close_fd) int root = -1;
	err_t fn_err = 0;
	err_t err = open_root(from_base(s), &root);

	if (err)
		return translate(err);
	if (!is_there(root))
		return -EAGAIN;
	err = dirobj_list(root, prefix, fn, ctx, &fn_err);
	return fn_err ? fn_err : translate(err);
}

static err_t dir_space(struct store *s, uint64_t *free_out, uint64_t *total_out)
{
	struct statvfs vfs;
	CLEANUP(close_fd) int root = -1;
	err_t err = open_root(from_base(s), &root);

	if (err)
		return translate(err);
	if (!is_there(root))
		return -EAGAIN;
	if (fstatvfs(root, &vfs) != 0)
		return translate(-errno);
	*free_out = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	*total_out = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	return 0;
}

static void dir_free(struct store *s)
{
	struct store_dir *d = from_base(s);

	dirobj_writer_clear(&d->writer);
	free(d->base.url);
	free(d->path);
	free(d);
}

static const struct store_ops dir_ops = {
	.put = dir_put,
	.create_if_absent = dir_create_if_absent,
	.get = dir_get,
	.get_range = dir_get_range,
	.size = dir_size,
	.remove = dir_remove,
	.list = dir_list,
	.space = dir_space,
	.free = dir_free,
};

/* ---- opening ---- */

static err_t flush_parent(const char *path)
{
	CLEANUP(free_ptr) char *parent = strdup(path);
	CLEANUP(close_fd) int fd = -1;

	if (!parent)
		return -ENOMEM;
	strrchr(parent, '/')[1] = '\0';
	fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : dirobj_flush_folder(fd);
}

/* Only the last component: a parent that is missing is most likely a disk that is not mounted. */
static err_t open_top(const char *path, bool create, int *root_out)
{
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 && errno == ENOENT && create) {
		err_t err = mkdir(path, 0700) == 0 || errno == EEXIST ? flush_parent(path) : -errno;
		if (err)
			return err;
		root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (root < 0)
		return -errno;
	*root_out = root;
	return 0;
}

static err_t make_temp_folder(int root, mode_t mode, bool create)
{
	struct stat st;
	err_t err;

	if (fstatat(root, DIROBJ_TEMP, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		dirobj_open_up(root, DIROBJ_TEMP, mode);
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	}
	if (errno != ENOENT)
		return -errno;
	if (!create && !is_there(root))
		return -ENOENT;
	err = mkdirat(root, DIROBJ_TEMP, mode) == 0 || errno == EEXIST ? dirobj_flush_folder(root) : -errno;
	dirobj_open_up(root, DIROBJ_TEMP, mode);
	/* A store that can only be read is one all the same. */
	return (err == -EROFS || err == -EACCES) && is_there(root) ? 0 : err;
}

static err_t explain_open(const char *path, bool create, err_t err, char **why_out)
{
	switch (-err) {
	case ENOENT:
		if (create)
			store_say(why_out, "the folder that %s would be made in does not exist; make it, or mount its disk", path);
		else
			store_say(why_out, "there is no store at %s; check the path, and whether its disk is mounted", path);
		return err;
	case ENOTDIR:
		store_say(why_out, "%s (or the \"tmp\" in it, where uploads begin) is not a folder; give the path of a folder", path);
		return err;
	case EROFS:
		store_say(why_out, "no store can be made at %s because that disk is read-only", path);
		return err;
	case EACCES:
	case EPERM:
		store_say(why_out, "%s may not be used as a store by this user; check who owns it and its permissions", path);
		return -EACCES;
	default:
		store_say(why_out, "%s cannot be used as a store: %s", path, strerror(-err));
		return translate(err);
	}
}

static struct store *new_store(const char *path, mode_t mode)
{
	struct store_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	dirobj_writer_init(&d->writer, mode);
	d->base.ops = &dir_ops;
	d->path = strdup(path);
	if (!d->path || asprintf(&d->base.url, "dir:%s", path) < 0) {
		d->base.url = NULL;
		dir_free(&d->base);
		return NULL;
	}
	return &d->base;
}

/*
 * Of what is made in a directory like that: it is for those who may write there, unless (sticky) each may only change his own.  Who may
 * only read there gets nothing: that is how most directories are, and nobody has meant anything by it.
 */
static mode_t mode_within(mode_t top)
{
	mode_t mode = 0700;

	if ((top & S_IWGRP) && !(top & S_ISVTX))
		mode |= top & S_IRWXG;
	if ((top & S_IWOTH) && !(top & S_ISVTX))
		mode |= top & S_IRWXO;
	return mode;
}

err_t store_dir_open(const char *path, bool create, struct store **out, char **why_out)
{
	CLEANUP(close_fd) int root = -1;
	struct store *s;
	struct stat st;
	mode_t mode = 0700;
	err_t err = open_top(path, create, &root);

	if (err == 0 && fstat(root, &st) != 0)
		err = -errno;
	if (err == 0) {
		mode = mode_within(st.st_mode);
		err = make_temp_folder(root, mode, create);
	}
	if (err)
		return explain_open(path, create, err, why_out);
	dirobj_sweep(root);
	s = new_store(path, mode);
	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}
