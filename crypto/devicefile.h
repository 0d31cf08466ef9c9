/*
 * devicefile.h: the file that holds a device's secret, closed by key slots of which any one opens it.  Pure buffers: the
 * caller reads and writes the file, and asks people, keyrings and chips.
 *
 * A slot has a key of its own and wraps the 32-byte device secret under it.  The whole file is authenticated by an HMAC
 * under a key derived from the device secret, so that slots cannot be added, dropped or weakened by whoever can write to
 * the file: opening checks it.  Layout: snugfs-format(5).
 *
 * A file may be anchored: 32 random bytes, the anchor, are kept outside of the file (in a TPM or a keyring) and are needed
 * besides a slot's key.  Replacing the anchor wraps all slots anew, and makes every older copy of the file useless.  For
 * that the file keeps each slot's key, too, sealed under the device secret.  Plain slots and recovery slots need no anchor.
 * Uses err.h, secmem.h, kdf.h, aead.h, hash.h, hpke.h, cborio.h.
 */
#ifndef SNUGFS_DEVICEFILE_H
#define SNUGFS_DEVICEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "identity.h"

#define DEVICEFILE_MAX_LEN 65536
#define DEVICEFILE_MAX_SLOTS 32
#define DEVICEFILE_ANCHOR_LEN 32
#define DEVICEFILE_KEY_FILE_MIN 32
#define DEVICEFILE_KEY_FILE_MAX (1u << 20)
#define SLOT_ID_LEN 8
#define SLOT_KEY_LEN 32
#define SLOT_LABEL_MAX 64 /* bytes of UTF-8 */

#define FIDO2_RELYING_PARTY "snugfs" /* no web site can have this name, so none can ask a key for these credentials */
#define FIDO2_CREDENTIAL_MAX 1024
#define FIDO2_SALT_LEN 32
#define FIDO2_AAGUID_LEN 16
#define FIDO2_OUTPUT_LEN 32

enum slot_kind {
	SLOT_PLAIN = 0,          /* the secret as it is: the file's permissions alone protect it */
	SLOT_PASSPHRASE = 1,     /* scrypt */
	SLOT_KEY_FILE = 2,       /* the content of a file */
	SLOT_SECRET_SERVICE = 3, /* a random key that a keyring holds */
	SLOT_TPM = 4,            /* a random key that a TPM 2.0 holds */
	SLOT_FIDO2 = 5,          /* what a FIDO2 security key makes of a salt (hmac-secret) */
	SLOT_RECOVERY = 6, /* sealed to the recovery key's box key */
};

/* What names a slot. */
struct slot_tag {
	uint8_t id[SLOT_ID_LEN];
	char label[SLOT_LABEL_MAX + 1]; /* may be empty */
	uint64_t created_s;             /* seconds since 1970; 0: unknown */
};
/* A random id.  -EINVAL: a label that is too long or not printable UTF-8; -EIO. */
MUST_CHECK err_t slot_tag_new(const char *label, uint64_t created_s, struct slot_tag *out);

struct devicefile;

/* A file without slots yet.  vault_id: SHA-256 of the genesis statement, pinned here for ever. */
MUST_CHECK err_t devicefile_new(const uint8_t secret[static DEVICE_SECRET_LEN], const uint8_t vault_id[static 32],
    struct devicefile **out);
void devicefile_free(struct devicefile *df);
void devicefile_free_ptr(struct devicefile **df);

/* -EPROTO: another version; -EBADMSG: damaged or not a device file.  The result is closed until one of the opens worked. */
MUST_CHECK err_t devicefile_parse(const uint8_t *data, size_t len, struct devicefile **out);
/* Needs an open (or new) file with at least one slot besides recovery slots, else -EINVAL. */
MUST_CHECK err_t devicefile_serialize(const struct devicefile *df, struct bytes *out);

/* Slots.  What they say of themselves is authentic once the file is open. */
struct slot_view {
	uint64_t kind; /* enum slot_kind, or one that is not known */
	const struct slot_tag *tag;
	const uint8_t *params; /* all borrowed */
	size_t params_len;
};
size_t devicefile_slot_count(const struct devicefile *df);
struct slot_view devicefile_slot_at(const struct devicefile *df, size_t i);
bool devicefile_has_slot(const struct devicefile *df, enum slot_kind kind);

/*
 * Adding needs an open file (else -EINVAL) with fewer than DEVICEFILE_MAX_SLOTS slots (else -E2BIG).  tag NULL: a random
 * id and no label.  log_n 0: the standard cost (2^17, r 8, p 1); below 2^14 is refused (-EINVAL).
 */
MUST_CHECK err_t devicefile_add_passphrase(struct devicefile *df, const struct slot_tag *tag, const void *pass,
    size_t pass_len, unsigned log_n);
MUST_CHECK err_t devicefile_add_plain(struct devicefile *df, const struct slot_tag *tag);
/* -EINVAL unless DEVICEFILE_KEY_FILE_MIN <= len <= DEVICEFILE_KEY_FILE_MAX. */
MUST_CHECK err_t devicefile_add_key_file(struct devicefile *df, const struct slot_tag *tag, const void *content, size_t len);
/* A key that something else holds (SLOT_SECRET_SERVICE, SLOT_TPM); params: how to get it from there. */
MUST_CHECK err_t devicefile_add_held(struct devicefile *df, const struct slot_tag *tag, enum slot_kind kind,
    const uint8_t key[static SLOT_KEY_LEN], const uint8_t *params, size_t params_len);
/* What a security key makes its secret of again, together with its own. */
struct fido2_slot {
	uint8_t credential[FIDO2_CREDENTIAL_MAX]; /* its id: the key's own secret, sealed for itself */
	size_t credential_len;
	uint8_t salt[FIDO2_SALT_LEN];             /* random */
	uint8_t aaguid[FIDO2_AAGUID_LEN];         /* the model of the key: a hint for people, which nobody has checked */
	bool with_pin;                            /* it is what the key makes for who knows its PIN: something else than without */
};
/* output: what the key made.  -EINVAL: an empty or too long id. */
MUST_CHECK err_t devicefile_add_fido2(struct devicefile *df, const struct slot_tag *tag, const struct fido2_slot *how,
    const uint8_t output[static FIDO2_OUTPUT_LEN]);
/* -ENOENT: the slot is no security key's; -EBADMSG: it does not say what it should. */
MUST_CHECK err_t devicefile_get_fido2(const struct devicefile *df, size_t i, struct fido2_slot *out);
/* psk: the recovery PSK. */
MUST_CHECK err_t devicefile_add_recovery(struct devicefile *df, const struct slot_tag *tag,
    const struct identity_public *recovery, const uint8_t psk[static 32]);
/* Needs an open file.  -ENOENT: no slot has this id; -EINVAL: it is the last one besides recovery slots. */
MUST_CHECK err_t devicefile_drop_slot(struct devicefile *df, const uint8_t id[static SLOT_ID_LEN]);

/*
 * -EKEYREJECTED: no slot of that kind opens with it; -ENOENT: there is no such slot; -EBADMSG: it opened, but the file was
 * tampered with; -EPROTO: a cost outside the permitted range; -ENOKEY: the file is anchored and the anchor was not given.
 */
MUST_CHECK err_t devicefile_open_passphrase(struct devicefile *df, const void *pass, size_t pass_len);
MUST_CHECK err_t devicefile_open_plain(struct devicefile *df);
MUST_CHECK err_t devicefile_open_key_file(struct devicefile *df, const void *content, size_t len);
MUST_CHECK err_t devicefile_open_held(struct devicefile *df, size_t i, const uint8_t key[static SLOT_KEY_LEN]);
/* output: what the key makes of what devicefile_get_fido2 gave. */
MUST_CHECK err_t devicefile_open_fido2(struct devicefile *df, size_t i, const uint8_t output[static FIDO2_OUTPUT_LEN]);
MUST_CHECK err_t devicefile_open_recovery(struct devicefile *df, const struct identity *recovery);
/* With the device secret itself, as another reading of the file gave it. */
MUST_CHECK err_t devicefile_open_secret(struct devicefile *df, const uint8_t secret[static DEVICE_SECRET_LEN]);
/* Of the slot that opened the file; NULL if it was the secret itself, and after the slot was dropped. */
const struct slot_tag *devicefile_opened_by(const struct devicefile *df);

/* Where the anchor is kept. */
struct anchor_view {
	enum slot_kind kind;     /* SLOT_SECRET_SERVICE or SLOT_TPM */
	const uint8_t *place;    /* how to find it there; borrowed */
	size_t place_len;
	const uint8_t *previous; /* that of the one before, which may still be there and is to be destroyed; length 0: none */
	size_t previous_len;
};
/* false: the file is not anchored. */
bool devicefile_get_anchor(const struct devicefile *df, struct anchor_view *out);
/* Before opening. */
MUST_CHECK err_t devicefile_give_anchor(struct devicefile *df, const uint8_t value[static DEVICEFILE_ANCHOR_LEN]);
/* Of an open file: another anchor, or none (NULL, NULL).  All slots are wrapped anew. */
MUST_CHECK err_t devicefile_set_anchor(struct devicefile *df, const struct anchor_view *anchor, const uint8_t *value);

/* Borrowed, in secret memory; NULL while closed. */
const uint8_t *devicefile_secret(const struct devicefile *df);
/* Authentic once open. */
const uint8_t *devicefile_vault_id(const struct devicefile *df);

#endif
