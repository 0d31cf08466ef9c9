/*
 * vectors.h: what the tests of published vectors share: cmocka, and hexadecimal.
 */
#ifndef SNUGFS_TEST_VECTORS_H
#define SNUGFS_TEST_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/crypto.h>

/* Decodes hex into out[cap]; returns the number of bytes. */
static inline size_t
unhex(const char *hex, uint8_t *out, size_t cap)
{
	size_t len = 0;

	if (!*hex)
		return 0;
	assert_int_equal(OPENSSL_hexstr2buf_ex(out, cap, &len, hex, '\0'), 1);
	return len;
}

static inline void
assert_hex(const uint8_t *got, size_t len, const char *hex)
{
	uint8_t expected[256];

	assert_int_equal(unhex(hex, expected, sizeof(expected)), len);
	assert_memory_equal(got, expected, len);
}

#endif
