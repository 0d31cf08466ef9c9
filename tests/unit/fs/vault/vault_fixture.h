/*
 * vault_fixture.h: a place for a vault of each test's own, and what is in it.
 */
#ifndef SNUGFS_TEST_VAULT_FIXTURE_H
#define SNUGFS_TEST_VAULT_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tempdir.h"
#include "disk.h"
#include "secmem.h"
#include "vault.h"

struct fixture {
	char top[64];
	char dir[128];
};

static inline int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(secmem_init(), 0);
	strcpy(f->top, "/tmp/test-vault-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->dir, sizeof(f->dir), "%s/share/vault", f->top);
	*state = f;
	return 0;
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	disk_watch(NULL, NULL);
	tempdir_remove(f->top);
	free(f);
	return 0;
}

static const struct vault_unlock plain = { .plain = true };

static inline struct vault_create_params
params(const struct fixture *f)
{
	return (struct vault_create_params){ .dir = f->dir, .device_name = "laptop", .remote_url = "dir:/somewhere",
		.root_uid = 1234, .root_gid = 5678, .lock = plain };
}

static inline void
create(const struct fixture *f, uint8_t recovery[static RECOVERY_KEY_LEN])
{
	struct vault_create_params p = params(f);

	assert_int_equal(vault_create(&p, recovery), 0);
}

static inline struct vault *
open_vault(const struct fixture *f)
{
	struct vault *v = NULL;

	assert_int_equal(vault_open(f->dir, &plain, &v), 0);
	return v;
}

/* Entries of a directory, without the dots; 0 if it is not there. */
static inline unsigned
entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n > 2 ? n - 2 : 0;
}

#endif
