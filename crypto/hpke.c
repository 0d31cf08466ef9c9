/* hpke.c: RFC 9180 for the one suite and the single shot that we use.  Names follow the RFC. */
#include "hpke.h"

#include <errno.h>
#include <string.h>

#include "aead.h"
#include "curve25519.h"
#include "hash.h"
#include "hpke_setup.h"
#include "kdf.h"
#include "random.h"
#include "secmem.h"

#define MODE_BASE 0x00
#define MODE_PSK 0x01
#define PSK_MIN_LEN 32

static const uint8_t version[] = {'H', 'P', 'K', 'E', '-', 'v', '1'};

struct suite_id {
	uint8_t b[10];
	size_t len;
};
/* DHKEM(X25519, HKDF-SHA256) is 0x0020, HKDF-SHA256 0x0001 (section 7). */
static const struct suite_id kem_suite = {{'K', 'E', 'M', 0x00, 0x20}, 5};

static struct suite_id
hpke_suite(enum hpke_aead aead)
{
	return (struct suite_id){{'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, (uint8_t)aead}, 10};
}

static void
context_wipe(struct hpke_context *ctx)
{
	secmem_wipe(ctx, sizeof(*ctx));
}

/* Section 4.  A salt is empty or 32 bytes. */
static err_t
labeled_extract(const struct suite_id *suite, const struct key32 *salt, const char *label, const void *ikm,
    size_t ikm_len, uint8_t prk_out[static 32])
{
	const struct hmac_part parts[] = {
		{version, sizeof(version)},
		{suite->b, suite->len},
		{label, strlen(label)},
		{ikm, ikm_len},
	};

	return hmac_sha256_parts(salt ? salt->b : NULL, salt ? sizeof(salt->b) : 0, parts, ARRAY_LEN(parts), prk_out);
}

/* Section 4.  At most HASH_LEN bytes, so one block of HKDF-Expand: HMAC(prk, info || 0x01). */
static err_t
labeled_expand(const struct suite_id *suite, const struct key32 *prk, const char *label, const void *info,
    size_t info_len, uint8_t *out, uint8_t out_len)
{
	const uint8_t length[2] = {0, out_len};
	const uint8_t block_number = 1;
	const struct hmac_part parts[] = {
		{length, sizeof(length)},
		{version, sizeof(version)},
		{suite->b, suite->len},
		{label, strlen(label)},
		{info, info_len},
		{&block_number, 1},
	};
	CLEANUP(key32_wipe) struct key32 block = {{0}};

	if (out_len > sizeof(block.b))
		return -EINVAL;

	err_t e = hmac_sha256_parts(prk->b, sizeof(prk->b), parts, ARRAY_LEN(parts), block.b);

	if (e)
		return e;
	memcpy(out, block.b, out_len);
	return 0;
}

/* Section 4.1: the DH of one's own secret and the other's public key, bound to both public keys. */
static err_t
kem_shared_secret(const uint8_t my_secret[static 32], const uint8_t their_pub[static 32], const uint8_t enc[static 32],
    const uint8_t recipient_pub[static 32], struct key32 *out)
{
	CLEANUP(key32_wipe) struct key32 dh = {{0}};
	CLEANUP(key32_wipe) struct key32 eae_prk = {{0}};
	uint8_t kem_context[64];
	err_t e = x25519_shared(my_secret, their_pub, dh.b);

	memcpy(kem_context, enc, 32);
	memcpy(kem_context + 32, recipient_pub, 32);
	if (!e)
		e = labeled_extract(&kem_suite, NULL, "eae_prk", dh.b, sizeof(dh.b), eae_prk.b);
	if (!e)
		e = labeled_expand(&kem_suite, &eae_prk, "shared_secret", kem_context, sizeof(kem_context), out->b, 32);
	return e;
}

/* Section 5.1. */
static err_t
key_schedule(enum hpke_aead aead, const struct key32 *shared_secret, const struct hpke_psk *psk, const void *info,
    size_t info_len, struct hpke_context *out)
{
	static const struct hpke_psk no_psk = {NULL, 0, NULL, 0};
	const struct hpke_psk *p = psk ? psk : &no_psk;
	const struct suite_id suite = hpke_suite(aead);
	uint8_t schedule[1 + HASH_LEN + HASH_LEN] = {psk ? MODE_PSK : MODE_BASE};
	CLEANUP(key32_wipe) struct key32 secret = {{0}};
	uint8_t key_len = aead == HPKE_AES_128_GCM ? 16 : 32;

	if (psk && (psk->psk_len < PSK_MIN_LEN || !psk->psk_id_len))
		return -EINVAL;

	err_t e = labeled_extract(&suite, NULL, "psk_id_hash", p->psk_id, p->psk_id_len, schedule + 1);

	if (!e)
		e = labeled_extract(&suite, NULL, "info_hash", info, info_len, schedule + 1 + HASH_LEN);
	if (!e)
		e = labeled_extract(&suite, shared_secret, "secret", p->psk, p->psk_len, secret.b);
	if (!e)
		e = labeled_expand(&suite, &secret, "key", schedule, sizeof(schedule), out->key, key_len);
	if (!e)
		e = labeled_expand(&suite, &secret, "base_nonce", schedule, sizeof(schedule), out->base_nonce,
		    sizeof(out->base_nonce));
	return e;
}

err_t
hpke_setup_sender(enum hpke_aead aead, const uint8_t ephemeral_secret[static 32], const uint8_t recipient_pub[static 32],
    const struct hpke_psk *psk, const void *info, size_t info_len, uint8_t enc_out[static HPKE_ENC_LEN],
    struct hpke_context *out)
{
	CLEANUP(key32_wipe) struct key32 shared_secret = {{0}};
	uint8_t enc[HPKE_ENC_LEN];
	err_t e = x25519_public(ephemeral_secret, enc);

	if (!e)
		e = kem_shared_secret(ephemeral_secret, recipient_pub, enc, recipient_pub, &shared_secret);
	if (!e)
		e = key_schedule(aead, &shared_secret, psk, info, info_len, out);
	if (e)
		return e;
	memcpy(enc_out, enc, sizeof(enc));
	return 0;
}

err_t
hpke_setup_recipient(enum hpke_aead aead, const uint8_t recipient_secret[static 32],
    const uint8_t enc[static HPKE_ENC_LEN], const struct hpke_psk *psk, const void *info, size_t info_len,
    struct hpke_context *out)
{
	CLEANUP(key32_wipe) struct key32 shared_secret = {{0}};
	uint8_t recipient_pub[32];
	err_t e = x25519_public(recipient_secret, recipient_pub);

	if (!e)
		e = kem_shared_secret(recipient_secret, enc, enc, recipient_pub, &shared_secret);
	if (!e)
		e = key_schedule(aead, &shared_secret, psk, info, info_len, out);
	return e;
}

err_t
hpke_seal_with_ephemeral(const uint8_t ephemeral_secret[static 32], const uint8_t recipient_pub[static 32],
    const struct hpke_psk *psk, const void *info, size_t info_len, const void *aad, size_t aad_len, const void *pt,
    size_t pt_len, uint8_t enc_out[static HPKE_ENC_LEN], uint8_t *ct_out)
{
	CLEANUP(context_wipe) struct hpke_context ctx = {{0}, {0}};
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	uint8_t enc[HPKE_ENC_LEN];
	err_t e = hpke_setup_sender(HPKE_AES_256_GCM, ephemeral_secret, recipient_pub, psk, info, info_len, enc, &ctx);

	if (!e)
		e = aead_new(ctx.key, &a);
	/* The first message's nonce is base_nonce itself (section 5.2); there is no second one. */
	if (!e)
		e = aead_seal(a, ctx.base_nonce, aad, aad_len, pt, pt_len, ct_out);
	if (e)
		return e;
	memcpy(enc_out, enc, sizeof(enc));
	return 0;
}

err_t
hpke_seal(const uint8_t recipient_pub[static 32], const struct hpke_psk *psk, const void *info, size_t info_len,
    const void *aad, size_t aad_len, const void *pt, size_t pt_len, uint8_t enc_out[static HPKE_ENC_LEN],
    uint8_t *ct_out)
{
	CLEANUP(key32_wipe) struct key32 ephemeral = {{0}};
	err_t e = random_secret(ephemeral.b, sizeof(ephemeral.b));

	if (e)
		return e;
	return hpke_seal_with_ephemeral(ephemeral.b, recipient_pub, psk, info, info_len, aad, aad_len, pt, pt_len, enc_out,
	    ct_out);
}

err_t
hpke_open(const uint8_t recipient_secret[static 32], const uint8_t enc[static HPKE_ENC_LEN], const struct hpke_psk *psk,
    const void *info, size_t info_len, const void *aad, size_t aad_len, const uint8_t *ct, size_t ct_len,
    uint8_t *pt_out)
{
	CLEANUP(context_wipe) struct hpke_context ctx = {{0}, {0}};
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	err_t e = hpke_setup_recipient(HPKE_AES_256_GCM, recipient_secret, enc, psk, info, info_len, &ctx);

	if (!e)
		e = aead_new(ctx.key, &a);
	if (!e)
		e = aead_open(a, ctx.base_nonce, aad, aad_len, ct, ct_len, pt_out);
	return e;
}
