/* Sizes and times as people write them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#include "amounts.h"

#define KIB UINT64_C(1024)

static void
a_size_is_a_number_with_a_unit_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "0", 0 }, { "none", 0 }, { "4096", 4096 }, { "500K", 500 * KIB }, { "500k", 500 * KIB }, { "1.5M", 1536 * KIB },
		{ "2G", 2 * KIB * KIB * KIB }, { "2GiB", 2 * KIB * KIB * KIB }, { "2GB", 2 * KIB * KIB * KIB },
		{ "1T", KIB * KIB * KIB * KIB }, { "64K/s", 64 * KIB }, { "64KiB/s", 64 * KIB }, { "100B", 100 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t bytes = 99;

		if (amount_parse_bytes(sizes[i].text, &bytes) != 0 || bytes != sizes[i].bytes)
			fail_msg("%s: %llu", sizes[i].text, (unsigned long long)bytes);
	}
}

static void
what_is_no_size_is_refused_and_changes_nothing(void **state)
{
	static const char *const texts[] = { "", "-1", "-5K", "+5", " 5", "5 K", "K", "1.2.3K", "1e3", "0x10", "5P", "5m", "nan", "inf",
		"None", "5KK", "5K/h", "9999999999T", "99999999999999999999" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		uint64_t bytes = 99;

		if (amount_parse_bytes(texts[i], &bytes) != -EINVAL || bytes != 99)
			fail_msg("\"%s\": %llu", texts[i], (unsigned long long)bytes);
	}
}

static void
a_time_is_a_whole_number_with_a_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} times[] = { { "1", 1 }, { "90s", 90 }, { "15m", 900 }, { "2h", 7200 }, { "30d", 2592000 }, { "4w", 2419200 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		int64_t seconds = 99;

		if (amount_parse_seconds(times[i].text, &seconds) != 0 || seconds != times[i].seconds)
			fail_msg("%s: %lld", times[i].text, (long long)seconds);
	}
}

static void
what_is_no_time_is_refused_and_changes_nothing(void **state)
{
	static const char *const texts[] = { "", "0", "0m", "-1h", "1.5h", "h", "2 h", "2H", "2hours", "1y", "9999999999w",
		"99999999999999999999s" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int64_t seconds = 99;

		if (amount_parse_seconds(texts[i], &seconds) != -EINVAL || seconds != 99)
			fail_msg("\"%s\": %lld", texts[i], (long long)seconds);
	}
}

static void
a_time_is_told_about_in_the_unit_of_which_there_are_some(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} times[] = {
		{ 0, "0 seconds" }, { 1, "1 second" }, { 59, "59 seconds" }, { 119, "119 seconds" }, { 120, "2 minutes" },
		{ 7199, "120 minutes" }, { 7200, "2 hours" }, { 172800, "2 days" }, { 2592000, "30 days" },
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		amount_print_seconds(times[i].seconds, text, sizeof(text));
		assert_string_equal(text, times[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_size_is_a_number_with_a_unit_of_1024),
		cmocka_unit_test(what_is_no_size_is_refused_and_changes_nothing),
		cmocka_unit_test(a_time_is_a_whole_number_with_a_unit),
		cmocka_unit_test(what_is_no_time_is_refused_and_changes_nothing),
		cmocka_unit_test(a_time_is_told_about_in_the_unit_of_which_there_are_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
