/*
 * records_chunk.c: what a chunk of a file consists of: pending, then the list of its extents as they are, then as the chain has them.
 */
#include "records_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define VERSION_HEAD 2 /* in place of the chunk's record */
#define HEAD_LEN (1 + 1 + 4 + 4)
#define EXTENT_LEN (4 * 4 + 1 + 4 + EXTENT_ID_LEN + 8 + 8 + 4)

/* Extents: offsets are relative to the chunk, the sealed one's to the range (it begins at or before it). */

static void
put_list(uint8_t **p, const struct extent_list *l, uint64_t no)
{
	w32(p, l->count);
	for (uint32_t i = 0; i < l->count; i++) {
		const struct extent *x = &l->v[i];

		assert(x->off / CHUNK_LEN == no && x->x_off <= x->off && x->off - x->x_off < EXTENT_MAX_LEN);
		w32(p, (uint32_t)(x->off - no * CHUNK_LEN));
		w32(p, x->len);
		w32(p, (uint32_t)(x->off - x->x_off));
		w32(p, x->x_len);
		w8(p, x->x_encoding);
		w32(p, x->key_version);
		wbytes(p, x->x_id, EXTENT_ID_LEN);
		w64(p, x->seg);
		w64(p, x->seg_off);
		w32(p, x->stored_len);
	}
}

static err_t
get_extent(const uint8_t *p, uint64_t no, uint64_t *end, struct extent *out)
{
	uint32_t at = r32(&p);
	uint32_t len = r32(&p);
	uint32_t cut = r32(&p);
	struct extent x = {.off = no * CHUNK_LEN + at, .len = len};

	x.x_off = x.off - cut;
	x.x_len = r32(&p);
	x.x_encoding = r8(&p);
	x.key_version = r32(&p);
	rbytes(&p, x.x_id, EXTENT_ID_LEN);
	x.seg = r64(&p);
	x.seg_off = r64(&p);
	x.stored_len = r32(&p);

	if (len == 0 || at < *end || (uint64_t)at + len > CHUNK_LEN)
		return -EBADMSG;
	if (x.x_len > EXTENT_MAX_LEN || cut > x.off || (uint64_t)cut + len > x.x_len || x.x_encoding > FRAME_ZSTD)
		return -EBADMSG;
	*end = (uint64_t)at + len;
	*out = x;
	return 0;
}

/* The list's length is bounded by the record's, and by the chunk's, since ranges do not overlap. */
static err_t
get_list(struct cursor *c, uint64_t no, struct extent_list *out)
{
	uint32_t count;
	err_t e = cursor_u32(c, &count);

	if (e)
		return e;
	if (count > c->len / EXTENT_LEN)
		return -EBADMSG;
	if (count == 0)
		return 0;

	CLEANUP(free_ptr) struct extent *v = malloc(count * sizeof(*v));
	uint64_t end = 0;

	if (!v)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;

		e = cursor_take(c, EXTENT_LEN, &p);
		if (!e)
			e = get_extent(p, no, &end, &v[i]);
		if (e)
			return e;
	}
	*out = (struct extent_list){STEAL(v), count, count};
	return 0;
}

/* Chunks. */

void
chunk_free(struct chunk *c)
{
	if (!c)
		return;
	free(c->current.v);
	free(c->chain.v);
	free(c);
}

static void
chunk_cleanup(struct chunk **c)
{
	chunk_free(*c);
}

size_t
chunk_encoded_len(const struct chunk *c)
{
	return 1 + 4 + 4 + ((size_t)c->current.count + c->chain.count) * EXTENT_LEN;
}

void
chunk_encode(uint8_t **p, const struct chunk *c)
{
	w8(p, c->pending);
	put_list(p, &c->current, c->no);
	put_list(p, &c->chain, c->no);
}

err_t
chunk_decode(struct cursor *in, uint64_t ino, uint64_t no, struct chunk **out)
{
	CLEANUP(chunk_cleanup) struct chunk *c = calloc(1, sizeof(*c));
	uint8_t pending;

	if (!c)
		return -ENOMEM;
	if (no > INODE_MAX_SIZE / CHUNK_LEN)
		return -EBADMSG;
	c->ino = ino;
	c->no = no;

	err_t e = cursor_u8(in, &pending);

	if (!e && pending > 1)
		e = -EBADMSG;
	if (!e)
		e = get_list(in, no, &c->current);
	if (!e)
		e = get_list(in, no, &c->chain);
	if (e)
		return e;
	c->pending = pending;
	*out = STEAL(c);
	return 0;
}

err_t
record_put_chunk(struct bytes *b, const struct chunk *c)
{
	uint8_t *p;
	err_t e = bytes_extend(b, 1 + chunk_encoded_len(c), &p);

	if (e)
		return e;
	w8(&p, RECORD_VERSION);
	chunk_encode(&p, c);
	return 0;
}

err_t
record_get_chunk(const uint8_t *data, size_t len, uint64_t ino, uint64_t no, struct chunk **out)
{
	struct cursor in = {data, len};
	CLEANUP(chunk_cleanup) struct chunk *c = NULL;
	err_t e = record_take_version(&in);

	if (!e)
		e = chunk_decode(&in, ino, no, &c);
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = STEAL(c);
	return 0;
}

/* Heads: pending, which parts there are, and which are entered. */

_Static_assert(CHUNK_PARTS * CHUNK_PART_LEN == CHUNK_LEN && CHUNK_PARTS == 32, "parts are a chunk, and a bit each");

bool
record_is_chunk_head(const uint8_t *data, size_t len)
{
	return len > 0 && data[0] == VERSION_HEAD;
}

err_t
record_put_chunk_head(struct bytes *b, const struct chunk_head *h)
{
	uint8_t *p;
	err_t e = bytes_extend(b, HEAD_LEN, &p);

	if (e)
		return e;
	w8(&p, VERSION_HEAD);
	w8(&p, h->pending);
	w32(&p, h->rows);
	w32(&p, h->enters);
	return 0;
}

err_t
record_get_chunk_head(const uint8_t *data, size_t len, struct chunk_head *out)
{
	if (len > 0 && data[0] != VERSION_HEAD)
		return -EPROTO;
	if (len != HEAD_LEN || data[1] > 1)
		return -EBADMSG;
	*out = (struct chunk_head){data[1], get_u32(data + 2), get_u32(data + 6)};
	return 0;
}
