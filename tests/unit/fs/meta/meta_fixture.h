/*
 * meta_fixture.h: a database of its own, with the cache before it, for each test of meta.h; to be closed, opened again, cut off.
 */
#ifndef SNUGFS_TEST_META_FIXTURE_H
#define SNUGFS_TEST_META_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tempdir.h"
#include "meta.h"

static const uint8_t LOCAL_KEY[32] = { 1, 2, 3 };

struct fixture {
	char dir[64];
	char path[96];
	struct rowseal *rs;
	struct db *db;
	struct meta *meta;
};

/* In two steps, for those who look at the database, or change it, before the cache does. */

static inline void
open_db(struct fixture *f, bool create)
{
	assert_int_equal(rowseal_new(LOCAL_KEY, &f->rs), 0);
	assert_int_equal(db_open(f->path, create, f->rs, &f->db), 0);
}

static inline void
open_meta(struct fixture *f)
{
	assert_int_equal(meta_new(f->db, f->rs, 0, &f->meta), 0);
}

/* As a power cut does: what was not committed is lost. */
static inline void
cut_off(struct fixture *f)
{
	meta_free(f->meta);
	rowseal_free(f->rs);
}

static inline void
close_meta(struct fixture *f)
{
	assert_int_equal(meta_stop(f->meta), 0);
	cut_off(f);
}

static inline void
reopen(struct fixture *f)
{
	close_meta(f);
	open_db(f, false);
	open_meta(f);
}

static inline void
forget_uncommitted(struct fixture *f)
{
	cut_off(f);
	open_db(f, false);
	open_meta(f);
}

/* cmocka's setup and teardown. */

static inline int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/test_meta.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/meta.db", f->dir);
	open_db(f, true);
	open_meta(f);
	*state = f;
	return 0;
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	close_meta(f);
	tempdir_remove(f->dir);
	free(f);
	return 0;
}

/* [L] */
static inline struct inode *
make_inode(struct fixture *f, uint32_t mode)
{
	struct inode *i;

	assert_int_equal(meta_inode_new(f->meta, &i), 0);
	i->mode = mode;
	i->nlink = 1;
	meta_inode_dirty(f->meta, i);
	return i;
}

#endif
