/*
 * credentials.h: the keys to the store, sealed under K_local in a row of meta.db, as the store's URL is: for whoever does not
 * want them in a file in the clear.  Uses vault.h, store.h's struct.
 */
#ifndef SNUGFS_CREDENTIALS_H
#define SNUGFS_CREDENTIALS_H

#include "secmem.h"
#include "vault.h"

#define CREDENTIAL_MAX 8192

/* In secret memory; NUL-terminated. */
struct credentials {
	char access_key[CREDENTIAL_MAX];
	char secret_key[CREDENTIAL_MAX];
	char session_token[CREDENTIAL_MAX]; /* "": none */
};

/* -ENOENT: none are kept.  Free with secmem_free. */
MUST_CHECK err_t credentials_load(struct vault *v, struct credentials **out);
/* NULL: none any more.  Durable with the next meta_sync. */
MUST_CHECK err_t credentials_save(struct vault *v, const struct credentials *c);

#endif
