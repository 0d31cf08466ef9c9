/* secmem.c: OpenSSL's secure heap as the home of lasting secrets, and the process hardening that goes with it. */
#include "secmem.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <openssl/crypto.h>

#include "ossl.h"

/* Room for some thousand keys and libcrypto's keyed contexts, and well within the usual RLIMIT_MEMLOCK of 8 MiB. */
#define HEAP_LEN (1u << 20)
#define HEAP_MIN_CHUNK 32

static pthread_once_t heap_once = PTHREAD_ONCE_INIT;
static err_t heap_error;
static bool heap_locked;

static err_t
forbid_dumps(void)
{
	const struct rlimit none = {0, 0};

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
		return -errno;
	return 0;
}

static void
heap_init(void)
{
	heap_error = forbid_dumps();
	if (heap_error)
		return;
	ossl_guard_memory();

	/* 1: locked; 2: usable, but mlock(2) or one of the guard pages failed. */
	int made = CRYPTO_secure_malloc_init(HEAP_LEN, HEAP_MIN_CHUNK);

	if (!made && !CRYPTO_secure_malloc_initialized()) {
		(void)ossl_failure();
		heap_error = -ENOMEM;
		return;
	}
	heap_locked = made == 1;
}

err_t
secmem_init(void)
{
	pthread_once(&heap_once, heap_init);
	return heap_error;
}

bool
secmem_is_locked(void)
{
	return heap_locked;
}

void *
secmem_new(size_t len)
{
	/* Without its heap OpenSSL would quietly hand out ordinary memory. */
	if (!CRYPTO_secure_malloc_initialized())
		return NULL;

	void *p = OPENSSL_secure_zalloc(len);

	if (!p)
		(void)ossl_failure();
	return p;
}

void
secmem_free(void *p)
{
	/* Wipes the whole chunk, whatever its length. */
	OPENSSL_secure_free(p);
	secmem_wipe_registers();
}

void
secmem_free_ptr(void *p_to_pointer)
{
	void *p;

	memcpy(&p, p_to_pointer, sizeof(p));
	secmem_free(p);
}

void
secmem_wipe(void *p, size_t len)
{
	if (len)
		OPENSSL_cleanse(p, len);
	secmem_wipe_registers();
}

void
secmem_copy(void *restrict to, const void *restrict from, size_t len)
{
	memcpy(to, from, len);
	secmem_wipe_registers();
}

bool
secmem_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void
key32_wipe(struct key32 *k)
{
	OPENSSL_cleanse(k->b, sizeof(k->b));
	secmem_wipe_registers();
}
