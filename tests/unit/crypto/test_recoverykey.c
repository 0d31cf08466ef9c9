/* The recovery key's text: what a person may get wrong is noticed, and a single wrong character is pointed at. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "recoverykey.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* The texts come from an independent implementation of the code. */
static const struct {
	uint8_t key[RECOVERY_KEY_LEN];
	const char *text;
} vectors[] = {
	{{0}, "0000-0000-0000-0000-0000-0000-0000"},
	{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, "000G-40R4-0M30-E209-185G-R38E-1WEC"},
	{{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
	    "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZWBH"},
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "0000-0000-0000-0000-0000-0000-04R5"},
};

/* The offset of symbol i in the text with hyphens. */
static size_t offset_of(unsigned i)
{
	return i + i / 4;
}

static err_t parse(const char *text, struct codetext_fault *fault)
{
	uint8_t key[RECOVERY_KEY_LEN], before[RECOVERY_KEY_LEN];
	memset(key, 0xa5, sizeof(key));
	memset(before, 0xa5, sizeof(before));
	err_t err = recoverykey_parse(text, key, fault);
	if (err != 0)
		assert_memory_equal(key, before, sizeof(key));
	assert_int_equal(err == 0, fault->kind == CODETEXT_FAULT_NONE);
	return err;
}

static void keys_are_written_as_the_reference_writes_them(void **state)
{
	(void)state;
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		char text[RECOVERY_TEXT_LEN + 1];
		recoverykey_format(vectors[v].key, text);
		assert_string_equal(text, vectors[v].text);
	}
}

static void what_was_written_is_read_back(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 256; seed++) {
		uint8_t key[RECOVERY_KEY_LEN], back[RECOVERY_KEY_LEN];
		for (unsigned i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)(seed * 167 + i * i * 59 + (seed >> (i % 8)));
		char text[RECOVERY_TEXT_LEN + 1];
		struct codetext_fault fault;
		recoverykey_format(key, text);
		assert_int_equal(recoverykey_parse(text, back, &fault), 0);
		assert_int_equal(fault.kind, CODETEXT_FAULT_NONE);
		assert_memory_equal(key, back, sizeof(key));
	}
}

static void every_single_wrong_character_is_located(void **state)
{
	(void)state;
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		for (unsigned i = 0; i < 28; i++) {
			for (const char *c = alphabet; *c != '\0'; c++) {
				char text[RECOVERY_TEXT_LEN + 1];
				strcpy(text, vectors[v].text);
				char right = text[offset_of(i)];
				if (*c == right)
					continue;
				text[offset_of(i)] = *c;
				struct codetext_fault fault;
				assert_int_equal(parse(text, &fault), -EINVAL);
				assert_int_equal(fault.kind, CODETEXT_FAULT_TYPO);
				assert_int_equal(fault.group, i / 4 + 1);
				assert_int_equal(fault.position, i % 4 + 1);
				assert_int_equal(fault.expected, right);
			}
		}
	}
}

static void every_swap_of_neighbours_is_noticed(void **state)
{
	(void)state;
	unsigned swaps = 0;
	for (unsigned seed = 0; seed < 64; seed++) {
		uint8_t key[RECOVERY_KEY_LEN];
		for (unsigned i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)(seed * 101 + i * 37 + i * i * seed);
		for (unsigned i = 0; i + 1 < 28; i++) {
			char text[RECOVERY_TEXT_LEN + 1];
			recoverykey_format(key, text);
			char *a = &text[offset_of(i)], *b = &text[offset_of(i + 1)], was = *a;
			if (*a == *b)
				continue;
			*a = *b;
			*b = was;
			struct codetext_fault fault;
			assert_int_equal(parse(text, &fault), -EINVAL);
			swaps++;
		}
	}
	assert_true(swaps > 1000);
}

static void any_two_wrong_characters_are_noticed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 28; i++) {
		for (unsigned j = i + 1; j < 28; j++) {
			char text[RECOVERY_TEXT_LEN + 1];
			strcpy(text, vectors[1].text);
			char right_i = text[offset_of(i)], right_j = text[offset_of(j)];
			for (const char *a = alphabet; *a != '\0'; a++) {
				/* A third of the errors at j, shifted with i, keeps this quick. */
				for (const char *b = alphabet + i % 3; b < alphabet + 32; b += 3) {
					if (*a == right_i || *b == right_j)
						continue;
					text[offset_of(i)] = *a;
					text[offset_of(j)] = *b;
					struct codetext_fault fault;
					assert_int_equal(parse(text, &fault), -EINVAL);
				}
			}
		}
	}
}

static void case_spaces_and_lookalikes_do_not_matter(void **state)
{
	(void)state;
	static const char *const same[] = {
		"000G40R40M30E209185GR38E1WEC",
		"000g-40r4-0m30-e209-185g-r38e-1wec",
		"  OOog 4oR4\t0m3O\nE2o9 i85g  r38e lWEC \r\n",
		"0-0-0-G-4-0-R-4-0-M-3-0-E-2-0-9-L-8-5-G-R-3-8-E-I-W-E-C--",
	};
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		uint8_t key[RECOVERY_KEY_LEN];
		struct codetext_fault fault;
		assert_int_equal(recoverykey_parse(same[i], key, &fault), 0);
		assert_memory_equal(key, vectors[1].key, sizeof(key));
	}
}

static void a_wrong_length_is_told_with_the_count(void **state)
{
	(void)state;
	char text[64] = "";
	for (unsigned count = 0; count < 60; count++) {
		struct codetext_fault fault;
		err_t err = parse(text, &fault);
		if (count != 28) {
			assert_int_equal(err, -EINVAL);
			assert_int_equal(fault.kind, CODETEXT_FAULT_LENGTH);
			assert_int_equal(fault.count, count);
		}
		text[count] = alphabet[count % 32];
		text[count + 1] = '\0';
	}
}

static void a_character_that_is_never_used_is_pointed_at(void **state)
{
	(void)state;
	static const char bad[] = "Uu*!.,_+@[`{/:\x01\x7f\x80\xff";
	for (const char *c = bad; *c != '\0'; c++) {
		for (unsigned i = 0; i < 28; i++) {
			char text[RECOVERY_TEXT_LEN + 1];
			strcpy(text, vectors[1].text);
			text[offset_of(i)] = *c;
			struct codetext_fault fault;
			assert_int_equal(parse(text, &fault), -EINVAL);
			assert_int_equal(fault.kind, CODETEXT_FAULT_CHARACTER);
			assert_int_equal(fault.group, i / 4 + 1);
			assert_int_equal(fault.position, i % 4 + 1);
			assert_int_equal(fault.character, *c);
		}
	}
}

static void filler_bits_must_be_zero_even_under_a_right_checksum(void **state)
{
	(void)state;
	for (unsigned filler = 1; filler < 4; filler++) {
		unsigned not_a_typo = 0;
		for (unsigned check = 0; check < 1024; check++) {
			char text[RECOVERY_TEXT_LEN + 1];
			strcpy(text, vectors[0].text);
			text[offset_of(25)] = alphabet[filler];
			text[offset_of(26)] = alphabet[check >> 5];
			text[offset_of(27)] = alphabet[check & 31];
			struct codetext_fault fault;
			assert_int_equal(parse(text, &fault), -EINVAL);
			not_a_typo += fault.kind == CODETEXT_FAULT_CHECKSUM;
		}
		assert_true(not_a_typo > 0);
	}
}

/* Two errors that look like one elsewhere, were it not that correcting that one leaves filler bits set. */
static void a_typo_is_only_named_if_correcting_it_gives_a_key(void **state)
{
	(void)state;
	struct codetext_fault fault;
	assert_int_equal(parse("000G-40R0-R40M-31E2-1918-5GR8-31WE", &fault), -EINVAL);
	assert_int_equal(fault.kind, CODETEXT_FAULT_CHECKSUM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_written_as_the_reference_writes_them),
		cmocka_unit_test(what_was_written_is_read_back),
		cmocka_unit_test(every_single_wrong_character_is_located),
		cmocka_unit_test(every_swap_of_neighbours_is_noticed),
		cmocka_unit_test(any_two_wrong_characters_are_noticed),
		cmocka_unit_test(case_spaces_and_lookalikes_do_not_matter),
		cmocka_unit_test(a_wrong_length_is_told_with_the_count),
		cmocka_unit_test(a_character_that_is_never_used_is_pointed_at),
		cmocka_unit_test(a_typo_is_only_named_if_correcting_it_gives_a_key),
		cmocka_unit_test(filler_bits_must_be_zero_even_under_a_right_checksum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
