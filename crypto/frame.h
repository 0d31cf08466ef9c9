/*
 * frame.h: an extent's bytes: frames under a key that only this extent has.
 *
 * extent key = HKDF-Expand(file key, "snugfs/1 extent" || extent id); frame i is AES-256-GCM under it with nonce i and
 * the extent's identity (file id, logical offset, plaintext length, frame count, encoding) as associated data.  NONCE
 * RULE: an extent id is 16 fresh random bytes for every sealing, so the key is used for one extent once, and frame
 * numbers do not repeat within it.
 *
 * Raw extents (encoding FRAME_RAW): frames of 4096 plaintext bytes, the last one shorter: frame i stands at i * 4112.
 * Packed extents (FRAME_ZSTD): frame 0 is the index: a big-endian u32 stored length (without tag) for each data frame;
 * data frame i (nonce i + 1) holds the zstd compression of 32768 plaintext bytes, or those bytes themselves when they
 * did not shrink (stored length == plaintext length).
 * Uses err.h, kdf.h, aead.h.
 */
#ifndef SNUGFS_FRAME_H
#define SNUGFS_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define FRAME_RAW_LEN 4096u
#define FRAME_ZSTD_LEN 32768u
#define EXTENT_MAX_LEN (1u << 20)
#define EXTENT_ID_LEN 16

enum frame_encoding {
	FRAME_RAW = 0,
	FRAME_ZSTD = 1,
};

/* What an extent is; all of it is authenticated with every frame. */
struct extent_identity {
	uint64_t file_id;
	uint64_t offset; /* logical, in the file */
	uint32_t len;    /* plaintext bytes, 1..EXTENT_MAX_LEN */
	uint32_t encoding;
	uint8_t id[EXTENT_ID_LEN];
};

/* Number of data frames of an extent (ceil(len / frame length)). */
uint32_t frame_count(const struct extent_identity *x);
/* Plaintext length of data frame i. */
uint32_t frame_plain_len(const struct extent_identity *x, uint32_t i);

/* The keyed state for one extent; lives on the stack of one call; wiped by frame_cipher_clear. */
struct frame_cipher {
	struct aead *aead; /* borrowed from the thread */
	uint8_t aad[32];
};
MUST_CHECK err_t frame_cipher_init(struct frame_cipher *fc, const uint8_t file_key[static 32],
    const struct extent_identity *x);
void frame_cipher_clear(struct frame_cipher *fc);

/* nonce_no is the frame's number as said above.  out gets len + 16 bytes. */
MUST_CHECK err_t frame_seal(struct frame_cipher *fc, uint32_t nonce_no, const void *pt, size_t len, uint8_t *out);
/* ct_len includes the tag.  -EBADMSG when it does not authenticate: then out is wiped. */
MUST_CHECK err_t frame_open(struct frame_cipher *fc, uint32_t nonce_no, const uint8_t *ct, size_t ct_len, uint8_t *out);

/* A raw extent in one call: out gets frame_raw_stored_len(x->len) bytes. */
uint32_t frame_raw_stored_len(uint32_t len);
MUST_CHECK err_t frame_seal_raw(const uint8_t file_key[static 32], const struct extent_identity *x, const void *pt,
    uint8_t *out);

#endif
