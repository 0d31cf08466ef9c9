/* test_cborio.c: the bytes of RFC 8949's examples, and that the reader takes nothing else. */
#include "vectors.h"

#include <errno.h>

#include "cborio.h"

static void
assert_wrote(struct bytes *b, const char *hex)
{
	assert_hex(b->data, b->len, hex);
	bytes_reset(b);
}

static void
what_is_written_is_what_rfc_8949_appendix_a_shows(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	static const struct {
		uint64_t v;
		const char *hex;
	} uints[] = {
		{0, "00"}, {1, "01"}, {10, "0a"}, {23, "17"}, {24, "1818"}, {25, "1819"}, {100, "1864"}, {1000, "1903e8"},
		{1000000, "1a000f4240"}, {1000000000000, "1b000000e8d4a51000"}, {UINT64_MAX, "1bffffffffffffffff"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(uints); i++) {
		assert_int_equal(cbor_put_uint(&b, uints[i].v), 0);
		assert_wrote(&b, uints[i].hex);
	}
	assert_int_equal(cbor_put_signed(&b, -1), 0);
	assert_wrote(&b, "20");
	assert_int_equal(cbor_put_signed(&b, -10), 0);
	assert_wrote(&b, "29");
	assert_int_equal(cbor_put_signed(&b, -100), 0);
	assert_wrote(&b, "3863");
	assert_int_equal(cbor_put_signed(&b, -1000), 0);
	assert_wrote(&b, "3903e7");
	assert_int_equal(cbor_put_signed(&b, INT64_MIN), 0);
	assert_wrote(&b, "3b7fffffffffffffff");
	assert_int_equal(cbor_put_signed(&b, 100), 0);
	assert_wrote(&b, "1864");
	assert_int_equal(cbor_put_boolean(&b, false), 0);
	assert_wrote(&b, "f4");
	assert_int_equal(cbor_put_boolean(&b, true), 0);
	assert_wrote(&b, "f5");
	assert_int_equal(cbor_put_bytes(&b, "\x01\x02\x03\x04", 4), 0);
	assert_wrote(&b, "4401020304");
	assert_int_equal(cbor_put_bytes(&b, NULL, 0), 0);
	assert_wrote(&b, "40");
	assert_int_equal(cbor_put_text(&b, "IETF"), 0);
	assert_wrote(&b, "6449455446");
	assert_int_equal(cbor_put_text(&b, "\xc3\xbc"), 0);
	assert_wrote(&b, "62c3bc");
	assert_int_equal(cbor_put_array(&b, 3), 0);
	assert_wrote(&b, "83");
	assert_int_equal(cbor_put_array(&b, 25), 0);
	assert_wrote(&b, "9819");
	assert_int_equal(cbor_put_map(&b, 2), 0);
	assert_wrote(&b, "a2");
}

static void
what_was_written_is_read_back(void **state)
{
	static const int64_t ints[] = {0, -1, 23, 24, -24, -25, 255, 256, -256, -257, 65535, 65536, -65537, INT64_MAX,
	    INT64_MIN};
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t big[70000], exact[3];
	const uint8_t *data = NULL;
	const char *text = NULL;
	size_t len = 0, count = 0;
	uint64_t u = 0;
	bool flag = false;

	(void)state;
	memset(big, 0xa5, sizeof(big));
	assert_int_equal(cbor_put_array(&b, 7), 0);
	for (size_t i = 0; i < ARRAY_LEN(ints); i++)
		assert_int_equal(cbor_put_signed(&b, ints[i]), 0);
	assert_int_equal(cbor_put_uint(&b, UINT64_MAX), 0);
	assert_int_equal(cbor_put_bytes(&b, big, sizeof(big)), 0);
	assert_int_equal(cbor_put_bytes(&b, "abc", 3), 0);
	assert_int_equal(cbor_put_text(&b, "Gr\xc3\xbc\xc3\x9f" "e \xf0\x9f\x90\x9f"), 0);
	assert_int_equal(cbor_put_boolean(&b, true), 0);
	assert_int_equal(cbor_put_map(&b, 0), 0);

	struct cursor c = {b.data, b.len};

	assert_int_equal(cbor_get_array(&c, &count), 0);
	assert_int_equal(count, 7);
	for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
		int64_t v = 0;

		assert_int_equal(cbor_get_signed(&c, &v), 0);
		assert_true(v == ints[i]);
	}
	assert_int_equal(cbor_get_uint(&c, &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(cbor_get_bytes(&c, &data, &len), 0);
	assert_int_equal(len, sizeof(big));
	assert_memory_equal(data, big, sizeof(big));
	assert_int_equal(cbor_get_bytes_exact(&c, exact, 3), 0);
	assert_memory_equal(exact, "abc", 3);
	assert_int_equal(cbor_get_text(&c, &text, &len), 0);
	assert_int_equal(len, 12);
	assert_memory_equal(text, "Gr\xc3\xbc\xc3\x9f" "e \xf0\x9f\x90\x9f", 12);
	assert_int_equal(cbor_get_boolean(&c, &flag), 0);
	assert_true(flag);
	assert_int_equal(cbor_end(&c), -EBADMSG);
	assert_int_equal(cbor_get_map(&c, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(cbor_end(&c), 0);
}

/* Every reader refuses the item and leaves the cursor where it was. */
static void
assert_unreadable(const char *hex)
{
	uint8_t buf[64], exact[1] = {0x55};
	size_t buf_len = unhex(hex, buf, sizeof(buf));
	struct cursor c = {buf, buf_len};
	uint64_t u = 0;
	int64_t i = 0, last = -1;
	size_t n = 0;
	const uint8_t *data = NULL;
	const char *text = NULL;
	bool flag = false;

	assert_int_equal(cbor_get_uint(&c, &u), -EBADMSG);
	assert_int_equal(cbor_get_signed(&c, &i), -EBADMSG);
	assert_int_equal(cbor_get_bytes(&c, &data, &n), -EBADMSG);
	assert_int_equal(cbor_get_bytes_exact(&c, exact, 1), -EBADMSG);
	assert_int_equal(cbor_get_text(&c, &text, &n), -EBADMSG);
	assert_int_equal(cbor_get_array(&c, &n), -EBADMSG);
	assert_int_equal(cbor_get_map(&c, &n), -EBADMSG);
	assert_int_equal(cbor_get_boolean(&c, &flag), -EBADMSG);
	assert_int_equal(cbor_key(&c, &last, &u), -EBADMSG);
	assert_ptr_equal(c.p, buf);
	assert_int_equal(c.len, buf_len);
	assert_int_equal(last, -1);
	assert_int_equal(exact[0], 0x55);
}

static void
heads_that_could_be_shorter_are_refused(void **state)
{
	static const char *const items[] = {
		"1800", "1817", "190000", "1900ff", "1a00000000", "1a0000ffff", "1b0000000000000000", "1b00000000ffffffff",
		"3800", "3817", "3900ff", "3a0000ffff", "3b00000000ffffffff", "580161", "59000161", "5a0000000161",
		"5b000000000000000161", "780161", "980100", "b8010000",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_unreadable(items[i]);
}

static void
indefinite_lengths_tags_floats_and_other_simple_values_are_refused(void **state)
{
	static const char *const items[] = {
		"5f4161ff", "7f6161ff", "9f00ff", "bf0000ff", "c100", "d82000", "f97e00", "fa47c35000", "fb3ff199999999999a",
		"f6", "f7", "f0", "f814", "f8ff", "ff", "1c", "3d", "5e", "7c", "9d", "be", "fc",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_unreadable(items[i]);
}

static void
items_that_reach_past_the_end_are_refused(void **state)
{
	static const char *const items[] = {
		"", "18", "19", "1903", "1a000f42", "1b000000e8d4a510", "38", "41", "420a", "58", "5818", "62c3", "98", "b8",
		"5bffffffffffffffff", "7bffffffffffffffff", "5b7fffffffffffffff00", "81", "8200", "a1", "a100", "a2000001",
		"9bffffffffffffffff", "bbffffffffffffffff", "bb800000000000000000", "9a7fffffff00", "ba7fffffff00",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_unreadable(items[i]);
}

static void
text_that_is_not_utf_8_or_has_a_nul_is_refused(void **state)
{
	static const char *const items[] = {
		"6100", "63610062", "61ff", "6180", "61c3", "62c328", "62c080", "62c1bf", "63e08080", "63e28261", "64f0808080",
		"63eda080", "63edbfbf", "64f4908080", "64f5808080", "65f888808080", "66fc8480808080", "62c3c3",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_unreadable(items[i]);
}

static void
text_at_the_edges_of_utf_8_is_read(void **state)
{
	static const char *const items[] = {"60", "617f", "62c280", "62dfbf", "63e0a080", "63ed9fbf", "63ee8080", "63efbfbf",
	    "64f0908080", "64f48fbfbf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		uint8_t buf[8];
		struct cursor c = {buf, unhex(items[i], buf, sizeof(buf))};
		const char *text = NULL;
		size_t len = 0;

		assert_int_equal(cbor_get_text(&c, &text, &len), 0);
		assert_int_equal(c.len, 0);
	}
}

static void
an_item_of_another_type_is_refused_and_left(void **state)
{
	uint8_t uint_item[] = {0x05}, bytes_item[] = {0x41, 0x61};
	struct cursor u = {uint_item, sizeof(uint_item)}, s = {bytes_item, sizeof(bytes_item)};
	const uint8_t *data = NULL;
	const char *text = NULL;
	uint8_t exact[2];
	uint64_t v = 0;
	size_t n = 0;

	(void)state;
	assert_int_equal(cbor_get_bytes(&u, &data, &n), -EBADMSG);
	assert_int_equal(cbor_get_text(&s, &text, &n), -EBADMSG);
	assert_int_equal(cbor_get_uint(&s, &v), -EBADMSG);
	assert_int_equal(cbor_get_bytes_exact(&s, exact, 2), -EBADMSG);
	assert_int_equal(cbor_get_uint(&u, &v), 0);
	assert_int_equal(v, 5);
	assert_int_equal(cbor_get_bytes_exact(&s, exact, 1), 0);
	assert_int_equal(exact[0], 'a');
}

static void
a_number_outside_what_is_asked_for_is_refused(void **state)
{
	uint8_t seven[] = {0x07}, huge[] = {0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0}, very_negative[] = {0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0};
	struct cursor c = {seven, sizeof(seven)}, h = {huge, sizeof(huge)}, n = {very_negative, sizeof(very_negative)};
	uint64_t u = 0;
	int64_t i = 0, last = -1;

	(void)state;
	assert_int_equal(cbor_get_uint_max(&c, 6, &u), -EBADMSG);
	assert_int_equal(cbor_get_uint_max(&c, 7, &u), 0);
	assert_int_equal(u, 7);
	assert_int_equal(cbor_get_signed(&h, &i), -EBADMSG);
	assert_int_equal(cbor_key(&h, &last, &u), -EBADMSG);
	assert_int_equal(cbor_get_uint(&h, &u), 0);
	assert_int_equal(cbor_get_signed(&n, &i), -EBADMSG);
}

static void
map_keys_must_ascend(void **state)
{
	uint8_t keys[] = {0x00, 0x01, 0x18, 0x20, 0x18, 0x20, 0x05};
	struct cursor c = {keys, sizeof(keys)};
	int64_t last = -1;
	uint64_t key = 99;

	(void)state;
	assert_int_equal(cbor_key(&c, &last, &key), 0);
	assert_int_equal(key, 0);
	assert_int_equal(cbor_key(&c, &last, &key), 0);
	assert_int_equal(cbor_key(&c, &last, &key), 0);
	assert_int_equal(key, 32);
	assert_int_equal(last, 32);
	assert_int_equal(cbor_key(&c, &last, &key), -EBADMSG);
	assert_int_equal(c.len, 3);
	c.p += 2;
	c.len -= 2;
	assert_int_equal(cbor_key(&c, &last, &key), -EBADMSG);
	assert_int_equal(last, 32);
}

static void
a_map_key_that_is_not_the_one_is_refused_and_left(void **state)
{
	uint8_t keys[] = {0x01, 0x03};
	struct cursor c = {keys, sizeof(keys)};
	int64_t last = -1;

	(void)state;
	assert_int_equal(cbor_key_is(&c, &last, 0), -EBADMSG);
	assert_int_equal(c.len, 2);
	assert_int_equal(last, -1);
	assert_int_equal(cbor_key_is(&c, &last, 1), 0);
	assert_int_equal(cbor_key_is(&c, &last, 3), 0);
	assert_int_equal(last, 3);
	assert_int_equal(cbor_key_is(&c, &last, 4), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_what_rfc_8949_appendix_a_shows),
		cmocka_unit_test(what_was_written_is_read_back),
		cmocka_unit_test(heads_that_could_be_shorter_are_refused),
		cmocka_unit_test(indefinite_lengths_tags_floats_and_other_simple_values_are_refused),
		cmocka_unit_test(items_that_reach_past_the_end_are_refused),
		cmocka_unit_test(text_that_is_not_utf_8_or_has_a_nul_is_refused),
		cmocka_unit_test(text_at_the_edges_of_utf_8_is_read),
		cmocka_unit_test(an_item_of_another_type_is_refused_and_left),
		cmocka_unit_test(a_number_outside_what_is_asked_for_is_refused),
		cmocka_unit_test(map_keys_must_ascend),
		cmocka_unit_test(a_map_key_that_is_not_the_one_is_refused_and_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
