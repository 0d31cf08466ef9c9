/*
 * compress.h: zstd, for packed frames and for commit bodies.  This file owns zstd.  Thread-safe.  Uses err.h, bytes.h.
 */
#ifndef SNUGFS_COMPRESS_H
#define SNUGFS_COMPRESS_H

#include <stdint.h>

#include "bytes.h"
#include "err.h"

/* Compresses into out[out_cap]; *len_out bytes were written.  -E2BIG: it does not fit (that is: did not shrink enough). */
MUST_CHECK err_t compress_block(const void *data, size_t len, uint8_t *out, size_t out_cap, size_t *len_out);
/* Decompresses to just out_len bytes; -EBADMSG otherwise. */
MUST_CHECK err_t decompress_block(const uint8_t *data, size_t len, void *out, size_t out_len);
/* Whole buffers, appended to out; decompression refuses more than max_len (-EBADMSG). */
MUST_CHECK err_t compress_buffer(const void *data, size_t len, struct bytes *out);
MUST_CHECK err_t decompress_buffer(const uint8_t *data, size_t len, size_t max_len, struct bytes *out);

#endif
