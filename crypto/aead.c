/* aead.c: AES-256-GCM over EVP, and the context that each thread keeps for the hot paths. */
#include "aead.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "bytes.h"
#include "ossl.h"
#include "secmem.h"

_Static_assert(AEAD_MAX_LEN <= INT_MAX, "EVP counts in int");

/* A nonce as aead_nonce makes them: so many zero bytes, and the counter. */
#define NONCE_FIXED_LEN 4
#define NONCE_COUNTER_LEN (AEAD_NONCE_LEN - NONCE_FIXED_LEN)

struct aead {
	EVP_CIPHER_CTX *ctx;
	bool counts; /* it is for opening now, and begins each nonce with NONCE_FIXED_LEN zero bytes by itself */
};

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *gcm;
static bool gcm_counts; /* begin_counted is known to it */
static pthread_key_t spare_of_thread; /* struct aead *: the thread's context while nobody uses it */
static err_t fetch_error;

static void
free_spare(void *a)
{
	aead_free(a);
}

/* A provider that does not know a parameter is silent about it when it is set. */
static bool
can_set(const char *name)
{
	const OSSL_PARAM *known = EVP_CIPHER_settable_ctx_params(gcm);

	return known && OSSL_PARAM_locate_const(known, name);
}

static void
fetch(void)
{
	LIBCRYPTO_SCOPE bool inside = ossl_exempt();

	gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!gcm) {
		fetch_error = ossl_failure();
		return;
	}
	gcm_counts = can_set(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED) && can_set(OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV);
	fetch_error = -pthread_key_create(&spare_of_thread, free_spare);
}

static err_t
fetched(void)
{
	pthread_once(&fetch_once, fetch);
	return fetch_error;
}

err_t
aead_new(const uint8_t key[static AEAD_KEY_LEN], struct aead **out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	err_t e = fetched();

	if (e)
		return e;

	CLEANUP(aead_free_ptr) struct aead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->ctx = EVP_CIPHER_CTX_new();
	if (!a->ctx || EVP_EncryptInit_ex2(a->ctx, gcm, key, NULL, NULL) != 1)
		return ossl_failure();
	*out = STEAL(a);
	return 0;
}

err_t
aead_rekey(struct aead *a, const uint8_t key[static AEAD_KEY_LEN])
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	a->counts = false;
	if (EVP_EncryptInit_ex2(a->ctx, NULL, key, NULL, NULL) != 1)
		return ossl_failure();
	return 0;
}

void
aead_free(struct aead *a)
{
	if (!a)
		return;
	/* Wipes the key schedule. */
	EVP_CIPHER_CTX_free(a->ctx);
	free(a);
}

void
aead_free_ptr(struct aead **a)
{
	aead_free(*a);
}

/* Pieces of no bytes are left out: to EVP a NULL input means "finish". */
static bool
update(EVP_CIPHER_CTX *ctx, uint8_t *out, const void *in, size_t len)
{
	int done = 0;

	return !len || (EVP_CipherUpdate(ctx, out, &done, in, (int)len) == 1 && done == (int)len);
}

err_t
aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *aad, size_t aad_len, const void *pt,
    size_t pt_len, uint8_t *out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	int rest = 0;

	if (pt_len > AEAD_MAX_LEN || aad_len > AEAD_MAX_LEN)
		return -EINVAL;
	a->counts = false;
	if (EVP_EncryptInit_ex2(a->ctx, NULL, NULL, nonce, NULL) != 1 || !update(a->ctx, NULL, aad, aad_len) ||
	    !update(a->ctx, out, pt, pt_len) || EVP_CipherFinal_ex(a->ctx, out + pt_len, &rest) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, out + pt_len) != 1) {
		/* It may have been the plaintext; half of a ciphertext under a nonce that is used again would be a leak. */
		secmem_wipe(out, pt_len + AEAD_TAG_LEN);
		return ossl_failure();
	}
	return 0;
}

/*
 * The nonce and the tag in one call: that takes a third off what it costs to open a row (EVP_EncryptInit(3), "tlsivinv", which is for
 * TLS's nonces; they are made like ours).
 */
static bool
begin_counted(struct aead *a, const uint8_t *nonce, uint8_t *tag)
{
	static const uint8_t fixed[NONCE_FIXED_LEN] = {0};
	uint8_t counter[NONCE_COUNTER_LEN];
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, AEAD_TAG_LEN),
		OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV, counter, sizeof(counter)),
		OSSL_PARAM_construct_end(),
	};

	if (!a->counts && (EVP_DecryptInit_ex2(a->ctx, NULL, NULL, NULL, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_GCM_SET_IV_FIXED, sizeof(fixed), (void *)(uintptr_t)fixed) != 1))
		return false;
	a->counts = true;
	memcpy(counter, nonce + NONCE_FIXED_LEN, sizeof(counter));
	return EVP_CIPHER_CTX_set_params(a->ctx, params) == 1;
}

static bool
begin_opening(struct aead *a, const uint8_t *nonce, uint8_t *tag)
{
	if (gcm_counts && get_u32(nonce) == 0)
		return begin_counted(a, nonce, tag);
	a->counts = false;
	return EVP_DecryptInit_ex2(a->ctx, NULL, NULL, nonce, NULL) == 1 &&
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) == 1;
}

err_t
aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *aad, size_t aad_len, const uint8_t *ct,
    size_t ct_len, uint8_t *out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	uint8_t tag[AEAD_TAG_LEN];
	int rest = 0;

	if (ct_len < AEAD_TAG_LEN || ct_len > AEAD_MAX_LEN || aad_len > AEAD_MAX_LEN)
		return -EBADMSG;

	size_t pt_len = ct_len - AEAD_TAG_LEN;

	memcpy(tag, ct + pt_len, sizeof(tag));
	if (!begin_opening(a, nonce, tag) || !update(a->ctx, NULL, aad, aad_len) || !update(a->ctx, out, ct, pt_len)) {
		secmem_wipe(out, pt_len);
		return ossl_failure();
	}
	if (EVP_CipherFinal_ex(a->ctx, tag, &rest) != 1) {
		secmem_wipe(out, pt_len);
		(void)ossl_failure();
		return -EBADMSG;
	}
	return 0;
}

void
aead_nonce(uint64_t counter, uint8_t out[static AEAD_NONCE_LEN])
{
	memset(out, 0, 4);
	put_u64(out + 4, counter);
}

struct aead *
aead_acquire(const uint8_t key[static AEAD_KEY_LEN])
{
	struct aead *a = NULL;

	if (fetched())
		return NULL;

	struct aead *spare = pthread_getspecific(spare_of_thread);

	if (!spare)
		return aead_new(key, &a) ? NULL : a;

	/* Only what is not in use stands in the slot.  Emptying it needs no memory and so can't fail. */
	(void)pthread_setspecific(spare_of_thread, NULL);
	if (aead_rekey(spare, key)) {
		aead_free(spare);
		return NULL;
	}
	return spare;
}

void
aead_release(struct aead *a)
{
	if (!a)
		return;
	if (pthread_getspecific(spare_of_thread) || pthread_setspecific(spare_of_thread, a))
		aead_free(a);
}
