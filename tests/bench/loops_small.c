/* The loops over many files: DIR/d000/f00000, 1 to 8 KiB each, and empty ones in one directory. */
#include "loops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_PER_DIR 100U

static size_t
small_len(uint64_t file)
{
	return 1024 + next_number(&file) % 7169;
}

static int
small_write(const char *path, uint64_t file)
{
	size_t len = small_len(file);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	ssize_t n;

	if (fd < 0)
		return fail("%s", path);
	for (size_t at = 0; at < len; at += BLOCK_LEN) {
		size_t part = len - at < BLOCK_LEN ? len - at : BLOCK_LEN;

		block_fill(piece[0] + at, part, file, at / BLOCK_LEN, 1);
	}
	n = write(fd, piece[0], len);
	if (close(fd) < 0 || n != (ssize_t)len)
		return fail("%s: write", path);
	return 0;
}

/* DIR COUNT */
int
do_create(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]);
	char path[4096];
	double start = now();

	for (uint32_t i = 0; i < count; i++) {
		if (i % FILES_PER_DIR == 0) {
			snprintf(path, sizeof(path), "%s/d%03u", argv[0], i / FILES_PER_DIR);
			if (mkdir(path, 0755) < 0)
				return fail("%s", path);
		}
		snprintf(path, sizeof(path), "%s/d%03u/f%05u", argv[0], i / FILES_PER_DIR, i);
		if (small_write(path, i) < 0)
			return -1;
	}
	out->seconds = now() - start;
	out->count = count;
	return 0;
}

typedef int visit_fn(int dirfd, const char *name, const struct stat *st);

/* Calls visit for everything below dir that is no directory, then for each directory when it has been left; counts the former. */
static int
visit_tree(int parent, const char *name, visit_fn *visit, bool want_stat, uint64_t *count)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY), failed = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!d)
		return fail("%s", name);
	while (failed == 0 && (errno = 0, e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (want_stat && fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			failed = fail("%s", e->d_name);
		else if (e->d_type == DT_DIR)
			failed = visit_tree(fd, e->d_name, visit, want_stat, count) < 0 || visit(fd, e->d_name, NULL) < 0 ? -1 : 0;
		else {
			failed = visit(fd, e->d_name, want_stat ? &st : NULL);
			++*count;
		}
	}
	if (failed == 0 && errno != 0)
		failed = fail("%s", name);
	closedir(d);
	return failed;
}

static int
visit_all(const char *dir, visit_fn *visit, bool want_stat, struct result *out)
{
	double start = now();
	uint64_t count = 0;

	if (visit_tree(AT_FDCWD, dir, visit, want_stat, &count) < 0)
		return -1;
	out->seconds = now() - start;
	out->count = count;
	return 0;
}

static int
check_attributes(int dirfd, const char *name, const struct stat *st)
{
	uint64_t file = strtoull(name + 1, NULL, 10);

	(void)dirfd;
	errno = 0;
	if (st && st->st_size != (off_t)(name[0] == 'e' ? 0 : small_len(file)))
		return fail("%s has a wrong size", name);
	return 0;
}

/* DIR: names and attributes of all that is in it. */
int
do_walk(char **argv, struct result *out)
{
	return visit_all(argv[0], check_attributes, true, out);
}

static int
check_content(int dirfd, const char *name, const struct stat *st)
{
	uint64_t file = strtoull(name + 1, NULL, 10);
	size_t len = small_len(file);
	ssize_t n, end;
	int fd;

	(void)st;
	if (name[0] == 'd')
		return 0;
	fd = openat(dirfd, name, O_RDONLY);
	if (fd < 0)
		return fail("%s", name);
	n = read(fd, piece[0], PIECE_LEN);
	end = n < 0 ? n : read(fd, piece[1], PIECE_LEN);
	close(fd);
	if (end < 0)
		return fail("%s: read", name);
	errno = 0;
	if ((size_t)n != len || end != 0)
		return fail("%s has a wrong size", name);
	for (size_t at = 0; at < len; at += BLOCK_LEN)
		if (!block_is(piece[0] + at, len - at < BLOCK_LEN ? len - at : BLOCK_LEN, file, at / BLOCK_LEN, 1))
			return fail("%s has a wrong content", name);
	return 0;
}

/* DIR: the content of all that is in it. */
int
do_read_files(char **argv, struct result *out)
{
	return visit_all(argv[0], check_content, false, out);
}

/* DIR COUNT: f00000 to r00000, and so on. */
int
do_rename(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]);
	char from[4096], to[4096];
	double start = now();

	for (uint32_t i = 0; i < count; i++) {
		snprintf(from, sizeof(from), "%s/d%03u/f%05u", argv[0], i / FILES_PER_DIR, i);
		snprintf(to, sizeof(to), "%s/d%03u/r%05u", argv[0], i / FILES_PER_DIR, i);
		if (rename(from, to) < 0)
			return fail("%s", from);
	}
	out->seconds = now() - start;
	out->count = count;
	return 0;
}

static int
remove_one(int dirfd, const char *name, const struct stat *st)
{
	(void)st;
	if (name[0] == 'f') {
		errno = 0;
		return fail("%s was renamed and is there", name);
	}
	if (unlinkat(dirfd, name, name[0] == 'd' ? AT_REMOVEDIR : 0) < 0)
		return fail("%s", name);
	return 0;
}

/* DIR: all that is in it. */
int
do_delete(char **argv, struct result *out)
{
	return visit_all(argv[0], remove_one, false, out);
}

/* DIR COUNT: empty files e00000... in one directory. */
int
do_create_empty(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]);
	char path[4096];
	double start = now();

	for (uint32_t i = 0; i < count; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/e%05u", argv[0], i);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0)
			return fail("%s", path);
		close(fd);
	}
	out->seconds = now() - start;
	out->count = count;
	return 0;
}
