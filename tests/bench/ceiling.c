/*
 * The ceiling: a file system in memory that encrypts nothing, keeps nothing and saves every FUSE message that can be saved.
 * What it reaches is the most that a FUSE file system can reach here with this libfuse.   ceiling [-w MIB] MOUNTPOINT
 *
 * Goes into the background, and ends when it is unmounted.  -w touches that much memory beforehand, so that a workload does
 * not pay for the first touch of each page.
 *
 * How messages are saved:
 *   OPEN, OPENDIR, FLUSH, all xattrs   answered ENOSYS once, then never sent again
 *   CREATE                             not there: the kernel falls back to MKNOD and, there being no OPEN, needs no RELEASE
 *   LOOKUP, GETATTR                    READDIRPLUS always, timeouts of a year, negative entries
 *   READ, WRITE                        writeback cache, 1 MiB each, 1 MiB of read-ahead
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ceiling_tree.h"

#define REQUEST_MAX (1U << 20)
#define PAGES_MAX (REQUEST_MAX / PAGE_LEN + 1) /* of one request that is not aligned */
#define TIMEOUT_S (365 * 86400.0)

static struct node root;

/* An inode number is its node's address. */

static struct node *
node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static fuse_ino_t
ino_of(const struct node *n)
{
	return n == &root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)n;
}

/* An entry for the kernel, which remembers the node from now on. */
static struct fuse_entry_param
node_entry(struct node *n)
{
	struct fuse_entry_param e = {.ino = ino_of(n), .attr_timeout = TIMEOUT_S, .entry_timeout = TIMEOUT_S};

	e.attr = node_attr(n);
	n->lookups++;
	return e;
}

/* Handlers. */

static void
on_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable & (FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS | FUSE_CAP_NO_OPEN_SUPPORT |
		FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_PARALLEL_DIROPS);
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
		FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_write = REQUEST_MAX;
	conn->max_readahead = REQUEST_MAX;
	conn->max_background = 64;
	conn->time_gran = 1;
}

static void
on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.entry_timeout = TIMEOUT_S};
	struct entry *found;

	pthread_rwlock_rdlock(&names_lock);
	found = name_find(node_of(parent), name);
	if (found)
		e = node_entry(found->node);
	pthread_rwlock_unlock(&names_lock);
	fuse_reply_entry(req, &e);
}

static void
on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	pthread_rwlock_wrlock(&names_lock);
	for (size_t i = 0; i < count; i++) {
		node_of(forgets[i].ino)->lookups -= forgets[i].nlookup;
		node_reap(node_of(forgets[i].ino));
	}
	pthread_rwlock_unlock(&names_lock);
	fuse_reply_none(req);
}

static void
on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct fuse_forget_data forget = {.ino = ino, .nlookup = nlookup};

	on_forget_multi(req, 1, &forget);
}

static void
on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = node_attr(node_of(ino));

	(void)fi;
	fuse_reply_attr(req, &st, TIMEOUT_S);
}

static void
on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	struct stat st;

	(void)fi;
	pthread_rwlock_wrlock(&n->lock);
	n->attr.st_ctim = now();
	if (to_set & FUSE_SET_ATTR_MODE)
		n->attr.st_mode = (n->attr.st_mode & S_IFMT) | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		n->attr.st_uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		n->attr.st_gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_SIZE) {
		node_resize(n, attr->st_size);
		n->attr.st_mtim = n->attr.st_ctim;
	}
	if (to_set & FUSE_SET_ATTR_ATIME)
		n->attr.st_atim = to_set & FUSE_SET_ATTR_ATIME_NOW ? n->attr.st_ctim : attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME)
		n->attr.st_mtim = to_set & FUSE_SET_ATTR_MTIME_NOW ? n->attr.st_ctim : attr->st_mtim;
	if (to_set & FUSE_SET_ATTR_CTIME)
		n->attr.st_ctim = attr->st_ctim;
	st = n->attr;
	pthread_rwlock_unlock(&n->lock);
	fuse_reply_attr(req, &st, TIMEOUT_S);
}

/* A new node with its first name; target is a symlink's, else NULL. */
static int
make_node(const struct fuse_ctx *caller, struct node *dir, const char *name, mode_t mode, dev_t rdev, const char *target,
	struct fuse_entry_param *out)
{
	struct node *n = node_new(mode, rdev, caller->uid, caller->gid, target);
	int err;

	if (!n)
		return ENOMEM;
	pthread_rwlock_wrlock(&names_lock);
	err = name_find(dir, name) ? EEXIST : name_add(dir, name, n);
	if (err == 0)
		*out = node_entry(n);
	pthread_rwlock_unlock(&names_lock);
	if (err != 0)
		node_free(n);
	return err;
}

static void
make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev, const char *target)
{
	struct fuse_entry_param e;
	int err = make_node(fuse_req_ctx(req), node_of(parent), name, mode, rdev, target, &e);

	if (err != 0)
		fuse_reply_err(req, err);
	else
		fuse_reply_entry(req, &e);
}

static void
on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, parent, name, mode, rdev, NULL);
}

static void
on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & 07777), 0, NULL);
}

static void
on_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, 0, target);
}

static void
on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, node_of(ino)->target);
}

static void
on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct node *n = node_of(ino);
	struct fuse_entry_param e;
	int err;

	pthread_rwlock_wrlock(&names_lock);
	err = name_find(node_of(parent), name) ? EEXIST : name_add(node_of(parent), name, n);
	if (err == 0) {
		node_touch(n, 1, false);
		e = node_entry(n);
	}
	pthread_rwlock_unlock(&names_lock);
	if (err != 0)
		fuse_reply_err(req, err);
	else
		fuse_reply_entry(req, &e);
}

static void
on_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *dir = node_of(parent);
	struct entry *e;
	int err = 0;

	pthread_rwlock_wrlock(&names_lock);
	e = name_find(dir, name);
	if (!e)
		err = ENOENT;
	else if (e->node->entries)
		err = ENOTEMPTY;
	else
		name_remove(dir, e);
	pthread_rwlock_unlock(&names_lock);
	fuse_reply_err(req, err);
}

static void
on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned int flags)
{
	int err = EINVAL;

	if ((flags & ~(unsigned)RENAME_NOREPLACE) == 0) {
		pthread_rwlock_wrlock(&names_lock);
		err = name_move(node_of(parent), name, node_of(newparent), newname, flags == 0);
		pthread_rwlock_unlock(&names_lock);
	}
	fuse_reply_err(req, err);
}

/* Answers straight from the pages; the lock is held meanwhile, which can't wait for anybody: the kernel only copies. */
static void
on_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off, struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	struct iovec iov[PAGES_MAX];
	size_t at = (size_t)off, end;
	int count = 0;

	(void)fi;
	if (len > REQUEST_MAX)
		len = REQUEST_MAX;
	pthread_rwlock_rdlock(&n->lock);
	end = off >= n->attr.st_size ? at : at + len;
	if (end > (size_t)n->attr.st_size && end != at)
		end = (size_t)n->attr.st_size;
	while (at < end) {
		size_t page = at / PAGE_LEN, skip = at % PAGE_LEN;
		size_t part = PAGE_LEN - skip < end - at ? PAGE_LEN - skip : end - at;

		iov[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)(node_page(n, page) + skip), .iov_len = part};
		at += part;
	}
	fuse_reply_iov(req, iov, count);
	pthread_rwlock_unlock(&n->lock);
}

static void
on_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t off, struct fuse_file_info *fi)
{
	struct node *n = node_of(ino);
	int err;

	(void)fi;
	pthread_rwlock_wrlock(&n->lock);
	err = node_write(n, data, len, off);
	pthread_rwlock_unlock(&n->lock);
	if (err != 0)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, len);
}

/* Adds entries from position `after` on while they fit; returns the bytes used. */
static size_t
list(fuse_req_t req, struct node *dir, uint64_t after, char *buf, size_t len)
{
	struct entry *e = name_after(dir, after);
	size_t used = 0;

	for (; e; e = e->hh.next) {
		struct fuse_entry_param p = node_entry(e->node);
		size_t need = fuse_add_direntry_plus(req, buf + used, len - used, e->name, &p, (off_t)e->serial);

		if (need > len - used) {
			e->node->lookups--;
			break;
		}
		used += need;
		after = e->serial;
	}
	dir->resume = e;
	dir->resume_after = after;
	return used;
}

static void
on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off, struct fuse_file_info *fi)
{
	char *buf = malloc(len);
	size_t used;

	(void)fi;
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_rwlock_wrlock(&names_lock);
	used = list(req, node_of(ino), (uint64_t)off, buf, len);
	pthread_rwlock_unlock(&names_lock);
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void
on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs s = {.f_bsize = PAGE_LEN, .f_frsize = PAGE_LEN, .f_blocks = 1U << 26, .f_bfree = 1U << 25,
		.f_bavail = 1U << 25, .f_files = 1U << 30, .f_ffree = 1U << 29, .f_namemax = NAME_MAX};

	(void)ino;
	fuse_reply_statfs(req, &s);
}

static void
on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* There is no state per open. */
static void
on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

/* No handler for create, flush, xattrs, access, locks: libfuse answers those ENOSYS. */
static const struct fuse_lowlevel_ops handlers = {
	.init = on_init, .lookup = on_lookup, .forget = on_forget, .forget_multi = on_forget_multi, .getattr = on_getattr,
	.setattr = on_setattr, .mknod = on_mknod, .mkdir = on_mkdir, .symlink = on_symlink, .readlink = on_readlink,
	.link = on_link, .unlink = on_remove, .rmdir = on_remove, .rename = on_rename, .read = on_read, .write = on_write,
	.open = on_open, .opendir = on_open, .readdirplus = on_readdirplus, .statfs = on_statfs, .fsync = on_fsync, .fsyncdir = on_fsync,
};

/* Linux reads 128 KiB ahead unless root says otherwise; nobody is serving yet, hence DONT_SYNC. */
static void
raise_readahead(const char *mountpoint)
{
	char path[64];
	struct statx stx;
	int fd;

	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC, STATX_TYPE, &stx) < 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", stx.stx_dev_major, stx.stx_dev_minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "%u", REQUEST_MAX / 1024);
	close(fd);
}

/* All memory comes from one heap that never shrinks, touched once. */
static void
warm_memory(size_t len)
{
	char *p;

	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, INT_MAX);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	p = malloc(len);
	for (size_t i = 0; p && i < len; i += PAGE_LEN)
		((volatile char *)p)[i] = 1;
	free(p);
}

static int
serve(struct fuse_session *se, const char *mountpoint, size_t warm_len)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int status = 1;

	if (config && fuse_set_signal_handlers(se) == 0 && fuse_session_mount(se, mountpoint) == 0 &&
	    fuse_daemonize(false) == 0) {
		raise_readahead(mountpoint);
		warm_memory(warm_len);
		fuse_loop_cfg_set_clone_fd(config, 1);
		status = fuse_session_loop_mt(se, config) != 0;
		fuse_session_unmount(se);
	}
	fuse_loop_cfg_destroy(config);
	return status;
}

int
main(int argc, char **argv)
{
	char name[] = "ceiling", o[] = "-o", everybody[] = "default_permissions,fsname=ceiling,subtype=ceiling,allow_other";
	char only_me[] = "default_permissions,fsname=ceiling,subtype=ceiling";
	char *args_list[] = {name, o, geteuid() == 0 ? everybody : only_me, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, args_list);
	struct fuse_session *se;
	size_t warm_len = 0;
	int opt, status;

	while ((opt = getopt(argc, argv, "w:")) == 'w')
		warm_len = strtoul(optarg, NULL, 10) << 20;
	if (opt != -1 || optind != argc - 1) {
		fprintf(stderr, "usage: ceiling [-w MIB] MOUNTPOINT\n");
		return 2;
	}
	node_init(&root, S_IFDIR | 0755, 0, getuid(), getgid());
	root.attr.st_ino = FUSE_ROOT_ID;
	root.lookups = 1; /* the kernel never forgets it */
	se = fuse_session_new(&args, &handlers, sizeof(handlers), NULL);
	if (!se)
		return 1;
	status = serve(se, argv[optind], warm_len);
	fuse_session_destroy(se);
	return status;
}
