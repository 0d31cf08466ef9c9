/*
 * db_fixture.h: a database of its own for each test of db.h, its tables, and what is in them.
 */
#ifndef SNUGFS_TEST_DB_FIXTURE_H
#define SNUGFS_TEST_DB_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"

static const uint8_t LOCAL_KEY[32] = {1, 2, 3};

struct fixture {
	char dir[32];
	char path[64];
	char copy[64]; /* a second database, for those who want one */
	struct rowseal *rs;
	struct db *db;
};

/* What a scan brought. */
struct found {
	unsigned count;
	uint64_t a[64];
	uint64_t b[64];
	uint32_t mark[64];
	uint32_t state[64];
	char text[64][16];
	unsigned stop_after; /* 0: never */
};

static inline err_t
note_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct found *f = ctx;

	assert_true(f->count < 64 && len < sizeof(f->text[0]));
	f->a[f->count] = a;
	f->b[f->count] = b;
	f->mark[f->count] = mark;
	f->state[f->count] = state;
	memcpy(f->text[f->count], data, len);
	f->count++;
	return f->count == f->stop_after ? 7 : 0;
}

static inline struct rowseal *
new_rowseal(const uint8_t key[static 32])
{
	struct rowseal *rs = NULL;

	assert_int_equal(rowseal_new(key, &rs), 0);
	return rs;
}

static inline int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	strcpy(f->dir, "/tmp/test_db.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/meta.db", f->dir);
	(void)snprintf(f->copy, sizeof(f->copy), "%s/copy.db", f->dir);
	f->rs = new_rowseal(LOCAL_KEY);
	*state = f;
	return db_open(f->path, true, f->rs, &f->db);
}

static inline void
remove_with_wal(const char *path)
{
	char name[128];

	(void)unlink(path);
	(void)snprintf(name, sizeof(name), "%s-wal", path);
	(void)unlink(name);
	(void)snprintf(name, sizeof(name), "%s-shm", path);
	(void)unlink(name);
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	uid_t real, effective, saved;

	assert_int_equal(getresuid(&real, &effective, &saved), 0);
	if (saved == 0 && effective != 0)
		assert_int_equal(setresuid(0, 0, 0), 0);
	db_close(f->db);
	rowseal_free(f->rs);
	remove_with_wal(f->path);
	remove_with_wal(f->copy);
	int r = rmdir(f->dir);

	free(f);
	return r;
}

static inline struct db_row
text_row(enum db_table table, uint64_t a, uint64_t b, const char *text)
{
	struct db_row row = {.table = table, .a = a, .b = b, .data = (const uint8_t *)text};

	row.len = text ? strlen(text) : 0;
	return row;
}

static inline void
put(struct db *db, enum db_table table, uint64_t a, uint64_t b, const char *text)
{
	struct db_row row = text_row(table, a, b, text);

	assert_int_equal(db_write(db, &row, 1), 0);
}

/* text NULL: there must be no such row. */
static inline void
assert_row(struct db *db, enum db_table table, uint64_t a, uint64_t b, const char *text)
{
	CLEANUP(bytes_clear) struct bytes got = {0};
	err_t e = db_get(db, table, a, b, &got);

	assert_int_equal(e, text ? 0 : -ENOENT);
	if (text) {
		assert_int_equal(got.len, strlen(text));
		assert_memory_equal(got.data, text, got.len);
	}
}

static inline void
close_and_open(struct fixture *f)
{
	db_close(f->db);
	f->db = NULL;
	rowseal_free(f->rs);
	f->rs = new_rowseal(LOCAL_KEY);
	assert_int_equal(db_open(f->path, false, f->rs, &f->db), 0);
}

static inline off_t
wal_len(const char *path)
{
	char name[128];
	struct stat st;

	(void)snprintf(name, sizeof(name), "%s-wal", path);
	return stat(name, &st) ? -1 : st.st_size;
}

static inline err_t
ignore_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	unsigned *count = ctx;

	(void)a;
	(void)b;
	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	++*count;
	return 0;
}

#endif
