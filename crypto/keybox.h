/*
 * keybox.h: the object k/<epoch>-<random>: an epoch's secrets, HPKE-sealed once for each member, in random order among
 * dummies, found by trial.  The epoch statement in the chain pins its SHA-256.
 * Uses err.h, hpke.h, identity.h, padme.h, bytes.h, random.h.
 */
#ifndef SNUGFS_KEYBOX_H
#define SNUGFS_KEYBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "identity.h"

/* What a box holds.  Lives in secret memory (secmem_new(sizeof)). */
struct keybox_secrets {
	uint8_t epoch_key[32];    /* E_n */
	uint8_t link_secret[32];  /* the vault's HPKE PSK for devices */
	uint8_t recovery_psk[32]; /* the PSK of the recovery key: identity_derive(recovery, "recovery psk") */
};

struct keybox_member {
	struct identity_public pub;
	bool is_recovery; /* sealed under recovery_psk rather than link_secret */
};

/*
 * Slots: a multiple of 8, at least 8; then random bytes up to the padding step.  Appends the object to out.
 * -E2BIG: past 1 MiB (some 7,000 members).
 */
MUST_CHECK err_t keybox_seal(const uint8_t vault_id[static 32], uint32_t epoch, const struct keybox_secrets *secrets,
    const struct keybox_member *members, size_t member_count, struct bytes *out);

/*
 * Tries every slot.  psk is 32 bytes: the link secret, or the recovery key's.  -EKEYREJECTED: none is for us;
 * -EBADMSG: not a key box of this vault and epoch; -EPROTO: another version.
 */
MUST_CHECK err_t keybox_open(const uint8_t *object, size_t len, const uint8_t vault_id[static 32], uint32_t epoch,
    const struct identity *me, bool is_recovery, const uint8_t psk[static 32], struct keybox_secrets *out);

#endif
