/* bytes.c: the growing buffer (wiped wherever its memory is given back) and the bounded big-endian cursor. */
#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "secmem.h"

#define MIN_CAP 64
/* Of large pages a long buffer costs a few faults instead of thousands. */
#define LARGE_PAGE_LEN ((size_t)2 << 20)

void
bytes_clear(struct bytes *b)
{
	secmem_wipe(b->data, b->cap);
	free(b->data);
	*b = (struct bytes){0};
}

void
bytes_reset(struct bytes *b)
{
	b->len = 0;
}

static uint8_t *
new_memory(size_t cap)
{
	size_t align = cap < LARGE_PAGE_LEN ? BYTES_PAGE_LEN : LARGE_PAGE_LEN;
	void *data = NULL;

	if (cap < BYTES_LARGE_LEN)
		return malloc(cap);
	if (posix_memalign(&data, align, cap) != 0)
		return NULL;
	if (align == LARGE_PAGE_LEN)
		(void)madvise(data, cap, MADV_HUGEPAGE);
	return data;
}

/* What one is made for, or else a power of two: it is likely to grow on. */
static size_t
cap_for(const struct bytes *b, size_t need)
{
	size_t cap = b->cap < MIN_CAP ? MIN_CAP : b->cap;

	if (!b->data && need >= BYTES_LARGE_LEN)
		cap = need;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	return cap < BYTES_LARGE_LEN ? cap : (cap + BYTES_PAGE_LEN - 1) / BYTES_PAGE_LEN * BYTES_PAGE_LEN;
}

/* Not realloc(3): that would leave the old bytes, maybe a secret's, in freed memory. */
static err_t
grow(struct bytes *b, size_t need)
{
	size_t cap = cap_for(b, need);
	uint8_t *data = new_memory(cap);

	if (!data)
		return -ENOMEM;
	if (b->len)
		memcpy(data, b->data, b->len);
	secmem_wipe(b->data, b->cap);
	free(b->data);
	b->data = data;
	b->cap = cap;
	return 0;
}

err_t
bytes_reserve(struct bytes *b, size_t len)
{
	if (len > PTRDIFF_MAX - b->len)
		return -ENOMEM;
	return b->data && b->len + len <= b->cap ? 0 : grow(b, b->len + len);
}

err_t
bytes_extend(struct bytes *b, size_t len, uint8_t **at_out)
{
	err_t e = bytes_reserve(b, len);

	if (e)
		return e;
	*at_out = b->data + b->len;
	b->len += len;
	return 0;
}

err_t
bytes_append(struct bytes *b, const void *data, size_t len)
{
	uint8_t *at;
	err_t e = bytes_extend(b, len, &at);

	if (e)
		return e;
	if (len)
		memcpy(at, data, len);
	return 0;
}

err_t
bytes_append_u8(struct bytes *b, uint8_t v)
{
	return bytes_append(b, &v, sizeof(v));
}

err_t
bytes_append_u16(struct bytes *b, uint16_t v)
{
	uint8_t raw[2];

	put_u16(raw, v);
	return bytes_append(b, raw, sizeof(raw));
}

err_t
bytes_append_u32(struct bytes *b, uint32_t v)
{
	uint8_t raw[4];

	put_u32(raw, v);
	return bytes_append(b, raw, sizeof(raw));
}

err_t
bytes_append_u64(struct bytes *b, uint64_t v)
{
	uint8_t raw[8];

	put_u64(raw, v);
	return bytes_append(b, raw, sizeof(raw));
}

err_t
cursor_take(struct cursor *c, size_t len, const uint8_t **out)
{
	if (len > c->len)
		return -EBADMSG;
	*out = c->p;
	if (len)
		c->p += len;
	c->len -= len;
	return 0;
}

err_t
cursor_copy(struct cursor *c, void *out, size_t len)
{
	const uint8_t *p;
	err_t e = cursor_take(c, len, &p);

	if (e)
		return e;
	if (len)
		memcpy(out, p, len);
	return 0;
}

err_t
cursor_u8(struct cursor *c, uint8_t *out)
{
	return cursor_copy(c, out, sizeof(*out));
}

err_t
cursor_u16(struct cursor *c, uint16_t *out)
{
	const uint8_t *p;
	err_t e = cursor_take(c, 2, &p);

	if (!e)
		*out = get_u16(p);
	return e;
}

err_t
cursor_u32(struct cursor *c, uint32_t *out)
{
	const uint8_t *p;
	err_t e = cursor_take(c, 4, &p);

	if (!e)
		*out = get_u32(p);
	return e;
}

err_t
cursor_u64(struct cursor *c, uint64_t *out)
{
	const uint8_t *p;
	err_t e = cursor_take(c, 8, &p);

	if (!e)
		*out = get_u64(p);
	return e;
}
