/* Where fusectl is not mounted (in most containers), root makes an instance for himself that is in nobody's table of mounts. */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void
close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* The number after a word at a line's beginning. */
static bool
find_number(const char *path, const char *word, int *out)
{
	CLEANUP(close_file) FILE *f = fopen(path, "re");
	CLEANUP(free_ptr) char *line = NULL;
	size_t cap = 0, len = strlen(word);

	while (f && getline(&line, &cap, f) >= 0)
		if (strncmp(line, word, len) == 0)
			return sscanf(line + len, "%d", out) == 1;
	return false;
}

/* Where statx(2) is refused: the mount's number, of a descriptor for which nobody is asked, and its line in the table of mounts. */
static err_t
look_up_device(const char *mountpoint, unsigned *major_out, unsigned *minor_out)
{
	CLEANUP(close_fd) int fd = open(mountpoint, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP(close_file) FILE *mounts = NULL;
	CLEANUP(free_ptr) char *line = NULL;
	int wanted, mount;
	size_t cap = 0;
	char path[64];

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!find_number(path, "mnt_id:", &wanted) || !(mounts = fopen("/proc/self/mountinfo", "re")))
		return -ENOENT;
	while (getline(&line, &cap, mounts) >= 0)
		if (sscanf(line, "%d %*d %u:%u", &mount, major_out, minor_out) == 3 && mount == wanted)
			return 0;
	return -ENOENT;
}

err_t
connection_device(const char *mountpoint, unsigned *major_out, unsigned *minor_out)
{
	struct statx stx;

	/* DONT_SYNC: what the kernel knows by itself.  Where there is no such call, the C library has an error of its own. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stx) != 0)
		return look_up_device(mountpoint, major_out, minor_out);
	*major_out = stx.stx_dev_major;
	*minor_out = stx.stx_dev_minor;
	return 0;
}

err_t
connection_open(const char *mountpoint, const char *file, int flags, int *fd_out)
{
	CLEANUP(close_fd) int top = -1;
	unsigned major, minor;
	char path[64];
	int fd;
	err_t err = connection_device(mountpoint, &major, &minor);

	if (err)
		return err;
	snprintf(path, sizeof(path), FUSECTL "/%u/%s", minor, file);
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
