/*
 * identity.h: a member of the vault: an Ed25519 signing key (RFC 8032) and an X25519 box key (RFC 7748), both derived
 * from one secret: a device's 32 random bytes, the 16 bytes of the recovery key, or the 16 bytes of an invitation.
 *
 * Uses err.h, secmem.h, kdf.h, hash.h, OpenSSL.
 */
#ifndef SNUGFS_IDENTITY_H
#define SNUGFS_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define IDENTITY_ID_LEN 16
#define IDENTITY_SIG_LEN 64
#define DEVICE_SECRET_LEN 32
#define RECOVERY_KEY_LEN 16
#define INVITATION_SECRET_LEN 16

/* What everybody may know. */
struct identity_public {
	uint8_t sign[32];
	uint8_t box[32];
};

/* The secret half, in secret memory.  Read-only after it was made, so any thread may use it. */
struct identity;

/* Derivation: PRK = HKDF-Extract("snugfs/1 device", secret); seeds by labels; the page snugfs-format(5) has them. */
MUST_CHECK err_t identity_from_device_secret(const uint8_t secret[static DEVICE_SECRET_LEN], struct identity **out);
MUST_CHECK err_t identity_from_recovery_key(const uint8_t key[static RECOVERY_KEY_LEN], struct identity **out);
MUST_CHECK err_t identity_from_invitation(const uint8_t secret[static INVITATION_SECRET_LEN], struct identity **out);
void identity_free(struct identity *id);
void identity_free_ptr(struct identity **id);

const struct identity_public *identity_public(const struct identity *id);
/* The first 16 bytes of SHA-256("snugfs/1 member id" || sign || box). */
MUST_CHECK err_t identity_id(const struct identity_public *pub, uint8_t out[static IDENTITY_ID_LEN]);

/* Ed25519 over the bytes. */
MUST_CHECK err_t identity_sign(const struct identity *id, const void *msg, size_t len,
    uint8_t sig_out[static IDENTITY_SIG_LEN]);
/* -EBADMSG if the signature is not by sign_pub. */
MUST_CHECK err_t identity_verify(const uint8_t sign_pub[static 32], const void *msg, size_t len,
    const uint8_t sig[static IDENTITY_SIG_LEN]);

/* A key of its own for the label, known to this member alone (K_local, the recovery PSK). */
MUST_CHECK err_t identity_derive(const struct identity *id, const char *label, uint8_t out[static 32]);

/* The raw X25519 private key, borrowed, for hpke.h only. */
const uint8_t *identity_box_secret(const struct identity *id);

#endif
