/* unpacker.c: from a sealed extent to its plaintext, frame by frame. */
#include "unpacker.h"

#include <errno.h>
#include <string.h>

#include "aead.h"
#include "bytes.h"
#include "compress.h"
#include "frame.h"

#define FRAMES_MAX (EXTENT_MAX_LEN / FRAME_ZSTD_LEN)

static err_t
open_raw(struct frame_cipher *fc, const struct extent_identity *id, const uint8_t *sealed, uint8_t *plain_out)
{
	err_t err = 0;

	for (uint32_t k = 0; err == 0 && k < frame_count(id); k++) {
		uint32_t len = frame_plain_len(id, k);

		err = frame_open(fc, k, sealed, len + AEAD_TAG_LEN, plain_out);
		sealed += len + AEAD_TAG_LEN;
		plain_out += len;
	}
	return err;
}

/* One data frame of a packed extent: packed_len bytes and the tag. */
static err_t
open_packed_frame(struct frame_cipher *fc, uint32_t no, uint32_t plain_len, const uint8_t *sealed, uint32_t packed_len,
    uint8_t *plain_out)
{
	uint8_t packed[FRAME_ZSTD_LEN];
	err_t err = frame_open(fc, no + 1, sealed, packed_len + AEAD_TAG_LEN, packed_len == plain_len ? plain_out : packed);

	return err != 0 || packed_len == plain_len ? err : decompress_block(packed, packed_len, plain_out, plain_len);
}

static err_t
open_packed(struct frame_cipher *fc, const struct extent_identity *id, const uint8_t *sealed, size_t left,
    uint8_t *plain_out)
{
	uint8_t index[FRAMES_MAX * 4];
	uint32_t count = frame_count(id);
	size_t index_len = (size_t)count * 4 + AEAD_TAG_LEN;
	err_t err;

	if (left < index_len)
		return -EBADMSG;
	if ((err = frame_open(fc, 0, sealed, index_len, index)) != 0)
		return err;
	sealed += index_len;
	left -= index_len;
	for (uint32_t k = 0; k < count; k++) {
		uint32_t packed_len = get_u32(index + (size_t)k * 4);
		uint32_t plain_len = frame_plain_len(id, k);

		if (packed_len == 0 || packed_len > plain_len || left < packed_len + AEAD_TAG_LEN)
			return -EBADMSG;
		if ((err = open_packed_frame(fc, k, plain_len, sealed, packed_len, plain_out)) != 0)
			return err;
		sealed += packed_len + AEAD_TAG_LEN;
		left -= packed_len + AEAD_TAG_LEN;
		plain_out += plain_len;
	}
	return left == 0 ? 0 : -EBADMSG;
}

err_t
unpacker_open(uint64_t origin, const struct key32 *key, const struct extent *x, const uint8_t *sealed, uint8_t *plain_out)
{
	struct extent_identity id = { origin, x->x_off, x->x_len, x->x_encoding, { 0 } };
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = { 0 };
	err_t err;

	memcpy(id.id, x->x_id, sizeof(id.id));
	if ((err = frame_cipher_init(&fc, key->b, &id)) != 0)
		return err == -EINVAL ? -EBADMSG : err;
	if (x->x_encoding == FRAME_ZSTD)
		return open_packed(&fc, &id, sealed, x->stored_len, plain_out);
	return x->stored_len == frame_raw_stored_len(x->x_len) ? open_raw(&fc, &id, sealed, plain_out) : -EBADMSG;
}
