/* The loops over one big file: from the beginning to the end, and at random. */
#include "loops.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS_MAX (1U << 24) /* 64 GiB */

static uint8_t *versions;    /* of each block */
static uint32_t *shuffled;   /* all blocks in random order */
static uint32_t block_count;

static int
read_all(int fd, uint8_t *buf, size_t len, off_t off)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(fd, buf + done, len - done, off + (off_t)done);
		if (n <= 0)
			return n < 0 ? fail("read") : fail("the file ends too early");
		done += (size_t)n;
	}
	return 0;
}

static int
write_all(int fd, const uint8_t *buf, size_t len, off_t off)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pwrite(fd, buf + done, len - done, off + (off_t)done);
		if (n < 0)
			return fail("write");
		done += (size_t)n;
	}
	return 0;
}

static int
big_layout(uint32_t mib)
{
	uint64_t seed = 1;

	if (mib == 0 || mib > BLOCKS_MAX / POOL_BLOCKS)
		return fail("%u MiB is too small or too big", mib);
	block_count = mib * POOL_BLOCKS;
	versions = realloc(versions, block_count);
	shuffled = realloc(shuffled, block_count * sizeof(*shuffled));
	if (!versions || !shuffled)
		return fail("memory");
	memset(versions, 0, block_count);
	for (uint32_t i = 0; i < block_count; i++)
		shuffled[i] = i;
	for (uint32_t i = block_count - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(next_number(&seed) % (i + 1)), t = shuffled[i];

		shuffled[i] = shuffled[j];
		shuffled[j] = t;
	}
	return 0;
}

/* PATH MIB: written from the beginning to the end in pieces of 1 MiB, then fsynced. */
int
do_write(char **argv, struct result *out)
{
	double start, spent = 0;
	int fd, err;

	if (big_layout(number_of(argv[1])) < 0)
		return -1;
	start = now();
	fd = open(argv[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);
	spent += now() - start;
	if (fd < 0)
		return fail("%s", argv[0]);
	for (uint32_t b = 0; b < block_count; b += POOL_BLOCKS) {
		for (uint32_t i = 0; i < POOL_BLOCKS; i++)
			block_fill(piece[0] + i * BLOCK_LEN, BLOCK_LEN, 0, b + i, 0);
		start = now();
		if (write_all(fd, piece[0], PIECE_LEN, (off_t)b * BLOCK_LEN) < 0) {
			close(fd);
			return -1;
		}
		spent += now() - start;
	}
	start = now();
	err = fsync(fd);
	if (close(fd) < 0 || err < 0)
		return fail("fsync");
	out->seconds = spent + now() - start;
	out->count = block_count / POOL_BLOCKS;
	return 0;
}

/* PATH: from the beginning to the end. */
int
do_read(char **argv, struct result *out)
{
	double start = now(), spent;
	int fd = open(argv[0], O_RDONLY);

	if (fd < 0)
		return fail("%s", argv[0]);
	spent = now() - start;
	for (uint32_t b = 0; b < block_count; b += POOL_BLOCKS) {
		start = now();
		if (read_all(fd, piece[0], PIECE_LEN, (off_t)b * BLOCK_LEN) < 0) {
			close(fd);
			return -1;
		}
		spent += now() - start;
		for (uint32_t i = 0; i < POOL_BLOCKS; i++) {
			errno = 0;
			if (!block_is(piece[0] + i * BLOCK_LEN, BLOCK_LEN, 0, b + i, versions[b + i])) {
				close(fd);
				return fail("block %u has a wrong content", b + i);
			}
		}
	}
	close(fd);
	out->seconds = spent;
	out->count = block_count / POOL_BLOCKS;
	return 0;
}

struct reader {
	pthread_t thread;
	const char *path;
	const uint32_t *blocks;
	uint32_t count;
	uint8_t *buf;
	int failed;
};

static void *
reader_main(void *arg)
{
	struct reader *r = arg;
	int fd = open(r->path, O_RDONLY);

	r->failed = fd < 0 ? fail("%s", r->path) : 0;
	for (uint32_t i = 0; i < r->count && r->failed == 0; i++) {
		uint32_t b = r->blocks[i];

		r->failed = read_all(fd, r->buf, BLOCK_LEN, (off_t)b * BLOCK_LEN);
		errno = 0;
		if (r->failed == 0 && !block_is(r->buf, BLOCK_LEN, 0, b, versions[b]))
			r->failed = fail("block %u has a wrong content", b);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* PATH COUNT JOBS FIRST: blocks in random order, FIRST being where in that order. */
int
do_random_read(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]), first = number_of(argv[3]);
	unsigned long jobs = strtoul(argv[2], NULL, 10);
	struct reader readers[JOBS_MAX];
	double start = now();
	unsigned long started = 0;
	int failed = 0;

	if (jobs == 0 || jobs > JOBS_MAX || first + count > block_count)
		return fail("too many jobs or blocks");
	for (; started < jobs; started++) {
		uint32_t share = count / (uint32_t)jobs;
		struct reader *r = &readers[started];

		*r = (struct reader){.path = argv[0], .blocks = shuffled + first + started * share, .count = share,
			.buf = piece[started]};
		if (pthread_create(&r->thread, NULL, reader_main, r) != 0) {
			failed = fail("thread");
			break;
		}
	}
	for (unsigned long i = 0; i < started; i++) {
		pthread_join(readers[i].thread, NULL);
		failed |= readers[i].failed;
	}
	out->seconds = now() - start;
	out->count = count / jobs * jobs;
	return failed;
}

/* PATH COUNT SYNC_EVERY FIRST: whole blocks in random order; fdatasync every so many, or (0) fsync at the end. */
int
do_overwrite(char **argv, struct result *out)
{
	uint32_t count = number_of(argv[1]), first = number_of(argv[3]);
	unsigned long every = strtoul(argv[2], NULL, 10);
	double start = now();
	int failed = 0, fd;

	if (first + count > block_count)
		return fail("too many blocks");
	fd = open(argv[0], O_RDWR);
	if (fd < 0)
		return fail("%s", argv[0]);
	for (uint32_t i = 0; i < count && failed == 0; i++) {
		uint32_t b = shuffled[first + i];

		block_fill(piece[0], BLOCK_LEN, 0, b, ++versions[b]);
		failed = write_all(fd, piece[0], BLOCK_LEN, (off_t)b * BLOCK_LEN);
		if (every != 0 && (i + 1) % every == 0 && failed == 0 && fdatasync(fd) < 0)
			failed = fail("fdatasync");
	}
	if (failed == 0 && fsync(fd) < 0)
		failed = fail("fsync");
	if (close(fd) < 0 && failed == 0)
		failed = fail("close");
	out->seconds = now() - start;
	out->count = count;
	return failed;
}
