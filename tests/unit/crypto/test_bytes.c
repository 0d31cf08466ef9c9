/* test_bytes.c: the growing buffer and the cursor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "bytes.h"

static void
what_is_appended_stands_in_order_across_growth(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(bytes_append_u8(&b, (uint8_t)i), 0);
	assert_int_equal(b.len, 5000);
	assert_true(b.cap >= b.len);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(b.data[i], (uint8_t)i);
}

static void
integers_are_appended_big_endian(void **state)
{
	static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
	    0x0e, 0xff};
	CLEANUP(bytes_clear) struct bytes b = {0};

	(void)state;
	assert_int_equal(bytes_append_u16(&b, 0x0102), 0);
	assert_int_equal(bytes_append_u32(&b, 0x03040506), 0);
	assert_int_equal(bytes_append_u64(&b, UINT64_C(0x0708090a0b0c0d0e)), 0);
	assert_int_equal(bytes_append_u8(&b, 0xff), 0);
	assert_int_equal(b.len, sizeof(expected));
	assert_memory_equal(b.data, expected, sizeof(expected));
}

static void
a_length_that_no_memory_holds_is_refused_and_changes_nothing(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t *at = NULL;

	(void)state;
	assert_int_equal(bytes_append(&b, "abc", 3), 0);
	assert_int_equal(bytes_extend(&b, SIZE_MAX, &at), -ENOMEM);
	assert_int_equal(bytes_extend(&b, SIZE_MAX - 2, &at), -ENOMEM);
	assert_int_equal(bytes_extend(&b, PTRDIFF_MAX, &at), -ENOMEM);
	assert_null(at);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "abc", 3);
}

static void
appending_nothing_works_on_an_empty_buffer(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t *at = NULL;

	(void)state;
	assert_int_equal(bytes_append(&b, NULL, 0), 0);
	assert_int_equal(bytes_extend(&b, 0, &at), 0);
	assert_non_null(at);
	assert_int_equal(b.len, 0);
}

static void
reset_keeps_the_memory_and_clear_gives_it_back(void **state)
{
	struct bytes b = {0};

	(void)state;
	assert_int_equal(bytes_append(&b, "abc", 3), 0);

	size_t cap = b.cap;

	bytes_reset(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.cap, cap);
	bytes_clear(&b);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
	bytes_clear(&b);
}

static void
extend_gives_the_place_of_the_new_bytes(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t *at = NULL;

	(void)state;
	assert_int_equal(bytes_append(&b, "abc", 3), 0);
	assert_int_equal(bytes_extend(&b, 3, &at), 0);
	memcpy(at, "def", 3);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "abcdef", 6);
}

static void
a_cursor_reads_what_was_appended(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t u8 = 0, copy[3];
	uint16_t u16 = 0;
	uint32_t u32 = 0;
	uint64_t u64 = 0;
	const uint8_t *taken = NULL;

	(void)state;
	assert_int_equal(bytes_append_u8(&b, 0xfe), 0);
	assert_int_equal(bytes_append_u16(&b, 0xfedc), 0);
	assert_int_equal(bytes_append_u32(&b, 0xfedcba98), 0);
	assert_int_equal(bytes_append_u64(&b, UINT64_C(0xfedcba9876543210)), 0);
	assert_int_equal(bytes_append(&b, "copytake", 8), 0);

	struct cursor c = {b.data, b.len};

	assert_int_equal(cursor_u8(&c, &u8), 0);
	assert_int_equal(cursor_u16(&c, &u16), 0);
	assert_int_equal(cursor_u32(&c, &u32), 0);
	assert_int_equal(cursor_u64(&c, &u64), 0);
	assert_int_equal(cursor_copy(&c, copy, 3), 0);
	assert_int_equal(cursor_take(&c, 5, &taken), 0);
	assert_int_equal(c.len, 0);
	assert_int_equal(u8, 0xfe);
	assert_int_equal(u16, 0xfedc);
	assert_true(u32 == 0xfedcba98);
	assert_true(u64 == UINT64_C(0xfedcba9876543210));
	assert_memory_equal(copy, "cop", 3);
	assert_memory_equal(taken, "ytake", 5);
}

static void
a_cursor_never_reads_past_its_end_and_a_failed_read_moves_nothing(void **state)
{
	static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t u8 = 0x55, copy[9] = {0x55};
	uint16_t u16 = 0x5555;
	uint32_t u32 = 0x55555555;
	uint64_t u64 = 0x55;
	const uint8_t *taken = NULL;

	(void)state;
	for (size_t len = 0; len < sizeof(data); len++) {
		struct cursor c = {data, len};

		assert_int_equal(cursor_u64(&c, &u64), -EBADMSG);
		if (len < 4)
			assert_int_equal(cursor_u32(&c, &u32), -EBADMSG);
		if (len < 2)
			assert_int_equal(cursor_u16(&c, &u16), -EBADMSG);
		if (len < 1)
			assert_int_equal(cursor_u8(&c, &u8), -EBADMSG);
		assert_int_equal(cursor_copy(&c, copy, len + 1), -EBADMSG);
		assert_int_equal(cursor_take(&c, len + 1, &taken), -EBADMSG);
		assert_int_equal(cursor_take(&c, SIZE_MAX, &taken), -EBADMSG);
		assert_ptr_equal(c.p, data);
		assert_int_equal(c.len, len);
	}
	assert_int_equal(u8, 0x55);
	assert_int_equal(u16, 0x5555);
	assert_int_equal(u32, 0x55555555);
	assert_int_equal(u64, 0x55);
	assert_int_equal(copy[0], 0x55);
	assert_null(taken);
}

static void
room_that_was_reserved_is_used_without_moving_what_is_there(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t block[100] = {7}, *before;

	(void)state;
	assert_int_equal(bytes_append(&b, "abc", 3), 0);
	assert_int_equal(bytes_reserve(&b, 1000), 0);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "abc", 3);
	before = b.data;
	for (unsigned n = 0; n < 10; n++)
		assert_int_equal(bytes_append(&b, block, sizeof(block)), 0);
	assert_ptr_equal(b.data, before);
	assert_int_equal(b.len, 1003);
	assert_int_equal(bytes_reserve(&b, SIZE_MAX - 2), -ENOMEM);
	assert_int_equal(b.len, 1003);
}

static void
what_is_long_begins_and_ends_at_a_page_and_what_is_made_for_a_length_has_just_that(void **state)
{
	static const size_t lens[] = {BYTES_LARGE_LEN, BYTES_LARGE_LEN + 1, (5u << 20) + 3};
	static uint8_t block[BYTES_LARGE_LEN / 4];

	(void)state;
	for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
		CLEANUP(bytes_clear) struct bytes b = {0};

		assert_int_equal(bytes_reserve(&b, lens[k]), 0);
		assert_int_equal((uintptr_t)b.data % BYTES_PAGE_LEN, 0);
		assert_int_equal(b.cap, (lens[k] + BYTES_PAGE_LEN - 1) / BYTES_PAGE_LEN * BYTES_PAGE_LEN);
	}
	CLEANUP(bytes_clear) struct bytes grown = {0};

	for (unsigned k = 0; k < 50; k++) {
		memset(block, (int)k, sizeof(block));
		assert_int_equal(bytes_append(&grown, block, sizeof(block)), 0);
		assert_true(grown.cap < BYTES_LARGE_LEN || (uintptr_t)grown.data % BYTES_PAGE_LEN == 0);
	}
	for (unsigned k = 0; k < 50; k++)
		assert_int_equal(grown.data[k * sizeof(block)], k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_long_begins_and_ends_at_a_page_and_what_is_made_for_a_length_has_just_that),
		cmocka_unit_test(room_that_was_reserved_is_used_without_moving_what_is_there),
		cmocka_unit_test(what_is_appended_stands_in_order_across_growth),
		cmocka_unit_test(integers_are_appended_big_endian),
		cmocka_unit_test(a_length_that_no_memory_holds_is_refused_and_changes_nothing),
		cmocka_unit_test(appending_nothing_works_on_an_empty_buffer),
		cmocka_unit_test(reset_keeps_the_memory_and_clear_gives_it_back),
		cmocka_unit_test(extend_gives_the_place_of_the_new_bytes),
		cmocka_unit_test(a_cursor_reads_what_was_appended),
		cmocka_unit_test(a_cursor_never_reads_past_its_end_and_a_failed_read_moves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
