/*
 * chain_store.h: a chain on a store that can be made to fail.
 */
#ifndef SNUGFS_TEST_CHAIN_STORE_H
#define SNUGFS_TEST_CHAIN_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "store_dir.h"
#include "store_fault.h"

#include "../tempdir.h"

struct fixture {
	char path[64];
	struct store *dir;   /* owned by `store` */
	struct store *store; /* misbehaves as told */
	struct chain *chain;
};

static const uint8_t VAULT[32] = "the id of this vault, 32 bytes!";
static const uint8_t OTHER[32] = "another vault, not this one, no";

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->path, "/tmp/chain.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	assert_int_equal(store_dir_open(f->path, true, &f->dir, NULL), 0);
	assert_int_equal(store_fault_new(f->dir, 1, &f->store), 0);
	assert_int_equal(chain_new(f->store, &f->chain), 0);
	chain_set_retry(f->chain, 3, NULL);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	chain_free(f->chain);
	store_free(f->store);
	tempdir_remove(f->path);
	free(f);
	return 0;
}

static inline void set(struct fixture *f, struct store_fault_rule rule)
{
	assert_int_equal(store_fault_set(f->store, &rule, 1), 0);
}

static const uint8_t *text(const char *s)
{
	return (const uint8_t *)s;
}

static inline void expect_object(struct fixture *f, const char *name, const char *expected)
{
	struct bytes got = {0};

	assert_int_equal(store_get(f->dir, name, 1 << 20, &got), 0);
	assert_int_equal(got.len, strlen(expected));
	assert_memory_equal(got.data, expected, got.len);
	bytes_clear(&got);
}

#endif
