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
static bool gcm_counts; /* begin_counted does with it what is said there */
static pthread_key_t spare_of_thread; /* struct aead *: the thread's context while nobody uses it */
static err_t fetch_error;

static void
free_spare(void *a)
{
	aead_free(a);
}

static bool opens_counted(void);

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
	gcm_counts = gcm_counts && opens_counted();
	fetch_error = -pthread_key_create(&spare_of_thread, free_spare);
}

static err_t
fetched(void)
{
	pthread_once(&fetch_once, fetch);
	return fetch_error;
}

/* [fetched] */
static err_t
make(const uint8_t *key, struct aead **out)
{
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
aead_new(const uint8_t key[static AEAD_KEY_LEN], struct aead **out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	err_t e = fetched();

	return e ? e : make(key, out);
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

/* aead_seal, in a scope of the caller's. */
static err_t
seal(struct aead *a, const uint8_t *nonce, const void *aad, size_t aad_len, const void *pt, size_t pt_len, uint8_t *out)
{
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

err_t
aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *aad, size_t aad_len, const void *pt,
    size_t pt_len, uint8_t *out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	return seal(a, nonce, aad, aad_len, pt, pt_len, out);
}

/*
 * The nonce and the tag in one call: that takes a third off what it costs to open a row (EVP_EncryptInit(3), "tlsivfixed" and
 * "tlsivinv", for TLS's nonces; they are made like ours).  What is documented is that a record of TLS can be opened so.  That any
 * message can rests on what OpenSSL's own providers do: only "tlsaad" makes a record of it.  As any other would make each vault look
 * damaged, opens_counted tries it.
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

/* aead_open, in a scope of the caller's. */
static err_t
open_sealed(struct aead *a, const uint8_t *nonce, const void *aad, size_t aad_len, const uint8_t *ct, size_t ct_len, uint8_t *out)
{
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

err_t
aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *aad, size_t aad_len, const uint8_t *ct,
    size_t ct_len, uint8_t *out)
{
	LIBCRYPTO_SCOPE bool outside = ossl_enter();

	return open_sealed(a, nonce, aad, aad_len, ct, ct_len, out);
}

#define TRIAL_LEN 32

/* Opens what is sealed with these counters, whatever else the context was used for, and nothing that is not. */
static bool
opens_what_it_seals(struct aead *a, const uint64_t counters[static 2])
{
	static const uint8_t aad[EVP_AEAD_TLS1_AAD_LEN] = {1}, text[TRIAL_LEN] = {2};
	uint8_t nonces[2][AEAD_NONCE_LEN], sealed[2][TRIAL_LEN + AEAD_TAG_LEN], back[TRIAL_LEN];

	for (size_t i = 0; i < 2; i++) {
		aead_nonce(counters[i], nonces[i]);
		if (seal(a, nonces[i], aad, sizeof(aad), text, sizeof(text), sealed[i]))
			return false;
	}
	for (size_t i = 0; i < 2; i++) {
		memset(back, 0, sizeof(back));
		if (open_sealed(a, nonces[i], aad, sizeof(aad), sealed[i], sizeof(sealed[i]), back) ||
		    memcmp(back, text, sizeof(back)) != 0)
			return false;
		sealed[i][TRIAL_LEN] ^= 1;
		if (open_sealed(a, nonces[i], aad, sizeof(aad), sealed[i], sizeof(sealed[i]), back) != -EBADMSG)
			return false;
	}
	return true;
}

/* Does begin_counted open what was sealed in the ordinary way?  [while nobody else can seal or open] */
static bool
opens_counted(void)
{
	static const uint8_t key[AEAD_KEY_LEN] = {3};
	CLEANUP(aead_free_ptr) struct aead *a = NULL;

	return !make(key, &a) && opens_what_it_seals(a, (uint64_t[]){1, 2}) && opens_what_it_seals(a, (uint64_t[]){3, UINT64_MAX});
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
