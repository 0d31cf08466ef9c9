/* Fuzzes shares of a recovery key: as text; and eight-byte recipes of shares to be combined. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "shamir.h"

FUZZ_INITIALIZE_SECMEM

#define SHARES_MAX 40

static void check_text(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1), again[SHAMIR_TEXT_LEN + 1];
	struct codetext_fault fault = {.kind = CODETEXT_FAULT_NONE};
	struct shamir_share share, same;
	err_t err;

	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	(void)codetext_count(text);
	err = shamir_parse(text, &share, &fault);
	FUZZ_REQUIRE(err == 0 || (err == -EINVAL && fault.kind != CODETEXT_FAULT_NONE));
	if (err == 0) {
		FUZZ_REQUIRE(share.set < 1u << 22 && share.threshold >= 2 && share.threshold <= 31 && share.index >= 1 &&
		    share.index <= 31);
		shamir_format(&share, again);
		FUZZ_REQUIRE(shamir_parse(again, &same, &fault) == 0 && memcmp(share.value, same.value, sizeof(same.value)) == 0);
	}
	free(text);
}

static void check_combination(const uint8_t *data, size_t len)
{
	struct shamir_share shares[SHARES_MAX];
	uint8_t key[RECOVERY_KEY_LEN];
	size_t count = 0;
	err_t err;

	for (; len >= 4 && count < SHARES_MAX; data += 4, len -= 4, count++) {
		shares[count] = (struct shamir_share){.set = data[0] & 1, .threshold = 2 + data[1] % 30u, .index = 1 + data[2] % 31u};
		memset(shares[count].value, data[3], sizeof(shares[count].value));
	}
	if (count == 0)
		return;
	err = shamir_combine(shares, count, key);
	FUZZ_REQUIRE(err == 0 || err == -ENODATA || err == -EXDEV || err == -EEXIST || err == -EBADMSG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 0)
		check_combination(data + 1, len - 1);
	else
		check_text(data, len);
	return 0;
}
