/* keywrap.c: AES-256 key wrap over EVP. */
#include "keywrap.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/evp.h>

#include "ossl.h"
#include "secmem.h"

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *wrap;

static void
fetch(void)
{
	LIBCRYPTO_SCOPE bool inside = ossl_exempt();

	wrap = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
}

static void
free_ctx(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

static EVP_CIPHER_CTX *
new_ctx(const uint8_t kek[static 32], bool wrapping)
{
	pthread_once(&fetch_once, fetch);
	if (!wrap)
		return NULL;

	CLEANUP(free_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (!ctx)
		return NULL;
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	if (EVP_CipherInit_ex2(ctx, wrap, kek, NULL, wrapping, NULL) != 1)
		return NULL;
	return STEAL(ctx);
}

err_t
keywrap_wrap(const uint8_t kek[static 32], const uint8_t key[static 32], uint8_t out[static KEYWRAP_LEN])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	CLEANUP(free_ctx) EVP_CIPHER_CTX *ctx = new_ctx(kek, true);
	uint8_t wrapped[KEYWRAP_LEN + 16];
	int len = 0;

	if (!ctx || EVP_CipherUpdate(ctx, wrapped, &len, key, 32) != 1 || len != KEYWRAP_LEN)
		return ossl_failure();
	memcpy(out, wrapped, KEYWRAP_LEN);
	return 0;
}

err_t
keywrap_unwrap(const uint8_t kek[static 32], const uint8_t wrapped[static KEYWRAP_LEN], uint8_t key_out[static 32])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	CLEANUP(free_ctx) EVP_CIPHER_CTX *ctx = new_ctx(kek, false);
	uint8_t key[KEYWRAP_LEN];
	int len = 0;

	if (!ctx)
		return ossl_failure();

	/* The one thing that can be wrong now is the integrity block (section 2.2.3). */
	if (EVP_CipherUpdate(ctx, key, &len, wrapped, KEYWRAP_LEN) != 1 || len != 32) {
		(void)ossl_failure();
		secmem_wipe(key, sizeof(key));
		return -EBADMSG;
	}
	secmem_copy(key_out, key, 32);
	secmem_wipe(key, sizeof(key));
	return 0;
}
