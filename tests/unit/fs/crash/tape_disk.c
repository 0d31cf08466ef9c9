/* tape_disk.c: what disk.h's watcher sees, told to the tape. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "tape.h"

#define PATH_LEN 512

static bool
path_of_fd(int fd, char out[static PATH_LEN])
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

	ssize_t n = readlink(link, out, PATH_LEN - 1);

	if (n < 0)
		return false;
	out[n] = '\0';
	return true;
}

static bool
path_in_dir(int dirfd, const char *name, char out[static PATH_LEN])
{
	if (!path_of_fd(dirfd, out) || strlen(out) + strlen(name) + 2 > PATH_LEN)
		return false;
	strcat(strcat(out, "/"), name);
	return true;
}

/* A name to be made, removed or changed. Names are watched before they change, so whether that will work is looked up here. */
static err_t
on_name(const char *operation, int dirfd, const char *name, const char *to)
{
	char path[PATH_LEN], path_to[PATH_LEN];

	if (!path_in_dir(dirfd, name, path))
		return 0;

	bool there = access(path, F_OK) == 0;
	err_t e = tape_step(path, strcmp(operation, "unlink") != 0);

	if (e)
		return e;
	if (strcmp(operation, "create") == 0 && !there)
		tape_record_name(path, true);
	else if (strcmp(operation, "unlink") == 0 && there)
		tape_record_name(path, false);
	else if (strcmp(operation, "rename") == 0 && there && path_in_dir(dirfd, to, path_to))
		tape_record_rename(path, path_to);
	return 0;
}

static err_t
on_write(const char *path, const void *data, uint64_t off, uint64_t len)
{
	err_t e = tape_step(path, true);

	tape_dawdle();
	/* A write that fails may have written some. */
	tape_record(path, TAPE_WRITE, off, e ? len / 2 : len, data);
	return e;
}

static err_t
on_flush(const char *path)
{
	size_t upto = tape_position();
	err_t e = tape_step(path, true);

	tape_dawdle();
	if (e)
		tape_record(path, TAPE_FLUSH_FAILED, 0, 0, NULL);
	else
		tape_record_flush(path, upto);
	return e;
}

/* Room behind the end of a file.  A disk that is full may have given some. */
static err_t
on_allocate(const char *path, uint64_t off, uint64_t len)
{
	err_t e = tape_step(path, false);

	tape_record(path, TAPE_ALLOCATE, off, e ? len / 2 : len, NULL);
	return e;
}

static err_t
on_truncate(const char *path, uint64_t len)
{
	err_t e = tape_step(path, false);

	if (e)
		return e;
	tape_excuse();
	tape_record(path, TAPE_TRUNCATE, 0, len, NULL);
	return 0;
}

static err_t
on_file(const char *operation, int fd, const void *data, uint64_t off, uint64_t len)
{
	char path[PATH_LEN];
	err_t e;

	if (!path_of_fd(fd, path))
		return 0;
	if (strcmp(operation, "pwrite") == 0)
		return on_write(path, data, off, len);
	if (strcmp(operation, "flush") == 0)
		return on_flush(path);
	if (strcmp(operation, "allocate") == 0)
		return on_allocate(path, off, len);
	if (strcmp(operation, "truncate") == 0)
		return on_truncate(path, len);
	e = tape_step(path, strcmp(operation, "punch") != 0);
	if (strcmp(operation, "flush_dir") == 0 && !e)
		tape_record_flush_dir(path, tape_position());
	else if (strcmp(operation, "punch") == 0 && !e)
		tape_record(path, TAPE_PUNCH, off, len, NULL);
	return e;
}

/* What the tape does not know of, it could not record: better no result than a wrong one. */
static err_t
on_read(const char *operation, int fd, const char *name)
{
	char path[PATH_LEN];
	bool known;

	if (strcmp(operation, "pread") == 0) {
		known = path_of_fd(fd, path);
	} else if (strcmp(operation, "open_read") == 0 || strcmp(operation, "open_write") == 0) {
		known = path_in_dir(fd, name, path);
	} else {
		fprintf(stderr, "the tape does not know the operation %s of disk.h\n", operation);
		abort();
	}
	return known ? tape_read_step(path) : 0;
}

/* Room that is kept back holds nothing, and takes too long to get in memory. */
static bool
is_reserve(const char *name)
{
	return name && strcmp(name, "reserve") == 0;
}

static err_t
on_operation(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	static const char *const NAMES[] = {"create", "unlink", "rename"};
	static const char *const FILES[] = {"pwrite", "flush", "flush_dir", "punch", "allocate", "truncate"};

	(void)ctx;
	if (is_reserve(name))
		return -EOPNOTSUPP;
	if (strcmp(operation, "make_dir") == 0)
		return access(name, F_OK) ? tape_step(name, true) : 0;
	for (size_t k = 0; k < ARRAY_LEN(NAMES); k++)
		if (strcmp(operation, NAMES[k]) == 0)
			return on_name(operation, fd, name, data);
	for (size_t k = 0; k < ARRAY_LEN(FILES); k++)
		if (strcmp(operation, FILES[k]) == 0)
			return on_file(operation, fd, data, off, len);
	return on_read(operation, fd, name);
}

void
tape_watch_disk(void)
{
	disk_watch(on_operation, NULL);
}
