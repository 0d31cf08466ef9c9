/*
 * devicefile_internal.h: what devicefile.c (the file) and devicefile_slots.c (what opens it) share, and nobody else sees.
 */
#ifndef SNUGFS_DEVICEFILE_INTERNAL_H
#define SNUGFS_DEVICEFILE_INTERNAL_H

#include "devicefile.h"

struct slot {
	uint64_t kind;
	struct slot_tag tag;
	struct bytes params;
	struct bytes wrapped; /* empty for a plain slot: its content is the secret, and so stays in secret memory */
	uint8_t *plain;       /* plain slots only */
	struct bytes escrow;  /* the slot's key, sealed under the device secret; empty for plain and recovery slots */
};

struct devicefile {
	uint8_t vault_id[32];
	struct slot slots[DEVICEFILE_MAX_SLOTS];
	size_t slot_count;
	struct {
		bool exists;
		uint64_t kind;
		struct bytes place, previous;
		uint8_t *value; /* secret memory; NULL until it is given */
	} anchor;
	uint8_t hmac[32]; /* as it was parsed; not looked at any more once the file is open */
	uint8_t *secret;  /* secret memory; NULL while closed */
	bool was_opened_by;
	uint8_t opened_by[SLOT_ID_LEN];
};

void slot_clear(struct slot *s);
/* -EBADMSG: too long, or with control characters, which a terminal might obey. */
MUST_CHECK err_t slot_get_label(struct cursor *c, char out[static SLOT_LABEL_MAX + 1]);
/* A copy in secret memory. */
MUST_CHECK err_t devicefile_copy_secret(const uint8_t *secret, uint8_t **out);
/* A slot gave this secret: the file is open if it authenticates all of the file. */
MUST_CHECK err_t devicefile_accept(struct devicefile *df, const uint8_t *secret);
/* A slot of any kind whose key and parameters are made. */
MUST_CHECK err_t devicefile_add_with_key(struct devicefile *df, const struct slot_tag *tag, enum slot_kind kind,
    const uint8_t key[static SLOT_KEY_LEN], const uint8_t *params, size_t params_len);

/* Of the slots, with the anchor that the file has now: all of them anew, or nothing is changed. */
MUST_CHECK err_t devicefile_wrap_slots(struct devicefile *df);

#endif
