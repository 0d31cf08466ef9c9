/* hex.h: bytes as hexadecimal text and back, for what passes as JSON.  Uses err.h. */
#ifndef SNUGFS_HEX_H
#define SNUGFS_HEX_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* text_out gets 2 * len characters and a NUL. */
void hex_format(const uint8_t *data, size_t len, char *text_out);
/* -EINVAL: not just len bytes in hexadecimal digits (text may be NULL). */
MUST_CHECK err_t hex_parse(const char *text, uint8_t *data_out, size_t len);
/* A path of which paths_hex made text (may be NULL), malloc'ed.  -EINVAL: it is none. */
MUST_CHECK err_t hex_parse_path(const char *text, char **out);

#endif
