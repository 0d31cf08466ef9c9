/*
 * devicefile.h: the file that holds a device's secret, closed by key slots of which any one opens it.  Pure buffers: the
 * caller reads and writes the file.
 *
 * A slot wraps the 32-byte device secret under a key of its own (AEAD, with the slot's type and parameters as associated
 * data).  The whole file is authenticated by an HMAC under a key derived from the device secret, so that slots cannot be
 * added, dropped or weakened by whoever can write to the file: opening checks it.  Layout: snugfs-format(5).
 * Uses err.h, secmem.h, kdf.h, aead.h, hash.h, cborio.h.
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

enum slot_kind {
	SLOT_PLAIN = 0,      /* the secret as it is: the file's permissions alone protect it */
	SLOT_PASSPHRASE = 1, /* scrypt */
	/* 2 key file, 3 secret service, 4 TPM 2.0, 5 FIDO2: reserved; kept as they are when the file is rewritten */
};

struct devicefile;

/* A file without slots yet.  vault_id: SHA-256 of the genesis statement, pinned here for ever. */
MUST_CHECK err_t devicefile_new(const uint8_t secret[static DEVICE_SECRET_LEN], const uint8_t vault_id[static 32],
    struct devicefile **out);
void devicefile_free(struct devicefile *df);
void devicefile_free_ptr(struct devicefile **df);

/* -EPROTO: another version; -EBADMSG: damaged or not a device file.  The result is closed until one of the opens worked. */
MUST_CHECK err_t devicefile_parse(const uint8_t *data, size_t len, struct devicefile **out);
/* Needs an open (or new) file with at least one slot, else -EINVAL. */
MUST_CHECK err_t devicefile_serialize(const struct devicefile *df, struct bytes *out);

bool devicefile_has_slot(const struct devicefile *df, enum slot_kind kind);

/*
 * Adding needs an open file (else -EINVAL) with fewer than DEVICEFILE_MAX_SLOTS slots (else -E2BIG).
 * log_n 0: the standard cost (2^17, r 8, p 1); below 2^14 is refused (-EINVAL).
 */
MUST_CHECK err_t devicefile_add_passphrase(struct devicefile *df, const void *pass, size_t pass_len, unsigned log_n);
MUST_CHECK err_t devicefile_add_plain(struct devicefile *df);
/* Drops all slots of a kind; needs an open file; the last one of all can't be dropped (-EINVAL). */
MUST_CHECK err_t devicefile_drop_slots(struct devicefile *df, enum slot_kind kind);

/*
 * -EKEYREJECTED: no passphrase slot opens with it; -ENOENT: there is no such slot; -EBADMSG: it opened, but the file was
 * tampered with; -EPROTO: a cost outside the permitted range.
 */
MUST_CHECK err_t devicefile_open_passphrase(struct devicefile *df, const void *pass, size_t pass_len);
MUST_CHECK err_t devicefile_open_plain(struct devicefile *df);

/* Borrowed, in secret memory; NULL while closed. */
const uint8_t *devicefile_secret(const struct devicefile *df);
/* Authentic once open. */
const uint8_t *devicefile_vault_id(const struct devicefile *df);

#endif
