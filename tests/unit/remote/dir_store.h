/*
 * dir_store.h: a directory as the store, for each test anew.
 */
#ifndef SNUGFS_TEST_DIR_STORE_H
#define SNUGFS_TEST_DIR_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "store_dir.h"

#include "../tempdir.h"

#define RACE_ROUNDS 200
#define KILL_ROUNDS 12
#define BIG (256 * 1024)

struct fixture {
	char base[64];
	char path[80]; /* base/store */
	struct store *store;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->base, "/tmp/store_dir.XXXXXX");
	assert_non_null(mkdtemp(f->base));
	(void)snprintf(f->path, sizeof(f->path), "%s/store", f->base);
	assert_int_equal(store_dir_open(f->path, true, &f->store, NULL), 0);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	tempdir_remove(f->base);
	free(f);
	return 0;
}

static const uint8_t *text(const char *s)
{
	return (const uint8_t *)s;
}

static inline const char *in_store(const struct fixture *f, const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	return path;
}

static inline void expect_object(struct store *s, const char *name, const char *expected)
{
	struct bytes got = {0};

	assert_int_equal(store_get(s, name, 1 << 20, &got), 0);
	assert_int_equal(got.len, strlen(expected));
	if (got.len > 0)
		assert_memory_equal(got.data, expected, got.len);
	bytes_clear(&got);
}

static inline unsigned count_files(const struct fixture *f, const char *folder)
{
	char command[200];
	unsigned count = 0;
	FILE *p;

	(void)snprintf(command, sizeof(command), "ls -A '%s/%s' | wc -l", f->path, folder);
	p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%u", &count), 1);
	pclose(p);
	return count;
}

struct seen {
	char names[4096];
	unsigned count;
	uint64_t sizes;
	unsigned stop_after;
};

static inline err_t see(void *ctx, const char *name, uint64_t size)
{
	struct seen *s = ctx;

	assert_true(strlen(s->names) + strlen(name) + 3 < sizeof(s->names));
	strcat(s->names, "<");
	strcat(s->names, name);
	strcat(s->names, ">");
	s->count++;
	s->sizes += size;
	return s->stop_after > 0 && s->count == s->stop_after ? -EXFULL : 0;
}

#endif
