/*
 * invitation.h: what an invited computer is told, in one line that can be typed, pasted and shown as a QR code.
 *
 *   "SNUGFS1-" and Crockford base 32 of:  map || first 5 bytes of SHA-256("snugfs/1 invitation token" || map)
 *
 * map := deterministic CBOR { 0: vault id, 1: number of the commit that made the invitation, 2: SHA-256 of that commit's object,
 * 3: link secret, 4: the invitation's secret, 5: when it expires (ns), 6: URL of the store, ? 7: [access key, secret key,
 * ? session token] }.  The check tells a typing error, or an end that is missing, from an invitation to another vault.
 * Uses err.h, bytes.h, identity.h, cborio.h, hash.h, secmem.h.
 */
#ifndef SNUGFS_INVITATION_H
#define SNUGFS_INVITATION_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "hpke.h"
#include "identity.h"

#define INVITATION_URL_MAX 1024
#define INVITATION_KEY_MAX 255
#define INVITATION_SESSION_MAX 2048
#define INVITATION_TEXT_MAX 8192 /* characters */

/* Lives in secret memory: made by invitation_parse, or with secmem_new(sizeof). */
struct invitation {
	uint8_t vault_id[32];
	uint64_t head_seq;
	uint8_t head_hash[32];
	uint8_t link_secret[32];
	uint8_t secret[INVITATION_SECRET_LEN];
	uint64_t expires_ns;
	char url[INVITATION_URL_MAX + 1];
	/* of the store; "" without */
	char access_key[INVITATION_KEY_MAX + 1];
	char secret_key[INVITATION_KEY_MAX + 1];
	char session_token[INVITATION_SESSION_MAX + 1];
};

/* *text_out: NUL-terminated, in secret memory (secmem_free). */
MUST_CHECK err_t invitation_format(const struct invitation *inv, char **text_out);
/*
 * Case, spaces, line ends and hyphens do not matter; O is 0, I and L are 1.  *out: secmem_free.
 * -EINVAL: not an invitation at all, or a character that is never used; -EBADMSG: mistyped, or not all of it;
 * -EPROTO: of another version.
 */
MUST_CHECK err_t invitation_parse(const char *text, struct invitation **out);

/*
 * The link secret on its way from a process that has the vault open to the one that makes the token, over a channel whose
 * buffers nobody wipes: sealed to the invitation's box key (HPKE; the PSK is the vault id and adds nothing).
 */
#define INVITATION_SEALED_LEN (HPKE_ENC_LEN + 32 + 16)
MUST_CHECK err_t invitation_seal_link(const uint8_t vault_id[static 32], const uint8_t guest_box[static 32],
    const uint8_t link_secret[static 32], uint8_t out[static INVITATION_SEALED_LEN]);
/* -EBADMSG: it is not for this invitation. */
MUST_CHECK err_t invitation_open_link(const uint8_t vault_id[static 32], const struct identity *guest,
    const uint8_t sealed[static INVITATION_SEALED_LEN], uint8_t link_secret_out[static 32]);
/* The store's credentials likewise: of inv nothing else is read or written.  -EINVAL: it has none. */
MUST_CHECK err_t invitation_seal_credentials(const uint8_t vault_id[static 32], const uint8_t guest_box[static 32],
    const struct invitation *inv, struct bytes *out);
MUST_CHECK err_t invitation_open_credentials(const uint8_t vault_id[static 32], const struct identity *guest,
    const uint8_t *sealed, size_t len, struct invitation *inv);

#endif
