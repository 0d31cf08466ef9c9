/* identity.c: from one secret to a member's keys: the derivations, and signing with the result. */
#include "identity.h"

#include <errno.h>
#include <string.h>

#include "curve25519.h"
#include "hash.h"
#include "kdf.h"
#include "secmem.h"

/* All of it stands in secret memory. */
struct identity {
	uint8_t prk[32]; /* what everything here is derived from */
	uint8_t sign_seed[32];
	uint8_t box_secret[32];
	struct identity_public pub;
};

/* The salt says what kind of secret it is, so that no two kinds of member ever derive the same keys. */
static err_t
from_secret(const char *salt, const uint8_t *secret, size_t secret_len, struct identity **out)
{
	CLEANUP(identity_free_ptr) struct identity *id = secmem_new(sizeof(*id));

	if (!id)
		return -ENOMEM;

	err_t e = hkdf_extract((const uint8_t *)salt, strlen(salt), secret, secret_len, id->prk);

	if (!e)
		e = hkdf_expand_label(id->prk, "snugfs/1 sign", NULL, 0, id->sign_seed, sizeof(id->sign_seed));
	if (!e)
		e = hkdf_expand_label(id->prk, "snugfs/1 box", NULL, 0, id->box_secret, sizeof(id->box_secret));
	if (!e)
		e = ed25519_public(id->sign_seed, id->pub.sign);
	if (!e)
		e = x25519_public(id->box_secret, id->pub.box);
	if (e)
		return e;
	*out = STEAL(id);
	return 0;
}

err_t
identity_from_device_secret(const uint8_t secret[static DEVICE_SECRET_LEN], struct identity **out)
{
	return from_secret("snugfs/1 device", secret, DEVICE_SECRET_LEN, out);
}

err_t
identity_from_recovery_key(const uint8_t key[static RECOVERY_KEY_LEN], struct identity **out)
{
	return from_secret("snugfs/1 recovery", key, RECOVERY_KEY_LEN, out);
}

err_t
identity_from_invitation(const uint8_t secret[static INVITATION_SECRET_LEN], struct identity **out)
{
	return from_secret("snugfs/1 invitation", secret, INVITATION_SECRET_LEN, out);
}

void
identity_free(struct identity *id)
{
	secmem_free(id);
}

void
identity_free_ptr(struct identity **id)
{
	identity_free(*id);
}

const struct identity_public *
identity_public(const struct identity *id)
{
	return &id->pub;
}

err_t
identity_id(const struct identity_public *pub, uint8_t out[static IDENTITY_ID_LEN])
{
	static const char label[] = "snugfs/1 member id";
	uint8_t input[sizeof(label) - 1 + sizeof(pub->sign) + sizeof(pub->box)];
	uint8_t digest[HASH_LEN];

	memcpy(input, label, sizeof(label) - 1);
	memcpy(input + sizeof(label) - 1, pub->sign, sizeof(pub->sign));
	memcpy(input + sizeof(label) - 1 + sizeof(pub->sign), pub->box, sizeof(pub->box));

	err_t e = hash_sha256(input, sizeof(input), digest);

	if (e)
		return e;
	memcpy(out, digest, IDENTITY_ID_LEN);
	return 0;
}

err_t
identity_sign(const struct identity *id, const void *msg, size_t len, uint8_t sig_out[static IDENTITY_SIG_LEN])
{
	return ed25519_sign(id->sign_seed, msg, len, sig_out);
}

err_t
identity_verify(const uint8_t sign_pub[static 32], const void *msg, size_t len,
    const uint8_t sig[static IDENTITY_SIG_LEN])
{
	return ed25519_verify(sign_pub, msg, len, sig);
}

err_t
identity_derive(const struct identity *id, const char *label, uint8_t out[static 32])
{
	/* A prefix of its own, so that no label can name the signing or the box key. */
	return hkdf_expand_label(id->prk, "snugfs/1 own ", label, strlen(label), out, 32);
}

const uint8_t *
identity_box_secret(const struct identity *id)
{
	return id->box_secret;
}
