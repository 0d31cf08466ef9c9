/*
 * The benchmark's inner loops: one process for the whole run, whose memory is touched once, so that what is timed is the file
 * system.  Reads commands from stdin, words separated by tabs; answers each with "ok SECONDS COUNT" or "failed WHY".
 * Everything that is read is compared with what was written; comparing is not part of the time where it would show.
 */
#include "loops.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* What a block of a file begins with; the rest is a block of the pool. */
struct stamp {
	uint64_t file;
	uint64_t block;
	uint64_t version;
};

uint8_t piece[JOBS_MAX][PIECE_LEN];
static uint8_t pool[PIECE_LEN];
static char why[512]; /* the last failure */

int __attribute__((format(printf, 1, 2)))
fail(const char *fmt, ...)
{
	int saved = errno;
	size_t used;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	used = strlen(why);
	if (saved != 0)
		snprintf(why + used, sizeof(why) - used, ": %s", strerror(saved));
	return -1;
}

double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint32_t
number_of(const char *word)
{
	return (uint32_t)strtoul(word, NULL, 10);
}

uint64_t
next_number(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15U);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

void
blocks_init(void)
{
	uint64_t seed = 0;

	for (size_t i = 0; i < PIECE_LEN; i += sizeof(uint64_t)) {
		uint64_t number = next_number(&seed);

		memcpy(pool + i, &number, sizeof(number));
	}
}

static const uint8_t *
pool_block(uint64_t file, uint64_t block)
{
	return pool + (file * 31 + block) % POOL_BLOCKS * BLOCK_LEN;
}

void
block_fill(uint8_t *buf, size_t len, uint64_t file, uint64_t block, uint64_t version)
{
	struct stamp s = {file, block, version};

	memcpy(buf, pool_block(file, block), len);
	memcpy(buf, &s, len < sizeof(s) ? len : sizeof(s));
}

bool
block_is(const uint8_t *buf, size_t len, uint64_t file, uint64_t block, uint64_t version)
{
	struct stamp s = {file, block, version};
	size_t stamped = len < sizeof(s) ? len : sizeof(s);

	return memcmp(buf, &s, stamped) == 0 &&
		memcmp(buf + stamped, pool_block(file, block) + stamped, len - stamped) == 0;
}

/* MIB: takes that much memory and gives it back, so that the page cache finds pages that the host has not taken away. */
static int
do_warm(char **argv, struct result *out)
{
	size_t len = (size_t)number_of(argv[0]) << 20;
	double start = now();
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		return fail("memory");
	munmap(p, len);
	out->seconds = now() - start;
	return 0;
}

static const struct command {
	const char *name;
	int arg_count;
	int (*run)(char **argv, struct result *out);
} commands[] = {
	{"write", 2, do_write},
	{"read", 1, do_read},
	{"random-read", 4, do_random_read},
	{"overwrite", 4, do_overwrite},
	{"create", 2, do_create},
	{"create-empty", 2, do_create_empty},
	{"walk", 1, do_walk},
	{"read-files", 1, do_read_files},
	{"rename", 2, do_rename},
	{"delete", 1, do_delete},
	{"log", 2, do_log},
	{"check-log", 2, do_check_log},
	{"sql-single", 2, do_sql_single},
	{"sql-bulk", 2, do_sql_bulk},
	{"sql-check", 3, do_sql_check},
	{"warm", 1, do_warm},
};

static int
obey(char *line, struct result *out)
{
	char *words[8] = {NULL}, *rest = NULL;
	int count = 0;

	for (char *w = strtok_r(line, "\t\n", &rest); w && count < 8; w = strtok_r(NULL, "\t\n", &rest))
		words[count++] = w;
	for (size_t i = 0; count > 0 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, words[0]) == 0 && commands[i].arg_count == count - 1)
			return commands[i].run(words + 1, out);
	errno = 0;
	return fail("no such command");
}

int
main(void)
{
	char line[16384];

	blocks_init();
	memset(piece, 1, sizeof(piece));
	while (fgets(line, sizeof(line), stdin)) {
		struct result r = {0, 0};

		errno = 0;
		if (obey(line, &r) < 0)
			printf("failed %s\n", why);
		else
			printf("ok %.9f %llu\n", r.seconds, (unsigned long long)r.count);
		fflush(stdout);
	}
	return 0;
}
