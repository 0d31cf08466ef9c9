/*
 * store_s3.h: a bucket of an S3 service as the store.
 *
 * put: one PUT with the SHA-256 of the bytes, which the service checks; create_if_absent: the same with "If-None-Match: *".
 * Objects are one below the other under the prefix of the address.  A service's answer "there is no such bucket" is -EACCES,
 * never -ENOENT.  Uses store.h, s3_client.h, s3_xml.h.
 */
#ifndef SNUGFS_STORE_S3_H
#define SNUGFS_STORE_S3_H

#include "store.h"

/* create: makes the bucket if it is missing, which asks the service.  Errors as store_open_with. */
MUST_CHECK err_t store_s3_open(const char *url, bool create, const struct store_options *options, struct store **out,
    char **why_out);

/* For tests: as s3_client_set_clock.  s is a store that store_s3_open made. */
void store_s3_set_clock(struct store *s, int64_t seconds_ahead);

#endif
