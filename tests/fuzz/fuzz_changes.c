/*
 * Fuzzes the decoder of commit bodies; the first byte chooses between compressed and plain bytes.  Whatever decodes must encode to
 * the same bytes again, and its extents must be such as merging takes for granted.
 */
#include <errno.h>
#include <string.h>

#include "changes.h"
#include "compress.h"
#include "extents.h"
#include "fuzz.h"

FUZZ_INITIALIZE_SECMEM

static void
check_chunk(const struct changes *c, const struct change_inode *i, const struct change_chunk *chunk)
{
	uint64_t end = chunk->no * CHUNK_LEN;

	FUZZ_REQUIRE(end < i->size);
	for (uint32_t k = 0; k < chunk->extents.count; k++) {
		const struct extent *x = &chunk->extents.v[k];

		FUZZ_REQUIRE(x->len > 0 && x->off >= end && x->off + x->len <= (chunk->no + 1) * CHUNK_LEN);
		FUZZ_REQUIRE(x->x_off <= x->off && x->off + x->len <= x->x_off + x->x_len && x->x_len <= EXTENT_MAX_LEN);
		FUZZ_REQUIRE(x->seg < c->segment_count && x->seg_off + x->stored_len <= c->segments[x->seg].size);
		end = x->off + x->len;
	}
}

static void
check_changes(const struct changes *c)
{
	for (uint32_t k = 0; k < c->inode_count; k++) {
		const struct change_inode *i = &c->inodes[k];

		FUZZ_REQUIRE(i->ino > 0 && (k == 0 || c->inodes[k - 1].ino < i->ino) && i->size <= INODE_MAX_SIZE);
		for (uint32_t n = 0; n < i->chunk_count; n++)
			check_chunk(c, i, &i->chunks[n]);
	}
	for (uint32_t k = 0; k < c->dentry_count; k++) {
		const char *name = c->dentries[k].name;

		FUZZ_REQUIRE(*name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	}
}

static void
check_same_again(struct changes *c, const uint8_t *data, size_t len)
{
	struct bytes compressed = {0};
	struct bytes body = {0};

	FUZZ_REQUIRE(changes_encode(c, &compressed) == 0);
	FUZZ_REQUIRE(decompress_buffer(compressed.data, compressed.len, CHANGES_MAX_LEN, &body) == 0);
	FUZZ_REQUIRE(body.len == len && memcmp(body.data, data, len) == 0);
	bytes_clear(&compressed);
	bytes_clear(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct changes *c = NULL;
	bool plain = len > 0 && data[0] & 1;
	err_t e;

	if (len == 0)
		return 0;
	e = plain ? changes_decode_plain(data + 1, len - 1, &c) : changes_decode(data + 1, len - 1, &c);
	FUZZ_REQUIRE(e == 0 || e == -EBADMSG || e == -EPROTO);
	if (e)
		return 0;
	check_changes(c);
	if (plain)
		check_same_again(c, data + 1, len - 1);
	changes_free(c);
	return 0;
}
