/* Very many segments: what is in memory of them is bounded, and all of them are found by number and by name, and counted. */
#include "meta_fixture.h"

#include <errno.h>

#include "pieces.h"
#include "secmem.h"

#define MIB (UINT64_C(1) << 20)
#define MANY 210000u /* more than the cache holds */
#define AT_ONCE 5000u
#define HELD_MAX 190000u

/* Three always begin alike. */
static void
name_of(uint64_t n, uint8_t out[static 16])
{
	uint64_t words[2] = { n / 3 * 0x9e3779b97f4a7c15u, n };

	memcpy(out, words, sizeof(words));
}

static struct segment
row_of(uint64_t n)
{
	struct segment s = { .kind = n % 10 == 9 ? SEGMENT_HOT : SEGMENT_SETTLED, .size = n % 10 == 9 ? 0 : (n % 16 + 1) * MIB };

	if (s.kind == SEGMENT_SETTLED)
		name_of(n, s.name);
	s.in_store = s.kind == SEGMENT_SETTLED && n % 7 != 0;
	s.local = s.kind == SEGMENT_HOT || n % 3 == 0;
	s.present = s.local ? 0 : n % 3 == 1 && s.size > 2 * MIB ? 2 : 0;
	return s;
}

/* With the lock; nothing is asserted before it is released: who cleans up wants it, too. */

static err_t
get(struct fixture *f, uint64_t id, struct segment *out)
{
	meta_lock(f->meta);

	err_t e = meta_segment_get(f->meta, id, out);

	meta_unlock(f->meta);
	return e;
}

static err_t
find(struct fixture *f, const uint8_t name[static 16], struct segment *out)
{
	meta_lock(f->meta);

	err_t e = meta_segment_find(f->meta, name, out);

	meta_unlock(f->meta);
	return e;
}

static err_t
look(struct fixture *f, uint64_t id, struct segment *out)
{
	meta_lock(f->meta);

	err_t e = meta_segment_look(f->meta, id, out);

	meta_unlock(f->meta);
	return e;
}

static err_t
put_row(struct fixture *f, const struct segment *s)
{
	meta_lock(f->meta);

	err_t e = meta_segment_put(f->meta, s);

	meta_unlock(f->meta);
	return e;
}

static err_t
drop(struct fixture *f, uint64_t id)
{
	meta_lock(f->meta);

	err_t e = meta_segment_remove(f->meta, id);

	meta_unlock(f->meta);
	return e;
}

static void
put(struct fixture *f, uint64_t n)
{
	struct segment s = row_of(n);

	meta_lock(f->meta);
	s.id = meta_segment_new_id(f->meta);
	meta_unlock(f->meta);
	assert_int_equal(s.id, n + 1);
	assert_int_equal(put_row(f, &s), 0);
}

static void
put_many(struct fixture *f, uint64_t count)
{
	for (uint64_t n = 0; n < count; n++) {
		put(f, n);
		if (n % AT_ONCE == AT_ONCE - 1)
			assert_int_equal(meta_sync(f->meta), 0);
	}
	assert_int_equal(meta_sync(f->meta), 0);
}

static size_t
held(struct fixture *f)
{
	size_t count;

	meta_lock(f->meta);
	count = meta_segments_in_memory(f->meta);
	meta_unlock(f->meta);
	return count;
}

static void
assert_found(struct fixture *f, uint64_t n)
{
	struct segment s = row_of(n), got;

	assert_int_equal(get(f, n + 1, &got), 0);
	assert_true(got.id == n + 1 && got.kind == s.kind && got.size == s.size && got.present == s.present);
	if (s.kind != SEGMENT_SETTLED)
		return;
	assert_int_equal(find(f, s.name, &got), 0);
	assert_int_equal(got.id, n + 1);
}

struct sums {
	uint64_t rows;
	uint64_t numbers;
	uint64_t unsent;
	struct meta_segment_totals total;
};

static void
add(struct sums *t, uint64_t id, const struct segment *s)
{
	uint64_t here = pieces_bytes(s->size, s->local ? pieces_all(s->size) : s->present);

	t->rows++;
	t->numbers += id;
	t->unsent += !s->in_store;
	if (s->kind != SEGMENT_SETTLED)
		return;
	t->total.size += s->size;
	t->total.here += here;
	t->total.cached += s->in_store ? here : 0;
}

static err_t
add_row(void *ctx, const struct segment *s)
{
	add(ctx, s->id, s);
	return 0;
}

static void
assert_sums(struct fixture *f, const struct sums *expected)
{
	struct meta_segment_totals got;
	struct sums all = { 0 }, unsent = { 0 };

	assert_int_equal(meta_segments_learn(f->meta, false), 0);
	meta_lock(f->meta);

	err_t e = meta_segments_total(f->meta, &got);

	meta_unlock(f->meta);
	assert_int_equal(e, 0);
	assert_memory_equal(&got, &expected->total, sizeof(got));
	assert_int_equal(meta_segment_scan(f->meta, false, add_row, &all), 0);
	assert_memory_equal(&all, expected, sizeof(all));
	assert_int_equal(meta_segment_scan(f->meta, true, add_row, &unsent), 0);
	assert_int_equal(unsent.rows, expected->unsent);
	assert_int_equal(unsent.unsent, expected->unsent);
}

static struct sums
sums_of(uint64_t from, uint64_t to)
{
	struct sums t = { 0 };

	for (uint64_t n = from; n < to; n++) {
		struct segment s = row_of(n);

		add(&t, n + 1, &s);
	}
	return t;
}

static void
memory_does_not_hold_the_rows_of_all_segments(void **state)
{
	struct fixture *f = *state;
	struct sums all = sums_of(0, MANY);
	struct segment s;

	put_many(f, MANY);
	assert_true(held(f) <= HELD_MAX);
	assert_sums(f, &all);
	reopen(f);
	assert_int_equal(held(f), 0);
	assert_sums(f, &all);
	assert_int_equal(meta_segments_learn(f->meta, true), 0);
	assert_int_equal(held(f), 0);
	for (uint64_t n = 0; n < MANY; n++)
		assert_int_equal(look(f, n + 1, &s), 0);
	assert_int_equal(held(f), 0);
	for (uint64_t n = 0; n < MANY; n++) {
		assert_found(f, n);
		assert_true(n % 1000 != 0 || held(f) <= HELD_MAX);
	}
}

static void
names_and_sums_follow_every_change(void **state)
{
	enum { COUNT = 5000, GONE = 700, LATER = 300 };
	struct fixture *f = *state;
	struct sums all;
	struct segment s;
	uint8_t name[16];

	put_many(f, COUNT);
	reopen(f);
	/* Some change before names are known, some after, some without a commit. */
	for (unsigned turn = 0; turn < 2; turn++) {
		for (uint64_t n = turn * GONE; n < (turn + 1) * GONE; n++)
			assert_int_equal(drop(f, n + 1), 0);
		for (uint64_t n = COUNT + turn * LATER; n < COUNT + (turn + 1) * LATER; n++)
			put(f, n);
		all = sums_of((turn + 1) * GONE, COUNT + (turn + 1) * LATER);
		assert_sums(f, &all);
		for (uint64_t n = (turn + 1) * GONE; n < COUNT + (turn + 1) * LATER; n++)
			assert_found(f, n);
		for (uint64_t n = 0; n < (turn + 1) * GONE; n++) {
			name_of(n, name);
			assert_int_equal(find(f, name, &s), -ENOENT);
			assert_int_equal(get(f, n + 1, &s), -ENOENT);
		}
		if (turn == 0)
			assert_int_equal(meta_sync(f->meta), 0);
	}
	assert_int_equal(meta_sync(f->meta), 0);
	reopen(f);
	assert_sums(f, &all);
	for (uint64_t n = 2 * GONE; n < COUNT + 2 * LATER; n++)
		assert_found(f, n);
}

/* The bytes of the counters' row end with the sums. */
static void
sums_that_an_earlier_version_did_not_store_are_counted_while_segments_change(void **state)
{
	enum { COUNT = 5000, BEYOND = COUNT + 10, SUMS_LEN = 24 };
	struct fixture *f = *state;
	struct bytes counters = { 0 };
	struct sums all = sums_of(0, BEYOND);
	struct db_row row = { .table = DB_KV, .a = DB_KEY_COUNTERS };
	struct segment s = row_of(0);
	uint8_t name[16];

	put_many(f, COUNT);
	assert_int_equal(db_get(f->db, DB_KV, DB_KEY_COUNTERS, 0, &counters), 0); /* nobody else reads */
	db_end_reading(f->db);
	close_meta(f);
	open_db(f, false);
	row.data = counters.data;
	row.len = counters.len - SUMS_LEN;
	assert_int_equal(db_write(f->db, &row, 1), 0);
	open_meta(f);
	bytes_clear(&counters);

	for (uint64_t n = COUNT; n < BEYOND; n++)
		put(f, n);
	/* One that was dropped and has another name now. */
	s.id = 1;
	name_of(BEYOND, s.name);
	assert_int_equal(put_row(f, &s), 0);
	assert_sums(f, &all);
	assert_int_equal(find(f, s.name, &s), 0);
	assert_int_equal(s.id, 1);
	name_of(0, name);
	assert_int_equal(find(f, name, &s), -ENOENT);
	assert_int_equal(meta_sync(f->meta), 0);
	reopen(f);
	assert_sums(f, &all);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(memory_does_not_hold_the_rows_of_all_segments),
		T(names_and_sums_follow_every_change),
		T(sums_that_an_earlier_version_did_not_store_are_counted_while_segments_change),
	};
#undef T

	if (secmem_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
