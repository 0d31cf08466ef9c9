/* packer.c: from plaintext to a sealed extent, in whichever encoding is shorter. */
#include "packer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"
#include "compress.h"
#include "random.h"

#define FRAMES_MAX (EXTENT_MAX_LEN / FRAME_ZSTD_LEN)
#define PASSED_MAX 31u

err_t
packer_init(struct packer *p)
{
	p->plain = malloc(CHUNK_LEN);
	p->packed = malloc(CHUNK_LEN);
	return p->plain && p->packed ? 0 : -ENOMEM;
}

void
packer_clear(struct packer *p)
{
	free(p->plain);
	free(p->packed);
	bytes_clear(&p->sealed);
	*p = (struct packer){0};
}

/* Compression has to save a tenth to be worth the larger frames. */
static bool
pays(uint32_t packed_len, uint32_t raw_len)
{
	return packed_len <= raw_len - raw_len / 10;
}

/* Compresses one frame; what does not shrink stays as it is, and where it is. */
static err_t
pack_frame(struct packer *p, size_t at, uint32_t len, uint32_t *packed_len_out)
{
	size_t packed_len = 0;
	err_t e = compress_block(p->plain + at, len, p->packed + at, len - 1, &packed_len);

	if (e && e != -E2BIG)
		return e;
	*packed_len_out = e ? len : (uint32_t)packed_len;
	return 0;
}

static bool
is_passed_over(struct packer *p)
{
	if (!p->passing)
		return false;
	p->passing--;
	return true;
}

static void
note_frame(struct packer *p, bool shrank)
{
	p->passing = shrank ? 0 : p->next_passing;
	p->next_passing = shrank ? 0 : p->next_passing < PASSED_MAX / 2 ? 2 * p->next_passing + 1 : PASSED_MAX;
}

/* The first frame is always looked at: others may have packed what lies before it.  If it is noise, too, it goes on as it was. */
static void
begin_run(struct packer *p, const struct extent_identity *id)
{
	if (p->passing_file != id->file_id)
		p->next_passing = 0;
	p->passing = 0;
	p->passing_file = id->file_id;
}

/* Compresses the run at `at` in p->plain; *len_out is what it would take in a segment. */
static err_t
pack(struct packer *p, const struct extent_identity *id, size_t at, uint32_t packed[static FRAMES_MAX],
    uint32_t *len_out)
{
	uint32_t count = frame_count(id);
	uint32_t len = count * 4 + AEAD_TAG_LEN;

	begin_run(p, id);
	for (uint32_t k = 0; k < count; k++) {
		packed[k] = frame_plain_len(id, k);
		if (!is_passed_over(p)) {
			err_t e = pack_frame(p, at + (size_t)k * FRAME_ZSTD_LEN, packed[k], &packed[k]);

			if (e)
				return e;
			note_frame(p, packed[k] < frame_plain_len(id, k));
		}
		len += packed[k] + AEAD_TAG_LEN;
	}
	*len_out = len;
	return 0;
}

static err_t
seal_packed(const struct packer *p, const struct key32 *key, const struct extent_identity *id, size_t at,
    const uint32_t packed[static FRAMES_MAX], uint8_t *out)
{
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
	uint32_t count = frame_count(id);
	uint8_t index[FRAMES_MAX * 4];
	err_t e = frame_cipher_init(&fc, key->b, id);

	for (uint32_t k = 0; k < count; k++)
		put_u32(index + (size_t)k * 4, packed[k]);
	if (!e)
		e = frame_seal(&fc, 0, index, (size_t)count * 4, out);
	out += (size_t)count * 4 + AEAD_TAG_LEN;
	for (uint32_t k = 0; k < count && !e; k++) {
		const uint8_t *from = packed[k] < frame_plain_len(id, k) ? p->packed : p->plain;

		e = frame_seal(&fc, k + 1, from + at + (size_t)k * FRAME_ZSTD_LEN, packed[k], out);
		out += packed[k] + AEAD_TAG_LEN;
	}
	return e;
}

bool
packer_would_shrink(struct packer *p, size_t at, uint32_t len)
{
	size_t packed_len = 0;
	uint32_t n = len < FRAME_ZSTD_LEN ? len : FRAME_ZSTD_LEN;

	return !compress_block(p->plain + at, n, p->packed, n, &packed_len) &&
	    pays((uint32_t)packed_len + 2 * AEAD_TAG_LEN + 4, frame_raw_stored_len(n));
}

err_t
packer_seal(struct packer *p, const struct writing_key *key, uint64_t off, uint32_t len, bool at_hand,
    struct extent *out)
{
	size_t at = (size_t)(off % CHUNK_LEN);
	struct extent_identity id = {.file_id = key->origin, .offset = off, .len = len, .encoding = FRAME_ZSTD};
	uint32_t packed[FRAMES_MAX];
	uint32_t stored_len = 0;
	uint32_t raw_len = frame_raw_stored_len(len);
	size_t sealed_at = p->sealed.len;
	uint8_t *to;
	err_t e = random_bytes(id.id, sizeof(id.id));

	if (!e)
		e = pack(p, &id, at, packed, &stored_len);
	if (e)
		return e;
	if (!pays(stored_len, raw_len) && at_hand)
		return -EALREADY;
	if (!pays(stored_len, raw_len)) {
		id.encoding = FRAME_RAW;
		stored_len = raw_len;
	}
	e = bytes_extend(&p->sealed, stored_len, &to);
	if (!e && id.encoding == FRAME_RAW)
		e = frame_seal_raw(key->key.b, &id, p->plain + at, to);
	else if (!e)
		e = seal_packed(p, &key->key, &id, at, packed, to);
	if (e) {
		p->sealed.len = sealed_at;
		return e;
	}
	*out = (struct extent){.off = off, .len = len, .x_off = off, .x_len = len, .x_encoding = (uint8_t)id.encoding,
	    .key_version = key->version, .seg_off = sealed_at, .stored_len = stored_len};
	memcpy(out->x_id, id.id, sizeof(out->x_id));
	return 0;
}
