/*
 * holder.h: what keeps 32 secret bytes for us outside of the vault's folder: the user's keyring (Secret Service) or the
 * computer's TPM 2.0.  A device file's slots keep their keys there, and its anchor.
 *
 * Each call runs in a process apart (apart.h): call it before there are threads.  Only 32 bytes in secret memory come back.
 * On failure *why_out (malloc'ed, the caller's) says in a clause what is wrong and what to do: "the keyring is locked: …".
 * Uses err.h, secmem.h, devicefile.h.
 */
#ifndef SNUGFS_HOLDER_H
#define SNUGFS_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "devicefile.h"
#include "err.h"

#define HOLDER_SECRET_LEN 32
#define HOLDER_PLACE_MAX 2048

enum holder_use {
	HOLDER_SLOT,   /* a slot's key */
	HOLDER_ANCHOR, /* an anchor: must be destroyed for good when it is dropped */
};

/* PIN: NULL, or what a person must type in; only for a TPM's slots. */
struct holder_pin {
	const char *text;
	size_t len;
};

struct holder_item {
	enum slot_kind kind; /* SLOT_SECRET_SERVICE or SLOT_TPM */
	enum holder_use use;
	uint8_t vault_id[32];
	const char *label; /* for people who look into their keyring */
};

/* Appends to place_out how to find it again.  pin may be NULL. */
MUST_CHECK err_t holder_put(const struct holder_item *item, const uint8_t secret[static HOLDER_SECRET_LEN],
    const struct holder_pin *pin, struct bytes *place_out, char **why_out);
/*
 * -ENOENT: it is not there (another computer, removed); -EKEYREJECTED: wrong PIN; -EACCES: locked; -ENOTSUP: this program was
 * built without it, or there is no such thing here; -EIO.
 */
MUST_CHECK err_t holder_get(enum slot_kind kind, const uint8_t *place, size_t place_len, const struct holder_pin *pin,
    uint8_t secret_out[static HOLDER_SECRET_LEN], char **why_out);
/* That it is not there any more is no error. */
MUST_CHECK err_t holder_drop(enum slot_kind kind, const uint8_t *place, size_t place_len, char **why_out);
/* Whether holder_get wants a PIN for that place. */
bool holder_wants_pin(enum slot_kind kind, const uint8_t *place, size_t place_len);

#endif
