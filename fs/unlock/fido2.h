/*
 * fido2.h: FIDO2 security keys, which make 32 secret bytes of a credential and a salt (the extension hmac-secret) once they are
 * touched.  Nothing is kept in them.
 *
 * Each call runs in a process apart (apart.h): call it before there are threads.  On failure *why_out (malloc'ed, the caller's)
 * says in a clause what is wrong and what to do; it may be NULL.  Uses devicefile.h, apart.h.
 */
#ifndef SNUGFS_FIDO2_H
#define SNUGFS_FIDO2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devicefile.h"
#include "err.h"

#define FIDO2_KEYS_MAX 16
#define FIDO2_PATH_MAX 1024
#define FIDO2_NAME_MAX 128

/* One that is plugged in. */
struct fido2_key {
	char path[FIDO2_PATH_MAX];
	char name[FIDO2_NAME_MAX]; /* maker and product, printable; may be empty */
	bool makes_secrets;        /* it has hmac-secret */
	bool has_pin;
};
/*
 * Those that can be talked to: that of path alone, or if it is NULL those that are found.  -ENODEV: there is none (why: perhaps one
 * that this user may not open); -ENOTSUP: built without libfido2, or it is not installed.
 */
MUST_CHECK err_t fido2_list(const char *path, struct fido2_key keys_out[static FIDO2_KEYS_MAX], size_t *count_out, char **why_out);

/* How to ask a key.  pin: NUL-terminated, or NULL for a slot without. */
struct fido2_ask {
	const char *path;
	const char *pin;
	void (*touch)(void); /* it waits for a touch from now on; called in the other process */
};

/*
 * A new credential, and what the key makes of it and of a random salt; the key is touched twice.  -EKEYREJECTED: wrong PIN, why
 * says how many tries are left; -EAGAIN: no PIN until it is plugged in anew; -EACCES: the PIN is blocked for good;
 * -ETIMEDOUT: not touched; -ENOTSUP: no hmac-secret; -EIO: pulled out, or something else.
 */
MUST_CHECK err_t fido2_make(const struct fido2_ask *ask, const uint8_t vault_id[static 32], struct fido2_slot *slot_out,
    uint8_t output_out[static FIDO2_OUTPUT_LEN], char **why_out);

/* Which of the keys that are plugged in made one of these slots: nobody has to touch it.  -ENOENT: none of them; else as fido2_list. */
struct fido2_match {
	char path[FIDO2_PATH_MAX];
	size_t slot;
};
MUST_CHECK err_t fido2_find(const struct fido2_slot *slots, size_t slot_count, struct fido2_match *out, char **why_out);
/* What the key made for the slot; it is touched once.  As fido2_make; -ENOENT: it does not have the credential (any more). */
MUST_CHECK err_t fido2_get(const struct fido2_ask *ask, const struct fido2_slot *slot, uint8_t output_out[static FIDO2_OUTPUT_LEN],
    char **why_out);

#endif
