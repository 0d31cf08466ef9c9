/* folder.c: nothing is ever written over anything. */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "tell.h"

static bool
is_empty(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	bool empty = d != NULL;

	while (d != NULL && (e = readdir(d)) != NULL)
		empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
	if (d != NULL)
		closedir(d);
	return empty;
}

/* Of a store that has no marker (yet): what an earlier try may have left, which whoever lists its objects looks into. */
static bool
may_be_of_store(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "tmp") == 0 || strcmp(name, "lost+found") == 0 ||
	    (name[0] != '\0' && strchr("bcksw", name[0]) != NULL && name[1] == '\0');
}

bool
folder_has_foreign(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	bool foreign = false, marked = false;

	while (d != NULL && (e = readdir(d)) != NULL) {
		marked = marked || strcmp(e->d_name, "v") == 0;
		foreign = foreign || !may_be_of_store(e->d_name);
	}
	if (d != NULL)
		closedir(d);
	return foreign && !marked;
}

int
folder_make_empty(const char *path)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return tell_failure("%s cannot be made: %s", path, tell_reason(-errno));
	if (!is_empty(path))
		return tell_failure("%s is not an empty folder; name one that is, or that is not there yet", path);
	return 0;
}
