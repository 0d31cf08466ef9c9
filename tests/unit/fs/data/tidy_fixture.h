/*
 * tidy_fixture.h: segments with holes in them, and what they take on the disk.
 */
#ifndef SNUGFS_TEST_TIDY_FIXTURE_H
#define SNUGFS_TEST_TIDY_FIXTURE_H

#include "fixture.h"

#include <dirent.h>

#include "tidy.h"

#define MIB (1u << 20)

static inline struct tidy_place
place_of(struct fixture *f)
{
	return (struct tidy_place){f->c, f->meta, f->ss, f->keys};
}

static inline uint64_t
usage(struct fixture *f)
{
	uint64_t bytes = 0;

	assert_int_equal(meta_sync(f->meta), 0);
	meta_give_back(f->meta);
	assert_int_equal(segstore_usage(f->ss, &bytes), 0);
	return bytes;
}

static inline unsigned
segment_files(const struct fixture *f)
{
	char path[128];
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/segments", f->dir);

	DIR *dir = opendir(path);

	assert_non_null(dir);
	for (const struct dirent *d; (d = readdir(dir));)
		count += d->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* Passes until there is nothing left to do; the bytes that were moved. */
static inline uint64_t
tidy_all(struct fixture *f, settle_pause_fn *pause, void *ctx)
{
	const struct tidy_place p = place_of(f);
	uint64_t moved, sum = 0;
	bool done = false;

	for (unsigned k = 0; !done; k++) {
		assert_true(k < 20);
		assert_int_equal(tidy_pass(&p, UINT64_MAX, pause, ctx, &moved, &done), 0);
		sum += moved;
		(void)usage(f); /* what was released comes back before the next pass looks */
	}
	return sum;
}

static inline uint8_t *
noise(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	fill(p, len, seed);
	return p;
}

static inline void
write_in_pieces(struct fixture *f, uint64_t ino, const uint8_t *data, size_t len)
{
	for (size_t off = 0; off < len; off += MIB)
		write_file(f, ino, off, data + off, len - off < MIB ? len - off : MIB);
}

/* Overwrites blocks of 4 KiB at random, here and in the copy. */
static inline void
overwrite(struct fixture *f, uint64_t ino, uint8_t *data, size_t len, unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		size_t off = (size_t)random() % (len / 4096) * 4096;

		fill(data + off, 4096, (uint64_t)random());
		write_file(f, ino, off, data + off, 4096);
	}
}

static inline void
remove_file(struct fixture *f, uint64_t ino)
{
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_inode_remove(f->meta, i), 0);
	meta_unlock(f->meta);
}

#define SMALL_COUNT 2000

/* Files of 1 to 8 KiB, every second of them removed again; what is left, in bytes. */
static inline uint64_t
make_and_remove_small_files(struct fixture *f, uint64_t inos[static SMALL_COUNT], const uint8_t *data)
{
	uint64_t left = 0;

	srandom(1);
	for (unsigned k = 0; k < SMALL_COUNT; k++) {
		inos[k] = new_file(f);
		write_file(f, inos[k], 0, data + k, 1024 + k % 7169);
	}
	for (unsigned k = 0; k < SMALL_COUNT; k++) {
		if (random() % 2) {
			left += 1024 + k % 7169;
		} else {
			remove_file(f, inos[k]);
			inos[k] = 0;
		}
	}
	return left;
}

static inline void
assert_small_files(struct fixture *f, const uint64_t inos[static SMALL_COUNT], const uint8_t *data)
{
	for (unsigned k = 0; k < SMALL_COUNT; k++) {
		if (inos[k])
			assert_content(f, inos[k], 0, data + k, 1024 + k % 7169);
	}
}

#endif
