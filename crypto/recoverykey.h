/*
 * recoverykey.h: the recovery key as people write it: 128 bits and a 12-bit checksum in 28 Crockford base-32
 * characters, seven groups of four: "7K3M-9QZX-...".
 *
 * The 28 symbols are a shortened Reed-Solomon code over GF(32): 26 data symbols (128 bits, then two zero bits) and two
 * check symbols.  So one wrong character is found and located, and any two (a swap, too) are noticed.
 * Uses err.h.
 */
#ifndef SNUGFS_RECOVERYKEY_H
#define SNUGFS_RECOVERYKEY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "identity.h"

#define RECOVERY_TEXT_LEN 34 /* 28 characters and six hyphens, without the NUL */

/* text_out gets RECOVERY_TEXT_LEN characters and a NUL. */
void recoverykey_format(const uint8_t key[static RECOVERY_KEY_LEN], char text_out[static RECOVERY_TEXT_LEN + 1]);

struct recoverykey_fault {
	enum {
		RECOVERY_FAULT_NONE,
		RECOVERY_FAULT_LENGTH,    /* count: how many symbols there are instead of 28 */
		RECOVERY_FAULT_CHARACTER, /* group (1..7), character: one that is never used */
		RECOVERY_FAULT_TYPO,      /* group (1..7), position in it (1..4), expected: what it should probably be */
		RECOVERY_FAULT_CHECKSUM,  /* more than one character is wrong; where is not known */
	} kind;
	unsigned group;
	unsigned position;
	unsigned count;
	char character;
	char expected;
};

/*
 * Reads what a person typed: any case, spaces and hyphens anywhere, O for 0, I and L for 1.
 * -EINVAL when it is not a recovery key; then *fault says where.  Nothing is ever corrected silently.
 */
MUST_CHECK err_t recoverykey_parse(const char *text, uint8_t key_out[static RECOVERY_KEY_LEN],
    struct recoverykey_fault *fault);

#endif
