/* A set of numbers as a hash table. */
#include "numset.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

struct numset {
	uint64_t n;
	size_t value;
	UT_hash_handle hh;
};

static const struct numset *
find(const struct numset *set, uint64_t n)
{
	const struct numset *e;

	HASH_FIND(hh, set, &n, sizeof(n), e);
	return e;
}

err_t
numset_put(struct numset **set, uint64_t n, size_t value)
{
	struct numset *e;

	if (find(*set, n) != NULL)
		return 0;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return -ENOMEM;
	e->n = n;
	e->value = value;
	HASH_ADD(hh, *set, n, sizeof(e->n), e);
	if (e->hh.tbl == NULL) {
		free(e);
		return -ENOMEM;
	}
	return 0;
}

err_t
numset_get(const struct numset *set, uint64_t n, size_t *value_out)
{
	const struct numset *e = find(set, n);

	if (e == NULL)
		return -ENOENT;
	*value_out = e->value;
	return 0;
}

err_t
numset_add(struct numset **set, uint64_t n)
{
	return numset_put(set, n, 0);
}

bool
numset_has(const struct numset *set, uint64_t n)
{
	return find(set, n) != NULL;
}

size_t
numset_count(const struct numset *set)
{
	return HASH_COUNT(set);
}

void
numset_remove(struct numset **set, uint64_t n)
{
	struct numset *e;

	HASH_FIND(hh, *set, &n, sizeof(n), e);
	if (e == NULL)
		return;
	HASH_DEL(*set, e);
	free(e);
}

void
numset_clear(struct numset **set)
{
	struct numset *e, *next;

	HASH_ITER (hh, *set, e, next) {
		HASH_DEL(*set, e);
		free(e);
	}
}

err_t
numset_each(const struct numset *set, numset_fn *fn, void *ctx)
{
	const struct numset *e, *next;
	err_t err = 0;

	HASH_ITER (hh, set, e, next)
		if (err == 0)
			err = fn(ctx, e->n);
	return err;
}
