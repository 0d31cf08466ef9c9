/*
 * hash.c: SHA-256 and HMAC over EVP.  Algorithms are fetched once; each thread keeps one HMAC context, because making
 * one costs more than the HMAC of a short message.
 */
#include "hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/params.h>

#include "ossl.h"

struct hash {
	EVP_MD_CTX *ctx;
};

struct hmac {
	EVP_MAC_CTX *ctx;
};

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static EVP_MAC *hmac;
static pthread_key_t hmac_of_thread;
static err_t fetch_error;

static void
free_thread_hmac(void *ctx)
{
	EVP_MAC_CTX_free(ctx);
}

static void
fetch(void)
{
	LIBCRYPTO_SCOPE bool inside = ossl_exempt();

	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (!sha256 || !hmac)
		fetch_error = ossl_failure();
	else
		fetch_error = -pthread_key_create(&hmac_of_thread, free_thread_hmac);
}

static err_t
fetched(void)
{
	pthread_once(&fetch_once, fetch);
	return fetch_error;
}

err_t
hash_sha256(const void *data, size_t len, uint8_t out[static HASH_LEN])
{
	err_t e = fetched();

	if (e)
		return e;
	if (EVP_Digest(data, len, out, NULL, sha256, NULL) != 1)
		return ossl_failure();
	return 0;
}

err_t
hash_new(struct hash **out)
{
	err_t e = fetched();

	if (e)
		return e;

	CLEANUP(hash_free_ptr) struct hash *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex2(h->ctx, sha256, NULL) != 1)
		return ossl_failure();
	*out = STEAL(h);
	return 0;
}

void
hash_free(struct hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void
hash_free_ptr(struct hash **h)
{
	hash_free(*h);
}

err_t
hash_update(struct hash *h, const void *data, size_t len)
{
	if (EVP_DigestUpdate(h->ctx, data, len) != 1)
		return ossl_failure();
	return 0;
}

err_t
hash_final(struct hash *h, uint8_t out[static HASH_LEN])
{
	if (EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
		return ossl_failure();
	return 0;
}

static err_t
new_hmac_context(EVP_MAC_CTX **out)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string("digest", digest, sizeof(digest) - 1),
		OSSL_PARAM_END,
	};
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);

	if (!ctx || EVP_MAC_CTX_set_params(ctx, params) != 1) {
		EVP_MAC_CTX_free(ctx);
		return ossl_failure();
	}
	*out = ctx;
	return 0;
}

static err_t
thread_hmac(EVP_MAC_CTX **out)
{
	err_t e = fetched();

	if (e)
		return e;

	EVP_MAC_CTX *ctx = pthread_getspecific(hmac_of_thread);

	if (!ctx) {
		e = new_hmac_context(&ctx);
		if (e)
			return e;
		e = -pthread_setspecific(hmac_of_thread, ctx);
		if (e) {
			EVP_MAC_CTX_free(ctx);
			return e;
		}
	}
	*out = ctx;
	return 0;
}

/* The context has its key. */
static err_t
run_hmac(EVP_MAC_CTX *ctx, const struct hmac_part *parts, size_t part_count, uint8_t out[static HASH_LEN])
{
	for (size_t i = 0; i < part_count; i++) {
		if (parts[i].len && EVP_MAC_update(ctx, parts[i].data, parts[i].len) != 1)
			return ossl_failure();
	}
	if (EVP_MAC_final(ctx, out, NULL, HASH_LEN) != 1)
		return ossl_failure();
	return 0;
}

err_t
hmac_sha256_parts(const uint8_t *key, size_t key_len, const struct hmac_part *parts, size_t part_count,
    uint8_t out[static HASH_LEN])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	/* To OpenSSL, no key means the key of before; to HMAC, a key ends in as many zeros as fill a block. */
	static const uint8_t empty_key[1];
	EVP_MAC_CTX *ctx = NULL;
	err_t e = thread_hmac(&ctx);

	if (e)
		return e;
	if (EVP_MAC_init(ctx, key_len ? key : empty_key, key_len ? key_len : sizeof(empty_key), NULL) != 1)
		return ossl_failure();
	return run_hmac(ctx, parts, part_count, out);
}

err_t
hmac_sha256(const uint8_t *key, size_t key_len, const void *data, size_t len, uint8_t out[static HASH_LEN])
{
	const struct hmac_part part = {data, len};

	return hmac_sha256_parts(key, key_len, &part, 1, out);
}

err_t
hmac_new(const uint8_t *key, size_t key_len, struct hmac **out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	err_t e = key_len ? fetched() : -EINVAL;

	if (e)
		return e;

	struct hmac *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	e = new_hmac_context(&h->ctx);
	if (!e && EVP_MAC_init(h->ctx, key, key_len, NULL) != 1)
		e = ossl_failure();
	if (e) {
		hmac_free(h);
		return e;
	}
	*out = h;
	return 0;
}

void
hmac_free(struct hmac *h)
{
	if (!h)
		return;
	EVP_MAC_CTX_free(h->ctx);
	free(h);
}

/* No key: that of before. */
err_t
hmac_parts(struct hmac *h, const struct hmac_part *parts, size_t part_count, uint8_t out[static HASH_LEN])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	if (EVP_MAC_init(h->ctx, NULL, 0, NULL) != 1)
		return ossl_failure();
	return run_hmac(h->ctx, parts, part_count, out);
}
