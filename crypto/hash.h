/*
 * hash.h: SHA-256 (FIPS 180-4), HMAC-SHA-256 (FIPS 198-1, RFC 2104).  Uses err.h, OpenSSL.
 */
#ifndef SNUGFS_HASH_H
#define SNUGFS_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define HASH_LEN 32

/* -EIO on a failure of the library, -ENOMEM; nothing else. */
MUST_CHECK err_t hash_sha256(const void *data, size_t len, uint8_t out[static HASH_LEN]);

/* A running hash.  Not thread-safe. */
struct hash;
MUST_CHECK err_t hash_new(struct hash **out);
void hash_free(struct hash *h);
MUST_CHECK err_t hash_update(struct hash *h, const void *data, size_t len);
/* After this h may only be freed. */
MUST_CHECK err_t hash_final(struct hash *h, uint8_t out[static HASH_LEN]);
/* cleanup handler */
void hash_free_ptr(struct hash **h);

MUST_CHECK err_t hmac_sha256(const uint8_t *key, size_t key_len, const void *data, size_t len,
    uint8_t out[static HASH_LEN]);

/* The same of several pieces, one after the other. */
struct hmac_part {
	const void *data;
	size_t len;
};
MUST_CHECK err_t hmac_sha256_parts(const uint8_t *key, size_t key_len, const struct hmac_part *parts,
    size_t part_count, uint8_t out[static HASH_LEN]);

/* HMAC-SHA-256 under one key, for many short messages: the key (never empty) is taken in once.  One thread at a time. */
struct hmac;
MUST_CHECK err_t hmac_new(const uint8_t *key, size_t key_len, struct hmac **out);
void hmac_free(struct hmac *h);
MUST_CHECK err_t hmac_parts(struct hmac *h, const struct hmac_part *parts, size_t part_count,
    uint8_t out[static HASH_LEN]);

#endif
