/*
 * hpke_setup.h: the key schedule of hpke.c apart from its AEAD.  Internal to crypto/; apart so that the RFC's vectors for
 * mode_psk, which it has for AES-128-GCM, run through the code that we use with AES-256-GCM.
 * Uses err.h, hpke.h.
 */
#ifndef SNUGFS_HPKE_SETUP_H
#define SNUGFS_HPKE_SETUP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "hpke.h"

/* RFC 9180 section 7.3. */
enum hpke_aead {
	HPKE_AES_128_GCM = 0x0001,
	HPKE_AES_256_GCM = 0x0002,
};

/* The key (its first 16 bytes for AES-128) and the nonce of one message. */
struct hpke_context {
	uint8_t key[32];
	uint8_t base_nonce[12];
};

/* Errors as hpke_seal and hpke_open.  RFC 9180 section 5.1: SetupBaseS or SetupPSKS, SetupBaseR or SetupPSKR. */
MUST_CHECK err_t hpke_setup_sender(enum hpke_aead aead, const uint8_t ephemeral_secret[static 32],
    const uint8_t recipient_pub[static 32], const struct hpke_psk *psk, const void *info, size_t info_len,
    uint8_t enc_out[static HPKE_ENC_LEN], struct hpke_context *out);
MUST_CHECK err_t hpke_setup_recipient(enum hpke_aead aead, const uint8_t recipient_secret[static 32],
    const uint8_t enc[static HPKE_ENC_LEN], const struct hpke_psk *psk, const void *info, size_t info_len,
    struct hpke_context *out);

#endif
