/* compress: what goes in comes out, and nothing that was tampered with or that lies about its length does. */
#include "fixture.h"

#include "compress.h"

static void
repeat(uint8_t *p, size_t len)
{
	static const char text[] = "the quick brown fox jumps over the lazy dog, ";

	for (size_t k = 0; k < len; k++)
		p[k] = (uint8_t)text[k % (sizeof(text) - 1)];
}

static void
a_block_comes_back_at_every_boundary_size(void **state)
{
	static const size_t lens[] = {1, 2, 100, 4096, 32767, 32768};
	static uint8_t data[32768], packed[40000], back[32768];

	(void)state;
	repeat(data, sizeof(data));
	for (size_t k = 0; k < ARRAY_LEN(lens); k++) {
		size_t n = 0;

		assert_int_equal(compress_block(data, lens[k], packed, sizeof(packed), &n), 0);
		assert_int_equal(decompress_block(packed, n, back, lens[k]), 0);
		assert_memory_equal(back, data, lens[k]);
	}
}

static void
a_block_that_does_not_shrink_into_its_room_is_e2big(void **state)
{
	static uint8_t data[32768], packed[32768];
	size_t n = 77;

	(void)state;
	fill(data, sizeof(data), 3);
	assert_int_equal(compress_block(data, sizeof(data), packed, sizeof(data) - 1, &n), -E2BIG);
	assert_int_equal(n, 77);
}

static void
a_block_of_another_length_is_refused(void **state)
{
	static uint8_t data[5000], packed[8000], back[5001];
	size_t n = 0;

	(void)state;
	repeat(data, sizeof(data));
	assert_int_equal(compress_block(data, sizeof(data), packed, sizeof(packed), &n), 0);
	assert_int_equal(decompress_block(packed, n, back, 4999), -EBADMSG);
	assert_int_equal(decompress_block(packed, n, back, 5001), -EBADMSG);
	for (size_t len = 0; len < n; len++)
		assert_int_equal(decompress_block(packed, len, back, 5000), -EBADMSG);
}

static void
a_buffer_is_appended_and_comes_back(void **state)
{
	static uint8_t data[100000];
	struct bytes packed = {0}, back = {0};

	(void)state;
	repeat(data, sizeof(data));
	assert_int_equal(bytes_append(&packed, "head", 4), 0);
	assert_int_equal(compress_buffer(data, sizeof(data), &packed), 0);
	assert_true(packed.len < 1000);
	assert_memory_equal(packed.data, "head", 4);
	assert_int_equal(decompress_buffer(packed.data + 4, packed.len - 4, sizeof(data), &back), 0);
	assert_int_equal(back.len, sizeof(data));
	assert_memory_equal(back.data, data, sizeof(data));
	bytes_clear(&packed);
	bytes_clear(&back);
}

static void
an_empty_buffer_comes_back_empty(void **state)
{
	struct bytes packed = {0}, back = {0};

	(void)state;
	assert_int_equal(compress_buffer("", 0, &packed), 0);
	assert_int_equal(decompress_buffer(packed.data, packed.len, 10, &back), 0);
	assert_int_equal(back.len, 0);
	bytes_clear(&packed);
	bytes_clear(&back);
}

static void
a_buffer_that_would_grow_past_the_limit_is_refused_and_nothing_appended(void **state)
{
	static uint8_t data[100000];
	struct bytes packed = {0}, back = {0};

	(void)state;
	assert_int_equal(compress_buffer(data, sizeof(data), &packed), 0);
	assert_int_equal(bytes_append(&back, "x", 1), 0);
	assert_int_equal(decompress_buffer(packed.data, packed.len, sizeof(data) - 1, &back), -EBADMSG);
	for (size_t len = 0; len < packed.len; len++)
		assert_int_equal(decompress_buffer(packed.data, len, sizeof(data), &back), -EBADMSG);
	assert_int_equal(back.len, 1);
	bytes_clear(&packed);
	bytes_clear(&back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_comes_back_at_every_boundary_size),
		cmocka_unit_test(a_block_that_does_not_shrink_into_its_room_is_e2big),
		cmocka_unit_test(a_block_of_another_length_is_refused),
		cmocka_unit_test(a_buffer_is_appended_and_comes_back),
		cmocka_unit_test(an_empty_buffer_comes_back_empty),
		cmocka_unit_test(a_buffer_that_would_grow_past_the_limit_is_refused_and_nothing_appended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
