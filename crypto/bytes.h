/*
 * bytes.h: a growing byte buffer, and a bounded cursor for reading fixed-width fields.  All integers are big-endian.
 * Uses err.h.
 */
#ifndef SNUGFS_BYTES_H
#define SNUGFS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define BYTES_LARGE_LEN (256u << 10)
#define BYTES_PAGE_LEN 4096u

/*
 * Bytes are data[0..len).  Zero-initialise; bytes_clear frees (and wipes). An append that fails leaves it unmodified.
 * One with room for BYTES_LARGE_LEN or more begins at a page, and its room ends at one, so that it can go past the kernel's cache.
 */
struct bytes {
	uint8_t *data;
	size_t len;
	size_t cap;
};
void bytes_clear(struct bytes *b);
/* Empties it, keeps the memory. */
void bytes_reset(struct bytes *b);
MUST_CHECK err_t bytes_append(struct bytes *b, const void *data, size_t len);
MUST_CHECK err_t bytes_append_u8(struct bytes *b, uint8_t v);
MUST_CHECK err_t bytes_append_u16(struct bytes *b, uint16_t v);
MUST_CHECK err_t bytes_append_u32(struct bytes *b, uint32_t v);
MUST_CHECK err_t bytes_append_u64(struct bytes *b, uint64_t v);
/* Room for len more bytes, so that what is appended up to there is not moved.  b->len stays. */
MUST_CHECK err_t bytes_reserve(struct bytes *b, size_t len);
/* len more bytes, uninitialised; their address in *at_out (valid until the next append). */
MUST_CHECK err_t bytes_extend(struct bytes *b, size_t len, uint8_t **at_out);

/* A view that shrinks from the front as it is read.  Every take returns -EBADMSG when too few bytes are left. */
struct cursor {
	const uint8_t *p;
	size_t len;
};
MUST_CHECK err_t cursor_u8(struct cursor *c, uint8_t *out);
MUST_CHECK err_t cursor_u16(struct cursor *c, uint16_t *out);
MUST_CHECK err_t cursor_u32(struct cursor *c, uint32_t *out);
MUST_CHECK err_t cursor_u64(struct cursor *c, uint64_t *out);
MUST_CHECK err_t cursor_copy(struct cursor *c, void *out, size_t len);
/* Borrowed from what the cursor reads. */
MUST_CHECK err_t cursor_take(struct cursor *c, size_t len, const uint8_t **out);

/* A row has dozens of these: here, so that each becomes one instruction. */
static inline void
put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void
put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static inline void
put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)(v >> 32));
	put_u32(p + 4, (uint32_t)v);
}

static inline uint16_t
get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t
get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

#endif
