/*
 * What names cost the daemon alone: the vfs driven without a mount, a file at a time.   bench_names DIR COUNT PER_FOLDER BYTES
 *
 * DIR must exist; a vault is made in it and stays.  For each phase: microseconds per file that went by (the worst one beside
 * it), of CPU in the calling thread, and of CPU in the threads behind it; then the memory at its end.  Run with growing
 * COUNTs it shows whether anything grows.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "alone.h"

#define REPLY_LEN 32768u /* one READDIRPLUS, as glibc asks for it */
#define ENTRY_LEN 152u   /* its share for an entry, without the name */

struct bench {
	struct alone alone;
	uint64_t count;
	uint64_t per_folder;
	size_t bytes;
	uint64_t *folders;
	uint64_t folder_count;
	uint8_t data[8192];
};

struct phase {
	const char *name;
	double wall;
	double own;
	double all;
	double last;
	double worst;
};


static void
phase_begin(struct phase *p, const char *name)
{
	*p = (struct phase){.name = name};
	p->own = clock_now(CLOCK_THREAD_CPUTIME_ID);
	p->all = clock_now(CLOCK_PROCESS_CPUTIME_ID);
	p->wall = p->last = clock_now(CLOCK_MONOTONIC);
}

/* One more file is done. */
static void
phase_step(struct phase *p)
{
	double t = clock_now(CLOCK_MONOTONIC);

	if (t - p->last > p->worst)
		p->worst = t - p->last;
	p->last = t;
}

static uint64_t
resident_mib(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f) {
		if (fscanf(f, "%llu %llu", &size, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	return resident * 4096 >> 20;
}

static void
phase_end(struct phase *p, uint64_t count)
{
	double own = clock_now(CLOCK_THREAD_CPUTIME_ID) - p->own;
	double all = clock_now(CLOCK_PROCESS_CPUTIME_ID) - p->all;
	double us = 1e6 / (double)count;

	printf("%-16s %8.2f us  own CPU %7.2f  behind %7.2f  worst %9.0f us  %5llu MiB\n", p->name,
	    (clock_now(CLOCK_MONOTONIC) - p->wall) * us, own * us, (all - own) * us, p->worst * 1e6,
	    (unsigned long long)resident_mib());
	fflush(stdout);
}

static void
open_all(struct bench *b)
{
	printf("%-16s %8.0f ms\n", "open", alone_open(&b->alone) * 1e3);
}

static void
reopen(struct bench *b)
{
	alone_close(&b->alone);
	open_all(b);
}

static void
create(struct bench *b)
{
	struct phase p;
	char name[64];
	struct stat st;

	phase_begin(&p, "create");
	for (uint64_t i = 0; i < b->count; i++) {
		if (i % b->per_folder == 0) {
			snprintf(name, sizeof(name), "d%03llu", (unsigned long long)(i / b->per_folder));
			check(vfs_mkdir(b->alone.vfs, &ME, INODE_ROOT, name, 0755, &st), "mkdir");
			b->folders[b->folder_count++] = st.st_ino;
		}
		snprintf(name, sizeof(name), "f%05llu", (unsigned long long)i);
		check(vfs_mknod(b->alone.vfs, &ME, b->folders[b->folder_count - 1], name, S_IFREG | 0644, 0, &st), "mknod");
		if (b->bytes != 0)
			check(vfs_write(b->alone.vfs, st.st_ino, 0, b->data, b->bytes, VFS_WRITE_BACK), "write");
		phase_step(&p);
	}
	phase_end(&p, b->count);
}

/* One reply of a listing. */
struct reply {
	size_t room;
	uint64_t cookie;
	uint64_t count;
	uint64_t inos[REPLY_LEN / ENTRY_LEN + 1];
	char names[REPLY_LEN / ENTRY_LEN + 1][64];
};

static int
reply_add(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct reply *r = ctx;
	size_t len = ENTRY_LEN + (strlen(name) + 7) / 8 * 8;

	if (len > r->room)
		return 1;
	r->room -= len;
	r->cookie = cookie;
	if (cookie <= 2)
		return 0;
	r->inos[r->count] = attr->st_ino;
	snprintf(r->names[r->count++], sizeof(r->names[0]), "%s", name);
	return 0;
}

static bool
next_reply(struct bench *b, uint64_t folder, struct reply *r)
{
	r->room = REPLY_LEN;
	r->count = 0;
	check(vfs_readdir(b->alone.vfs, folder, r->cookie, true, reply_add, r), "readdir");
	return r->room != REPLY_LEN;
}

static void
walk(struct bench *b, const char *title)
{
	struct phase p;
	uint64_t count = 0;

	phase_begin(&p, title);
	for (uint64_t d = 0; d < b->folder_count; d++)
		for (struct reply r = {0}; next_reply(b, b->folders[d], &r); phase_step(&p))
			count += r.count;
	phase_end(&p, b->count);
	if (count != b->count)
		check(-EBADMSG, "walk");
}

static void
look_up(struct bench *b, const char *title, char first, bool there)
{
	struct phase p;
	char name[64];
	struct stat st;

	phase_begin(&p, title);
	for (uint64_t i = 0; i < b->count; i++) {
		snprintf(name, sizeof(name), "%c%05llu", first, (unsigned long long)i);
		if (vfs_lookup(b->alone.vfs, b->folders[i / b->per_folder], name, &st) != (there ? 0 : -ENOENT))
			check(-EBADMSG, title);
		phase_step(&p);
	}
	phase_end(&p, b->count);
}

static void
rename_all(struct bench *b)
{
	struct phase p;
	char from[64], to[64];

	phase_begin(&p, "rename");
	for (uint64_t i = 0; i < b->count; i++) {
		uint64_t folder = b->folders[i / b->per_folder];

		snprintf(from, sizeof(from), "f%05llu", (unsigned long long)i);
		snprintf(to, sizeof(to), "r%05llu", (unsigned long long)i);
		check(vfs_rename(b->alone.vfs, folder, from, folder, to, 0), "rename");
		phase_step(&p);
	}
	phase_end(&p, b->count);
}

static void
remove_all(struct bench *b)
{
	struct phase p;
	char name[64];

	phase_begin(&p, "delete");
	for (uint64_t d = 0; d < b->folder_count; d++) {
		for (struct reply r = {0}; next_reply(b, b->folders[d], &r);)
			for (uint64_t k = 0; k < r.count; k++) {
				check(vfs_unlink(b->alone.vfs, b->folders[d], r.names[k]), "unlink");
				vfs_forget(b->alone.vfs, r.inos[k], 1);
				phase_step(&p);
			}
		snprintf(name, sizeof(name), "d%03llu", (unsigned long long)d);
		check(vfs_rmdir(b->alone.vfs, INODE_ROOT, name), "rmdir");
	}
	phase_end(&p, b->count);
}

int
main(int argc, char **argv)
{
	static struct bench b;

	if (argc != 5) {
		fprintf(stderr, "usage: bench_names DIR COUNT PER_FOLDER BYTES\n");
		return 2;
	}
	b.count = strtoull(argv[2], NULL, 10);
	b.per_folder = strtoull(argv[3], NULL, 10);
	b.bytes = strtoull(argv[4], NULL, 10);
	if (b.count == 0 || b.per_folder == 0 || b.bytes > sizeof(b.data))
		check(-EINVAL, "arguments");
	b.folders = calloc(b.count / b.per_folder + 1, sizeof(b.folders[0]));
	check(b.folders ? 0 : -ENOMEM, "folders");
	alone_make(&b.alone, argv[1]);
	open_all(&b);
	create(&b);
	reopen(&b);
	walk(&b, "walk cold");
	walk(&b, "walk again");
	rename_all(&b);
	reopen(&b);
	look_up(&b, "look up cold", 'r', true);
	look_up(&b, "no such name", 'n', false);
	reopen(&b);
	remove_all(&b);
	alone_close(&b.alone);
	free(b.folders);
	return 0;
}
