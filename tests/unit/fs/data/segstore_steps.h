/*
 * segstore_steps.h: appending to segments, committing and losing power, for the tests of segstore.h.
 */
#ifndef SNUGFS_TEST_SEGSTORE_STEPS_H
#define SNUGFS_TEST_SEGSTORE_STEPS_H

#include "fixture.h"

#include <stdatomic.h>
#include <unistd.h>

#define MIB (1u << 20)
#define KIB 1024u

static inline void
append(struct fixture *f, const uint8_t *data, uint32_t len, uint64_t *seg, uint64_t *off)
{
	assert_int_equal(segstore_append(f->ss, data, len, seg, off), 0);
}

static inline void
assert_stored(struct fixture *f, uint64_t seg, uint64_t off, const uint8_t *data, uint32_t len)
{
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	assert_int_equal(segstore_read(f->ss, seg, off, len, buf), 0);
	assert_memory_equal(buf, data, len);
	free(buf);
}

/* Something for the next commit to write. */
static inline void
make_dirty(struct fixture *f)
{
	meta_lock(f->meta);
	assert_int_equal(meta_kv_put(f->meta, DB_KEY_STATUS, (const uint8_t *)"x", 1), 0);
	meta_unlock(f->meta);
}

static inline void
commit(struct fixture *f)
{
	make_dirty(f);
	assert_int_equal(meta_sync(f->meta), 0);
}

/* As an fsync does.  The first one of a run still goes to the database, and makes the journal. */
static inline void
commit_to_journal(struct fixture *f)
{
	make_dirty(f);
	assert_int_equal(meta_flush(f->meta), 0);
}

/* Counts operations by name; can fail those of one name. */
struct counter {
	const char *name;
	atomic_uint count;
	err_t error; /* answered while not 0 */
};

static inline err_t
counter_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct counter *c = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (strcmp(operation, c->name) != 0)
		return 0;
	atomic_fetch_add(&c->count, 1);
	return c->error;
}

#endif
