/*
 * recoverykey.h: the recovery key as people write it: 128 bits and a 12-bit checksum in 28 Crockford base-32
 * characters, seven groups of four: "7K3M-9QZX-...".
 *
 * The 28 symbols are one word of the code of codetext.h: 26 data symbols (128 bits, then two zero bits) and two check
 * symbols.  So one wrong character is found and located, and any two (a swap, too) are noticed.
 * Uses err.h, codetext.h.
 */
#ifndef SNUGFS_RECOVERYKEY_H
#define SNUGFS_RECOVERYKEY_H

#include <stddef.h>
#include <stdint.h>

#include "codetext.h"
#include "err.h"
#include "identity.h"

#define RECOVERY_TEXT_SYMBOLS 28u
#define RECOVERY_TEXT_LEN 34 /* 28 characters and six hyphens, without the NUL */

/* text_out gets RECOVERY_TEXT_LEN characters and a NUL. */
void recoverykey_format(const uint8_t key[static RECOVERY_KEY_LEN], char text_out[static RECOVERY_TEXT_LEN + 1]);

/* As codetext_parse: -EINVAL when it is not a recovery key; then *fault says where. */
MUST_CHECK err_t recoverykey_parse(const char *text, uint8_t key_out[static RECOVERY_KEY_LEN],
    struct codetext_fault *fault);

#endif
