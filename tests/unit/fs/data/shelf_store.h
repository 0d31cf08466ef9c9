/*
 * shelf_store.h: a store of settled segments in memory, whose requests are counted; and files that are in it alone.
 */
#ifndef SNUGFS_TEST_SHELF_STORE_H
#define SNUGFS_TEST_SHELF_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "fixture.h"
#include "pieces.h"

#define MIB (1u << 20)
#define SHELF_MAX 64

struct shelf_store {
	struct fixture *f;
	struct segment rows[SHELF_MAX];
	struct bytes objects[SHELF_MAX];
	unsigned count;
	atomic_uint requests;
	atomic_uint per_piece[SHELF_MAX][PIECES_MAX]; /* requests that had that piece */
	atomic_uint at_once, at_once_most;
	atomic_bool closed; /* requests wait */
	_Atomic(err_t) error;
	unsigned delay_us;
};

static inline void
shelf_pause(unsigned us)
{
	const struct timespec t = {us / 1000000, us % 1000000 * 1000L};

	(void)nanosleep(&t, NULL);
}

static inline unsigned
shelf_index(const struct shelf_store *k, uint64_t seg)
{
	for (unsigned n = 0; n < k->count; n++)
		if (k->rows[n].id == seg)
			return n;
	return SHELF_MAX;
}

static inline err_t
shelf_read(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	struct shelf_store *k = ctx;
	unsigned n = shelf_index(k, s->id), now = atomic_fetch_add(&k->at_once, 1) + 1, most = k->at_once_most;
	err_t e = k->error;

	while (now > most && !atomic_compare_exchange_weak(&k->at_once_most, &most, now))
		;
	atomic_fetch_add(&k->requests, 1);
	while (k->closed)
		shelf_pause(1000);
	shelf_pause(k->delay_us);
	for (unsigned p = 0; n < SHELF_MAX && p < PIECES_MAX; p++)
		if (pieces_touching(s->size, off, len) >> p & 1)
			atomic_fetch_add(&k->per_piece[n][p], 1);
	if (!e)
		e = n < SHELF_MAX ? bytes_append(out, k->objects[n].data + off, len) : -ENOENT;
	atomic_fetch_sub(&k->at_once, 1);
	return e;
}

/* The store gets a segment; what is here of it stays. */
static inline void
shelf_add(struct shelf_store *k, uint64_t seg)
{
	struct segment *row = &k->rows[k->count];

	assert_true(k->count < SHELF_MAX);
	meta_lock(k->f->meta);
	assert_int_equal(meta_segment_get(k->f->meta, seg, row), 0);
	row->in_store = true;
	assert_int_equal(meta_segment_put(k->f->meta, row), 0);
	meta_unlock(k->f->meta);
	assert_int_equal(segstore_read_whole(k->f->ss, row, &k->objects[k->count]), 0);
	k->count++;
}

/* A file of len random bytes, settled and in the store; its segments are added. */
static inline uint64_t
shelf_file(struct shelf_store *k, size_t len, uint64_t seed)
{
	uint64_t ino = new_file(k->f);
	uint8_t *data = malloc(len);

	assert_non_null(data);
	fill(data, len, seed);
	write_file(k->f, ino, 0, data, len);
	assert_int_equal(settle_one(k->f, ino), 0);
	for (uint64_t no = 0; no * MIB < len; no++) {
		struct extent_list l = extents_of(k->f, ino, no);

		for (uint32_t x = 0; x < l.count; x++)
			if (shelf_index(k, l.v[x].seg) == SHELF_MAX)
				shelf_add(k, l.v[x].seg);
		extent_list_clear(&l);
	}
	make_known(k->f, ino);
	free(data);
	return ino;
}

/* Nothing that the store has is here any more. */
static inline void
shelf_evict(struct shelf_store *k)
{
	for (unsigned n = 0; n < k->count; n++)
		assert_int_equal(segstore_drop(k->f->ss, k->rows[n].id), 0);
}

static inline void
shelf_open(struct fixture *f, struct shelf_store *k)
{
	memset(k, 0, sizeof(*k));
	k->f = f;
	content_set_fetch(f->c, shelf_read, k);
}

static inline void
shelf_clear(struct shelf_store *k)
{
	content_set_fetch(k->f->c, NULL, NULL);
	for (unsigned n = 0; n < k->count; n++)
		bytes_clear(&k->objects[n]);
}

/* Bytes of a file as shelf_file made it. */
static inline void
shelf_assert_file(struct shelf_store *k, uint64_t ino, uint64_t seed, uint64_t off, size_t len)
{
	uint8_t *data = malloc(off + len);

	assert_non_null(data);
	fill(data, off + len, seed);
	assert_content(k->f, ino, off, data + off, len);
	free(data);
}

static inline uint64_t
shelf_here(struct shelf_store *k, unsigned n)
{
	uint64_t missing, all = pieces_all(k->rows[n].size);

	assert_int_equal(segstore_missing(k->f->ss, k->rows[n].id, all, &missing), 0);
	return all & ~missing;
}

#endif
