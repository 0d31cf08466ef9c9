/* The recovery key in shares: just enough of them give it back, fewer say nothing, and what does not fit is told apart. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "secmem.h"
#include "shamir.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Shares of the key 00 01 .. 0f and their texts, from an independent implementation. */
static const struct {
	struct shamir_share share;
	const char *text;
} vectors[] = {
	{{.set = 0x2abcde, .threshold = 2, .index = 1, .value = {0x38, 0xb5, 0xe4, 0x51, 0xe0, 0x48, 0xa1, 0xf5, 0x3f, 0x04,
	     0x94, 0x2d, 0x02, 0x2a, 0x1d, 0x6a}}, "NBSQ-GG9R-PQJ5-3R28-M7TK-Y14M-5M12-M7BA-X6E7"},
	{{.set = 0x2abcde, .threshold = 2, .index = 2, .value = {0x70, 0x72, 0xd5, 0xa7, 0xd7, 0x9f, 0x53, 0xf8, 0x66, 0x13,
	     0x2d, 0x47, 0x10, 0x43, 0x28, 0xc5}}, "NBSQ-GGKG-EBAT-FNWZ-AFW6-C4SD-8W84-6A65-JRYX"},
	{{.set = 0x2abcde, .threshold = 2, .index = 31, .value = {0xde, 0x42, 0x15, 0x57, 0x2d, 0x1f, 0x8f, 0x87, 0x73, 0x92,
	     0x42, 0x84, 0xb6, 0x9d, 0xc4, 0x20}}, "NBSQ-GQYY-88AN-EB8Z-HY3Q-74J2-GJV9-VH10-WPV3"},
	{{.set = 0x15555, .threshold = 3, .index = 1, .value = {0x7b, 0x35, 0x8e, 0x2c, 0xc5, 0x92, 0x42, 0x13, 0xc3, 0xef,
	     0x1c, 0x44, 0x75, 0x9d, 0x00, 0x48}}, "0NAN-8RBV-6P72-SHCJ-889W-7VRW-8HTS-T028-HB1V"},
	{{.set = 0x15555, .threshold = 3, .index = 3, .value = {0x77, 0x10, 0x6f, 0x69, 0x3a, 0xe1, 0x9a, 0x6b, 0x68, 0xb8,
	     0x53, 0x0f, 0x52, 0xdb, 0xba, 0x95}}, "0NAN-8RVQ-21QP-JEQ1-K9NP-HE2K-1X9D-QEMN-MA4V"},
	{{.set = 0x15555, .threshold = 3, .index = 4, .value = {0xdd, 0x64, 0x7e, 0xe5, 0x62, 0xe0, 0xf6, 0xac, 0xdd, 0x91,
	     0x03, 0xe4, 0x3b, 0x6e, 0xcf, 0xf9}}, "0NAN-8S6X-CHZE-ARQ0-YTPD-V483-WGXP-XKZS-H1R7"},
	{{.set = 0x15555, .threshold = 3, .index = 5, .value = {0xa6, 0x50, 0xf2, 0xca, 0xa3, 0x77, 0xb2, 0xb8, 0x16, 0x77,
	     0x15, 0xab, 0x42, 0xfe, 0xc1, 0xbe}}, "0NAN-8SD6-A3SC-N8VQ-PAW1-CXRN-ND1F-XGDY-CBF2"},
};

static const uint8_t key[RECOVERY_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void shares_are_written_as_the_reference_writes_them(void **state)
{
	(void)state;
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		char text[SHAMIR_TEXT_LEN + 1];
		struct shamir_share back;
		struct codetext_fault fault;
		shamir_format(&vectors[v].share, text);
		assert_string_equal(text, vectors[v].text);
		assert_int_equal(shamir_parse(text, &back, &fault), 0);
		assert_memory_equal(&back, &vectors[v].share, sizeof(back));
		assert_int_equal(codetext_count(text), SHAMIR_TEXT_SYMBOLS);
	}
}

static void the_shares_of_the_reference_give_its_key(void **state)
{
	(void)state;
	static const unsigned char subsets[][3] = {{0, 1}, {0, 2}, {1, 2}, {2, 0}, {3, 4, 5}, {6, 4, 3}, {5, 6, 3}};
	for (size_t i = 0; i < ARRAY_LEN(subsets); i++) {
		struct shamir_share some[3];
		uint8_t got[RECOVERY_KEY_LEN];
		for (unsigned s = 0; s < 3; s++)
			some[s] = vectors[subsets[i][s]].share;
		assert_int_equal(shamir_combine(some, some[0].threshold, got), 0);
		assert_memory_equal(got, key, sizeof(key));
	}
}

static void any_threshold_of_the_shares_gives_the_key_and_more_do_too(void **state)
{
	(void)state;
	struct shamir_share shares[5];
	uint8_t got[RECOVERY_KEY_LEN];
	assert_int_equal(shamir_split(key, 3, 5, shares), 0);
	for (unsigned a = 0; a < 5; a++) {
		for (unsigned b = 0; b < 5; b++) {
			for (unsigned c = 0; c < 5; c++) {
				if (a == b || b == c || a == c)
					continue;
				struct shamir_share some[] = {shares[a], shares[b], shares[c]};
				memset(got, 0xa5, sizeof(got));
				assert_int_equal(shamir_combine(some, 3, got), 0);
				assert_memory_equal(got, key, sizeof(key));
			}
		}
	}
	assert_int_equal(shamir_combine(shares, 5, got), 0);
	assert_memory_equal(got, key, sizeof(key));
}

static void the_most_shares_that_there_can_be_work(void **state)
{
	(void)state;
	struct shamir_share shares[SHAMIR_MAX_SHARES];
	uint8_t got[RECOVERY_KEY_LEN];
	assert_int_equal(shamir_split(key, SHAMIR_MAX_SHARES, SHAMIR_MAX_SHARES, shares), 0);
	assert_int_equal(shamir_combine(shares, SHAMIR_MAX_SHARES, got), 0);
	assert_memory_equal(got, key, sizeof(key));
	assert_int_equal(shamir_split(key, 1, 3, shares), -EINVAL);
	assert_int_equal(shamir_split(key, 4, 3, shares), -EINVAL);
	assert_int_equal(shamir_split(key, 2, SHAMIR_MAX_SHARES + 1, shares), -EINVAL);
}

/*
 * Exact, not statistical: with one share less than needed in hand, each of the 256 values that the missing one may have
 * gives another byte of the key, so that every byte is as possible as before.
 */
static void one_share_less_than_needed_leaves_every_key_possible(void **state)
{
	(void)state;
	for (unsigned threshold = 2; threshold <= 4; threshold++) {
		struct shamir_share shares[4];
		assert_int_equal(shamir_split(key, threshold, 4, shares), 0);
		for (unsigned b = 0; b < RECOVERY_KEY_LEN; b++) {
			bool seen[256] = {false};
			struct shamir_share some[4];
			memcpy(some, shares, sizeof(some));
			for (unsigned value = 0; value < 256; value++) {
				uint8_t got[RECOVERY_KEY_LEN];
				some[threshold - 1].value[b] = (uint8_t)value;
				assert_int_equal(shamir_combine(some, threshold, got), 0);
				assert_false(seen[got[b]]);
				seen[got[b]] = true;
			}
		}
	}
}

static void two_splittings_of_a_key_have_nothing_in_common(void **state)
{
	(void)state;
	struct shamir_share a[3], b[3];
	assert_int_equal(shamir_split(key, 2, 3, a), 0);
	assert_int_equal(shamir_split(key, 2, 3, b), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_memory_not_equal(a[i].value, b[i].value, sizeof(key));
		assert_memory_not_equal(a[i].value, key, sizeof(key));
	}
	assert_memory_not_equal(a[0].value, a[1].value, sizeof(key));
}

static void what_can_not_be_combined_is_told_apart(void **state)
{
	(void)state;
	struct shamir_share a[3], b[3];
	uint8_t got[RECOVERY_KEY_LEN] = {0}, before[RECOVERY_KEY_LEN] = {0};
	assert_int_equal(shamir_split(key, 2, 3, a), 0);
	assert_int_equal(shamir_split(key, 2, 3, b), 0);
	b[1].set = a[0].set ^ 1;
	assert_int_equal(shamir_combine(a, 0, got), -ENODATA);
	assert_int_equal(shamir_combine(a, 1, got), -ENODATA);
	assert_int_equal(shamir_combine((struct shamir_share[]){a[0], b[1]}, 2, got), -EXDEV);
	assert_int_equal(shamir_combine((struct shamir_share[]){a[0], a[0]}, 2, got), -EEXIST);
	a[2].value[7] ^= 0x10;
	assert_int_equal(shamir_combine(a, 3, got), -EBADMSG);
	assert_memory_equal(got, before, sizeof(got));
}

static size_t offset_of(unsigned i)
{
	return i + i / 4;
}

static void every_single_wrong_character_of_a_share_is_located(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SHAMIR_TEXT_SYMBOLS; i++) {
		for (unsigned c = 0; c < 32; c++) {
			char text[SHAMIR_TEXT_LEN + 1];
			struct shamir_share share;
			struct codetext_fault fault;
			memcpy(text, vectors[0].text, sizeof(text));
			char right = text[offset_of(i)];
			if (alphabet[c] == right)
				continue;
			text[offset_of(i)] = alphabet[c];
			assert_int_equal(shamir_parse(text, &share, &fault), -EINVAL);
			assert_int_equal(fault.kind, CODETEXT_FAULT_TYPO);
			assert_int_equal(fault.group, i / 4 + 1);
			assert_int_equal(fault.position, i % 4 + 1);
			assert_int_equal(fault.character, alphabet[c]);
			assert_int_equal(fault.expected, right);
		}
	}
}

/* Neighbours are in different words, so a swap is one error in each, and the first of them is pointed at. */
static void a_swap_of_neighbours_is_located(void **state)
{
	(void)state;
	for (unsigned i = 0; i + 1 < SHAMIR_TEXT_SYMBOLS; i++) {
		char text[SHAMIR_TEXT_LEN + 1];
		struct shamir_share share;
		struct codetext_fault fault;
		memcpy(text, vectors[3].text, sizeof(text));
		char *a = &text[offset_of(i)], *b = &text[offset_of(i + 1)], was = *a;
		if (*a == *b)
			continue;
		*a = *b;
		*b = was;
		assert_int_equal(shamir_parse(text, &share, &fault), -EINVAL);
		assert_int_equal(fault.kind, CODETEXT_FAULT_TYPO);
		unsigned pointed = (fault.group - 1) * 4 + fault.position - 1;
		assert_true(pointed == i || pointed == i + 1);
	}
}

static void a_threshold_or_index_that_no_share_has_is_refused(void **state)
{
	(void)state;
	static const struct shamir_share wrong[] = {{.threshold = 1, .index = 1}, {.threshold = 0, .index = 5},
	    {.threshold = 2, .index = 0}};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		char text[SHAMIR_TEXT_LEN + 1];
		struct shamir_share share;
		struct codetext_fault fault;
		shamir_format(&wrong[i], text);
		assert_int_equal(shamir_parse(text, &share, &fault), -EINVAL);
		assert_int_equal(fault.kind, CODETEXT_FAULT_CHECKSUM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_written_as_the_reference_writes_them),
		cmocka_unit_test(the_shares_of_the_reference_give_its_key),
		cmocka_unit_test(any_threshold_of_the_shares_gives_the_key_and_more_do_too),
		cmocka_unit_test(the_most_shares_that_there_can_be_work),
		cmocka_unit_test(one_share_less_than_needed_leaves_every_key_possible),
		cmocka_unit_test(two_splittings_of_a_key_have_nothing_in_common),
		cmocka_unit_test(what_can_not_be_combined_is_told_apart),
		cmocka_unit_test(every_single_wrong_character_of_a_share_is_located),
		cmocka_unit_test(a_swap_of_neighbours_is_located),
		cmocka_unit_test(a_threshold_or_index_that_no_share_has_is_refused),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
