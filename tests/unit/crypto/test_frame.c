/* test_frame.c: an extent's frames: whole, at the boundary sizes, and never in another place than their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "aead.h"
#include "bytes.h"
#include "frame.h"
#include "kdf.h"
#include "rowseal.h"
#include "secmem.h"

static const uint8_t file_key[32] = {0xf1, 0x1e};

static struct extent_identity
extent(uint32_t len, enum frame_encoding encoding)
{
	return (struct extent_identity){.file_id = 77, .offset = 1 << 20, .len = len, .encoding = encoding,
	    .id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
}

/* Opens stored frame i under the identity x. */
static err_t
open_frame(const uint8_t key[static 32], const struct extent_identity *x, uint32_t i, const uint8_t *ct, size_t ct_len,
    uint8_t *out)
{
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
	err_t e = frame_cipher_init(&fc, key, x);

	return e ? e : frame_open(&fc, i, ct, ct_len, out);
}

static void
a_raw_extent_of_any_boundary_size_comes_back(void **state)
{
	static const struct {
		uint32_t len, count, stored_len;
	} cases[] = {
		{1, 1, 17}, {4095, 1, 4111}, {4096, 1, 4112}, {4097, 2, 4097 + 32}, {8192, 2, 8224},
		{EXTENT_MAX_LEN - 1, 256, EXTENT_MAX_LEN - 1 + 256 * 16}, {EXTENT_MAX_LEN, 256, EXTENT_MAX_LEN + 256 * 16},
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		const struct extent_identity x = extent(cases[c].len, FRAME_RAW);
		CLEANUP(free_ptr) uint8_t *pt = malloc(x.len);
		CLEANUP(free_ptr) uint8_t *stored = malloc(cases[c].stored_len);
		CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
		uint8_t out[FRAME_RAW_LEN];

		assert_non_null(pt);
		assert_non_null(stored);
		for (uint32_t i = 0; i < x.len; i++)
			pt[i] = (uint8_t)(i * 7 + i / 4096);
		assert_int_equal(frame_count(&x), cases[c].count);
		assert_int_equal(frame_raw_stored_len(x.len), cases[c].stored_len);
		assert_int_equal(frame_seal_raw(file_key, &x, pt, stored), 0);
		assert_int_equal(frame_cipher_init(&fc, file_key, &x), 0);

		uint32_t total = 0;

		for (uint32_t i = 0; i < frame_count(&x); i++) {
			uint32_t len = frame_plain_len(&x, i);

			assert_int_equal(frame_open(&fc, i, stored + i * 4112u, len + AEAD_TAG_LEN, out), 0);
			assert_memory_equal(out, pt + i * 4096u, len);
			total += len;
		}
		assert_int_equal(total, x.len);
		assert_int_equal(frame_plain_len(&x, frame_count(&x)), 0);
	}
}

static void
packed_extents_have_frames_of_32_kib(void **state)
{
	const struct extent_identity small = extent(1, FRAME_ZSTD), exact = extent(32768, FRAME_ZSTD),
	    more = extent(32769, FRAME_ZSTD), full = extent(EXTENT_MAX_LEN, FRAME_ZSTD);

	(void)state;
	assert_int_equal(frame_count(&small), 1);
	assert_int_equal(frame_count(&exact), 1);
	assert_int_equal(frame_count(&more), 2);
	assert_int_equal(frame_plain_len(&more, 0), 32768);
	assert_int_equal(frame_plain_len(&more, 1), 1);
	assert_int_equal(frame_count(&full), 32);
}

/* Put together again from the primitives, by what frame.h says. */
static void
a_frame_is_gcm_under_the_extents_own_key_with_its_identity(void **state)
{
	static const uint8_t aad[32] = {0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0x10, 0x01, 0, 0, 0, 2};
	static uint8_t pt[4097], stored[4097 + 32];
	const struct extent_identity x = extent(sizeof(pt), FRAME_RAW);
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	uint8_t key[32], nonce[AEAD_NONCE_LEN] = {0}, expected[1 + AEAD_TAG_LEN];

	(void)state;
	pt[4096] = 'x';
	assert_int_equal(frame_seal_raw(file_key, &x, pt, stored), 0);
	assert_int_equal(hkdf_expand_label(file_key, "snugfs/1 extent", x.id, sizeof(x.id), key, sizeof(key)), 0);
	assert_int_equal(aead_new(key, &a), 0);
	nonce[11] = 1;
	assert_int_equal(aead_seal(a, nonce, aad, sizeof(aad), "x", 1, expected), 0);
	assert_memory_equal(stored + 4112, expected, sizeof(expected));
}

static void
any_flipped_byte_of_a_small_extent_is_noticed_and_the_output_wiped(void **state)
{
	const struct extent_identity x = extent(100, FRAME_RAW);
	const uint8_t zeros[100] = {0};
	uint8_t pt[100], stored[116], out[100];

	(void)state;
	memset(pt, 0x6b, sizeof(pt));
	assert_int_equal(frame_seal_raw(file_key, &x, pt, stored), 0);
	for (size_t i = 0; i < sizeof(stored); i++) {
		stored[i] ^= 0x01;
		memset(out, 0x55, sizeof(out));
		assert_int_equal(open_frame(file_key, &x, 0, stored, sizeof(stored), out), -EBADMSG);
		assert_memory_equal(out, zeros, sizeof(out));
		stored[i] ^= 0x01;
	}
	for (size_t len = 0; len < sizeof(stored); len++)
		assert_int_equal(open_frame(file_key, &x, 0, stored, len, out), -EBADMSG);
	assert_int_equal(open_frame(file_key, &x, 0, stored, sizeof(stored), out), 0);
	assert_memory_equal(out, pt, sizeof(pt));
}

static void
a_frame_opens_only_as_what_it_is(void **state)
{
	static uint8_t pt[3 * 4096], stored[3 * 4112], out[4096];
	const struct extent_identity x = extent(sizeof(pt), FRAME_RAW);
	struct extent_identity other;
	uint8_t other_key[32];

	(void)state;
	assert_int_equal(frame_seal_raw(file_key, &x, pt, stored), 0);
	assert_int_equal(open_frame(file_key, &x, 1, stored + 4112, 4112, out), 0);

	other = x;
	other.file_id++;
	assert_int_equal(open_frame(file_key, &other, 1, stored + 4112, 4112, out), -EBADMSG);
	other = x;
	other.offset += 4096;
	assert_int_equal(open_frame(file_key, &other, 1, stored + 4112, 4112, out), -EBADMSG);
	other = x;
	other.len--;
	assert_int_equal(open_frame(file_key, &other, 1, stored + 4112, 4112, out), -EBADMSG);
	other = x;
	other.len = 4 * 4096;
	assert_int_equal(open_frame(file_key, &other, 1, stored + 4112, 4112, out), -EBADMSG);
	other = x;
	other.id[15] ^= 1;
	assert_int_equal(open_frame(file_key, &other, 1, stored + 4112, 4112, out), -EBADMSG);
	memcpy(other_key, file_key, sizeof(other_key));
	other_key[31] ^= 1;
	assert_int_equal(open_frame(other_key, &x, 1, stored + 4112, 4112, out), -EBADMSG);
}

/* Of one frame in either encoding, so that nothing but the encoding differs. */
static void
a_raw_frame_does_not_open_as_a_packed_one(void **state)
{
	const struct extent_identity raw = extent(100, FRAME_RAW), packed = extent(100, FRAME_ZSTD);
	uint8_t pt[100] = {0}, stored[116], out[100];

	(void)state;
	assert_int_equal(frame_count(&raw), frame_count(&packed));
	assert_int_equal(frame_seal_raw(file_key, &raw, pt, stored), 0);
	assert_int_equal(open_frame(file_key, &packed, 0, stored, sizeof(stored), out), -EBADMSG);
}

static void
frames_in_another_order_are_refused(void **state)
{
	static uint8_t pt[3 * 4096], stored[3 * 4112], out[4096];
	const struct extent_identity x = extent(sizeof(pt), FRAME_RAW);

	(void)state;
	assert_int_equal(frame_seal_raw(file_key, &x, pt, stored), 0);
	for (uint32_t place = 0; place < 3; place++) {
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(open_frame(file_key, &x, place, stored + i * 4112u, 4112, out),
			    i == place ? 0 : -EBADMSG);
	}
}

static void
equal_plaintext_in_two_extents_has_nothing_in_common(void **state)
{
	struct extent_identity one = extent(64, FRAME_RAW), two = extent(64, FRAME_RAW);
	uint8_t pt[64] = {0}, first[80], second[80];
	size_t equal = 0;

	(void)state;
	two.id[0] ^= 1;
	assert_int_equal(frame_seal_raw(file_key, &one, pt, first), 0);
	assert_int_equal(frame_seal_raw(file_key, &two, pt, second), 0);
	for (size_t i = 0; i < sizeof(first); i++)
		equal += first[i] == second[i];
	assert_true(equal < 8);
}

static void
an_extent_that_is_empty_too_long_or_of_unknown_encoding_is_refused(void **state)
{
	const struct extent_identity empty = extent(0, FRAME_RAW), long_one = extent(EXTENT_MAX_LEN + 1, FRAME_RAW),
	    packed = extent(10, FRAME_ZSTD);
	struct extent_identity unknown = extent(10, FRAME_RAW);
	struct frame_cipher fc = {0};
	uint8_t pt[16] = {0}, out[64];

	(void)state;
	unknown.encoding = 2;
	assert_int_equal(frame_cipher_init(&fc, file_key, &empty), -EINVAL);
	assert_int_equal(frame_cipher_init(&fc, file_key, &long_one), -EINVAL);
	assert_int_equal(frame_cipher_init(&fc, file_key, &unknown), -EINVAL);
	assert_int_equal(frame_seal_raw(file_key, &packed, pt, out), -EINVAL);
	assert_null(fc.aead);
}

/* Both use the thread's context. */
static void
a_row_sealed_between_two_frames_does_not_disturb_them(void **state)
{
	const struct extent_identity x = extent(8192, FRAME_RAW);
	CLEANUP(bytes_clear) struct bytes row = {0};
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
	static uint8_t pt[8192], expected[2 * 4112], got[2 * 4112];
	uint8_t salt[ROWSEAL_SALT_LEN];
	struct rowseal *rs = NULL;

	(void)state;
	assert_int_equal(rowseal_new(file_key, &rs), 0);
	assert_int_equal(rowseal_start_session(rs, 1, salt), 0);
	assert_int_equal(frame_seal_raw(file_key, &x, pt, expected), 0);
	assert_int_equal(frame_cipher_init(&fc, file_key, &x), 0);
	assert_int_equal(frame_seal(&fc, 0, pt, 4096, got), 0);
	assert_int_equal(rowseal_seal(rs, "aad", 3, "row", 3, &row), 0);
	assert_int_equal(frame_seal(&fc, 1, pt + 4096, 4096, got + 4112), 0);
	rowseal_free(rs);
	assert_memory_equal(got, expected, sizeof(got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_raw_extent_of_any_boundary_size_comes_back),
		cmocka_unit_test(packed_extents_have_frames_of_32_kib),
		cmocka_unit_test(a_frame_is_gcm_under_the_extents_own_key_with_its_identity),
		cmocka_unit_test(any_flipped_byte_of_a_small_extent_is_noticed_and_the_output_wiped),
		cmocka_unit_test(a_frame_opens_only_as_what_it_is),
		cmocka_unit_test(a_raw_frame_does_not_open_as_a_packed_one),
		cmocka_unit_test(frames_in_another_order_are_refused),
		cmocka_unit_test(equal_plaintext_in_two_extents_has_nothing_in_common),
		cmocka_unit_test(an_extent_that_is_empty_too_long_or_of_unknown_encoding_is_refused),
		cmocka_unit_test(a_row_sealed_between_two_frames_does_not_disturb_them),
	};

	if (secmem_init()) {
		fputs("secmem_init failed\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
