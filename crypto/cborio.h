/*
 * cborio.h: deterministic CBOR (RFC 8949 section 4.2.1) written item by item and read as a bounded pull cursor.
 *
 * The reader accepts only what the writer would write: shortest heads, definite lengths, map keys unsigned and strictly
 * ascending (checked by cbor_key), no tags, no floats.  It allocates nothing, so absurd lengths cost nothing.
 * This file owns libcbor, and keeps clear of its names (cbor_get_int, cbor_get_bool).  Uses err.h, bytes.h.
 */
#ifndef SNUGFS_CBORIO_H
#define SNUGFS_CBORIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

/* Writing: each appends one head (and the string's bytes) to b.  -ENOMEM only. */
MUST_CHECK err_t cbor_put_uint(struct bytes *b, uint64_t v);
MUST_CHECK err_t cbor_put_signed(struct bytes *b, int64_t v);
MUST_CHECK err_t cbor_put_bytes(struct bytes *b, const void *data, size_t len);
MUST_CHECK err_t cbor_put_text(struct bytes *b, const char *text);
MUST_CHECK err_t cbor_put_array(struct bytes *b, size_t count);
MUST_CHECK err_t cbor_put_map(struct bytes *b, size_t pair_count);
MUST_CHECK err_t cbor_put_boolean(struct bytes *b, bool v);

/*
 * Reading: each takes one item off the front of c.  -EBADMSG if the next item is of another type, not in its
 * deterministic form, or reaches past the end; then c is unmodified.
 */
MUST_CHECK err_t cbor_get_uint(struct cursor *c, uint64_t *out);
MUST_CHECK err_t cbor_get_uint_max(struct cursor *c, uint64_t max, uint64_t *out); /* also -EBADMSG above max */
MUST_CHECK err_t cbor_get_signed(struct cursor *c, int64_t *out);
MUST_CHECK err_t cbor_get_bytes(struct cursor *c, const uint8_t **data_out, size_t *len_out); /* borrowed */
MUST_CHECK err_t cbor_get_bytes_exact(struct cursor *c, uint8_t *out, size_t len);            /* a string of just len */
/* Borrowed, not terminated, valid UTF-8, without NUL. */
MUST_CHECK err_t cbor_get_text(struct cursor *c, const char **text_out, size_t *len_out);
/* count_out never passes the bytes that are left, so a loop over it is bounded. */
MUST_CHECK err_t cbor_get_array(struct cursor *c, size_t *count_out);
MUST_CHECK err_t cbor_get_map(struct cursor *c, size_t *pair_count_out);
MUST_CHECK err_t cbor_get_boolean(struct cursor *c, bool *out);
/* A map's next key; *last is the key before it (start with -1) and is moved on.  -EBADMSG unless it ascends. */
MUST_CHECK err_t cbor_key(struct cursor *c, int64_t *last, uint64_t *key_out);
MUST_CHECK err_t cbor_key_is(struct cursor *c, int64_t *last, uint64_t want); /* it must be that one */
/* -EBADMSG unless nothing is left. */
MUST_CHECK err_t cbor_end(const struct cursor *c);

#endif
