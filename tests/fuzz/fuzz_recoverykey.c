/* Fuzzes recoverykey_parse with what people might type; a located typo must, once corrected, be a key. */
#include <string.h>

#include "fuzz.h"
#include "recoverykey.h"

FUZZ_INITIALIZE_SECMEM

/* The text's i-th symbol. */
static char *find_symbol(char *text, unsigned i)
{
	for (char *p = text;; p++) {
		if (strchr("- \t\n\v\f\r", *p) == NULL && i-- == 0)
			return p;
	}
}

static void check_fault(char *text, const struct codetext_fault *fault)
{
	FUZZ_REQUIRE(fault->kind != CODETEXT_FAULT_NONE);
	if (fault->kind == CODETEXT_FAULT_LENGTH)
		FUZZ_REQUIRE(fault->count != 28);
	if (fault->kind != CODETEXT_FAULT_TYPO && fault->kind != CODETEXT_FAULT_CHARACTER)
		return;
	FUZZ_REQUIRE(fault->group >= 1 && fault->group <= 7 && fault->position >= 1 && fault->position <= 4);
	char *at = find_symbol(text, (fault->group - 1) * 4 + fault->position - 1);
	if (fault->kind == CODETEXT_FAULT_CHARACTER) {
		FUZZ_REQUIRE(*at == fault->character);
		return;
	}
	uint8_t key[RECOVERY_KEY_LEN];
	struct codetext_fault none;
	*at = fault->expected;
	FUZZ_REQUIRE(recoverykey_parse(text, key, &none) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);
	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';

	uint8_t key[RECOVERY_KEY_LEN], again[RECOVERY_KEY_LEN];
	struct codetext_fault fault;
	if (recoverykey_parse(text, key, &fault) == 0) {
		char written[RECOVERY_TEXT_LEN + 1];
		recoverykey_format(key, written);
		FUZZ_REQUIRE(strlen(written) == RECOVERY_TEXT_LEN);
		FUZZ_REQUIRE(recoverykey_parse(written, again, &fault) == 0);
		FUZZ_REQUIRE(memcmp(key, again, sizeof(key)) == 0);
	} else {
		check_fault(text, &fault);
	}
	free(text);
	return 0;
}
