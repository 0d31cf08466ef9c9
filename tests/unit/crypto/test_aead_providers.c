/* Nonce and tag in one call: with a provider that takes them as aead.c means it, and with others that take them otherwise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "aead.h"
#include "secmem.h"

enum provider {
	LIKE_OPENSSL,
	REFUSES,
	DOES_NOTHING,
	KEEPS_ITS_FIRST_NONCE,
	TAKES_ANY_TAG,
	KEEPS_THE_NONCE_WHEN_IT_SEALS,
};

#define COUNTER_LEN 8

static enum provider provider;
static unsigned calls; /* that set nonce and tag */
static bool is_counted; /* the message that is being opened was begun by one */
static bool was_counted; /* so was any in this context */
static uint8_t first[COUNTER_LEN], last[COUNTER_LEN];

int __real_EVP_CIPHER_CTX_set_params(EVP_CIPHER_CTX *ctx, const OSSL_PARAM params[]);
int __wrap_EVP_CIPHER_CTX_set_params(EVP_CIPHER_CTX *ctx, const OSSL_PARAM params[]);
int __real_EVP_CipherFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len);
int __wrap_EVP_CipherFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len);
int __real_EVP_EncryptInit_ex2(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv,
    const OSSL_PARAM params[]);
int __wrap_EVP_EncryptInit_ex2(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv,
    const OSSL_PARAM params[]);

int
__wrap_EVP_CIPHER_CTX_set_params(EVP_CIPHER_CTX *ctx, const OSSL_PARAM params[])
{
	const OSSL_PARAM *nonce = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV);

	if (calls++ == 0)
		memcpy(first, nonce->data, COUNTER_LEN);
	memcpy(last, nonce->data, COUNTER_LEN);
	is_counted = was_counted = true;
	if (provider == REFUSES)
		return 0;
	if (provider == DOES_NOTHING)
		return 1;
	if (provider == KEEPS_ITS_FIRST_NONCE)
		memcpy(nonce->data, first, COUNTER_LEN);
	return __real_EVP_CIPHER_CTX_set_params(ctx, params);
}

int
__wrap_EVP_CipherFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len)
{
	int rc = __real_EVP_CipherFinal_ex(ctx, out, len);

	if (is_counted && provider == TAKES_ANY_TAG)
		rc = 1;
	is_counted = false;
	return rc;
}

int
__wrap_EVP_EncryptInit_ex2(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv,
    const OSSL_PARAM params[])
{
	uint8_t kept[AEAD_NONCE_LEN] = { 0 };

	if (cipher != NULL)
		was_counted = false;
	memcpy(kept + sizeof(kept) - COUNTER_LEN, last, COUNTER_LEN);
	if (iv != NULL && was_counted && provider == KEEPS_THE_NONCE_WHEN_IT_SEALS)
		iv = kept;
	return __real_EVP_EncryptInit_ex2(ctx, cipher, key, iv, params);
}

/* Seals two messages; they open, and not with another tag. */
static bool
seals_and_opens(struct aead *a)
{
	uint8_t nonces[2][AEAD_NONCE_LEN], ct[2][4 + AEAD_TAG_LEN], out[4];

	for (size_t i = 0; i < 2; i++) {
		aead_nonce(7 + i, nonces[i]);
		if (aead_seal(a, nonces[i], "aad", 3, "text", 4, ct[i]))
			return false;
	}
	for (size_t i = 0; i < 2; i++) {
		if (aead_open(a, nonces[i], "aad", 3, ct[i], sizeof(ct[i]), out) || memcmp(out, "text", 4) != 0)
			return false;
		ct[i][4] ^= 1;
		if (aead_open(a, nonces[i], "aad", 3, ct[i], sizeof(ct[i]), out) != -EBADMSG)
			return false;
	}
	return true;
}

enum result {
	SET_APART, /* nonce and tag, in two calls */
	SET_AT_ONCE,
	WRONG,
	LEFT_SOMETHING,
	NO_CONTEXT,
};

/* What is found out is found out once in a process. */
static enum result
first_use(void)
{
	const uint8_t key[AEAD_KEY_LEN] = { 1 };
	size_t used = CRYPTO_secure_used();
	struct aead *a = NULL;
	bool right;
	unsigned before;

	if (aead_new(key, &a))
		return NO_CONTEXT;
	aead_free(a);
	if (CRYPTO_secure_used() != used || ERR_peek_error() != 0)
		return LEFT_SOMETHING;
	if (aead_new(key, &a))
		return NO_CONTEXT;
	before = calls;
	right = seals_and_opens(a) && seals_and_opens(a);
	aead_free(a);
	if (!right)
		return WRONG;
	return calls == before ? SET_APART : SET_AT_ONCE;
}

static enum result
first_use_with(enum provider p)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		provider = p;
		_exit((int)first_use());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return (enum result)WEXITSTATUS(status);
}

static void
a_provider_that_opens_messages_so_gets_nonce_and_tag_at_once(void **state)
{
	(void)state;
	assert_int_equal(first_use_with(LIKE_OPENSSL), SET_AT_ONCE);
}

static void
a_provider_that_says_it_can_and_does_otherwise_opens_messages_all_the_same(void **state)
{
	(void)state;
	for (enum provider p = REFUSES; p <= KEEPS_THE_NONCE_WHEN_IT_SEALS; p++)
		assert_int_equal(first_use_with(p), SET_APART);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_provider_that_opens_messages_so_gets_nonce_and_tag_at_once),
		cmocka_unit_test(a_provider_that_says_it_can_and_does_otherwise_opens_messages_all_the_same),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
