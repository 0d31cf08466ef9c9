/* place.c: directories, and what else belongs to no test in particular. */
#include "place.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tempdir.h"

static char top[64];
static int hushed = -1; /* the real stderr */

void
place_make(void)
{
	const char *where = getenv("SNUGFS_CRASH_DIR");

	snprintf(top, sizeof(top), "%s/test_crash.XXXXXX", where ? where : tempdir_quick());
	if (!mkdtemp(top)) {
		perror(top);
		abort();
	}
}

void
place_remove(void)
{
	tempdir_remove(top);
}

void
place_path(const char *name, char out[static PLACE_LEN])
{
	snprintf(out, PLACE_LEN, "%s/%s", top, name);
}

void
place_empty(const char *name)
{
	char path[PLACE_LEN + 8];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	tempdir_remove(path);
	strcat(path, "-again");
	tempdir_remove(path);
}

void
place_copy(const char *from, const char *to)
{
	char command[2 * PLACE_LEN + 32];

	place_empty(to);
	snprintf(command, sizeof(command), "cp -r %s/%s %s/%s", top, from, top, to);
	if (system(command) != 0)
		abort();
}

unsigned
place_setting(const char *variable, unsigned otherwise)
{
	const char *value = getenv(variable);
	unsigned n = value ? (unsigned)strtoul(value, NULL, 10) : 0;

	return n ? n : otherwise;
}

void
place_hush(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	hushed = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	(void)fflush(stderr);
	(void)dup2(null, STDERR_FILENO);
	(void)close(null);
}

void
place_speak(void)
{
	if (hushed < 0)
		return;
	(void)fflush(stderr);
	(void)dup2(hushed, STDERR_FILENO);
	(void)close(hushed);
	hushed = -1;
}
