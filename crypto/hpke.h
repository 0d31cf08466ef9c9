/*
 * hpke.h: RFC 9180 single-shot HPKE: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, mode_base and mode_psk.
 * mode_base is here only so that the RFC's vectors can be checked; the format uses mode_psk.
 * Uses err.h, secmem.h, kdf.h, aead.h, OpenSSL.
 */
#ifndef SNUGFS_HPKE_H
#define SNUGFS_HPKE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define HPKE_ENC_LEN 32

struct hpke_psk {
	const uint8_t *psk; /* at least 32 bytes */
	size_t psk_len;
	const uint8_t *psk_id;
	size_t psk_id_len;
};

/* psk NULL: mode_base.  ct_out gets pt_len + 16 bytes.  -EINVAL for a PSK that is too short or without id. */
MUST_CHECK err_t hpke_seal(const uint8_t recipient_pub[static 32], const struct hpke_psk *psk, const void *info,
    size_t info_len, const void *aad, size_t aad_len, const void *pt, size_t pt_len,
    uint8_t enc_out[static HPKE_ENC_LEN], uint8_t *ct_out);
/* -EBADMSG when it does not open.  pt_out gets ct_len - 16 bytes. */
MUST_CHECK err_t hpke_open(const uint8_t recipient_secret[static 32], const uint8_t enc[static HPKE_ENC_LEN],
    const struct hpke_psk *psk, const void *info, size_t info_len, const void *aad, size_t aad_len,
    const uint8_t *ct, size_t ct_len, uint8_t *pt_out);

/* As hpke_seal with the ephemeral secret given: for the RFC's vectors. */
MUST_CHECK err_t hpke_seal_with_ephemeral(const uint8_t ephemeral_secret[static 32],
    const uint8_t recipient_pub[static 32], const struct hpke_psk *psk, const void *info, size_t info_len,
    const void *aad, size_t aad_len, const void *pt, size_t pt_len, uint8_t enc_out[static HPKE_ENC_LEN],
    uint8_t *ct_out);

#endif
