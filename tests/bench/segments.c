/*
 * A vault with very many segments, nearly all of them in the store:  bench_segments DIR COUNT
 *
 * Puts their rows straight into meta.db (the objects do not exist: nothing is read of them), opens the vault anew, and does what
 * looks at segments: seconds, CPU and memory for each.  10 TB are some 700,000 of 16 MiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alone.h"
#include "cache.h"
#include "tidy.h"

#define SIZE (UINT64_C(16) << 20)
#define AT_ONCE 4096

static struct alone b;
static double wall, cpu;

static unsigned long
memory_mib(const char *what)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	while (status && fgets(line, sizeof(line), status))
		if (strncmp(line, what, strlen(what)) == 0)
			kib = strtoul(line + strlen(what) + 1, NULL, 10);
	if (status)
		fclose(status);
	return kib >> 10;
}

static void
start(void)
{
	wall = clock_now(CLOCK_MONOTONIC);
	cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
}

static void
say(const char *what)
{
	printf("%-44s %8.3f s, CPU %8.3f s; memory %4lu MiB, at most %4lu\n", what, clock_now(CLOCK_MONOTONIC) - wall,
	    clock_now(CLOCK_PROCESS_CPUTIME_ID) - cpu, memory_mib("VmRSS"), memory_mib("VmHWM"));
	fflush(stdout);
	start();
}

static void
name_of(uint64_t n, uint8_t out[static 16])
{
	uint64_t words[2] = { mix(2 * n + 1), mix(2 * n + 2) };

	memcpy(out, words, sizeof(words));
}

static void
put_rows(uint64_t count)
{
	struct meta *m = b.vault->meta;

	for (uint64_t n = 0; n < count; n++) {
		struct segment s = { .kind = SEGMENT_SETTLED, .in_store = true, .size = SIZE };

		name_of(n, s.name);
		meta_lock(m);
		s.id = meta_segment_new_id(m);
		check(meta_segment_put(m, &s), "put");
		meta_unlock(m);
		if (n % AT_ONCE == AT_ONCE - 1)
			check(meta_sync(m), "commit");
	}
	check(meta_sync(m), "commit");
}

static void
find_some(uint64_t count, unsigned some)
{
	struct segment s;
	uint8_t name[16];

	for (unsigned k = 0; k < some; k++) {
		name_of(mix(k) % count, name);
		meta_lock(b.vault->meta);
		check(meta_segment_find(b.vault->meta, name, &s), "find");
		meta_unlock(b.vault->meta);
	}
}

static void
write_and_read(void)
{
	uint8_t data[4096] = "content", got[4096];
	struct stat st;
	size_t len;

	check(vfs_mknod(b.vfs, &ME, INODE_ROOT, "file", S_IFREG | 0644, 0, &st), "mknod");
	check(vfs_write(b.vfs, st.st_ino, 0, data, sizeof(data), VFS_WRITE_BACK), "write");
	check(meta_flush(b.vault->meta), "fsync");
	check(vfs_read(b.vfs, st.st_ino, 0, sizeof(got), got, &len), "read");
}

static void
tidy(void)
{
	const struct tidy_place place = { b.vault->content, b.vault->meta, b.vault->segments, b.vault->keys };
	uint64_t moved;
	bool done;

	check(tidy_pass(&place, UINT64_MAX, NULL, NULL, &moved, &done), "tidy");
}

static void
usage(void)
{
	const struct cache_place place = { .content = b.vault->content, .meta = b.vault->meta };
	struct cache_usage u;

	check(cache_usage(&place, &u), "usage");
}

int
main(int argc, char **argv)
{
	uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;

	if (count == 0) {
		fprintf(stderr, "usage: bench_segments DIR COUNT\n");
		return 2;
	}
	alone_make(&b, argv[1]);
	(void)alone_open(&b);
	start();
	put_rows(count);
	say("rows put");
	alone_close(&b);
	start();
	(void)alone_open(&b);
	say("opened anew");
	write_and_read();
	say("a file written and read");
	tidy();
	say("first look of tidying");
	tidy();
	say("another look");
	usage();
	say("first status");
	usage();
	say("another status");
	find_some(count, 1);
	say("first name of a commit");
	find_some(count, 10000);
	say("10,000 names");
	alone_close(&b);
	return 0;
}
