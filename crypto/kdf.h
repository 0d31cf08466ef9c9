/*
 * kdf.h: HKDF-SHA-256 (RFC 5869) and scrypt (RFC 7914).  Uses err.h, OpenSSL.
 *
 * Every label ("info") of this program begins with "snugfs/1 " so that no two uses of a key can meet.
 */
#ifndef SNUGFS_KDF_H
#define SNUGFS_KDF_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Extract (RFC 5869 2.2): salt may be NULL with salt_len 0. */
MUST_CHECK err_t hkdf_extract(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len,
    uint8_t prk_out[static 32]);
/* Expand (RFC 5869 2.3): out_len at most 255 * 32, else -EINVAL. prk is 32 bytes. Fast: used once an extent. */
MUST_CHECK err_t hkdf_expand(const uint8_t prk[static 32], const void *info, size_t info_len, uint8_t *out,
    size_t out_len);
/* Expand with the text label followed by len bytes of context (context may be NULL with 0). */
MUST_CHECK err_t hkdf_expand_label(const uint8_t prk[static 32], const char *label, const void *context,
    size_t context_len, uint8_t *out, size_t out_len);

/*
 * N = 2^log_n, r, p as in RFC 7914.  -EINVAL if the parameters are outside log_n 14..22, r 1..32, p 1..16 or the
 * memory (128 * N * r) passes 1 GiB; -ENOMEM; -EIO.
 */
MUST_CHECK err_t scrypt_derive(const void *pass, size_t pass_len, const uint8_t *salt, size_t salt_len,
    unsigned log_n, unsigned r, unsigned p, uint8_t out[static 32]);

#endif
