/* disk.c: the system calls behind the engine's data files, with short transfers and EINTR hidden. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic(disk_watch_fn *) watch_fn;
static _Atomic(void *) watch_ctx;

void
disk_watch(disk_watch_fn *fn, void *ctx)
{
	atomic_store(&watch_ctx, ctx);
	atomic_store(&watch_fn, fn);
}

static err_t
watched(const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	disk_watch_fn *fn = atomic_load_explicit(&watch_fn, memory_order_acquire);

	return fn ? fn(atomic_load(&watch_ctx), operation, fd, name, data, off, len) : 0;
}

/* Closes a descriptor to which nothing unflushed was written, so that close(2) has no error worth hearing. */
static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static err_t
open_at(int dirfd, const char *name, int flags, mode_t mode, int *fd_out)
{
	int fd;

	do
		fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	*fd_out = fd;
	return 0;
}

/* A new folder is only there after a power cut if the folder above it was flushed. */
static err_t
flush_parent(const char *path)
{
	CLEANUP(free_ptr) char *above = strdup(path);

	if (!above)
		return -ENOMEM;

	CLEANUP(close_fd) int fd = -1;
	err_t e = open_at(AT_FDCWD, dirname(above), O_RDONLY | O_DIRECTORY, 0, &fd);

	return e ? e : disk_flush_dir(fd);
}

err_t
disk_make_dir(const char *path)
{
	err_t e = watched("make_dir", -1, path, NULL, 0, 0);

	if (e)
		return e;
	if (!mkdir(path, 0700))
		return flush_parent(path);

	struct stat st;

	e = -errno;
	if (e != -EEXIST)
		return e;
	if (stat(path, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

err_t
disk_open_read(int dirfd, const char *name, int *fd_out)
{
	err_t e = watched("open_read", dirfd, name, NULL, 0, 0);

	return e ? e : open_at(dirfd, name, O_RDONLY, 0, fd_out);
}

err_t
disk_create(int dirfd, const char *name, int *fd_out)
{
	err_t e = watched("create", dirfd, name, NULL, 0, 0);

	return e ? e : open_at(dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0600, fd_out);
}

err_t
disk_open_write(int dirfd, const char *name, int *fd_out)
{
	err_t e = watched("open_write", dirfd, name, NULL, 0, 0);

	return e ? e : open_at(dirfd, name, O_RDWR, 0, fd_out);
}

err_t
disk_open_direct(int fd, int *fd_out)
{
	char same[32];

	/* By its name it could be another one by now. */
	(void)snprintf(same, sizeof(same), "/proc/self/fd/%d", fd);

	int direct;

	do
		direct = open(same, O_RDWR | O_DIRECT | O_CLOEXEC);
	while (direct < 0 && errno == EINTR);
	if (direct < 0)
		return -errno;
	*fd_out = direct;
	return 0;
}

err_t
disk_pwrite(int fd, const void *data, size_t len, uint64_t off)
{
	err_t e = watched("pwrite", fd, NULL, data, off, len);

	if (e)
		return e;
	for (const uint8_t *p = data; len > 0;) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static _Thread_local disk_wait_fn *tell_wait;

void
disk_tell_wait(disk_wait_fn *fn)
{
	tell_wait = fn;
}

long
disk_blocks_read(void)
{
	struct rusage used;

	return getrusage(RUSAGE_THREAD, &used) == 0 ? used.ru_inblock : 0;
}

/* What the kernel has in memory is read at once; of the rest it begins to read, and says that it would have to wait. */
static bool
read_from_memory(int fd, void *buf, size_t len, uint64_t off)
{
	const struct iovec iov = { buf, len };

	return preadv2(fd, &iov, 1, (off_t)off, RWF_NOWAIT) == (ssize_t)len;
}

static err_t
read_blocks(int fd, uint8_t *p, size_t len, size_t needed, uint64_t off)
{
	for (size_t done = 0; done < needed;) {
		ssize_t n = pread(fd, p + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

err_t
disk_pread(int fd, void *buf, size_t len, uint64_t off)
{
	err_t e = watched("pread", fd, NULL, NULL, off, len);

	if (e)
		return e;
	if (tell_wait != NULL) {
		if (read_from_memory(fd, buf, len, off))
			return 0;
		tell_wait();
	}
	return read_blocks(fd, buf, len, len, off);
}

err_t
disk_pread_blocks(int fd, void *buf, size_t len, size_t needed, uint64_t off)
{
	err_t e = watched("pread", fd, NULL, NULL, off, needed);

	return e ? e : read_blocks(fd, buf, len, needed, off);
}

/* Linux takes no more than this at once, and drops the rest. */
#define READ_AHEAD_STEP 131072u

void
disk_read_ahead(int fd, uint64_t len)
{
	struct stat st;

	if (fstat(fd, &st))
		return;
	for (uint64_t off = 0; off < len && off < (uint64_t)st.st_size; off += READ_AHEAD_STEP)
		if (posix_fadvise(fd, (off_t)off, READ_AHEAD_STEP, POSIX_FADV_WILLNEED))
			return;
}

err_t
disk_flush(int fd)
{
	err_t e = watched("flush", fd, NULL, NULL, 0, 0);

	if (e)
		return e;
	return fdatasync(fd) ? -errno : 0;
}

err_t
disk_flush_dir(int dirfd)
{
	err_t e = watched("flush_dir", dirfd, NULL, NULL, 0, 0);

	if (e)
		return e;
	return fsync(dirfd) ? -errno : 0;
}

/* A container that does not know fallocate(2), or forbids it, is like a file system that has no such thing. */
static bool
is_unsupported(int error)
{
	return error == EOPNOTSUPP || error == ENOSYS || error == EPERM;
}

err_t
disk_punch(int fd, uint64_t off, uint64_t len)
{
	err_t e = watched("punch", fd, NULL, NULL, off, len);

	if (e)
		return e;
	while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len)) {
		if (is_unsupported(errno))
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

err_t
disk_allocate(int fd, uint64_t off, uint64_t len)
{
	err_t e = watched("allocate", fd, NULL, NULL, off, len);

	if (e)
		return e;
	while (fallocate(fd, 0, (off_t)off, (off_t)len)) {
		if (is_unsupported(errno))
			return -EOPNOTSUPP;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

err_t
disk_truncate(int fd, uint64_t len)
{
	err_t e = watched("truncate", fd, NULL, NULL, 0, len);

	if (e)
		return e;
	while (ftruncate(fd, (off_t)len))
		if (errno != EINTR)
			return -errno;
	return 0;
}

err_t
disk_unlink(int dirfd, const char *name)
{
	err_t e = watched("unlink", dirfd, name, NULL, 0, 0);

	if (e)
		return e;
	return unlinkat(dirfd, name, 0) ? -errno : 0;
}

static err_t
replace(int dirfd, const char *from, const char *to)
{
	err_t e = watched("rename", dirfd, from, to, 0, strlen(to));

	if (e)
		return e;
	return renameat(dirfd, from, dirfd, to) ? -errno : 0;
}

static err_t
write_new(int dirfd, const char *name, const void *data, size_t len, unsigned mode)
{
	CLEANUP(close_fd) int fd = -1;
	err_t e = disk_create(dirfd, name, &fd);

	if (e)
		return e;
	if (fchmod(fd, mode))
		return -errno;
	e = disk_pwrite(fd, data, len, 0);
	return e ? e : disk_flush(fd);
}

err_t
disk_write_file(int dirfd, const char *name, const void *data, size_t len, unsigned mode)
{
	char temporary[256];
	int n = snprintf(temporary, sizeof(temporary), "%s.new", name);

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return -ENAMETOOLONG;

	/* One that a power cut left behind is nothing to anybody. */
	err_t e = disk_unlink(dirfd, temporary);

	if (e && e != -ENOENT)
		return e;
	e = write_new(dirfd, temporary, data, len, mode);
	if (!e)
		e = replace(dirfd, temporary, name);
	if (e) {
		(void)unlinkat(dirfd, temporary, 0);
		return e;
	}
	return disk_flush_dir(dirfd);
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

void
disk_remove_tree(const char *path)
{
	(void)nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
