/*
 * lookups.h: how often the kernel knows an inode (its "nlookup").  While that is not zero, an inode that lost its last name
 * must stay.  Counters in pages of 4,096 by inode number, so millions of known files cost a byte each.
 * Thread-safe.  Uses err.h.
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

#endif
