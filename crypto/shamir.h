/*
 * shamir.h: the recovery key in shares (Shamir, "How to Share a Secret", 1979): of N shares any T give it back, and fewer
 * than T say nothing at all about it.
 *
 * For each byte of the key a polynomial of degree T-1 over GF(256) (that of AES: x^8 + x^4 + x^3 + x + 1) has the byte as
 * its value at 0 and random coefficients; share i is the values at i.  A share as people write it is 36 symbols in nine
 * groups of four, two interleaved words of codetext.h:
 *   22 bits: the set, random, the same for all shares of one splitting;  5 bits: T;  5 bits: i;  128 bits: the values
 * Uses err.h, codetext.h, identity.h, random.h, secmem.h.
 */
#ifndef SNUGFS_SHAMIR_H
#define SNUGFS_SHAMIR_H

#include <stddef.h>
#include <stdint.h>

#include "codetext.h"
#include "err.h"
#include "identity.h"

#define SHAMIR_MAX_SHARES 31u
#define SHAMIR_TEXT_SYMBOLS 36u
#define SHAMIR_TEXT_LEN 44 /* 36 characters and eight hyphens, without the NUL */

struct shamir_share {
	uint32_t set;       /* 22 bits */
	unsigned threshold; /* 2..31 */
	unsigned index;     /* 1..31 */
	uint8_t value[RECOVERY_KEY_LEN];
};

/* Fills shares_out[count], with indices 1 to count.  -EINVAL unless 2 <= threshold <= count <= SHAMIR_MAX_SHARES; -EIO. */
MUST_CHECK err_t shamir_split(const uint8_t key[static RECOVERY_KEY_LEN], unsigned threshold, unsigned count,
    struct shamir_share *shares_out);

/*
 * The key that these shares belong to.  -ENODATA: fewer than their threshold; -EXDEV: they are of two different sets;
 * -EEXIST: one of them is there twice; -EBADMSG: more than the threshold, and they contradict one another.  A wrong share
 * among just enough of them is not noticed here: it gives another key.
 */
MUST_CHECK err_t shamir_combine(const struct shamir_share *shares, size_t count, uint8_t key_out[static RECOVERY_KEY_LEN]);

/* text_out gets SHAMIR_TEXT_LEN characters and a NUL. */
void shamir_format(const struct shamir_share *share, char text_out[static SHAMIR_TEXT_LEN + 1]);
/* As codetext_parse; CODETEXT_FAULT_CHECKSUM also for a threshold or an index that no share has. */
MUST_CHECK err_t shamir_parse(const char *text, struct shamir_share *out, struct codetext_fault *fault);

#endif
