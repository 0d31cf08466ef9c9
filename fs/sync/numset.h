/*
 * numset.h: a set of numbers (inodes, segments), each with a value if one is wanted.  NULL is the empty set.  Uses uthash.
 */
#ifndef SNUGFS_NUMSET_H
#define SNUGFS_NUMSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct numset;

/* Adding what is there is fine.  -ENOMEM. */
MUST_CHECK err_t numset_add(struct numset **set, uint64_t n);
bool numset_has(const struct numset *set, uint64_t n);
size_t numset_count(const struct numset *set);
/* As a map: what is there already keeps its value. */
MUST_CHECK err_t numset_put(struct numset **set, uint64_t n, size_t value);
/* -ENOENT */
MUST_CHECK err_t numset_get(const struct numset *set, uint64_t n, size_t *value_out);
/* All of them, in the order in which they came, up to the first error. */
typedef err_t numset_fn(void *ctx, uint64_t n);
MUST_CHECK err_t numset_each(const struct numset *set, numset_fn *fn, void *ctx);
/* Removing what is not there is fine. */
void numset_remove(struct numset **set, uint64_t n);
/* Empties it; also a cleanup handler. */
void numset_clear(struct numset **set);

#endif
