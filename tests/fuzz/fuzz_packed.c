/*
 * Fuzzes what is in a segment.  First byte 0: a sealed extent as it is; 1: an index and frames, which are sealed here, as somebody
 * would who has the file's key and bad intentions; 2: a raw extent's plaintext; 3: a zstd frame; 4: a buffer to compress.
 */
#include <errno.h>
#include <string.h>

#include "aead.h"
#include "compress.h"
#include "frame.h"
#include "fuzz.h"
#include "inode.h"
#include "unpacker.h"

FUZZ_INITIALIZE_SECMEM

#define ORIGIN 7u
#define MAX_LEN (4u << 20)

static const struct key32 file_key = {{0x66}};
static uint8_t plain[EXTENT_MAX_LEN];

static struct extent extent_of(uint8_t encoding, uint32_t len, size_t stored_len)
{
	return (struct extent){.off = 0, .len = len, .x_off = 0, .x_len = len, .x_encoding = encoding, .key_version = 1,
	    .stored_len = (uint32_t)stored_len};
}

static void try_sealed(uint8_t encoding, uint32_t len, const uint8_t *sealed, size_t sealed_len)
{
	struct extent x = extent_of(encoding, len, sealed_len);
	err_t err = unpacker_open(ORIGIN, &file_key, &x, sealed, plain);

	FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
}

/* u8 frames of plaintext (1..), then for each u16 length; then the frames' data, which are cut where the input ends. */
static void try_frames(const uint8_t *data, size_t len)
{
	struct extent_identity id = {.file_id = ORIGIN, .encoding = FRAME_ZSTD};
	uint32_t count = data[0] % 32u + 1u;
	size_t index_len = 4u * (size_t)count, at = 1u + 2u * (size_t)count, to = index_len + AEAD_TAG_LEN;
	struct frame_cipher fc;
	uint8_t index[4 * 32], *sealed;

	if (len < at)
		return;
	id.len = count * 32768u - data[len - 1];
	sealed = calloc(1, to + len + (size_t)count * AEAD_TAG_LEN);
	FUZZ_REQUIRE(sealed != NULL && frame_cipher_init(&fc, file_key.b, &id) == 0);
	for (uint32_t i = 0; i < count; i++) {
		size_t said = get_u16(data + 1 + 2 * i), have = said < len - at ? said : len - at;

		put_u32(index + 4 * i, (uint32_t)said);
		FUZZ_REQUIRE(frame_seal(&fc, i + 1, data + at, have, sealed + to) == 0);
		at += have;
		to += have + AEAD_TAG_LEN;
	}
	FUZZ_REQUIRE(frame_seal(&fc, 0, index, index_len, sealed) == 0);
	frame_cipher_clear(&fc);
	try_sealed(FRAME_ZSTD, id.len, sealed, to);
	free(sealed);
}

static void try_raw(const uint8_t *data, size_t len)
{
	struct extent_identity id = {.file_id = ORIGIN, .encoding = FRAME_RAW, .len = (uint32_t)len};
	struct extent x = extent_of(FRAME_RAW, (uint32_t)len, frame_raw_stored_len((uint32_t)len));
	uint8_t *sealed = malloc(x.stored_len);

	FUZZ_REQUIRE(sealed != NULL && frame_seal_raw(file_key.b, &id, data, sealed) == 0);
	FUZZ_REQUIRE(unpacker_open(ORIGIN, &file_key, &x, sealed, plain) == 0 && memcmp(plain, data, len) == 0);
	sealed[len % x.stored_len] ^= 1;
	FUZZ_REQUIRE(unpacker_open(ORIGIN, &file_key, &x, sealed, plain) == -EBADMSG);
	free(sealed);
}

static void try_zstd(const uint8_t *data, size_t len)
{
	struct bytes out = {0};
	err_t err = decompress_buffer(data, len, MAX_LEN, &out);

	FUZZ_REQUIRE((err == 0 || err == -EBADMSG) && out.len <= MAX_LEN && (err == 0 || out.len == 0));
	if (err == 0 && out.len <= sizeof(plain) && out.len > 0)
		FUZZ_REQUIRE(decompress_block(data, len, plain, out.len) == 0 && memcmp(plain, out.data, out.len) == 0);
	bytes_clear(&out);
}

static void try_buffer(const uint8_t *data, size_t len)
{
	struct bytes packed = {0}, out = {0};

	FUZZ_REQUIRE(compress_buffer(data, len, &packed) == 0);
	FUZZ_REQUIRE(decompress_buffer(packed.data, packed.len, len, &out) == 0);
	FUZZ_REQUIRE(out.len == len && (len == 0 || memcmp(out.data, data, len) == 0));
	bytes_clear(&packed);
	bytes_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2 || len > 65536)
		return 0;
	switch (data[0]) {
	case 0:
		try_sealed(data[1] & 1, (uint32_t)len * 2, data + 2, len - 2);
		break;
	case 1:
		try_frames(data + 1, len - 1);
		break;
	case 2:
		try_raw(data + 1, len - 1);
		break;
	case 3:
		try_zstd(data + 1, len - 1);
		break;
	case 4:
		try_buffer(data + 1, len - 1);
		break;
	default:
		break;
	}
	return 0;
}
