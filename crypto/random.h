/*
 * random.h: the only entropy: the system's generator through OpenSSL's DRBG.  Uses err.h.
 */
#ifndef SNUGFS_RANDOM_H
#define SNUGFS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Fills out[len].  0, or -EIO if the generator failed (then out is undefined and must not be used). Thread-safe. */
MUST_CHECK err_t random_bytes(void *out, size_t len);
/* The same from the DRBG reserved for private values (keys). */
MUST_CHECK err_t random_secret(void *out, size_t len);

#endif
