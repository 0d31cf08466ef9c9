/* Fuzzes differences of rows.  u16 length of the old row, the row; the rest is a difference, and then a new row. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "rowdiff.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes out = {0}, diff = {0};
	const uint8_t *old = data + 2, *rest;
	size_t old_len, rest_len;
	err_t err;

	if (len < 2 || (old_len = get_u16(data)) > len - 2)
		return 0;
	rest = old + old_len;
	rest_len = len - 2 - old_len;
	err = rowdiff_apply(old, old_len, rest, rest_len, &out);
	FUZZ_REQUIRE((err == 0 || err == -EBADMSG) && out.len <= 2 * old_len + rest_len);
	bytes_reset(&out);
	FUZZ_REQUIRE(rowdiff_make(old, old_len, rest, rest_len, &diff) == 0);
	FUZZ_REQUIRE(rowdiff_apply(old, old_len, diff.data, diff.len, &out) == 0);
	FUZZ_REQUIRE(out.len == rest_len && (rest_len == 0 || memcmp(out.data, rest, rest_len) == 0));
	bytes_clear(&out);
	bytes_clear(&diff);
	return 0;
}
