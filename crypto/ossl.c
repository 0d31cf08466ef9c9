/* ossl.c: OpenSSL's error queue, translated. */
#include "ossl.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "secmem.h"

err_t
ossl_failure(void)
{
	bool no_memory = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;

	ERR_clear_error();
	return no_memory ? -ENOMEM : -EIO;
}

/* Larger pieces are scrypt's working memory and buffers, which would fill the locked heap. */
#define GUARDED_MAX 8192u
#define WIPED_MAX 65536u

static _Thread_local bool guarded;

bool
ossl_enter(void)
{
	bool outside = guarded;

	guarded = true;
	return outside;
}

bool
ossl_exempt(void)
{
	bool inside = guarded;

	guarded = false;
	return inside;
}

void
ossl_leave(bool *outside)
{
	guarded = *outside;
	if (!guarded)
		secmem_wipe_registers();
}

/* What the locked heap itself does on its way (an error queue, say) is no secret. */
static void *
locked_malloc(size_t len)
{
	void *p;

	guarded = false;
	p = OPENSSL_secure_malloc(len);
	guarded = true;
	return p;
}

static void *
hooked_malloc(size_t len, const char *file, int line)
{
	void *p = NULL;

	(void)file;
	(void)line;
	if (guarded && len <= GUARDED_MAX && CRYPTO_secure_malloc_initialized())
		p = locked_malloc(len);
	return p != NULL ? p : malloc(len);
}

static void
hooked_free(void *p, const char *file, int line)
{
	size_t len;

	(void)file;
	(void)line;
	if (p == NULL)
		return;
	if (CRYPTO_secure_allocated(p)) {
		OPENSSL_secure_free(p); /* wipes */
		return;
	}
	len = malloc_usable_size(p);
	OPENSSL_cleanse(p, len < WIPED_MAX ? len : WIPED_MAX);
	free(p);
}

static void *
hooked_realloc(void *p, size_t len, const char *file, int line)
{
	size_t had;
	void *more;

	if (p == NULL)
		return hooked_malloc(len, file, line);
	if (len == 0) {
		hooked_free(p, file, line);
		return NULL;
	}
	had = CRYPTO_secure_allocated(p) ? CRYPTO_secure_actual_size(p) : malloc_usable_size(p);
	if (len <= had)
		return p;
	more = hooked_malloc(len, file, line);
	if (more == NULL)
		return NULL;
	memcpy(more, p, had);
	hooked_free(p, file, line);
	return more;
}

void
ossl_guard_memory(void)
{
	(void)CRYPTO_set_mem_functions(hooked_malloc, hooked_realloc, hooked_free);
}
