/* Names of files and folders; asks the file system, and makes directories. */
#include "paths.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"

#define LINK_MAX_DEPTH 8
/* Longer names are cut and made unique again by a hash. */
#define VAULT_NAME_MAX 120
#define VAULT_NAME_HASH_LEN 8

/* Where `path` is a symbolic link: what it points at, relative to the current directory or absolute.  -EINVAL: no link. */
static err_t
follow_link(const char *path, char **out)
{
	char target[PATH_MAX], copy[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof(target) - 1);

	if (len < 0)
		return -errno;
	target[len] = '\0';
	if (target[0] == '/') {
		*out = strdup(target);
		return *out == NULL ? -ENOMEM : 0;
	}
	snprintf(copy, sizeof(copy), "%s", path);
	return asprintf(out, "%s/%s", dirname(copy), target) < 0 ? -ENOMEM : 0;
}

static err_t
absolute_by_parent(const char *path, char **out)
{
	CLEANUP(free_ptr) char *parent = NULL;
	char dir[PATH_MAX], base[PATH_MAX];
	const char *name;

	snprintf(dir, sizeof(dir), "%s", path);
	snprintf(base, sizeof(base), "%s", path);
	name = basename(base);
	parent = realpath(dirname(dir), NULL);
	if (parent == NULL)
		return -errno;
	return asprintf(out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0 ? -ENOMEM : 0;
}

err_t
paths_absolute(const char *path, char **out)
{
	CLEANUP(free_ptr) char *current = NULL;

	if (path[0] == '\0')
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	*out = realpath(path, NULL);
	if (*out != NULL)
		return 0;
	/* realpath(3) says no more than that; a dead mount can still be named, by the links that lead to it. */
	current = strdup(path);
	for (int depth = 0; current != NULL && depth < LINK_MAX_DEPTH; depth++) {
		char *next = NULL;

		if (follow_link(current, &next) != 0)
			return absolute_by_parent(current, out);
		free(current);
		current = next;
	}
	return current == NULL ? -ENOMEM : -ELOOP;
}

/* "." and ".." mean nothing behind a folder that is not there. */
static bool
is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

err_t
paths_absolute_name(const char *path, char **out)
{
	char head[PATH_MAX], *slash;
	const char *rest;
	CLEANUP(free_ptr) char *parent = NULL;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(head, sizeof(head), "%s", path);
	for (size_t len = strlen(head); len > 1 && head[len - 1] == '/'; len--)
		head[len - 1] = '\0';
	slash = strrchr(head, '/');
	if (is_dots(slash != NULL ? slash + 1 : head) || strcmp(head, "/") == 0)
		return paths_absolute(path, out); /* it names a folder that is there */
	/* Takes off components until what is left exists. */
	for (;;) {
		slash = strrchr(head, '/');
		rest = path + (slash != NULL ? slash + 1 - head : 0);
		if (slash != NULL)
			*slash = '\0';
		parent = realpath(slash == NULL ? "." : slash == head ? "/" : head, NULL);
		if (parent != NULL)
			break;
		if (slash == NULL || slash == head || (errno != ENOENT && errno != ENOTDIR))
			return -errno;
		slash = strrchr(head, '/');
		if (is_dots(slash != NULL ? slash + 1 : head))
			return -EINVAL;
	}
	if (asprintf(out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, rest) < 0)
		return -ENOMEM;
	for (size_t len = strlen(*out); len > 1 && (*out)[len - 1] == '/'; len--)
		(*out)[len - 1] = '\0';
	return 0;
}

/* The specification: a relative path in the variable is invalid and ignored. */
static err_t
xdg_dir(const char *variable, const char *below_home, char **out)
{
	const char *base = getenv(variable);
	const char *home = getenv("HOME");

	if (base != NULL && base[0] == '/')
		return asprintf(out, "%s/snugfs", base) < 0 ? -ENOMEM : 0;
	if (home == NULL || home[0] != '/') {
		const struct passwd *user = getpwuid(geteuid());

		if (user == NULL || user->pw_dir == NULL)
			return -ENOENT;
		home = user->pw_dir;
	}
	return asprintf(out, "%s/%s/snugfs", home, below_home) < 0 ? -ENOMEM : 0;
}

err_t
paths_data_dir(char **out)
{
	return xdg_dir("XDG_DATA_HOME", ".local/share", out);
}

err_t
paths_config_dir(char **out)
{
	return xdg_dir("XDG_CONFIG_HOME", ".config", out);
}

err_t
paths_vault_name(const char *mountpoint, char **out)
{
	CLEANUP(free_ptr) char *name = strdup(mountpoint[1] != '\0' ? mountpoint + 1 : "root");
	uint8_t hash[HASH_LEN];
	size_t len;
	err_t err;

	if (name == NULL)
		return -ENOMEM;
	for (char *p = name; *p != '\0'; p++)
		if (*p == '/')
			*p = '-';
	len = strlen(name);
	if (len <= VAULT_NAME_MAX) {
		*out = STEAL(name);
		return 0;
	}
	err = hash_sha256(mountpoint, strlen(mountpoint), hash);
	if (err != 0)
		return err;
	if (asprintf(out, "%s-%02x%02x%02x%02x", name + len - (VAULT_NAME_MAX - VAULT_NAME_HASH_LEN - 1), hash[0], hash[1],
	    hash[2], hash[3]) < 0)
		return -ENOMEM;
	return 0;
}

char *
paths_hex(const char *path)
{
	char *out = malloc(strlen(path) * 2 + 1), *at = out;

	for (; out != NULL && *path != '\0'; path++, at += 2)
		snprintf(at, 3, "%02x", (unsigned char)*path);
	if (out != NULL)
		*at = '\0';
	return out;
}

bool
paths_is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 0 && dir[len - 1] == '/')
		len--;
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

err_t
paths_make_dirs(const char *path)
{
	CLEANUP(free_ptr) char *copy = strdup(path);

	if (copy == NULL)
		return -ENOMEM;
	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0700) != 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(copy, 0700) != 0 && errno != EEXIST ? -errno : 0;
}
