/* Words that are compared by eye: the published proquints, and that everything that matters changes them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "err.h"
#include "safetywords.h"

static void proquints_are_those_of_the_proposal(void **state)
{
	static const struct {
		uint8_t address[4];
		const char *words;
	} published[] = {
	    {{127, 0, 0, 1}, "lusab-babad"},
	    {{63, 84, 220, 193}, "gutih-tugad"},
	    {{63, 118, 7, 35}, "gutuk-bisog"},
	    {{140, 98, 193, 141}, "mudof-sakat"},
	    {{64, 255, 6, 200}, "haguz-biram"},
	    {{128, 30, 52, 45}, "mabiv-gibot"},
	    {{12, 110, 110, 204}, "budov-kuras"},
	    {{198, 81, 129, 136}, "sinid-makam"},
	};
	char text[12];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(published); i++) {
		safetywords_format(published[i].address, 2, text);
		assert_string_equal(text, published[i].words);
	}
}

static void the_words_of_a_head_depend_on_all_of_it(void **state)
{
	uint8_t id[32] = {1}, hash[32] = {2};
	char words[SAFETYWORDS_TEXT_LEN + 1], other[SAFETYWORDS_TEXT_LEN + 1];
	(void)state;
	assert_int_equal(safetywords_head(id, 7, hash, words), 0);
	assert_int_equal(strlen(words), SAFETYWORDS_TEXT_LEN);
	assert_int_equal(safetywords_head(id, 7, hash, other), 0);
	assert_string_equal(words, other);
	assert_int_equal(safetywords_head(id, 8, hash, other), 0);
	assert_string_not_equal(words, other);
	hash[31] ^= 1;
	assert_int_equal(safetywords_head(id, 7, hash, other), 0);
	assert_string_not_equal(words, other);
	hash[31] ^= 1;
	id[0] ^= 1;
	assert_int_equal(safetywords_head(id, 7, hash, other), 0);
	assert_string_not_equal(words, other);
}

static void the_words_of_a_member_depend_on_it_and_on_the_vault(void **state)
{
	uint8_t vault[32] = {1}, member[IDENTITY_ID_LEN] = {2};
	char words[SAFETYWORDS_TEXT_LEN + 1], other[SAFETYWORDS_TEXT_LEN + 1];
	(void)state;
	assert_int_equal(safetywords_member(vault, member, words), 0);
	member[15] ^= 1;
	assert_int_equal(safetywords_member(vault, member, other), 0);
	assert_string_not_equal(words, other);
	member[15] ^= 1;
	vault[31] ^= 1;
	assert_int_equal(safetywords_member(vault, member, other), 0);
	assert_string_not_equal(words, other);
}

static void typed_words_match_whatever_their_case_and_gaps(void **state)
{
	(void)state;
	assert_true(safetywords_match("lusab-babad", "lusab-babad"));
	assert_true(safetywords_match(" LUSAB babad\n", "lusab-babad"));
	assert_true(safetywords_match("lusabbabad", "lusab-babad"));
	assert_false(safetywords_match("lusab-baba", "lusab-babad"));
	assert_false(safetywords_match("lusab-babadd", "lusab-babad"));
	assert_false(safetywords_match("lusab-babaf", "lusab-babad"));
	assert_false(safetywords_match("", "lusab-babad"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(proquints_are_those_of_the_proposal),
	    cmocka_unit_test(the_words_of_a_head_depend_on_all_of_it),
	    cmocka_unit_test(the_words_of_a_member_depend_on_it_and_on_the_vault),
	    cmocka_unit_test(typed_words_match_whatever_their_case_and_gaps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
