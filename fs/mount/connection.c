/* Where fusectl is not mounted (in most containers), root makes an instance for himself that is in nobody's table of mounts. */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FUSECTL "/sys/fs/fuse/connections"

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* The folder, or -1. */
static int
mount_fusectl(void)
{
	CLEANUP(close_fd) int context = (int)syscall(SYS_fsopen, "fusectl", FSOPEN_CLOEXEC);

	if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		return -1;
	return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
}

err_t
connection_open(const char *mountpoint, const char *file, int flags, int *fd_out)
{
	CLEANUP(close_fd) int top = -1;
	struct statx stx;
	char path[64];
	int fd;

	/* DONT_SYNC: what the kernel knows by itself. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stx) != 0)
		return -errno;
	snprintf(path, sizeof(path), FUSECTL "/%u/%s", stx.stx_dev_minor, file);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && (top = mount_fusectl()) >= 0)
		fd = openat(top, path + sizeof(FUSECTL), flags | O_CLOEXEC);
	else if (fd < 0 && errno != EACCES)
		errno = ENOENT;
	if (fd < 0)
		return -errno;
	*fd_out = fd;
	return 0;
}

err_t
connection_abort(int abort_fd)
{
	return write(abort_fd, "1", 1) == 1 ? 0 : -errno;
}
