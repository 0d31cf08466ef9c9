/*
 * keywrap.h: AES-256 key wrap (RFC 3394) of 32-byte keys under 32-byte keys.  Uses err.h, OpenSSL.
 */
#ifndef SNUGFS_KEYWRAP_H
#define SNUGFS_KEYWRAP_H

#include <stdint.h>

#include "err.h"

#define KEYWRAP_LEN 40

MUST_CHECK err_t keywrap_wrap(const uint8_t kek[static 32], const uint8_t key[static 32],
    uint8_t out[static KEYWRAP_LEN]);
/* -EBADMSG if it was not wrapped under kek. */
MUST_CHECK err_t keywrap_unwrap(const uint8_t kek[static 32], const uint8_t wrapped[static KEYWRAP_LEN],
    uint8_t key_out[static 32]);

#endif
