/* recoverykey.c: the recovery key's written form: one word of the code. */
#include "recoverykey.h"

static const struct codetext_form form = {.len = RECOVERY_KEY_LEN, .ways = 1};

void recoverykey_format(const uint8_t key[static RECOVERY_KEY_LEN], char text_out[static RECOVERY_TEXT_LEN + 1])
{
	codetext_format(&form, key, text_out);
}

err_t recoverykey_parse(const char *text, uint8_t key_out[static RECOVERY_KEY_LEN], struct codetext_fault *fault)
{
	return codetext_parse(&form, text, key_out, fault);
}
