#include "alone.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secmem.h"

const struct vfs_caller ME = {.uid = 1000, .gid = 1000, .umask = 022};
static const struct vault_unlock PLAIN = {.plain = true};

void
check(err_t err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

double
clock_now(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void
alone_make(struct alone *a, const char *parent)
{
	struct vault_create_params params = {.dir = a->dir, .device_name = "bench", .lock = PLAIN};
	uint8_t recovery[RECOVERY_KEY_LEN];

	/* The heap as the daemon has it (fs/cmd/daemon.c). */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 8 << 20);
	snprintf(a->dir, sizeof(a->dir), "%.4000s/vault", parent);
	check(secmem_init(), "memory");
	check(vault_create(&params, recovery), "create");
}

double
alone_open(struct alone *a)
{
	double start = clock_now(CLOCK_MONOTONIC);

	check(vault_open(a->dir, &PLAIN, &a->vault), "open");
	check(vfs_new(a->vault->meta, a->vault->content, a->vault->lookups, a->dir, &a->vfs), "vfs");
	check(vfs_reap_orphans(a->vfs), "reap");
	return clock_now(CLOCK_MONOTONIC) - start;
}

void
alone_close(struct alone *a)
{
	vfs_free(a->vfs);
	check(vault_close(a->vault), "close");
}
