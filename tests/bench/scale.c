/*
 * Many files through a mounted folder:  scale create|walk|stat|rename|delete SHAPE COUNT FOLDER
 *
 *   SHAPE  tree: folders of 100 files and of 50 folders, files of 64 to 4096 bytes (small ones are frequent)
 *          one: a single folder of empty files        deep: folders in one another, a file in each
 *
 * Prints a line for each tenth: the files so far, and microseconds for each of them; the longest step at the end.
 * stat looks at COUNT / 100 files in an order that has nothing to do with theirs, rename gives as many another name.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_PER_FOLDER 100
#define FOLDERS_PER_FOLDER 50

static const char *shape;
static uint64_t count;
static uint64_t walked;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
fail(const char *what, const char *path)
{
	fprintf(stderr, "scale: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

/* Where the steps become slower. */
static struct {
	double begun, last, longest;
	uint64_t begun_at;
} curve;

static void
begin(void)
{
	curve.begun = curve.last = now();
}

static void
step(uint64_t done, uint64_t total)
{
	double t = now();

	if (t - curve.last > curve.longest)
		curve.longest = t - curve.last;
	curve.last = t;
	if (done % (total / 10 > 0 ? total / 10 : 1) != 0)
		return;
	printf("%12llu files  %8.2f us a file\n", (unsigned long long)done,
	    (t - curve.begun) * 1e6 / (double)(done - curve.begun_at));
	fflush(stdout);
	curve.begun = t;
	curve.begun_at = done;
}

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void
tree_folder(uint64_t folder, char out[static 64])
{
	snprintf(out, 64, "d%03llu/d%02llu", (unsigned long long)(folder / FOLDERS_PER_FOLDER),
	    (unsigned long long)(folder % FOLDERS_PER_FOLDER));
}

static void
path_of(uint64_t i, char out[static 128])
{
	char folder[64];

	if (strcmp(shape, "one") == 0) {
		snprintf(out, 128, "entry number %09llu", (unsigned long long)i);
		return;
	}
	tree_folder(i / FILES_PER_FOLDER, folder);
	snprintf(out, 128, "%s/file %llu.txt", folder, (unsigned long long)(i % FILES_PER_FOLDER));
}

static void
make_folder(uint64_t folder)
{
	char name[64], *slash;

	tree_folder(folder, name);
	slash = strchr(name, '/');
	*slash = '\0';
	if (mkdir(name, 0755) != 0 && errno != EEXIST)
		fail("mkdir", name);
	*slash = '/';
	if (mkdir(name, 0755) != 0)
		fail("mkdir", name);
}

static void
create_one(uint64_t i)
{
	static char content[4096];
	size_t len = strcmp(shape, "one") == 0 ? 0 : (size_t)64 << (mix(i) % 7);
	char path[128];
	int fd;

	if (strcmp(shape, "one") != 0 && i % FILES_PER_FOLDER == 0)
		make_folder(i / FILES_PER_FOLDER);
	for (size_t k = 0; k < len; k += 8) {
		uint64_t word = mix(i * 4096 + k);

		memcpy(content + k, &word, 8);
	}
	path_of(i, path);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("create", path);
	if (len > 0 && write(fd, content, len) != (ssize_t)len)
		fail("write", path);
	if (close(fd) != 0)
		fail("close", path);
}

static void
create_deep(void)
{
	for (uint64_t i = 0; i < count; i++) {
		int fd;

		if (mkdir("deeper", 0755) != 0 || chdir("deeper") != 0)
			fail("mkdir", "deeper");
		fd = open("file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0)
			fail("create", "file");
		close(fd);
		step(i + 1, count);
	}
}

/* In the order of the listing, which is how find(1), du(1) and rm(1) go; paths may be longer than PATH_MAX. */
static void
go_through(bool deleting)
{
	char top[] = ".", *roots[] = { top, NULL };
	FTS *all = fts_open(roots, FTS_PHYSICAL, NULL);

	if (all == NULL)
		fail("walk", ".");
	for (FTSENT *e; (e = fts_read(all)) != NULL;) {
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS) {
			errno = e->fts_errno;
			fail("walk", e->fts_name);
		}
		if (deleting && e->fts_level > 0 && e->fts_info != FTS_D && remove(e->fts_accpath) != 0)
			fail("remove", e->fts_name);
		if (e->fts_info == FTS_F)
			step(++walked, count);
	}
	fts_close(all);
}

static void
stat_one(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		fail("stat", path);
}

/* One that was chosen twice has its new name already. */
static void
rename_one(const char *path)
{
	char to[140];

	snprintf(to, sizeof(to), "%s renamed", path);
	if (rename(path, to) != 0 && (errno != ENOENT || access(to, F_OK) != 0))
		fail("rename", path);
}

static void
some(void (*visit)(const char *path))
{
	uint64_t few = count / 100 > 0 ? count / 100 : 1;

	for (uint64_t i = 0; i < few; i++) {
		char path[128];

		path_of(mix(i) % count, path);
		visit(path);
		step(i + 1, few);
	}
}

int
main(int argc, char **argv)
{
	if (argc != 5 || (count = strtoull(argv[3], NULL, 10)) == 0 || chdir(argv[4]) != 0) {
		fprintf(stderr, "usage: scale create|walk|stat|rename|delete tree|one|deep COUNT FOLDER\n");
		return 2;
	}
	shape = argv[2];
	begin();
	if (strcmp(argv[1], "create") == 0 && strcmp(shape, "deep") == 0)
		create_deep();
	else if (strcmp(argv[1], "create") == 0)
		for (uint64_t i = 0; i < count; i++) {
			create_one(i);
			step(i + 1, count);
		}
	else if (strcmp(argv[1], "walk") == 0)
		go_through(false);
	else if (strcmp(argv[1], "stat") == 0)
		some(stat_one);
	else if (strcmp(argv[1], "rename") == 0)
		some(rename_one);
	else
		go_through(true);
	if ((strcmp(argv[1], "walk") == 0 || strcmp(argv[1], "delete") == 0) && walked != count) {
		fprintf(stderr, "scale: %llu files instead of %llu\n", (unsigned long long)walked, (unsigned long long)count);
		return 1;
	}
	printf("%12s the longest step took %.1f ms\n", "", curve.longest * 1e3);
	return 0;
}
