/*
 * What a file in very many pieces costs the daemon alone: the vfs driven without a mount.   bench_extents DIR GIB WRITES DENSE_MIB [BYTES]
 *
 * DIR must exist; a vault is made in it and stays.  A sparse file of GIB gets one extent in every block of 4 KiB, as random writes
 * all over it would leave it; of each block only the first byte is written, so that its map is as large as it gets and the disk
 * need not be.  Then WRITES random blocks are overwritten in full, the file is left to the tidying, and cut to nothing.  A second file of DENSE_MIB is written in one piece, overwritten
 * block by block in random order, and left to the tidying: what it reads like before and after.  A third one gets BYTES single bytes
 * at random places in two chunks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "alone.h"
#include "tidy.h"

#define BLOCK 4096u
#define CHUNK_BLOCKS (CHUNK_LEN / BLOCK)
#define SLICE 64u


static struct alone b;
static uint8_t data[CHUNK_LEN];

/* VmRSS or VmHWM. */
static unsigned long
memory_mib(const char *field)
{
	char line[256];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			kib = strtoul(line + strlen(field) + 1, NULL, 10);
	if (f != NULL)
		fclose(f);
	return kib >> 10;
}

static uint64_t
database_mib(void)
{
	static const char *const NAMES[] = {"meta.db", "meta.db-wal"};
	uint64_t bytes = 0;

	for (size_t k = 0; k < ARRAY_LEN(NAMES); k++) {
		char path[sizeof(b.dir) + 16];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", b.dir, NAMES[k]);
		if (stat(path, &st) == 0)
			bytes += (uint64_t)st.st_size;
	}
	return bytes >> 20;
}

/* A tenth of something is done. */
static void
open_all(void)
{
	printf("opened in %.0f ms\n", alone_open(&b) * 1e3);
}

static void
tenth(const char *what, uint64_t done, uint64_t count, double *wall, double *cpu)
{
	double w = clock_now(CLOCK_MONOTONIC), c = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	double us = 1e6 / (double)count;

	printf("%-8s %10llu  %8.2f us  CPU %8.2f us  memory %4lu MiB, at most %4lu  database %5llu MiB\n", what,
	    (unsigned long long)done, (w - *wall) * us, (c - *cpu) * us, memory_mib("VmRSS"), memory_mib("VmHWM"),
	    (unsigned long long)database_mib());
	fflush(stdout);
	*wall = w;
	*cpu = c;
}

static uint64_t
make(const char *name)
{
	struct stat st;

	check(vfs_mknod(b.vfs, &ME, INODE_ROOT, name, S_IFREG | 0644, 0, &st), "mknod");
	return st.st_ino;
}

static void
put(uint64_t ino, uint64_t off, size_t len)
{
	check(vfs_write(b.vfs, ino, off, data, len, VFS_WRITE_BACK), "write");
}

/* Some chunks at a time: what was looked at leaves memory when the lock is let go. */
static uint64_t
extents_of(uint64_t ino)
{
	uint64_t extents = 0, from = 0;
	size_t count = SLICE;

	while (count == SLICE) {
		uint64_t *nos = NULL;
		struct inode *i;
		struct chunk *c;

		meta_lock(b.vault->meta);
		check(meta_inode_get(b.vault->meta, ino, &i), "inode");
		check(meta_chunk_numbers(b.vault->meta, i, from, SLICE, &nos, &count), "chunks");
		for (size_t k = 0; k < count; k++) {
			check(meta_chunk_get(b.vault->meta, i, nos[k], false, &c), "chunk");
			extents += c->current.count;
			from = nos[k] + 1;
		}
		meta_unlock(b.vault->meta);
		free(nos);
	}
	return extents;
}

static size_t
hot_count(void)
{
	struct hot_segment *v;
	size_t count;

	check(segstore_list_hot(b.vault->segments, &v, &count), "segments");
	hot_segments_free(v, count);
	return count;
}

static void
fill(uint64_t ino, uint64_t chunks)
{
	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t step = chunks / 10 > 0 ? chunks / 10 : 1;

	for (uint64_t c = 0; c < chunks; c++) {
		/* In an order that is not the file's, so that no two join. */
		for (uint64_t k = 0; k < CHUNK_BLOCKS; k++)
			put(ino, c * CHUNK_LEN + k * 97 % CHUNK_BLOCKS * BLOCK, 1);
		if ((c + 1) % step == 0)
			tenth("fill", (c + 1) * CHUNK_BLOCKS, step * CHUNK_BLOCKS, &wall, &cpu);
	}
}

static void
overwrite(uint64_t ino, uint64_t blocks, uint64_t writes, const char *title)
{
	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t step = writes / 10 > 0 ? writes / 10 : 1;

	for (uint64_t k = 0; k < writes; k++) {
		put(ino, mix(k + 1) % blocks * BLOCK, BLOCK);
		if ((k + 1) % step == 0)
			tenth(title, k + 1, step, &wall, &cpu);
	}
	check(meta_sync(b.vault->meta), "commit");
}

static void
read_some(uint64_t ino, uint64_t blocks, uint64_t reads)
{
	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	uint8_t block[BLOCK];
	size_t got;

	for (uint64_t k = 0; k < reads; k++) {
		check(vfs_read(b.vfs, ino, mix(k + 1) % blocks * BLOCK, BLOCK, block, &got), "read");
		check(got == BLOCK && memcmp(block, data, BLOCK) == 0 ? 0 : -EBADMSG, "what was read");
	}
	tenth("read", reads, reads, &wall, &cpu);
}

/* The kernel forgets the segments' pages. */
static void
cool(void)
{
	struct hot_segment *v;
	size_t count;

	check(segstore_list_hot(b.vault->segments, &v, &count), "segments");
	for (size_t k = 0; k < count; k++) {
		char path[sizeof(b.dir) + 64];
		int fd;

		snprintf(path, sizeof(path), "%s/segments/%016llx", b.dir, (unsigned long long)v[k].seg);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		(void)fdatasync(fd);
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	}
	hot_segments_free(v, count);
}

static void
read_through(uint64_t ino, uint64_t chunks, const char *how)
{
	static uint8_t buf[CHUNK_LEN];
	uint64_t extents = extents_of(ino);
	size_t got;

	cool();

	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);

	for (uint64_t c = 0; c < chunks; c++)
		check(vfs_read(b.vfs, ino, c * CHUNK_LEN, CHUNK_LEN, buf, &got), "read");
	wall = clock_now(CLOCK_MONOTONIC) - wall;
	cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%s: %llu extents in %zu hot segments; read cold with %.0f MiB/s, %.2f s of CPU a GiB\n", how,
	    (unsigned long long)extents, hot_count(), (double)chunks / wall, cpu * 1024 / (double)chunks);
	fflush(stdout);
}

/* How far a pass of the tidying is. */
static struct {
	uint64_t chunks, done;
	double wall, cpu;
} curve;

static err_t
tidied_one(void *ctx)
{
	uint64_t step = curve.chunks / 10 > 0 ? curve.chunks / 10 : 1;

	(void)ctx;
	if (++curve.done % step == 0)
		tenth("tidy", curve.done, step, &curve.wall, &curve.cpu);
	return 0;
}

static void
tidy(uint64_t chunks)
{
	const struct tidy_place place = {b.vault->content, b.vault->meta, b.vault->segments, b.vault->keys};
	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t moved;
	bool done = false;

	for (unsigned pass = 1; !done; pass++) {
		curve.chunks = chunks;
		curve.done = 0;
		curve.wall = clock_now(CLOCK_MONOTONIC);
		curve.cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
		check(tidy_pass(&place, UINT64_MAX, tidied_one, NULL, &moved, &done), "tidy");
		printf("pass %u: %llu chunks looked at, %llu MiB moved, %zu hot segments\n", pass, (unsigned long long)curve.done,
		    (unsigned long long)(moved >> 20), hot_count());
	}
	printf("tidied in %.1f s, CPU %.1f s; memory at most %lu MiB\n", clock_now(CLOCK_MONOTONIC) - wall,
	    clock_now(CLOCK_PROCESS_CPUTIME_ID) - cpu, memory_mib("VmHWM"));
	fflush(stdout);
}

static void
cut(uint64_t ino)
{
	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);

	check(content_truncate(b.vault->content, ino, 0), "truncate");
	check(meta_sync(b.vault->meta), "commit");
	tenth("cut", 1, 1, &wall, &cpu);
}

static void
sparse(uint64_t chunks, uint64_t writes)
{
	uint64_t ino = make("sparse");

	check(content_truncate(b.vault->content, ino, chunks * CHUNK_LEN), "truncate");
	fill(ino, chunks);
	overwrite(ino, chunks * CHUNK_BLOCKS, writes, "write");
	alone_close(&b);
	open_all();
	if (writes > 0)
		read_some(ino, chunks * CHUNK_BLOCKS, writes);
	printf("sparse: %llu extents, %zu hot segments\n", (unsigned long long)extents_of(ino), hot_count());
	tidy(chunks);
	printf("sparse: %llu extents, %zu hot segments\n", (unsigned long long)extents_of(ino), hot_count());
	cut(ino);
}

static void
dense(uint64_t chunks)
{
	uint64_t ino = make("dense");

	for (size_t k = 0; k < sizeof(data); k += 8) {
		uint64_t word = mix(k + 1);

		memcpy(data + k, &word, 8);
	}
	for (uint64_t c = 0; c < chunks; c++)
		put(ino, c * CHUNK_LEN, CHUNK_LEN);
	check(meta_sync(b.vault->meta), "commit");
	read_through(ino, chunks, "dense, written in one piece");
	overwrite(ino, chunks * CHUNK_BLOCKS, 2 * chunks * CHUNK_BLOCKS, "scatter");
	read_through(ino, chunks, "dense, scattered");
	tidy(chunks);
	read_through(ino, chunks, "dense, left alone");
}

static void
bytes(uint64_t count)
{
	double wall = clock_now(CLOCK_MONOTONIC), cpu = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t ino = make("bytes"), step = count / 10 > 0 ? count / 10 : 1;

	for (uint64_t k = 0; k < count; k++) {
		put(ino, CHUNK_LEN + mix(k + 1) % (2 * CHUNK_LEN), 1);
		if ((k + 1) % step == 0)
			tenth("byte", k + 1, step, &wall, &cpu);
	}
	check(meta_sync(b.vault->meta), "commit");
	printf("bytes: %llu extents\n", (unsigned long long)extents_of(ino));
	tidy(2);
	printf("bytes: %llu extents\n", (unsigned long long)extents_of(ino));
}

int
main(int argc, char **argv)
{
	if (argc < 5 || argc > 6) {
		fprintf(stderr, "usage: bench_extents DIR GIB WRITES DENSE_MIB [BYTES]\n");
		return 2;
	}
	memset(data, 'x', sizeof(data));
	alone_make(&b, argv[1]);
	open_all();
	if (strtoull(argv[4], NULL, 10) > 0)
		dense(strtoull(argv[4], NULL, 10));
	memset(data, 'x', sizeof(data));
	if (strtoull(argv[2], NULL, 10) > 0)
		sparse(strtoull(argv[2], NULL, 10) << 10, strtoull(argv[3], NULL, 10));
	if (argc > 5)
		bytes(strtoull(argv[5], NULL, 10));
	alone_close(&b);
	return 0;
}
