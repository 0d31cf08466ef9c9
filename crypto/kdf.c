/* kdf.c: HKDF as RFC 5869 builds it from HMAC (the thread's HMAC context makes that cheap), and scrypt. */
#include "kdf.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "hash.h"
#include "ossl.h"
#include "secmem.h"

#define SCRYPT_MAX_MEMORY (UINT64_C(1) << 30)

err_t
hkdf_extract(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len, uint8_t prk_out[static 32])
{
	/* No salt means HashLen zeros (section 2.2), which as an HMAC key is the same as an empty one. */
	return hmac_sha256(salt, salt_len, ikm, ikm_len, prk_out);
}

/* T(i) = HMAC(prk, T(i - 1) || label || context || i), section 2.3. */
static err_t
expand(const uint8_t prk[static 32], struct hmac_part label, struct hmac_part context, uint8_t *out, size_t out_len)
{
	if (out_len > 255 * HASH_LEN)
		return -EINVAL;

	CLEANUP(key32_wipe) struct key32 block = {{0}};
	uint8_t i = 1;

	for (size_t done = 0; done < out_len; i++) {
		const struct hmac_part parts[] = {
			{block.b, done ? HASH_LEN : 0},
			label,
			context,
			{&i, 1},
		};
		err_t e = hmac_sha256_parts(prk, 32, parts, ARRAY_LEN(parts), block.b);

		if (e) {
			secmem_wipe(out, done);
			return e;
		}

		size_t n = out_len - done < HASH_LEN ? out_len - done : HASH_LEN;

		secmem_copy(out + done, block.b, n);
		done += n;
	}
	return 0;
}

err_t
hkdf_expand(const uint8_t prk[static 32], const void *info, size_t info_len, uint8_t *out, size_t out_len)
{
	const struct hmac_part label = {info, info_len};
	const struct hmac_part no_context = {NULL, 0};

	return expand(prk, label, no_context, out, out_len);
}

err_t
hkdf_expand_label(const uint8_t prk[static 32], const char *label, const void *context, size_t context_len, uint8_t *out,
    size_t out_len)
{
	const struct hmac_part label_part = {label, strlen(label)};
	const struct hmac_part context_part = {context, context_len};

	return expand(prk, label_part, context_part, out, out_len);
}

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_KDF *scrypt;

static void
fetch(void)
{
	LIBCRYPTO_SCOPE bool inside = ossl_exempt();

	scrypt = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
}

static void
free_kdf_ctx(EVP_KDF_CTX **ctx)
{
	EVP_KDF_CTX_free(*ctx);
}

/* OSSL_PARAM has no const; what is set through it is only read. */
static void *
unconst(const void *p, size_t len)
{
	static char nothing[1];
	void *plain;

	if (!len)
		return nothing;
	memcpy(&plain, &p, sizeof(plain));
	return plain;
}

err_t
scrypt_derive(const void *pass, size_t pass_len, const uint8_t *salt, size_t salt_len, unsigned log_n, unsigned r,
    unsigned p, uint8_t out[static 32])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	if (log_n < 14 || log_n > 22 || r < 1 || r > 32 || p < 1 || p > 16)
		return -EINVAL;

	uint64_t n = UINT64_C(1) << log_n;
	uint64_t r64 = r;
	uint64_t p64 = p;

	if (128 * n * r64 > SCRYPT_MAX_MEMORY)
		return -EINVAL;

	/* OpenSSL counts its working blocks too: V (N), B (p) and a few more, 128 * r bytes each. */
	uint64_t max_memory = 128 * r64 * (n + p64 + 4);
	const OSSL_PARAM params[] = {
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PASSWORD, unconst(pass, pass_len), pass_len),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, unconst(salt, salt_len), salt_len),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_R, &r64),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_P, &p64),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &max_memory),
		OSSL_PARAM_END,
	};
	CLEANUP(key32_wipe) struct key32 key = {{0}};

	pthread_once(&fetch_once, fetch);
	if (!scrypt)
		return ossl_failure();

	CLEANUP(free_kdf_ctx) EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(scrypt);

	if (!ctx || EVP_KDF_derive(ctx, key.b, sizeof(key.b), params) != 1)
		return ossl_failure();
	secmem_copy(out, key.b, sizeof(key.b));
	return 0;
}
