/* random.c: OpenSSL's DRBGs, the only source of random bytes. */
#include "random.h"

#include <errno.h>

#include <openssl/rand.h>

#include "ossl.h"

/* A generator that can't give this strength is refused. */
#define STRENGTH_BITS 256

err_t
random_bytes(void *out, size_t len)
{
	if (RAND_bytes_ex(NULL, out, len, STRENGTH_BITS) != 1) {
		(void)ossl_failure();
		return -EIO;
	}
	return 0;
}

err_t
random_secret(void *out, size_t len)
{
	if (RAND_priv_bytes_ex(NULL, out, len, STRENGTH_BITS) != 1) {
		(void)ossl_failure();
		return -EIO;
	}
	return 0;
}
