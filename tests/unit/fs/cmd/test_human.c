/* Numbers and other people's words on a terminal; bytes as text on the control socket. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "human.h"

static void
assert_tamed(const char *text, const char *tamed)
{
	char copy[64];

	assert_true(strlen(text) < sizeof(copy));
	memcpy(copy, text, strlen(text) + 1);
	human_tame(copy);
	assert_string_equal(copy, tamed);
}

static void
no_control_character_of_any_kind_is_left_in_a_name(void **state)
{
	(void)state;
	assert_tamed("", "");
	assert_tamed("plain name.txt", "plain name.txt");
	assert_tamed("\x1b[2J\x1b]0;title\x07", "?[2J?]0;title?");
	assert_tamed("a\tb\nc\rd\x7f", "a?b?c?d?");
	assert_tamed("\xc2\x9b" "31m", "?31m"); /* C1's CSI */
	assert_tamed("\xc2\x80\xc2\x9f", "??");
	/* What only looks like one, and what was cut off within one. */
	assert_tamed("\xc2\xa0\xc3\x9b\xe2\x82\xac", "\xc2\xa0\xc3\x9b\xe2\x82\xac");
	assert_tamed("\xc2", "\xc2");
}

static void
all_strings_of_an_answer_are_tamed(void **state)
{
	json_t *v = json_pack("{s:s, s:[s, {s:s}], s:i, s:n}", "a", "x\x1by", "b", "\x07", "c", "deep\x1b", "d", 5, "e");

	(void)state;
	assert_non_null(v);
	human_tame_json(v);
	assert_string_equal(json_string_value(json_object_get(v, "a")), "x?y");
	assert_string_equal(json_string_value(json_array_get(json_object_get(v, "b"), 0)), "?");
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(v, "b"), 1), "c")), "deep?");
	json_decref(v);
}

static void
assert_string(const char *text, const char *string)
{
	json_t *v = human_path(text);

	assert_non_null(v);
	assert_string_equal(json_string_value(v), string);
	json_decref(v);
}

static void
what_is_no_utf_8_is_escaped_and_the_rest_is_as_it_was(void **state)
{
	(void)state;
	assert_string("", "");
	assert_string("\xc3\xbc \xe2\x82\xac \xf0\x9f\x99\x82", "\xc3\xbc \xe2\x82\xac \xf0\x9f\x99\x82");
	assert_string("caf\xe9", "caf\\xe9");
	assert_string("\xff\xc3\xbc\xfe", "\\xff\xc3\xbc\\xfe");
	assert_string("cut off: \xc3\xbc\xc3", "cut off: \xc3\xbc\\xc3");
	assert_string("\xf0\x9f\x99", "\\xf0\\x9f\\x99");
	assert_string("\xc0\xaf \xed\xa0\x80", "\\xc0\\xaf \\xed\\xa0\\x80"); /* too long for what it is; half a pair */
}

static void
sizes_are_told_in_bytes_while_they_are_small(void **state)
{
	char text[HUMAN_BYTES_LEN];

	(void)state;
	human_bytes(10239, text);
	assert_string_equal(text, "10239 bytes");
	human_bytes(10240, text);
	assert_string_equal(text, "10.0 KiB");
	human_bytes(1572864, text);
	assert_string_equal(text, "1.5 MiB");
	human_bytes(UINT64_MAX, text);
	assert_string_equal(text, "16384.0 PiB");
}

static void
bytes_go_to_hexadecimal_digits_and_back(void **state)
{
	const uint8_t data[] = { 0x00, 0x1f, 0xa0, 0xff };
	uint8_t back[4] = { 0 };
	char text[9];

	(void)state;
	hex_format(data, sizeof(data), text);
	assert_string_equal(text, "001fa0ff");
	assert_int_equal(hex_parse(text, back, sizeof(back)), 0);
	assert_memory_equal(back, data, sizeof(data));
}

static void
what_is_not_just_so_many_digits_is_refused_and_changes_nothing(void **state)
{
	static const char *const texts[] = { NULL, "", "001fa0f", "001fa0ff0", "001fa0ff00", "001FA0FF", "001fa0fg", " 01fa0ff", "0x1fa0ff" };
	uint8_t back[4] = { 1, 2, 3, 4 };
	char *path = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(hex_parse(texts[i], back, sizeof(back)), -EINVAL);
		assert_int_equal(back[0] << 12 | back[1] << 8 | back[2] << 4 | back[3], 0x1234);
	}
	assert_int_equal(hex_parse_path("2f00612f", &path), -EINVAL); /* a path has no NUL */
	assert_int_equal(hex_parse_path("2f6", &path), -EINVAL);
	assert_int_equal(hex_parse_path(NULL, &path), -EINVAL);
	assert_null(path);
	assert_int_equal(hex_parse_path("2fff", &path), 0);
	assert_string_equal(path, "/\xff");
	free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_control_character_of_any_kind_is_left_in_a_name),
		cmocka_unit_test(all_strings_of_an_answer_are_tamed),
		cmocka_unit_test(what_is_no_utf_8_is_escaped_and_the_rest_is_as_it_was),
		cmocka_unit_test(sizes_are_told_in_bytes_while_they_are_small),
		cmocka_unit_test(bytes_go_to_hexadecimal_digits_and_back),
		cmocka_unit_test(what_is_not_just_so_many_digits_is_refused_and_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
