/*
 * Extent lists against a model: an array that says for every byte of a small chunk which sealed extent it is mapped to.
 * The module is compiled into the test, so that its allocations can be made to fail.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool allocations_fail;

static void *
failing_realloc(void *p, size_t len)
{
	return allocations_fail ? NULL : realloc(p, len);
}

static void *
failing_malloc(size_t len)
{
	return allocations_fail ? NULL : malloc(len);
}

#define realloc failing_realloc
#define malloc failing_malloc
#include "extents.c"
#undef realloc
#undef malloc

#define BASE (7 * (uint64_t)CHUNK_LEN)
#define SPAN 400u
#define ROUNDS 60000

/* The sealed extent number n covers [off, off + len) of the chunk's bytes. */
static struct extent
sealed(uint32_t n, uint64_t off, uint32_t len)
{
	struct extent x = {.off = off, .len = len, .x_off = off, .x_len = len, .key_version = 1, .seg = 3};

	memcpy(x.x_id, &n, sizeof(n));
	x.seg_off = (uint64_t)n * 4096;
	x.stored_len = len + 16;
	return x;
}

static uint32_t
number_of(const struct extent *x)
{
	uint32_t n;

	memcpy(&n, x->x_id, sizeof(n));
	return n;
}

struct model {
	uint32_t owner[SPAN]; /* 0: a hole */
	struct extent made[ROUNDS + 1];
	uint8_t alive[ROUNDS + 1];
	uint8_t died[ROUNDS + 1];
};

/* Extents here are shorter than a frame: they go whole or not at all. */
static void
note_dead(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len)
{
	struct model *m = ctx;

	assert_int_equal(seg_off, x->seg_off);
	assert_int_equal(len, x->stored_len);
	m->died[number_of(x)]++;
}

/* Replaces, and tells what has gone; only there, and then in the whole list, which must come to the same. */
static void
replace(struct extent_list *l, uint64_t off, uint32_t len, const struct extent *x, extent_gone_fn *gone, void *ctx)
{
	struct extent_list before = {0};

	assert_int_equal(extent_list_copy(l, &before), 0);
	assert_int_equal(extent_list_replace(l, off, len, x), 0);
	extent_list_gone(&before, l, random() % 2 ? off : 0, random() % 2 ? off + len : UINT64_MAX, gone, ctx);
	extent_list_clear(&before);
}

static void
assert_list_is_model(const struct extent_list *l, const struct model *m)
{
	uint32_t seen[SPAN] = {0};
	uint64_t end = BASE;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct extent *x = &l->v[i];
		const struct extent *made = &m->made[number_of(x)];

		assert_true(x->len > 0 && x->off >= end && x->off + x->len <= BASE + SPAN);
		assert_true(x->off >= made->off && x->off + x->len <= made->off + made->len);
		assert_int_equal(x->x_off, made->x_off);
		assert_int_equal(x->x_len, made->x_len);
		assert_int_equal(x->seg_off, made->seg_off);
		assert_int_equal(x->stored_len, made->stored_len);
		end = x->off + x->len;
		for (uint32_t k = 0; k < x->len; k++)
			seen[x->off - BASE + k] = number_of(x);
	}
	assert_memory_equal(seen, m->owner, sizeof(seen));
}

/* Paints [at, at + len) and says in alive who is left; returns after checking that exactly those who lost all died. */
static void
assert_deaths(struct model *m, uint32_t at, uint32_t len, uint32_t owner)
{
	uint32_t before[SPAN];

	memcpy(before, m->owner, sizeof(before));
	for (uint32_t k = at; k < at + len; k++)
		m->owner[k] = owner;
	for (uint32_t k = at; k < at + len; k++)
		m->alive[before[k]] = 0;
	if (owner)
		m->alive[owner] = 1;
	for (uint32_t k = 0; k < SPAN; k++)
		m->alive[m->owner[k]] = 1;
	for (uint32_t k = at; k < at + len; k++) {
		if (before[k])
			assert_int_equal(m->died[before[k]], !m->alive[before[k]]);
	}
}

static void
random_replacements_leave_what_a_byte_map_says_and_tell_each_death_once(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	struct extent_list l = {0};

	(void)state;
	srandom(1);
	for (uint32_t n = 1; n <= ROUNDS; n++) {
		/* Mostly short ranges, so that lists grow long; now and then a wide one. */
		uint32_t most = random() % 16 == 0 ? SPAN : 24;
		uint32_t len = 1 + (uint32_t)random() % most;
		uint32_t at = (uint32_t)random() % (SPAN - len + 1);
		bool hole = random() % 4 == 0;
		struct extent x = sealed(n, BASE + at, len);

		m->made[n] = x;
		replace(&l, x.off, len, hole ? NULL : &x, note_dead, m);
		assert_deaths(m, at, len, hole ? 0 : n);
		assert_list_is_model(&l, m);

		uint64_t off = BASE + (uint64_t)random() % SPAN;
		uint32_t i = extent_list_find(&l, off);

		assert_true(i == l.count || l.v[i].off + l.v[i].len > off);
		assert_true(i == 0 || l.v[i - 1].off + l.v[i - 1].len <= off);
		assert_int_equal(extent_list_lacks(&l, &x), hole);
	}
	for (uint32_t n = 1; n <= ROUNDS; n++)
		assert_true(m->died[n] <= 1 && (!m->died[n] || !m->alive[n]));
	extent_list_clear(&l);
	free(m);
}

static void
replacing_fails_without_memory_and_leaves_the_list_as_it_was(void **state)
{
	unsigned failures = 0;

	(void)state;
	srandom(2);
	for (uint32_t round = 0; round < 2000; round++) {
		struct extent_list l = {0};
		struct extent_list copy = {0};
		struct extent y = sealed(999, BASE + (uint64_t)random() % 60, 1 + (uint32_t)random() % 20);

		for (uint32_t n = 0; n < 1 + round % 8; n++) {
			struct extent x = sealed(n + 1, BASE + n * 10, 10);

			assert_int_equal(extent_list_append(&l, &x), 0);
		}
		assert_int_equal(extent_list_copy(&l, &copy), 0);

		allocations_fail = true;
		err_t e = extent_list_replace(&copy, y.off, y.len, &y);
		if (e) {
			/* The copy has no room to spare, so it fails in the same way again: now with ears open. */
			assert_int_equal(e, -ENOMEM);
			assert_int_equal(extent_list_replace(&copy, y.off, y.len, &y), -ENOMEM);
			assert_true(extent_list_equal(&l, &copy));
			failures++;
		}
		allocations_fail = false;
		extent_list_clear(&l);
		extent_list_clear(&copy);
	}
	assert_true(failures > 100);
}

static void
copying_and_appending_fail_without_memory(void **state)
{
	struct extent_list l = {0};
	struct extent_list untouched = {.count = 77};
	struct extent x = sealed(1, BASE, 10);
	struct extent y = sealed(2, BASE + 10, 10);

	(void)state;
	assert_int_equal(extent_list_append(&l, &x), 0);
	allocations_fail = true;
	assert_int_equal(extent_list_copy(&l, &untouched), -ENOMEM);
	assert_int_equal(extent_list_append(&l, &y), -ENOMEM);
	allocations_fail = false;
	assert_int_equal(untouched.count, 77);
	assert_int_equal(l.count, 1);
	extent_list_clear(&l);
}

struct deaths {
	unsigned count;
	struct extent last;
};

static void
count_deaths(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len)
{
	struct deaths *d = ctx;

	(void)seg_off, (void)len;
	d->count++;
	d->last = *x;
}

static void
an_extent_cut_in_two_dies_with_its_second_half(void **state)
{
	struct extent_list l = {0};
	struct deaths d = {0};
	struct extent x = sealed(1, BASE, 100);

	(void)state;
	assert_int_equal(extent_list_append(&l, &x), 0);
	replace(&l, BASE + 40, 20, NULL, count_deaths, &d);
	assert_int_equal(l.count, 2);
	replace(&l, BASE, 40, NULL, count_deaths, &d);
	assert_int_equal(d.count, 0);
	assert_false(extent_list_lacks(&l, &x));
	replace(&l, BASE + 50, 50, NULL, count_deaths, &d);
	assert_int_equal(d.count, 1);
	assert_int_equal(number_of(&d.last), 1);
	assert_int_equal(l.count, 0);
	assert_true(extent_list_lacks(&l, &x));
	extent_list_clear(&l);
}

static void
an_extent_in_several_pieces_that_go_at_once_dies_once(void **state)
{
	struct extent_list l = {0};
	struct deaths d = {0};
	struct extent x = sealed(1, BASE, 100);

	(void)state;
	assert_int_equal(extent_list_append(&l, &x), 0);
	for (uint32_t at = 10; at < 100; at += 10)
		assert_int_equal(extent_list_replace(&l, BASE + at, 5, NULL), 0);
	assert_int_equal(l.count, 10);
	replace(&l, BASE, CHUNK_LEN, NULL, count_deaths, &d);
	assert_int_equal(d.count, 1);
	assert_int_equal(l.count, 0);
	extent_list_clear(&l);
}

static void
a_sealed_extent_that_is_mapped_again_by_the_replacement_does_not_die(void **state)
{
	struct extent_list l = {0};
	struct deaths d = {0};
	struct extent x = sealed(1, BASE, 100);

	(void)state;
	assert_int_equal(extent_list_append(&l, &x), 0);
	replace(&l, BASE, 100, &l.v[0], count_deaths, &d);
	assert_int_equal(d.count, 0);
	assert_int_equal(l.count, 1);
	extent_list_clear(&l);
}

static void
the_same_sealed_extent_in_another_place_is_another_one(void **state)
{
	struct extent_list l = {0};
	struct deaths d = {0};
	struct extent x = sealed(1, BASE, 100);
	struct extent moved = x;

	(void)state;
	moved.seg = 9;
	assert_int_equal(extent_list_append(&l, &x), 0);
	assert_true(extent_list_lacks(&l, &moved));
	replace(&l, BASE, 100, &moved, count_deaths, &d);
	assert_int_equal(d.count, 1);
	assert_int_equal(d.last.seg, x.seg);
	extent_list_clear(&l);
}

static void
a_replacement_may_be_smaller_than_what_it_unmaps_and_a_length_of_zero_does_nothing(void **state)
{
	struct extent_list l = {0};
	struct extent_list before = {0};
	struct extent x = sealed(1, BASE, 100);
	struct extent y = sealed(2, BASE + 20, 10);

	(void)state;
	assert_int_equal(extent_list_append(&l, &x), 0);
	assert_int_equal(extent_list_replace(&l, BASE + 10, 80, &y), 0);
	assert_int_equal(l.count, 3);
	assert_int_equal(l.v[0].len, 10);
	assert_int_equal(l.v[1].off, BASE + 20);
	assert_int_equal(l.v[2].off, BASE + 90);
	assert_int_equal(extent_list_copy(&l, &before), 0);
	assert_int_equal(extent_list_replace(&l, BASE + 5, 0, NULL), 0);
	assert_true(extent_list_equal(&l, &before));
	extent_list_clear(&before);
	extent_list_clear(&l);
}

/* Frames.  Sealed extent number n stands in the segment at n * STRIDE. */

#define FRAMES 12u
#define WIDE (FRAMES * FRAME_RAW_LEN)
#define STRIDE ((uint64_t)FRAMES * (FRAME_RAW_LEN + AEAD_TAG_LEN))
#define FRAME_ROUNDS 4000

struct frame_model {
	uint32_t owner[WIDE];
	struct extent made[FRAME_ROUNDS + 1];
	uint8_t told[FRAME_ROUNDS + 1][FRAMES];
};

static uint32_t
units_of(const struct extent *x)
{
	return x->x_encoding == FRAME_RAW ? (x->x_len + FRAME_RAW_LEN - 1) / FRAME_RAW_LEN : 1;
}

static uint32_t
stored_at(const struct extent *x, uint32_t unit)
{
	return unit == units_of(x) ? x->stored_len : unit * (FRAME_RAW_LEN + AEAD_TAG_LEN);
}

static void
note_frames(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len)
{
	struct frame_model *m = ctx;
	uint64_t from = seg_off - x->seg_off;
	uint32_t units = 0;

	for (uint32_t u = 0; u < units_of(x); u++) {
		if (stored_at(x, u) < from || stored_at(x, u + 1) > from + len)
			continue;
		m->told[number_of(x)][u]++;
		units += stored_at(x, u + 1) - stored_at(x, u);
	}
	assert_int_equal(units, len);
}

static void
assert_frames(const struct frame_model *m, uint32_t rounds)
{
	static uint8_t mapped[FRAME_ROUNDS + 1][FRAMES];

	memset(mapped, 0, sizeof(mapped));
	for (uint32_t at = 0; at < WIDE; at++) {
		const struct extent *x = &m->made[m->owner[at]];

		if (m->owner[at])
			mapped[m->owner[at]][x->x_encoding == FRAME_RAW ? (BASE + at - x->x_off) / FRAME_RAW_LEN : 0] = 1;
	}
	for (uint32_t n = 1; n <= rounds; n++) {
		for (uint32_t u = 0; u < units_of(&m->made[n]); u++)
			assert_int_equal(m->told[n][u], !mapped[n][u]);
	}
}

static void
each_frame_is_told_once_when_its_last_byte_is_unmapped(void **state)
{
	struct frame_model *m = calloc(1, sizeof(*m));
	struct extent_list l = {0};

	(void)state;
	assert_non_null(m);
	srandom(3);
	for (uint32_t n = 1; n <= FRAME_ROUNDS; n++) {
		uint32_t most = random() % 4 == 0 ? WIDE : 2 * FRAME_RAW_LEN;
		uint32_t len = 1 + (uint32_t)random() % most;
		uint32_t at = (uint32_t)random() % (WIDE - len + 1);
		bool hole = random() % 4 == 0;
		struct extent x = sealed(n, BASE + at, len);

		x.x_encoding = random() % 4 == 0 ? FRAME_ZSTD : FRAME_RAW;
		x.seg_off = n * STRIDE;
		x.stored_len = len + units_of(&x) * AEAD_TAG_LEN;
		m->made[n] = x;
		replace(&l, x.off, len, hole ? NULL : &x, note_frames, m);
		for (uint32_t k = 0; k < len; k++)
			m->owner[at + k] = hole ? 0 : n;
		if (hole)
			memset(m->told[n], 1, sizeof(m->told[n]));
		if (n % 16 == 0)
			assert_frames(m, n);
	}
	replace(&l, BASE, CHUNK_LEN, NULL, note_frames, m);
	memset(m->owner, 0, sizeof(m->owner));
	assert_frames(m, FRAME_ROUNDS);
	extent_list_clear(&l);
	free(m);
}

static void
lists_are_equal_only_if_every_field_is(void **state)
{
	struct extent_list a = {0};
	struct extent_list b = {0};
	struct extent x = sealed(1, BASE, 100);

	(void)state;
	assert_true(extent_list_equal(&a, &b));
	assert_int_equal(extent_list_append(&a, &x), 0);
	assert_false(extent_list_equal(&a, &b));
	assert_int_equal(extent_list_copy(&a, &b), 0);
	assert_true(extent_list_equal(&a, &b));
#define DIFFERS(field) \
	do { \
		b.v[0].field++; \
		assert_false(extent_list_equal(&a, &b)); \
		b.v[0].field--; \
	} while (0)
	DIFFERS(off);
	DIFFERS(len);
	DIFFERS(x_off);
	DIFFERS(x_len);
	DIFFERS(x_encoding);
	DIFFERS(key_version);
	DIFFERS(x_id[15]);
	DIFFERS(seg);
	DIFFERS(seg_off);
	DIFFERS(stored_len);
	assert_true(extent_list_equal(&a, &b));
	extent_list_clear(&a);
	extent_list_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_replacements_leave_what_a_byte_map_says_and_tell_each_death_once),
		cmocka_unit_test(replacing_fails_without_memory_and_leaves_the_list_as_it_was),
		cmocka_unit_test(copying_and_appending_fail_without_memory),
		cmocka_unit_test(an_extent_cut_in_two_dies_with_its_second_half),
		cmocka_unit_test(an_extent_in_several_pieces_that_go_at_once_dies_once),
		cmocka_unit_test(a_sealed_extent_that_is_mapped_again_by_the_replacement_does_not_die),
		cmocka_unit_test(the_same_sealed_extent_in_another_place_is_another_one),
		cmocka_unit_test(a_replacement_may_be_smaller_than_what_it_unmaps_and_a_length_of_zero_does_nothing),
		cmocka_unit_test(each_frame_is_told_once_when_its_last_byte_is_unmapped),
		cmocka_unit_test(lists_are_equal_only_if_every_field_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
