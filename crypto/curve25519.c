/* curve25519.c: Ed25519 and X25519 over EVP_PKEY.  OpenSSL keeps the private halves in its secure heap and wipes them. */
#include "curve25519.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "ossl.h"
#include "secmem.h"

static void
free_pkey(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void
free_pkey_ctx(EVP_PKEY_CTX **ctx)
{
	EVP_PKEY_CTX_free(*ctx);
}

static void
free_md_ctx(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}

static err_t
public_of(const char *algorithm, const uint8_t secret[static 32], uint8_t pub_out[static 32])
{
	CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, algorithm, NULL, secret, 32);
	uint8_t pub[32];
	size_t len = sizeof(pub);

	if (!key || EVP_PKEY_get_raw_public_key(key, pub, &len) != 1 || len != sizeof(pub))
		return ossl_failure();
	memcpy(pub_out, pub, sizeof(pub));
	return 0;
}

err_t
ed25519_public(const uint8_t seed[static 32], uint8_t pub_out[static 32])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	return public_of("ED25519", seed, pub_out);
}

err_t
ed25519_sign(const uint8_t seed[static 32], const void *msg, size_t len, uint8_t sig_out[static 64])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed, 32);
	CLEANUP(free_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[64];
	size_t sig_len = sizeof(sig);

	if (!key || !ctx || EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) != 1 ||
	    EVP_DigestSign(ctx, sig, &sig_len, msg, len) != 1 || sig_len != sizeof(sig))
		return ossl_failure();
	memcpy(sig_out, sig, sizeof(sig));
	return 0;
}

err_t
ed25519_verify(const uint8_t pub[static 32], const void *msg, size_t len, const uint8_t sig[static 64])
{
	CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, pub, 32);
	CLEANUP(free_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!key || !ctx || EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) != 1)
		return ossl_failure();
	if (EVP_DigestVerify(ctx, sig, 64, msg, len) != 1) {
		(void)ossl_failure();
		return -EBADMSG;
	}
	return 0;
}

err_t
x25519_public(const uint8_t secret[static 32], uint8_t pub_out[static 32])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	return public_of("X25519", secret, pub_out);
}

err_t
x25519_shared(const uint8_t secret[static 32], const uint8_t peer[static 32], uint8_t shared_out[static 32])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	static const uint8_t zeros[32];
	CLEANUP(free_pkey) EVP_PKEY *mine = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, secret, 32);
	CLEANUP(free_pkey) EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer, 32);
	CLEANUP(key32_wipe) struct key32 shared = {{0}};
	size_t len = sizeof(shared.b);

	if (!mine || !theirs)
		return ossl_failure();

	CLEANUP(free_pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL);

	/* Not validated, because for X25519 every string is a public key; the result tells. */
	if (!ctx || EVP_PKEY_derive_init_ex(ctx, NULL) != 1 || EVP_PKEY_derive_set_peer_ex(ctx, theirs, 0) != 1)
		return ossl_failure();

	/* OpenSSL refuses the all-zero result too; we do not lean on that alone. */
	if (EVP_PKEY_derive(ctx, shared.b, &len) != 1 || len != sizeof(shared.b) ||
	    secmem_equal(shared.b, zeros, sizeof(zeros))) {
		(void)ossl_failure();
		return -EBADMSG;
	}
	memcpy(shared_out, shared.b, sizeof(shared.b));
	return 0;
}
