/* alone.h: the daemon's inside without a mount: a vault, and the vfs over it.  Whatever fails ends the benchmark with a sentence. */
#ifndef SNUGFS_BENCH_ALONE_H
#define SNUGFS_BENCH_ALONE_H

#include <stdint.h>
#include <time.h>

#include "vault.h"
#include "vfs.h"

struct alone {
	char dir[4096];
	struct vault *vault;
	struct vfs *vfs;
};

/* Who asks for everything. */
extern const struct vfs_caller ME;

void check(err_t err, const char *what);
/* Seconds. */
double clock_now(clockid_t id);
/* A number that looks random, another one for each. */
uint64_t mix(uint64_t x);

/* Makes a vault below a folder that exists; it stays.  Once. */
void alone_make(struct alone *a, const char *parent);
/* How many seconds that took. */
double alone_open(struct alone *a);
void alone_close(struct alone *a);

#endif
