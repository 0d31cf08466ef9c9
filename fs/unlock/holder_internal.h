/*
 * holder_internal.h: what holder.c asks of the two files that own a library, in the child process.
 */
#ifndef SNUGFS_HOLDER_INTERNAL_H
#define SNUGFS_HOLDER_INTERNAL_H

#include "apart.h"
#include "holder.h"

/* Lies in locked memory that both processes see. */
struct holder_exchange {
	struct apart room;
	uint8_t secret[HOLDER_SECRET_LEN];
	uint8_t place[HOLDER_PLACE_MAX];
	size_t place_len;
};

/* A library's three verbs: put reads x->secret and fills x->place, get reads x->place and fills x->secret. */
MUST_CHECK err_t holder_keyring_put(struct holder_exchange *x, const struct holder_item *item);
MUST_CHECK err_t holder_keyring_get(struct holder_exchange *x);
MUST_CHECK err_t holder_keyring_drop(struct holder_exchange *x);

MUST_CHECK err_t holder_tpm_put(struct holder_exchange *x, const struct holder_item *item, const struct holder_pin *pin);
MUST_CHECK err_t holder_tpm_get(struct holder_exchange *x, const struct holder_pin *pin);
MUST_CHECK err_t holder_tpm_drop(struct holder_exchange *x);

/* A TPM's place begins with one of these. */
enum holder_tpm_place {
	TPM_PLACE_SEALED = 1,     /* an object sealed under the storage primary key */
	TPM_PLACE_SEALED_PIN = 2, /* the same, with a PIN */
	TPM_PLACE_NV = 3,         /* an NV index */
};

#endif
