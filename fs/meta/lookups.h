/*
 * lookups.h: how often the kernel knows an inode (its "nlookup").  While that is not zero, an inode that lost its last name
 * must stay.  Counters in pages of 4,096 by inode number, so millions of known files cost a byte each.
 * Thread-safe.  Uses err.h, log.h.
 */
#ifndef SNUGFS_LOOKUPS_H
#define SNUGFS_LOOKUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct lookups;
MUST_CHECK err_t lookups_new(struct lookups **out);
void lookups_free(struct lookups *l);
/* -ENOMEM: not counted. */
MUST_CHECK err_t lookups_add(struct lookups *l, uint64_t ino);
/* Takes n off (never below zero) and returns what is left. */
uint64_t lookups_drop(struct lookups *l, uint64_t ino, uint64_t n);
uint64_t lookups_count(struct lookups *l, uint64_t ino);
/*
 * The kernel has removed this directory: what it knows of it is dead, and stays so even if a merge gives the directory a name
 * again.  So the kernel must take that for another one, which it does for another generation.
 */
void lookups_retire(struct lookups *l, uint64_t ino);
/* 1, and one more for each time that it was retired since the kernel did not know it. */
uint64_t lookups_generation(struct lookups *l, uint64_t ino);

#endif
