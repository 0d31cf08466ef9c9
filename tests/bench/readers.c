/*
 * What a second reader gets: the vfs driven without a mount, by one thread and by two.   bench_readers DIR MIB FILES
 *
 * DIR must exist; a vault is made in it and stays.  Two files of MIB, FILES small ones in folders of 100.  For each kind of reading:
 * what one thread does, what two do, and how many times as much that is (CPU: of so many processors).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alone.h"

#define BLOCK 4096u
#define PER_FOLDER 100u
#define SECONDS 0.5


static struct alone b;
static uint64_t big[2];
static uint64_t chunks;
static uint64_t files;
static uint64_t *folders;
static uint64_t *inos;

/* One step of a kind of reading, by that thread. */
typedef void step_fn(unsigned thread, uint64_t n);

struct reader {
	pthread_t thread;
	unsigned no;
	step_fn *step;
	atomic_bool *go;
	double end;
	uint64_t steps;
	double cpu;
	double wall;
};

static void *
read_on(void *arg)
{
	struct reader *r = arg;
	double wall, cpu;

	while (!atomic_load(r->go))
		;
	wall = clock_now(CLOCK_MONOTONIC);
	cpu = clock_now(CLOCK_THREAD_CPUTIME_ID);
	while (clock_now(CLOCK_MONOTONIC) - wall < SECONDS)
		for (unsigned k = 0; k < 8; k++)
			r->step(r->no, r->steps++);
	r->wall = clock_now(CLOCK_MONOTONIC) - wall;
	r->cpu = clock_now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	return NULL;
}

static double
run(unsigned threads, step_fn *step, double *cpu_out)
{
	struct reader r[2] = {0};
	atomic_bool go = false;
	double rate = 0;

	*cpu_out = 0;
	for (unsigned k = 0; k < threads; k++) {
		r[k] = (struct reader){.no = k, .step = step, .go = &go};
		check(-pthread_create(&r[k].thread, NULL, read_on, &r[k]), "thread");
	}
	atomic_store(&go, true);
	for (unsigned k = 0; k < threads; k++) {
		pthread_join(r[k].thread, NULL);
		rate += (double)r[k].steps / r[k].wall;
		*cpu_out += r[k].cpu / r[k].wall;
	}
	return rate;
}

/* The kernel forgets the database. */
static void
cool(void)
{
	char path[sizeof(b.dir) + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/meta.db", b.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd < 0 ? -errno : 0, path);
	(void)fdatasync(fd);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

enum place { IN_MEMORY, IN_KERNEL, ON_DISK };

static void
compare(const char *what, step_fn *step, enum place place)
{
	double cpu[2], rate[2];

	for (unsigned k = 0; k < 2; k++) {
		if (place != IN_MEMORY)
			alone_close(&b);
		if (place == ON_DISK)
			cool();
		if (place != IN_MEMORY)
			alone_open(&b);
		rate[k] = run(k + 1, step, &cpu[k]);
	}
	printf("%-44s one %9.0f /s (CPU %.2f)  two %9.0f /s (CPU %.2f)  ratio %.2f\n", what, rate[0], cpu[0], rate[1], cpu[1],
	    rate[1] / rate[0]);
	fflush(stdout);
}

static void
read_at(uint64_t ino, uint64_t off, size_t len)
{
	static _Thread_local uint8_t buf[CHUNK_LEN];
	size_t got;

	check(vfs_read(b.vfs, ino, off, len, buf, &got), "read");
}

static void
sequential_own(unsigned thread, uint64_t n)
{
	read_at(big[thread], n % chunks * CHUNK_LEN, CHUNK_LEN);
}

static void
sequential_same(unsigned thread, uint64_t n)
{
	read_at(big[0], (n + thread * chunks / 2) % chunks * CHUNK_LEN, CHUNK_LEN);
}

static void
random_own(unsigned thread, uint64_t n)
{
	read_at(big[thread], mix(n + 1) % (chunks * (CHUNK_LEN / BLOCK)) * BLOCK, BLOCK);
}

static void
random_same(unsigned thread, uint64_t n)
{
	read_at(big[0], mix((n << 1 | thread) + 1) % (chunks * (CHUNK_LEN / BLOCK)) * BLOCK, BLOCK);
}

static void
attributes(unsigned thread, uint64_t n)
{
	struct stat st;

	check(vfs_getattr(b.vfs, inos[mix((n << 1 | thread) + 1) % files], &st), "getattr");
}

static void
names(unsigned thread, uint64_t n)
{
	uint64_t i = mix((n << 1 | thread) + 1) % files;
	char name[32];
	struct stat st;

	snprintf(name, sizeof(name), "f%llu", (unsigned long long)i);
	check(vfs_lookup(b.vfs, folders[i / PER_FOLDER], name, &st), "lookup");
	vfs_forget(b.vfs, st.st_ino, 1);
}

static void
small_reads(unsigned thread, uint64_t n)
{
	read_at(inos[mix((n << 1 | thread) + 1) % files], 0, BLOCK);
}

static void
make_files(void)
{
	static uint8_t data[CHUNK_LEN];
	char name[32];
	struct stat st;

	for (size_t k = 0; k < sizeof(data); k += 8) {
		uint64_t word = mix(k + 1);

		memcpy(data + k, &word, 8);
	}
	for (unsigned k = 0; k < 2; k++) {
		snprintf(name, sizeof(name), "big%u", k);
		check(vfs_mknod(b.vfs, &ME, INODE_ROOT, name, S_IFREG | 0644, 0, &st), "mknod");
		big[k] = st.st_ino;
		for (uint64_t c = 0; c < chunks; c++)
			check(vfs_write(b.vfs, big[k], c * CHUNK_LEN, data, CHUNK_LEN, VFS_WRITE_BACK), "write");
	}
	for (uint64_t i = 0; i < files; i++) {
		if (i % PER_FOLDER == 0) {
			snprintf(name, sizeof(name), "d%llu", (unsigned long long)(i / PER_FOLDER));
			check(vfs_mkdir(b.vfs, &ME, INODE_ROOT, name, 0755, &st), "mkdir");
			folders[i / PER_FOLDER] = st.st_ino;
		}
		snprintf(name, sizeof(name), "f%llu", (unsigned long long)i);
		check(vfs_mknod(b.vfs, &ME, folders[i / PER_FOLDER], name, S_IFREG | 0644, 0, &st), "mknod");
		inos[i] = st.st_ino;
		check(vfs_write(b.vfs, st.st_ino, 0, data, 2000, VFS_WRITE_BACK), "write");
	}
	check(meta_sync(b.vault->meta), "commit");
}

int
main(int argc, char **argv)
{
	if (argc != 4 || (chunks = strtoull(argv[2], NULL, 10)) < 2 || (files = strtoull(argv[3], NULL, 10)) == 0) {
		fprintf(stderr, "usage: bench_readers DIR MIB FILES\n");
		return 2;
	}
	folders = calloc(files / PER_FOLDER + 1, sizeof(folders[0]));
	inos = calloc(files, sizeof(inos[0]));
	check(folders && inos ? 0 : -ENOMEM, "memory");
	alone_make(&b, argv[1]);
	alone_open(&b);
	make_files();
	compare("1 MiB reads, a file each", sequential_own, IN_MEMORY);
	compare("1 MiB reads, the same file", sequential_same, IN_MEMORY);
	compare("4 KiB random reads, a file each", random_own, IN_MEMORY);
	compare("4 KiB random reads, the same file", random_same, IN_MEMORY);
	compare("attributes, the kernel has the database", attributes, IN_KERNEL);
	compare("names, the kernel has the database", names, IN_KERNEL);
	compare("small files, the kernel has the database", small_reads, IN_KERNEL);
	compare("attributes from the disk", attributes, ON_DISK);
	compare("names from the disk", names, ON_DISK);
	alone_close(&b);
	free(folders);
	free(inos);
	return 0;
}
