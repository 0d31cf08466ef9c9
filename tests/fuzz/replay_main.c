/*
 * replay_main.c: runs a fuzz target over the files that are named, and over all files of the directories that are named,
 * so that a corpus is an ordinary test under any compiler.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (16u << 20)

static unsigned replayed;

static void die(const char *path, int error)
{
	fprintf(stderr, "%s: %s\n", path, strerror(error));
	exit(2);
}

static void replay_file(const char *path, size_t len)
{
	if (len > INPUT_MAX)
		die(path, EFBIG);
	FILE *file = fopen(path, "rb");
	if (file == NULL)
		die(path, errno);
	/* An allocation of just this size, so that a sanitizer sees a read past the end. */
	uint8_t *data = malloc(len > 0 ? len : 1);
	if (data == NULL)
		die(path, ENOMEM);
	if (fread(data, 1, len, file) != len)
		die(path, EIO);
	fclose(file);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	replayed++;
}

static void replay(const char *path);

static int is_no_dot_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay_directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, is_no_dot_file, alphasort);
	if (count < 0)
		die(path, errno);
	for (int i = 0; i < count; i++) {
		char *inner;
		if (asprintf(&inner, "%s/%s", path, entries[i]->d_name) < 0)
			die(path, ENOMEM);
		replay(inner);
		free(inner);
		free(entries[i]);
	}
	free(entries);
}

static void replay(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		die(path, errno);
	if (S_ISDIR(st.st_mode))
		replay_directory(path);
	else
		replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%u inputs replayed\n", replayed);
	/* A corpus that is not there would else pass. */
	return replayed > 0 ? 0 : 2;
}
