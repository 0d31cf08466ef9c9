/* Files, random numbers and threads: a limit or a filter of system calls may refuse each. */
#include "needs.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "tell.h"

/* A vault and its store take some 20. */
#define FILES_MIN 64u

static int
check_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FILES_MIN)
		return 0;
	return tell_failure("no more than %u files may be open at once here, which is too few: allow some more with \"ulimit -n 1024\" and "
	    "try again", (unsigned)limit.rlim_cur);
}

static int
check_random(void)
{
	uint8_t byte;

	if (getrandom(&byte, sizeof(byte), GRND_NONBLOCK) == (ssize_t)sizeof(byte) || (errno != EPERM && errno != ENOSYS))
		return 0;
	return tell_failure("this system gives no random numbers, without which nothing can be encrypted: a filter of system calls, as of "
	    "a container, must allow getrandom(2)");
}

static void *
do_nothing(void *arg)
{
	return arg;
}

static int
check_threads(void)
{
	pthread_t thread;
	int failed = pthread_create(&thread, NULL, do_nothing, NULL);

	if (failed == 0)
		(void)pthread_join(thread, NULL);
	return failed != EPERM ? 0 : tell_failure("this system starts no thread: a filter of system calls, as of a container, must allow "
	    "clone3(2), or refuse it with ENOSYS");
}

int
needs_check(void)
{
	int status = check_files();

	if (status == 0)
		status = check_random();
	return status != 0 ? status : check_threads();
}
