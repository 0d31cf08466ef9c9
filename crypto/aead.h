/*
 * aead.h: AES-256-GCM (NIST SP 800-38D), tag 16 bytes, nonce 12 bytes.
 *
 * NONCE RULE: under one key no nonce may come twice.  No caller may draw one at random: it is a counter (the frame
 * number, the row counter), or constant under a key that is used exactly once.
 * Uses err.h, OpenSSL.
 */
#ifndef SNUGFS_AEAD_H
#define SNUGFS_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define AEAD_KEY_LEN 32
#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN 16
#define AEAD_MAX_LEN (1u << 30)

/*
 * A keyed context: the key schedule is done once, for many messages.  One thread at a time.
 */
struct aead;
MUST_CHECK err_t aead_new(const uint8_t key[static AEAD_KEY_LEN], struct aead **out);
/* Gives an existing context another key (cheaper than new/free). */
MUST_CHECK err_t aead_rekey(struct aead *a, const uint8_t key[static AEAD_KEY_LEN]);
void aead_free(struct aead *a);
void aead_free_ptr(struct aead **a);

/*
 * out gets pt_len + AEAD_TAG_LEN bytes (ciphertext, tag); it may be pt itself.  -EIO on a failure of the library, -EINVAL
 * when pt_len or aad_len passes AEAD_MAX_LEN.
 */
MUST_CHECK err_t aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *aad,
    size_t aad_len, const void *pt, size_t pt_len, uint8_t *out);
/*
 * ct_len includes the tag; out gets ct_len - AEAD_TAG_LEN bytes; it may be ct itself.
 * -EBADMSG when it does not authenticate (or is shorter than a tag): then out is wiped.
 */
MUST_CHECK err_t aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *aad,
    size_t aad_len, const uint8_t *ct, size_t ct_len, uint8_t *out);

/* The nonce that is this counter: four zero bytes, then the counter, big-endian. */
void aead_nonce(uint64_t counter, uint8_t out[static AEAD_NONCE_LEN]);

/*
 * For hot paths: the context that the calling thread keeps, with this key; given back with aead_release, on the same
 * thread.  Between the two it is the caller's alone: a nested acquire gets another.  NULL when out of memory.
 */
struct aead *aead_acquire(const uint8_t key[static AEAD_KEY_LEN]);
void aead_release(struct aead *a);

#endif
