/*
 * records_internal.h: what records*.c share, and nobody else: reading and writing the fields of a record.
 */
#ifndef SNUGFS_RECORDS_INTERNAL_H
#define SNUGFS_RECORDS_INTERNAL_H

#include <string.h>

#include "bytes.h"
#include "records.h"

#define RECORD_VERSION 1

/* Writing into room that bytes_extend has made, reading from bytes that cursor_take has checked: neither can fail. */
static inline void
w8(uint8_t **p, uint8_t v)
{
	*(*p)++ = v;
}

static inline void
w32(uint8_t **p, uint32_t v)
{
	put_u32(*p, v);
	*p += 4;
}

static inline void
w64(uint8_t **p, uint64_t v)
{
	put_u64(*p, v);
	*p += 8;
}

static inline void
wbytes(uint8_t **p, const void *data, size_t len)
{
	if (len)
		memcpy(*p, data, len);
	*p += len;
}

static inline uint8_t
r8(const uint8_t **p)
{
	return *(*p)++;
}

static inline uint32_t
r32(const uint8_t **p)
{
	uint32_t v = get_u32(*p);

	*p += 4;
	return v;
}

static inline uint64_t
r64(const uint8_t **p)
{
	uint64_t v = get_u64(*p);

	*p += 8;
	return v;
}

static inline void
rbytes(const uint8_t **p, void *out, size_t len)
{
	memcpy(out, *p, len);
	*p += len;
}

/* records.c */
MUST_CHECK err_t record_take_version(struct cursor *c);
/* len bytes as a string of its own; none of them may be NUL. */
MUST_CHECK err_t record_take_text(struct cursor *c, size_t len, char **out);

/* records_chunk.c: a chunk within a record. */
size_t chunk_encoded_len(const struct chunk *c);
void chunk_encode(uint8_t **p, const struct chunk *c);
MUST_CHECK err_t chunk_decode(struct cursor *in, uint64_t ino, uint64_t no, struct chunk **out);

#endif
