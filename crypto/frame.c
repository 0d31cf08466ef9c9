/* frame.c: an extent's key and associated data, and its frames. */
#include "frame.h"

#include <errno.h>

#include "aead.h"
#include "bytes.h"
#include "kdf.h"
#include "secmem.h"

static uint32_t
frame_len(const struct extent_identity *x)
{
	return x->encoding == FRAME_ZSTD ? FRAME_ZSTD_LEN : FRAME_RAW_LEN;
}

uint32_t
frame_count(const struct extent_identity *x)
{
	return x->len / frame_len(x) + (x->len % frame_len(x) != 0);
}

uint32_t
frame_plain_len(const struct extent_identity *x, uint32_t i)
{
	uint32_t count = frame_count(x);

	if (i >= count)
		return 0;
	return i + 1 < count ? frame_len(x) : x->len - i * frame_len(x);
}

/* file id u64, offset u64, len u32, frame count u32, encoding u32, 4 zero bytes; the extent's id is in its key. */
static void
write_aad(const struct extent_identity *x, uint8_t out[static 32])
{
	put_u64(out, x->file_id);
	put_u64(out + 8, x->offset);
	put_u32(out + 16, x->len);
	put_u32(out + 20, frame_count(x));
	put_u32(out + 24, x->encoding);
	put_u32(out + 28, 0);
}

err_t
frame_cipher_init(struct frame_cipher *fc, const uint8_t file_key[static 32], const struct extent_identity *x)
{
	CLEANUP(key32_wipe) struct key32 key = {{0}};

	if (!x->len || x->len > EXTENT_MAX_LEN || (x->encoding != FRAME_RAW && x->encoding != FRAME_ZSTD))
		return -EINVAL;

	err_t e = hkdf_expand_label(file_key, "snugfs/1 extent", x->id, sizeof(x->id), key.b, sizeof(key.b));

	if (e)
		return e;

	struct aead *a = aead_acquire(key.b);

	if (!a)
		return -ENOMEM;
	fc->aead = a;
	write_aad(x, fc->aad);
	return 0;
}

void
frame_cipher_clear(struct frame_cipher *fc)
{
	aead_release(fc->aead);
	*fc = (struct frame_cipher){0};
}

err_t
frame_seal(struct frame_cipher *fc, uint32_t nonce_no, const void *pt, size_t len, uint8_t *out)
{
	uint8_t nonce[AEAD_NONCE_LEN];

	aead_nonce(nonce_no, nonce);
	return aead_seal(fc->aead, nonce, fc->aad, sizeof(fc->aad), pt, len, out);
}

err_t
frame_open(struct frame_cipher *fc, uint32_t nonce_no, const uint8_t *ct, size_t ct_len, uint8_t *out)
{
	uint8_t nonce[AEAD_NONCE_LEN];

	aead_nonce(nonce_no, nonce);
	return aead_open(fc->aead, nonce, fc->aad, sizeof(fc->aad), ct, ct_len, out);
}

uint32_t
frame_raw_stored_len(uint32_t len)
{
	const struct extent_identity x = {.len = len, .encoding = FRAME_RAW};

	return len + frame_count(&x) * AEAD_TAG_LEN;
}

err_t
frame_seal_raw(const uint8_t file_key[static 32], const struct extent_identity *x, const void *pt, uint8_t *out)
{
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
	const uint8_t *in = pt;

	if (x->encoding != FRAME_RAW)
		return -EINVAL;

	err_t e = frame_cipher_init(&fc, file_key, x);

	for (uint32_t i = 0; !e && i < frame_count(x); i++)
		e = frame_seal(&fc, i, in + (size_t)i * FRAME_RAW_LEN, frame_plain_len(x, i),
		    out + (size_t)i * (FRAME_RAW_LEN + AEAD_TAG_LEN));
	return e;
}
