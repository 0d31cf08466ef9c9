/*
 * ossl.h: what the files that call OpenSSL share.  Internal to crypto/.  Uses err.h, OpenSSL.
 */
#ifndef SNUGFS_OSSL_H
#define SNUGFS_OSSL_H

#include <stdbool.h>

#include "err.h"

/*
 * After a call of OpenSSL failed: -ENOMEM if that was why, else -EIO.  Empties the thread's error queue, because what is
 * left in it would be taken for a failure of its own by the next user of the library (libcurl's TLS).
 */
err_t ossl_failure(void);

/*
 * libcrypto keeps key schedules and copies of keys in memory of its own.  Before the first call of it this makes it ask us:
 * what it frees is wiped, and what it wants within a scope, `LIBCRYPTO_SCOPE bool outside = ossl_enter();`, comes from the
 * locked heap while that has room.  Without effect if it came too late.
 */
void ossl_guard_memory(void);
bool ossl_enter(void);
/* The opposite, for what is fetched once and is no secret: `LIBCRYPTO_SCOPE bool inside = ossl_exempt();`. */
bool ossl_exempt(void);
void ossl_leave(bool *outside);
/* For such a variable, which nobody reads. */
#define LIBCRYPTO_SCOPE CLEANUP(ossl_leave) __attribute__((unused))

#endif
