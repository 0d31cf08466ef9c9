/*
 * ahead_steps.h: segments with room ahead, on a disk of which fstatfs says what a test wants (link with --wrap=fstatfs64).
 */
#ifndef SNUGFS_TEST_AHEAD_STEPS_H
#define SNUGFS_TEST_AHEAD_STEPS_H

#include "segstore_steps.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define BLOCK SEGSTORE_BLOCK_LEN
#define PIECES 128

/* What fstatfs answers. */
static uint64_t free_len;
static long fs_type;

int __real_fstatfs64(int fd, struct statfs *st);
int __wrap_fstatfs64(int fd, struct statfs *st);

int
__wrap_fstatfs64(int fd, struct statfs *st)
{
	int rc = __real_fstatfs64(fd, st);

	st->f_type = fs_type;
	st->f_bavail = free_len / (uint64_t)st->f_bsize;
	return rc;
}

static inline int
begin(void **state)
{
	free_len = UINT64_C(100) << 30;
	fs_type = EXT4_SUPER_MAGIC;
	return setup(state);
}

static inline int
end(void **state)
{
	return teardown(state);
}

/* Long pieces, each filled with its number. */
struct written {
	struct segstore_place at[PIECES];
	size_t count;
};

static inline uint8_t *
new_piece(uint64_t seed)
{
	uint8_t *data = aligned_alloc(BLOCK, MIB);

	assert_non_null(data);
	fill(data, MIB, seed);
	return data;
}

static inline err_t
try_write(struct fixture *f, struct written *w)
{
	struct segstore_place *p = &w->at[w->count];
	uint8_t *data = new_piece(w->count);
	err_t e = segstore_reserve(f->ss, MIB, p);

	assert_true(w->count < PIECES);
	if (!e)
		e = segstore_fill(f->ss, p, data);
	w->count += !e;
	free(data);
	return e;
}

static inline void
write_pieces(struct fixture *f, struct written *w, size_t count)
{
	while (count--)
		assert_int_equal(try_write(f, w), 0);
}

/* Into one segment, until the next long piece does not fit; its number. */
static inline uint64_t
fill_a_segment(struct fixture *f, struct written *w)
{
	uint8_t *data = new_piece(0);
	struct segstore_place p;

	assert_int_equal(segstore_reserve(f->ss, MIB / 2, &p), 0);
	assert_int_equal(segstore_fill(f->ss, &p, data), 0);
	free(data);
	write_pieces(f, w, 63);
	return p.seg;
}

static inline void
assert_written(struct fixture *f, const struct written *w)
{
	for (size_t k = 0; k < w->count; k++) {
		uint8_t *data = new_piece(k);

		assert_stored(f, w->at[k].seg, w->at[k].off, data, MIB);
		free(data);
	}
}

static inline uint64_t
end_of(const struct written *w, uint64_t seg)
{
	uint64_t len = 0;

	for (size_t k = 0; k < w->count; k++)
		if (w->at[k].seg == seg && w->at[k].off + MIB > len)
			len = w->at[k].off + MIB;
	return len;
}

static inline struct stat
stat_of(const struct fixture *f, uint64_t seg)
{
	struct stat st;
	char path[128];

	segment_path(f, seg, path);
	assert_int_equal(stat(path, &st), 0);
	return st;
}

static inline void
assert_no_room(const struct fixture *f, const struct written *w)
{
	for (size_t k = 0; k < w->count; k++) {
		struct stat st = stat_of(f, w->at[k].seg);

		assert_int_equal(st.st_size, end_of(w, w->at[k].seg));
		/* The file system's own notes take some. */
		assert_true((uint64_t)st.st_blocks * 512 <= (uint64_t)st.st_size + 64 * KIB);
	}
}

static inline void
assert_room(struct fixture *f, const struct written *w)
{
	const struct segstore_place *last = &w->at[w->count - 1];
	struct stat st = stat_of(f, last->seg);
	uint64_t len = segstore_ahead_len(f->ss);

	assert_true(len > 0);
	assert_int_equal(st.st_size, end_of(w, last->seg) + len);
	assert_true((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
}

#endif
