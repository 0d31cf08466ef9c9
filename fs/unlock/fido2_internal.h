/* fido2_internal.h: what fido2.c asks of the file that owns libfido2, in the process apart. */
#ifndef SNUGFS_FIDO2_INTERNAL_H
#define SNUGFS_FIDO2_INTERNAL_H

#include "apart.h"
#include "fido2.h"

struct fido2_exchange {
	struct apart room;
	struct fido2_key keys[FIDO2_KEYS_MAX];
	size_t key_count;
	struct fido2_match match;
	struct fido2_slot slot;
	uint8_t output[FIDO2_OUTPUT_LEN];
};

struct fido2_task {
	enum { FIDO2_LIST, FIDO2_MAKE, FIDO2_FIND, FIDO2_GET } verb;
	const char *path; /* of list */
	const struct fido2_ask *ask;
	const uint8_t *vault_id;
	const struct fido2_slot *slots; /* of get one */
	size_t slot_count;
};

/* Fills what the task's verb gives. */
MUST_CHECK err_t fido2_do(struct fido2_exchange *x, const struct fido2_task *t);

#endif
