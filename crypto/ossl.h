/*
 * ossl.h: what the files that call OpenSSL share.  Internal to crypto/.  Uses err.h, OpenSSL.
 */
#ifndef SNUGFS_OSSL_H
#define SNUGFS_OSSL_H

#include "err.h"

/*
 * After a call of OpenSSL failed: -ENOMEM if that was why, else -EIO.  Empties the thread's error queue, because what is
 * left in it would be taken for a failure of its own by the next user of the library (libcurl's TLS).
 */
err_t ossl_failure(void);

#endif
