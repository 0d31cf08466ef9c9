/* Fuzzes the values of HTTP header fields. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "http_fields.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void check_range(const char *text)
{
	uint64_t first = 1, last = 0, total = 0;
	err_t err = http_fields_content_range(text, &first, &last, &total);

	FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
	FUZZ_REQUIRE(err == 0 ? first <= last && last < total : first == 1 && last == 0 && total == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);
	char copy[16];

	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	check_range(text);
	FUZZ_REQUIRE(http_fields_retry_after(text, 1440938160, 60) <= 60);
	FUZZ_REQUIRE(http_fields_date(text) >= 0);
	http_fields_copy(text, copy, sizeof(copy));
	FUZZ_REQUIRE(copy[0] == '\0' || strcmp(copy, text) == 0);
	free(text);
	return 0;
}
