/*
 * curve25519.h: Ed25519 (RFC 8032) and X25519 (RFC 7748) on raw keys.  Internal to crypto/: identity.c and hpke.c.
 * Uses err.h, OpenSSL.
 */
#ifndef SNUGFS_CURVE25519_H
#define SNUGFS_CURVE25519_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

MUST_CHECK err_t ed25519_public(const uint8_t seed[static 32], uint8_t pub_out[static 32]);
MUST_CHECK err_t ed25519_sign(const uint8_t seed[static 32], const void *msg, size_t len, uint8_t sig_out[static 64]);
/* -EBADMSG if the signature is not by pub. */
MUST_CHECK err_t ed25519_verify(const uint8_t pub[static 32], const void *msg, size_t len, const uint8_t sig[static 64]);

MUST_CHECK err_t x25519_public(const uint8_t secret[static 32], uint8_t pub_out[static 32]);
/* -EBADMSG if the shared secret is all zeros: peer is a point of small order (RFC 7748 section 6.1). */
MUST_CHECK err_t x25519_shared(const uint8_t secret[static 32], const uint8_t peer[static 32],
    uint8_t shared_out[static 32]);

#endif
