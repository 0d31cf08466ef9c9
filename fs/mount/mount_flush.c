/*
 * mount_flush.c: syncfs(2) hands a FUSE mount's dirty pages over but does not wait until they are served.  So the connection's number
 * of requests is watched, which fusectl shows: when it has been zero once, all of them are done.  Nor does it hand over all of them:
 * the kernel leaves out files while many requests are on their way (congestion_threshold of FUSE_INIT, which fuse_wire.c sets as high as
 * it goes), or while others have them in hand.  So it is asked again, until nothing is on its way when it has been asked.
 */
#include "mount_flush.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"

#define TICK_MS 2
#define STUCK_MS 3000
#define ROUNDS_MIN 2U
/* Where there is no fusectl (for who is not root, in most containers). */
#define BLIND_ROUNDS 4U
#define BLIND_MS 50

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* How many requests are queued or being served.  False: the connection is gone. */
static bool
count_requests(int waiting, uint64_t *out)
{
	char text[32];
	ssize_t n = pread(waiting, text, sizeof(text) - 1, 0);

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

/* False: nothing moves, or the time is over. */
static bool
await_requests(int waiting, unsigned *left_ms)
{
	uint64_t count, before = UINT64_MAX;
	unsigned stuck = 0;

	for (; *left_ms >= TICK_MS && stuck < STUCK_MS; *left_ms -= TICK_MS) {
		if (!count_requests(waiting, &count) || count == 0)
			return true;
		stuck = count == before ? stuck + TICK_MS : 0;
		before = count;
		pause_ms(TICK_MS);
	}
	return false;
}

static err_t
flush_watching(int fd, int waiting, unsigned max_ms)
{
	bool some = true;
	uint64_t count;

	for (unsigned round = 0; round < ROUNDS_MIN || some; round++) {
		if (syncfs(fd) < 0)
			return -errno;
		some = count_requests(waiting, &count) && count > 0;
		if (!await_requests(waiting, &max_ms))
			break;
	}
	return 0;
}

static err_t
flush_blindly(int fd)
{
	for (unsigned round = 0; round < BLIND_ROUNDS; round++) {
		if (syncfs(fd) < 0)
			return -errno;
		pause_ms(BLIND_MS);
	}
	return 0;
}

err_t
mount_flush(const char *mountpoint, unsigned max_ms)
{
	CLEANUP(close_fd) int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(close_fd) int waiting = -1;

	if (fd < 0)
		return -errno;
	if (connection_open(mountpoint, "waiting", O_RDONLY, &waiting) == 0)
		return flush_watching(fd, waiting, max_ms);
	return flush_blindly(fd);
}
