/*
 * Telling the kernel what changed behind its back.
 *
 * Names and pages it forgets when told so.  But with the writeback cache it holds its own idea of a regular file's size and
 * times to be the truth for as long as it knows the inode, whatever GETATTR says, and there is no notification for those.  A
 * file that somebody has open would be seen with new content and the old size.  What the kernel does take over is what
 * SETATTR answers: so those attributes are "set", through the mount, by this thread, and the handler (op_setattr) knows by its
 * thread id that nothing is to be changed.
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse_private.h"
#include "vfs.h"

/* For a path below the mount point. */
#define PATH_ROOM (2 * PATH_MAX)

struct fuse_tell {
	struct fuse_session *se;
	struct fuse_loop *loop;
	struct vfs *v;
	const char *mountpoint;

	pthread_mutex_t refresh; /* one refresher at a time; taken before lock */
	pthread_mutex_t lock;    /* for what follows */
	pthread_cond_t quiet;
	unsigned telling_count;
	bool ended;
};

/* While somebody tells, the loop goes on serving: what is told may make the kernel ask. */
static bool
begin(struct fuse_tell *t)
{
	bool go;

	pthread_mutex_lock(&t->lock);
	go = !t->ended;
	if (go)
		t->telling_count++;
	pthread_mutex_unlock(&t->lock);
	if (go)
		fuse_loop_begin_telling(t->loop);
	return go;
}

static void
finish(struct fuse_tell *t)
{
	fuse_loop_end_telling(t->loop);
	pthread_mutex_lock(&t->lock);
	if (--t->telling_count == 0)
		pthread_cond_broadcast(&t->quiet);
	pthread_mutex_unlock(&t->lock);
}

/* -ENOENT: the kernel does not know it; other errors: the mount is going away, and what the kernel knows with it. */
void
fuse_tell_entry(struct fuse_tell *t, uint64_t parent, const char *name)
{
	if (!begin(t))
		return;
	(void)fuse_lowlevel_notify_inval_entry(t->se, parent, name, strlen(name));
	finish(t);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static bool
same_time(const struct statx_timestamp *kernel, const struct timespec *ts)
{
	return kernel->tv_sec == ts->tv_sec && kernel->tv_nsec == ts->tv_nsec;
}

/* Who may not write to the file may not set its size: then the name is forgotten, and with it what nobody has open. */
static void
forget_by_path(struct fuse_tell *t, char *path)
{
	char *name = strrchr(path, '/');
	struct stat parent;

	*name++ = '\0';
	if (stat(path, &parent) == 0)
		(void)fuse_lowlevel_notify_inval_entry(t->se, parent.st_ino, name, strlen(name));
}

/* fd: an O_PATH one of the file; kernel: what the kernel held true of it before its dirty pages were written back. */
static void
take_over(struct fuse_tell *t, int fd, const struct statx *kernel, char *path)
{
	char self[32];
	struct stat attr;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	bool ok = true;

	if (vfs_getattr(t->v, kernel->stx_ino, &attr) != 0)
		return;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if ((uint64_t)attr.st_size != kernel->stx_size)
		ok = truncate(self, attr.st_size) == 0;
	else if (same_time(&kernel->stx_mtime, &attr.st_mtim))
		return;
	times[1] = attr.st_mtim;
	ok = ok && utimensat(AT_FDCWD, self, times, 0) == 0;
	if (!ok)
		forget_by_path(t, path);
}

/* Where statx(2) is refused the kernel may ask for more here; of size and mtime it goes by its own all the same. */
static bool
ask_kernel(int fd, struct statx *out)
{
	struct stat st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, out) == 0)
		return true;
	if (fstat(fd, &st) != 0)
		return false;
	*out = (struct statx){ .stx_ino = st.st_ino, .stx_mode = (uint16_t)st.st_mode, .stx_size = (uint64_t)st.st_size,
		.stx_mtime = { .tv_sec = st.st_mtim.tv_sec, .tv_nsec = (uint32_t)st.st_mtim.tv_nsec } };
	return true;
}

/* And what the kernel holds true of it.  -1: it is not the file that was looked for. */
static int
open_path(const char *path, uint64_t ino, struct statx *kernel_out)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || (ask_kernel(fd, kernel_out) && kernel_out->stx_ino == ino && S_ISREG(kernel_out->stx_mode)))
		return fd;
	close(fd);
	return -1;
}

/* Of several names the one that the kernel knows may be another than the one that is known here. */
static int
open_number(struct fuse_tell *t, uint64_t ino, char path[static PATH_ROOM], struct statx *kernel_out)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), FUSE_BY_NUMBER "%" PRIu64, ino);
	snprintf(path, PATH_ROOM, "%s/%s", t->mountpoint, name);
	fd = open_path(path, ino, kernel_out);
	(void)fuse_lowlevel_notify_inval_entry(t->se, FUSE_ROOT_ID, name, strlen(name));
	return fd;
}

/* A regular file that the kernel knows, to be named by an O_PATH descriptor, or -1. */
static int
open_known(struct fuse_tell *t, uint64_t ino, char path[static PATH_ROOM], struct statx *kernel_out)
{
	size_t len = (size_t)snprintf(path, PATH_ROOM, "%s/", t->mountpoint);
	err_t err = vfs_path(t->v, ino, path + len, PATH_ROOM - len);
	int fd = err == 0 ? open_path(path, ino, kernel_out) : -1;

	return fd >= 0 ? fd : open_number(t, ino, path, kernel_out);
}

/*
 * The order matters.  Dirty pages that the kernel held when its size was read have been written, and have grown the file here,
 * before that size is compared: what still differs then is the kernel's error.
 */
static void
refresh_file(struct fuse_tell *t, uint64_t ino)
{
	char path[PATH_ROOM];
	struct statx kernel;
	CLEANUP(close_fd) int fd = open_known(t, ino, path, &kernel);

	(void)fuse_lowlevel_notify_inval_inode(t->se, ino, 0, 0);
	if (fd >= 0)
		take_over(t, fd, &kernel, path);
}

void
fuse_tell_inode(struct fuse_tell *t, uint64_t ino)
{
	if (!begin(t))
		return;
	if (vfs_is_known_file(t->v, ino)) {
		pthread_mutex_lock(&t->refresh);
		fuse_loop_set_refresher(t->loop, gettid());
		refresh_file(t, ino);
		fuse_loop_set_refresher(t->loop, 0);
		pthread_mutex_unlock(&t->refresh);
	} else {
		(void)fuse_lowlevel_notify_inval_inode(t->se, ino, 0, 0);
	}
	finish(t);
}

/*
 * To close a file is to write its dirty pages and to wait for that.  To forget them would do it, too, but waits for pages that are being
 * read, and such a read may wait for the caller.
 */
static bool
write_by_closing(struct fuse_tell *t, uint64_t ino)
{
	char path[PATH_ROOM], self[32];
	struct statx kernel;
	CLEANUP(close_fd) int fd = open_known(t, ino, path, &kernel);
	int opened;

	if (fd < 0)
		return false;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	opened = open(self, O_RDONLY | O_CLOEXEC);
	return opened >= 0 && close(opened) == 0;
}

void
fuse_tell_write(struct fuse_tell *t, uint64_t ino)
{
	if (!begin(t))
		return;
	if (!vfs_is_known_file(t->v, ino) || !write_by_closing(t, ino))
		(void)fuse_lowlevel_notify_inval_inode(t->se, ino, 0, 0);
	finish(t);
}

void
fuse_tell_end(struct fuse_tell *t)
{
	pthread_mutex_lock(&t->lock);
	t->ended = true;
	while (t->telling_count > 0)
		pthread_cond_wait(&t->quiet, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

err_t
fuse_tell_new(struct fuse_session *se, struct fuse_loop *l, struct vfs *v, const char *mountpoint, struct fuse_tell **out)
{
	struct fuse_tell *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*t = (struct fuse_tell){ .se = se, .loop = l, .v = v, .mountpoint = mountpoint };
	pthread_mutex_init(&t->refresh, NULL);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->quiet, NULL);
	*out = t;
	return 0;
}

void
fuse_tell_free(struct fuse_tell *t)
{
	if (!t)
		return;
	pthread_cond_destroy(&t->quiet);
	pthread_mutex_destroy(&t->lock);
	pthread_mutex_destroy(&t->refresh);
	free(t);
}
