/*
 * rowseal.h: sealing of the local database's rows under K_local.
 *
 * A session key = HKDF-Expand(K_local, "snugfs/1 row session" || 32 random bytes); the nonce is a counter that starts at
 * zero in each session, so that no nonce can repeat even when a crash threw committed counters away.  A sealed row is
 * session number (u32) || counter (u64) || ciphertext || tag.  The table and key of the row are associated data: a row
 * moved to another place does not open.
 * Uses err.h, secmem.h, kdf.h, aead.h.
 */
#ifndef SNUGFS_ROWSEAL_H
#define SNUGFS_ROWSEAL_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

#define ROWSEAL_SALT_LEN 32
#define ROWSEAL_OVERHEAD (4 + 8 + 16)

struct rowseal;
/* local_key: K_local.  Thread-safe: seal and open may be called from any thread. */
MUST_CHECK err_t rowseal_new(const uint8_t local_key[static 32], struct rowseal **out);
void rowseal_free(struct rowseal *rs);

/* Makes a session known, for opening.  -EEXIST if that number is known with another salt. */
MUST_CHECK err_t rowseal_add_session(struct rowseal *rs, uint32_t session, const uint8_t salt[static ROWSEAL_SALT_LEN]);
/* Starts the session that this process seals with; number must not be known yet.  The caller stores number and salt. */
MUST_CHECK err_t rowseal_start_session(struct rowseal *rs, uint32_t session, uint8_t salt_out[static ROWSEAL_SALT_LEN]);

/* Appends len + ROWSEAL_OVERHEAD bytes to out.  -EINVAL before a session was started. */
MUST_CHECK err_t rowseal_seal(struct rowseal *rs, const void *aad, size_t aad_len, const void *pt, size_t len,
    struct bytes *out);
/* Appends the plaintext to out.  -EBADMSG when it does not open under that session and aad. */
MUST_CHECK err_t rowseal_open(struct rowseal *rs, const void *aad, size_t aad_len, const uint8_t *row, size_t row_len,
    struct bytes *out);

/* The keyed hash by which a name is found: the first 8 bytes of HMAC(K_names, parent || name), as a signed 63-bit. */
MUST_CHECK err_t rowseal_name_hash(struct rowseal *rs, uint64_t parent, const char *name, size_t name_len,
    int64_t *out);

#endif
