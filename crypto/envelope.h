/*
 * envelope.h: the form of the objects that carry metadata: commits (c/<seq>), bases (b/<seq>) and base parts.
 *
 *   header (40 bytes, in the clear, authenticated):
 *     u8 format version (1), u8 kind, u8 cipher suite (1), u8 zero, u32 epoch, 32 random bytes (salt)
 *   then AES-256-GCM under HKDF-Expand(E_epoch, "snugfs/1 envelope" || kind || vault id || seq || salt), nonce 0, with
 *   the header as associated data, of:
 *     u64 body length, 32 previous object's SHA-256, 16 author id, u64 time (ns since 1970), body, 64 signature,
 *     zeros up to the padding step
 *   The signature is Ed25519 by the author over "snugfs/1 commit" || vault id || seq || SHA-256(header) || previous ||
 *   author || time || SHA-256(body).
 *
 * The salt makes the key single-use, so the constant nonce can't repeat even if a commit is rebuilt for the same number.
 * Uses err.h, aead.h, kdf.h, identity.h, padme.h, bytes.h.
 */
#ifndef SNUGFS_ENVELOPE_H
#define SNUGFS_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "identity.h"

#define ENVELOPE_HEADER_LEN 40
#define ENVELOPE_MAX_LEN (256u << 20)

enum envelope_kind {
	ENVELOPE_COMMIT = 1,
	ENVELOPE_BASE = 2,
	ENVELOPE_PART = 3,
	ENVELOPE_WITNESS = 6, /* 4 and 5 are the key box and the marker, which are no envelopes */
};

/* What is said about the body. */
struct envelope {
	enum envelope_kind kind;
	uint32_t epoch;
	uint64_t seq;
	uint8_t previous[32]; /* commit: SHA-256 of object c/<seq-1> (zeros for 0); base: of c/<seq>; part: zeros */
	uint8_t author[IDENTITY_ID_LEN];
	uint64_t time_ns;
};

/*
 * Appends the whole object to out.  -EINVAL: e->author is not the id of `author`, or the kind is none; -E2BIG: the object
 * would pass ENVELOPE_MAX_LEN.
 */
MUST_CHECK err_t envelope_seal(const struct envelope *e, const uint8_t vault_id[static 32],
    const uint8_t epoch_key[static 32], const struct identity *author, const uint8_t *body, size_t body_len,
    struct bytes *out);

/* The epoch that an object claims, before any key is known.  -EPROTO: unknown version, kind or cipher; -EBADMSG. */
MUST_CHECK err_t envelope_epoch(const uint8_t *object, size_t len, uint32_t *epoch_out);

/* An opened one; the body is owned, the signature not yet checked (its author may be introduced by the body itself). */
struct envelope_opened {
	struct envelope env;
	struct bytes plain;  /* owns what body points into */
	const uint8_t *body;
	size_t body_len;
	uint8_t signature[IDENTITY_SIG_LEN];
	uint8_t signed_hash_input[15 + 32 + 8 + 32 + 32 + 16 + 8 + 32]; /* what the signature is over */
};
void envelope_opened_clear(struct envelope_opened *o);

/*
 * Decrypts and parses.  kind and seq are what the caller asked the store for: another object served in its place does not
 * open.  -EBADMSG: not authentic (or padded wrongly); -EPROTO: unknown version, kind or cipher.
 */
MUST_CHECK err_t envelope_open(const uint8_t *object, size_t len, enum envelope_kind kind, uint64_t seq,
    const uint8_t vault_id[static 32], const uint8_t epoch_key[static 32], struct envelope_opened *out);
/* -EBADMSG unless it was signed by sign_pub. */
MUST_CHECK err_t envelope_verify(const struct envelope_opened *o, const uint8_t sign_pub[static 32]);

#endif
