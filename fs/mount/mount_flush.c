/*
 * mount_flush.c: syncfs(2) hands a FUSE mount's dirty pages over but does not wait until they are served.  So the connection's number
 * of requests is watched, which fusectl shows: when it has been zero once, all of them are done.
 */
#include "mount_flush.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 2
#define STUCK_MS 3000
#define FLUSH_MAX_MS 10000
/* Where there is no fusectl (in some containers). */
#define BLIND_MS 200

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* How many requests are queued or being served.  False: it can't be known. */
static bool
count_requests(const char *file, uint64_t *out)
{
	CLEANUP(close_fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
	char text[32];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (n <= 0)
		return false;
	text[n] = '\0';
	*out = strtoull(text, NULL, 10);
	return true;
}

static void
pause_ms(unsigned ms)
{
	const struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000L };

	(void)nanosleep(&t, NULL);
}

static void
await_requests(const char *file)
{
	uint64_t count, before = UINT64_MAX;
	unsigned stuck = 0;

	for (unsigned ms = 0; ms < FLUSH_MAX_MS && stuck < STUCK_MS; ms += TICK_MS) {
		if (!count_requests(file, &count)) {
			pause_ms(BLIND_MS);
			return;
		}
		if (count == 0)
			return;
		stuck = count == before ? stuck + TICK_MS : 0;
		before = count;
		pause_ms(TICK_MS);
	}
}

err_t
mount_flush(const char *mountpoint)
{
	CLEANUP(close_fd) int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char file[64];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || syncfs(fd) < 0)
		return -errno;
	snprintf(file, sizeof(file), "/sys/fs/fuse/connections/%u/waiting", minor(st.st_dev));
	await_requests(file);
	return 0;
}
