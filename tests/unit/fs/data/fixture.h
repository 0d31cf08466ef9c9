/*
 * fixture.h: a vault directory with all of meta/ and data/ open, to be closed, opened again, copied.  It is under /tmp, or where
 * FIXTURE_PLACE says, if that is defined before this is included.
 */
#ifndef SNUGFS_TEST_FIXTURE_H
#define SNUGFS_TEST_FIXTURE_H

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

#include "content.h"
#include "db.h"
#include "disk.h"
#include "extents.h"
#include "keyring.h"
#include "meta.h"
#include "rowseal.h"
#include "secmem.h"
#include "segstore.h"
#include "settle.h"

#ifndef FIXTURE_PLACE
#define FIXTURE_PLACE "/tmp"
#endif

static const uint8_t LOCAL_KEY[32] = {1, 2, 3};
static const uint8_t EPOCH_KEYS[3][32] = {{0}, {11}, {22}}; /* by epoch */

struct fixture {
	char dir[64];
	struct rowseal *rs;
	struct db *db;
	struct meta *meta;
	struct segstore *ss;
	struct keyring *keys;
	struct content *c;
};

static inline void
fixture_open(struct fixture *f, bool create)
{
	char path[128];

	assert_int_equal(secmem_init(), 0);
	assert_int_equal(rowseal_new(LOCAL_KEY, &f->rs), 0);
	snprintf(path, sizeof(path), "%s/meta.db", f->dir);
	assert_int_equal(db_open(path, create, f->rs, &f->db), 0);
	assert_int_equal(meta_new(f->db, f->rs, 1, &f->meta), 0);
	snprintf(path, sizeof(path), "%s/segments", f->dir);
	assert_int_equal(segstore_open(path, f->meta, &f->ss), 0);
	assert_int_equal(segstore_apply_redo(f->ss, f->db), 0);
	assert_int_equal(keyring_new(&f->keys), 0);
	assert_int_equal(keyring_add(f->keys, 1, EPOCH_KEYS[1]), 0);
	assert_int_equal(content_new(f->meta, f->ss, f->keys, &f->c), 0);
}

/* sync: what is dirty is written first; otherwise it is lost, as in a crash. */
static inline void
fixture_close(struct fixture *f, bool sync)
{
	if (sync)
		assert_int_equal(meta_stop(f->meta), 0);
	content_free(f->c);
	keyring_free(f->keys);
	segstore_free(f->ss);
	meta_free(f->meta);
	rowseal_free(f->rs);
}

static inline void
fixture_reopen(struct fixture *f, bool sync)
{
	fixture_close(f, sync);
	fixture_open(f, false);
}

static inline void __attribute__((format(printf, 1, 2)))
run_command(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

static inline void
fixture_new(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/snugfs-data-XXXXXX", FIXTURE_PLACE);
	assert_non_null(mkdtemp(f->dir));
	fixture_open(f, true);
}

static inline void
fixture_drop(struct fixture *f)
{
	disk_watch(NULL, NULL);
	fixture_close(f, false);
	run_command("rm -rf '%s' '%s.copy'", f->dir, f->dir);
}

/* cmocka's setup and teardown, with a fixture as the state. */
static inline int
setup(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	assert_non_null(f);
	fixture_new(f);
	*state = f;
	return 0;
}

static inline int
teardown(void **state)
{
	fixture_drop(*state);
	free(*state);
	return 0;
}

/* A new, empty regular file, without a name. */
static inline uint64_t
new_file(struct fixture *f)
{
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_new(f->meta, &i), 0);
	i->mode = S_IFREG | 0600;
	i->nlink = 1;
	meta_inode_dirty(f->meta, i);

	uint64_t ino = i->ino;

	meta_unlock(f->meta);
	return ino;
}

static inline struct inode
inode_of(struct fixture *f, uint64_t ino)
{
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);

	struct inode copy = *i;

	meta_unlock(f->meta);
	return copy;
}

/* The extents of a chunk, a copy; none if there is no chunk. */
static inline struct extent_list
extents_of(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list copy = {0};
	struct inode *i;
	struct chunk *ch;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	if (meta_chunk_get(f->meta, i, no, false, &ch) == 0)
		assert_int_equal(extent_list_copy(&ch->current, &copy), 0);
	meta_unlock(f->meta);
	return copy;
}

/* The chain now knows the inode and all that it has: nothing of it is pending. */
static inline void
make_known(struct fixture *f, uint64_t ino)
{
	uint64_t *nos;
	size_t count;
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_pending_chunks(f->meta, i, &nos, &count), 0);
	for (size_t k = 0; k < count; k++) {
		struct chunk *ch;

		assert_int_equal(meta_chunk_get(f->meta, i, nos[k], false, &ch), 0);
		ch->pending = false;
		extent_list_clear(&ch->chain);
		meta_chunk_dirty(f->meta, i, ch);
	}
	i->pending = 0;
	meta_inode_dirty(f->meta, i);
	meta_unlock(f->meta);
	free(nos);
}

static inline void
write_file(struct fixture *f, uint64_t ino, uint64_t off, const void *data, size_t len)
{
	assert_int_equal(content_write(f->c, ino, off, data, len), 0);
}

static inline void
assert_content(struct fixture *f, uint64_t ino, uint64_t off, const void *data, size_t len)
{
	uint8_t *buf = malloc(len + 1);
	size_t n = 0;

	assert_non_null(buf);
	assert_int_equal(content_read(f->c, ino, off, len, buf, &n), 0);
	assert_int_equal(n, len);
	if (len)
		assert_memory_equal(buf, data, len);
	free(buf);
}

static inline err_t
settle_one(struct fixture *f, uint64_t ino)
{
	struct settle *s;
	uint64_t len;

	assert_int_equal(settle_begin(f->c, f->meta, f->ss, f->keys, &s), 0);

	err_t e = settle_inode(s, ino);

	assert_int_equal(settle_finish(s, &len), 0);
	return e;
}

/* Settles the file and drops its segment, of which the store has the bytes now: they are in object_out. */
static inline void
fixture_send_away(struct fixture *f, uint64_t ino, struct bytes *object_out)
{
	struct segment row;

	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list l = extents_of(f, ino, 0);

	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, l.v[0].seg, &row), 0);
	row.in_store = true;
	assert_int_equal(meta_segment_put(f->meta, &row), 0);
	meta_unlock(f->meta);
	bytes_reset(object_out);
	assert_int_equal(segstore_read_whole(f->ss, &row, object_out), 0);
	assert_int_equal(segstore_drop(f->ss, l.v[0].seg), 0);
	extent_list_clear(&l);
}

/* Bytes that look like nothing in particular, the same for the same seed. */
static inline void
fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t k = 0; k < len; k++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[k] = (uint8_t)(seed >> 56);
	}
}

static inline void
segment_path(const struct fixture *f, uint64_t seg, char out[static 128])
{
	snprintf(out, 128, "%s/segments/%016llx", f->dir, (unsigned long long)seg);
}

static inline bool
segment_exists(const struct fixture *f, uint64_t seg)
{
	char path[128];
	struct stat st;

	segment_path(f, seg, path);
	return stat(path, &st) == 0;
}

#endif
