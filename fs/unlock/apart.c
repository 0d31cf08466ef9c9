/* apart.c: a process for each piece of work, and what the two share: a locked page. */
#include "apart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "secmem.h"

err_t
apart_fail(struct apart *room, err_t err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(room->why, sizeof(room->why), fmt, ap);
	va_end(ap);
	return err;
}

err_t
apart_new(size_t len, struct apart **out)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	/* As with all secret memory: where the limit of locked memory is too low it is used unlocked. */
	(void)mlock(p, len);
	(void)madvise(p, len, MADV_DONTDUMP);
	*out = p;
	return 0;
}

void
apart_free(struct apart *room, size_t len)
{
	if (room == NULL)
		return;
	secmem_wipe(room, len);
	(void)munmap(room, len);
}

/* Until nobody has the pipe's other end any more, which only the child has: it has ended.  false: it took too long. */
static bool
await(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd };
	int ready;

	do
		ready = poll(&p, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	return ready != 0;
}

err_t
apart_run(const struct apart_work *work, struct apart *room)
{
	int ended = 0, fds[2];
	bool in_time;
	pid_t child;
	err_t err;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	child = fork();
	err = child < 0 ? -errno : 0;
	if (child == 0) {
		room->err = work->run(room, work->task);
		_exit(EXIT_SUCCESS);
	}
	close(fds[1]);
	in_time = err != 0 || await(fds[0], work->timeout_ms);
	close(fds[0]);
	if (err != 0)
		return err;
	if (!in_time)
		(void)kill(child, SIGKILL);
	while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
		;
	if (!in_time)
		return apart_fail(room, -EIO, "%s does not answer: try again, or unlock in another way", work->whom);
	if (!WIFEXITED(ended) || WEXITSTATUS(ended) != EXIT_SUCCESS)
		return apart_fail(room, -EIO, "asking %s failed (the process ended with %d): try again, or unlock in another way",
		    work->whom, ended);
	return room->err;
}

char *
apart_why(const struct apart *room, err_t err)
{
	return err != 0 && room->why[0] != '\0' ? strdup(room->why) : NULL;
}
