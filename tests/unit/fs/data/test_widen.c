/* What is written in very small pieces: each block becomes one piece again before it is in many, and no byte is lost for it. */
#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB (1u << 20)
#define BLOCK 4096u
#define PIECES_MAX 8u /* in a block */

struct scratch;
struct widened;

/* How often a block was read to be written as a whole. */
static atomic_uint widened;

err_t __real_widen_read(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, const uint8_t *data, size_t len,
    struct widened *out);
err_t __wrap_widen_read(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, const uint8_t *data, size_t len,
    struct widened *out);

err_t
__wrap_widen_read(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, const uint8_t *data, size_t len,
    struct widened *out)
{
	widened++;
	return __real_widen_read(c, s, ino, off, data, len, out);
}

/* A full disk. */
static atomic_bool full;

bool __real_meta_has_room(const struct meta *m);
bool __wrap_meta_has_room(const struct meta *m);

bool
__wrap_meta_has_room(const struct meta *m)
{
	return !full && __real_meta_has_room(m);
}

/* Somebody elsewhere has cut the file, and that is merged before the file is locked for the last of so many times. */
static struct {
	struct fixture *f; /* NULL: nobody */
	uint64_t size;
	unsigned locks;
} cutter;

void __real_content_lock_file(struct content *c, uint64_t ino, bool exclusive);
void __wrap_content_lock_file(struct content *c, uint64_t ino, bool exclusive);

void
__wrap_content_lock_file(struct content *c, uint64_t ino, bool exclusive)
{
	struct fixture *f = cutter.f;

	if (f && cutter.locks-- == 1) {
		cutter.f = NULL;
		assert_int_equal(content_truncate(c, ino, cutter.size), 0);
		make_known(f, ino);
	}
	__real_content_lock_file(c, ino, exclusive);
}

/* The most pieces that a block of the chunk is in. */
static unsigned
most_pieces(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list l = extents_of(f, ino, no);
	unsigned most = 0;

	for (uint64_t block = no * MIB; block < (no + 1) * MIB; block += BLOCK) {
		unsigned count = 0;

		for (uint32_t k = extent_list_find(&l, block); k < l.count && l.v[k].off < block + BLOCK; k++)
			count++;
		most = count > most ? count : most;
	}
	extent_list_clear(&l);
	return most;
}

static uint32_t
count_extents(struct fixture *f, uint64_t ino)
{
	struct extent_list l = extents_of(f, ino, 0);
	uint32_t count = l.count;

	extent_list_clear(&l);
	return count;
}

static void
bytes_that_are_written_one_by_one_make_no_long_map(void **state)
{
	enum { LEN = 20000 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f), begin = 2 * MIB - LEN / 2; /* in two chunks */
	static uint8_t data[LEN];

	fill(data, LEN, 1);
	widened = 0;
	for (size_t k = 0; k < LEN; k++) {
		size_t off = k * 7919 % LEN; /* each once */

		write_file(f, ino, begin + off, data + off, 1);
		if (k % 64 == 0) {
			assert_in_range(most_pieces(f, ino, 1), 0, PIECES_MAX);
			assert_in_range(most_pieces(f, ino, 2), 0, PIECES_MAX);
		}
	}
	assert_in_range(widened, 1, LEN / 3);
	assert_content(f, ino, begin, data, LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, begin, data, LEN);
}

static void
bytes_that_are_added_at_the_end_one_by_one_make_no_long_map(void **state)
{
	enum { LEN = 9000 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t data[LEN];

	fill(data, LEN, 2);
	widened = 0;
	for (size_t k = 0; k < LEN; k++) {
		write_file(f, ino, k, data + k, 1);
		assert_int_equal(inode_of(f, ino).size, k + 1);
		assert_int_equal(inode_of(f, ino).mapped, k + 1);
	}
	assert_in_range(widened, 1, LEN / 7);
	assert_in_range(most_pieces(f, ino, 0), 1, PIECES_MAX);
	assert_content(f, ino, 0, data, LEN);
}

static void
sectors_are_written_as_they_are(void **state)
{
	enum { LEN = 16 * BLOCK, SECTORS = LEN / 512 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t data[LEN];

	fill(data, LEN, 3);
	widened = 0;
	for (size_t k = 0; k < 3 * SECTORS; k++) {
		size_t off = k * 37 % SECTORS * 512;

		write_file(f, ino, off, data + off, 512);
	}
	assert_int_equal(widened, 0);
	assert_int_equal(count_extents(f, ino), SECTORS);
	assert_content(f, ino, 0, data, LEN);
}

/* Each block of the file in as many pieces as there may be. */
static void
scatter(struct fixture *f, uint64_t ino, uint8_t *data, size_t len, uint64_t seed)
{
	for (size_t off = 0; off + BLOCK <= len; off += BLOCK) {
		fill(data + off, BLOCK, seed + off);
		write_file(f, ino, off, data + off, BLOCK);
		for (size_t k = 0; k < (PIECES_MAX - 1) / 2; k++) {
			size_t at = off + 700 * k + 500;

			data[at] ^= 1;
			write_file(f, ino, at, data + at, 1);
		}
	}
}

static void
a_write_that_ends_within_blocks_in_many_pieces_keeps_what_is_around_it(void **state)
{
	enum { LEN = 8 * BLOCK };
	static const struct { size_t off, len; } WRITES[] = {
		{ 100, 7 }, { 0, 5 }, { BLOCK - 3, 3 }, { BLOCK - 3, 6 }, { 2 * BLOCK + 1300, 2 * BLOCK }, { BLOCK - 1, 6 * BLOCK + 2 },
		{ LEN - 100, 100 }, { LEN - 100, 300 }, { 3 * BLOCK, BLOCK },
	};
	struct fixture *f = *state;
	uint8_t data[LEN + BLOCK];

	for (unsigned k = 0; k < ARRAY_LEN(WRITES); k++) {
		uint64_t ino = new_file(f);
		size_t end = WRITES[k].off + WRITES[k].len;

		scatter(f, ino, data, LEN, k);
		fill(data + WRITES[k].off, WRITES[k].len, 77 + k);
		write_file(f, ino, WRITES[k].off, data + WRITES[k].off, WRITES[k].len);
		assert_int_equal(inode_of(f, ino).size, end > LEN ? end : LEN);
		assert_content(f, ino, 0, data, end > LEN ? end : LEN);
		assert_in_range(most_pieces(f, ino, 0), 1, PIECES_MAX);
	}
}

static void
holes_that_are_punched_byte_by_byte_make_no_long_map(void **state)
{
	enum { LEN = 4 * BLOCK };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t data[LEN];

	fill(data, LEN, 4);
	write_file(f, ino, 0, data, LEN);
	for (size_t k = 0; k < LEN; k += 2) {
		size_t off = k * 1999 % LEN;

		assert_int_equal(content_punch(f->c, ino, off, 1), 0);
		data[off] = 0;
		assert_in_range(most_pieces(f, ino, 0), 1, PIECES_MAX);
	}
	assert_int_equal(content_punch(f->c, ino, BLOCK - 1, 2 * BLOCK + 2), 0);
	memset(data + BLOCK - 1, 0, 2 * BLOCK + 2);
	assert_content(f, ino, 0, data, LEN);
	assert_int_equal(content_punch(f->c, ino, 5, UINT64_MAX), 0);
	memset(data + 5, 0, LEN - 5);
	assert_content(f, ino, 0, data, LEN);
	assert_int_equal(inode_of(f, ino).size, LEN);
	assert_int_equal(inode_of(f, ino).mapped, 5);
}

/* One more in each: before what a hole at the end of the even ones takes, and behind what one at the begin of the odd ones does. */
static void
scatter_more(struct fixture *f, uint64_t ino, uint8_t *data, size_t len, uint64_t seed)
{
	scatter(f, ino, data, len, seed);
	for (size_t at = 0; at < len; at += at % (2 * BLOCK) ? 1 : 2 * BLOCK - 1) {
		data[at] ^= 1;
		write_file(f, ino, at, data + at, 1);
	}
	assert_int_equal(count_extents(f, ino), len / BLOCK * PIECES_MAX);
}

static void
holes_are_punched_into_blocks_in_many_pieces_also_on_a_full_disk(void **state)
{
	enum { LEN = 4 * BLOCK };
	static const struct { size_t off, len; } HOLES[] = {
		{ 3000, 7 }, { 3000, BLOCK - 2900 }, { 0, 3 * BLOCK + 3000 }, { BLOCK + 5, BLOCK - 9 }, { LEN - 200, 200 },
	};
	struct fixture *f = *state;
	uint8_t data[LEN];

	for (unsigned k = 0; k < ARRAY_LEN(HOLES); k++) {
		uint64_t ino = new_file(f);

		scatter_more(f, ino, data, LEN, k);
		full = true;
		assert_int_equal(content_write(f->c, ino, 3000, data, 1), -ENOSPC);
		assert_int_equal(content_punch(f->c, ino, HOLES[k].off, HOLES[k].len), 0);
		full = false;
		memset(data + HOLES[k].off, 0, HOLES[k].len);
		assert_content(f, ino, 0, data, LEN);
		assert_int_equal(inode_of(f, ino).mapped, LEN - HOLES[k].len);
	}
}

/* false: it was locked less often than that. */
static bool
punch_while_it_is_cut(struct fixture *f, uint64_t size, uint64_t off, uint64_t len, unsigned locks)
{
	enum { LEN = 4 * BLOCK };
	uint64_t ino = new_file(f);
	uint8_t data[LEN];

	scatter_more(f, ino, data, LEN, locks);
	make_known(f, ino);
	cutter.f = f;
	cutter.size = size;
	cutter.locks = locks;
	assert_int_equal(content_punch(f->c, ino, off, len), 0);
	if (cutter.f) {
		cutter.f = NULL;
		return false;
	}
	assert_int_equal(inode_of(f, ino).size, size);
	if (off < size)
		memset(data + off, 0, size - off < len ? size - off : len);
	else
		assert_int_equal(inode_of(f, ino).pending, 0);
	assert_content(f, ino, 0, data, size);
	return true;
}

static void
a_file_that_is_cut_elsewhere_while_a_hole_is_punched_stays_cut(void **state)
{
	static const struct { uint64_t size, off, len; } CUTS[] = {
		{ 1000, 3 * BLOCK + 3000, 5 }, { 3 * BLOCK + 3002, 3 * BLOCK + 3000, 5 }, { BLOCK + 50, 3000, BLOCK - 2900 },
		{ 100, 3000, BLOCK - 2900 }, { 3500, 3000, UINT64_MAX },
	};

	for (unsigned k = 0; k < ARRAY_LEN(CUTS); k++) {
		unsigned locks = 1;

		widened = 0;
		while (punch_while_it_is_cut(*state, CUTS[k].size, CUTS[k].off, CUTS[k].len, locks))
			locks++;
		assert_true(locks > 3 && widened > 0);
	}
}

#define WRITERS 4u
#define SHARED_LEN (2 * BLOCK)

struct writer {
	struct fixture *f;
	uint64_t ino;
	const uint8_t *data;
	size_t first; /* of its bytes: each WRITERSth is */
	err_t err;
};

static void *
write_share(void *arg)
{
	struct writer *w = arg;

	for (size_t k = 0; k < SHARED_LEN / WRITERS && !w->err; k++) {
		size_t off = k * 1021 % (SHARED_LEN / WRITERS) * WRITERS + w->first;

		w->err = content_write(w->f->c, w->ino, off, w->data + off, 1);
	}
	return NULL;
}

static void
what_others_write_into_the_same_block_meanwhile_is_not_undone(void **state)
{
	struct fixture *f = *state;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	uint8_t data[SHARED_LEN];
	uint64_t ino = new_file(f);

	fill(data, sizeof(data), 8);
	widened = 0;
	for (size_t k = 0; k < WRITERS; k++) {
		writers[k] = (struct writer){.f = f, .ino = ino, .data = data, .first = k};
		assert_int_equal(pthread_create(&threads[k], NULL, write_share, &writers[k]), 0);
	}
	for (size_t k = 0; k < WRITERS; k++) {
		assert_int_equal(pthread_join(threads[k], NULL), 0);
		assert_int_equal(writers[k].err, 0);
	}
	assert_true(widened > 0);
	assert_content(f, ino, 0, data, sizeof(data));
	assert_in_range(most_pieces(f, ino, 0), 1, PIECES_MAX);
}

static void
what_the_chain_has_stays_what_it_was(void **state)
{
	enum { LEN = 2 * BLOCK };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t data[LEN];

	scatter(f, ino, data, LEN, 5);
	make_known(f, ino);

	struct extent_list known = extents_of(f, ino, 0);
	struct inode *i;
	struct chunk *ch;

	for (size_t k = 0; k < 100; k++) {
		data[k * 61] ^= 1;
		write_file(f, ino, k * 61, data + k * 61, 1);
	}
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get(f->meta, i, 0, false, &ch), 0);
	assert_true(ch->pending && extent_list_equal(&ch->chain, &known));
	meta_unlock(f->meta);
	assert_content(f, ino, 0, data, LEN);
	assert_int_equal(settle_one(f, ino), 0);
	assert_content(f, ino, 0, data, LEN);
	extent_list_clear(&known);
}

static void
flip(const struct fixture *f, const struct extent *x)
{
	char path[128];
	uint8_t byte;

	segment_path(f, x->seg, path);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)x->seg_off), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)x->seg_off), 1);
	close(fd);
}

static void
what_is_damaged_stays_damaged_and_can_be_written_to(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t data[BLOCK], buf[BLOCK];
	size_t n;

	scatter(f, ino, data, BLOCK, 6);

	struct extent_list l = extents_of(f, ino, 0);

	flip(f, &l.v[0]);
	for (size_t k = 0; k < 20; k++) {
		data[4000 - 30 * k] ^= 1;
		write_file(f, ino, 4000 - 30 * k, data + 4000 - 30 * k, 1);
		assert_content(f, ino, 4000 - 30 * k, data + 4000 - 30 * k, 1);
	}
	assert_int_equal(content_read(f->c, ino, 0, BLOCK, buf, &n), -EIO);
	flip(f, &l.v[0]);
	assert_content(f, ino, 0, data, BLOCK);
	extent_list_clear(&l);
}

static void
what_only_the_store_has_is_not_asked_for(void **state)
{
	struct fixture *f = *state;
	CLEANUP(bytes_clear) struct bytes object = {0};
	uint64_t ino = new_file(f);
	uint8_t data[BLOCK];

	fill(data, BLOCK, 7);
	write_file(f, ino, 0, data, BLOCK);
	fixture_send_away(f, ino, &object);
	for (size_t k = 0; k < 40; k++) {
		write_file(f, ino, 100 * k, "x", 1);
		assert_content(f, ino, 100 * k, "x", 1);
	}
	assert_int_equal(count_extents(f, ino), 80);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_that_are_written_one_by_one_make_no_long_map),
		TEST(bytes_that_are_added_at_the_end_one_by_one_make_no_long_map),
		TEST(sectors_are_written_as_they_are),
		TEST(a_write_that_ends_within_blocks_in_many_pieces_keeps_what_is_around_it),
		TEST(holes_that_are_punched_byte_by_byte_make_no_long_map),
		TEST(holes_are_punched_into_blocks_in_many_pieces_also_on_a_full_disk),
		TEST(a_file_that_is_cut_elsewhere_while_a_hole_is_punched_stays_cut),
		TEST(what_others_write_into_the_same_block_meanwhile_is_not_undone),
		TEST(what_the_chain_has_stays_what_it_was),
		TEST(what_is_damaged_stays_damaged_and_can_be_written_to),
		TEST(what_only_the_store_has_is_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
