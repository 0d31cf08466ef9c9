/* Fuzzes the configuration file, which is also written anew: what stood in it is still there then. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "fuzz.h"

static char top[64], file[160];

static void remove_all(void)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "rm -rf '%s'", top);
	(void)!system(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char dir[128];

	(void)argc;
	(void)argv;
	snprintf(top, sizeof(top), "%s/snugfs-fuzz-config-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	FUZZ_REQUIRE(mkdtemp(top) != NULL && setenv("XDG_CONFIG_HOME", top, 1) == 0);
	snprintf(dir, sizeof(dir), "%s/snugfs", top);
	snprintf(file, sizeof(file), "%s/config.ini", dir);
	FUZZ_REQUIRE(mkdir(dir, 0700) == 0);
	return atexit(remove_all);
}

static err_t load(struct config *out)
{
	err_t err = config_load(out);

	FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
	for (size_t i = 0; err == 0 && i < out->count; i++)
		FUZZ_REQUIRE(out->entries[i].mountpoint != NULL && out->entries[i].directory != NULL);
	return err;
}

#define MOUNTPOINT "/a mount\npoint"

static bool is_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool has(const struct config *c, const struct config_entry *wanted)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct config_entry *e = &c->entries[i];

		if (is_same(e->mountpoint, wanted->mountpoint) && is_same(e->directory, wanted->directory) &&
		    is_same(e->remote, wanted->remote))
			return true;
	}
	return false;
}

/* What stood there of other folders is there still. */
static void check_kept(const struct config *before, const struct config *after)
{
	for (size_t i = 0; i < before->count; i++)
		FUZZ_REQUIRE(strcmp(before->entries[i].mountpoint, MOUNTPOINT) == 0 || has(after, &before->entries[i]));
	FUZZ_REQUIRE(is_same(before->up_limit, after->up_limit) && is_same(before->down_limit, after->down_limit));
	FUZZ_REQUIRE(is_same(before->metered, after->metered) && is_same(before->on_event, after->on_event));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct config before = {0}, after = {0};
	const struct config_entry *e;

	FUZZ_REQUIRE(fd >= 0 && write(fd, data, len) == (ssize_t)len && close(fd) == 0);
	if (load(&before) != 0)
		return 0;
	if (config_remember(MOUNTPOINT, "/a directory", "dir:/a%20store") == 0) {
		FUZZ_REQUIRE(load(&after) == 0 && (e = config_find(&after, MOUNTPOINT)) != NULL);
		FUZZ_REQUIRE(strcmp(e->directory, "/a directory") == 0 && strcmp(e->remote, "dir:/a%20store") == 0);
	} else {
		FUZZ_REQUIRE(load(&after) == 0);
	}
	check_kept(&before, &after);
	config_clear(&before);
	config_clear(&after);
	return 0;
}
