/*
 * Fuzzes the decoders of meta.db's rows; the first byte chooses the kind.  Whatever decodes must encode to the same bytes
 * again, and its extents must be such that a replacement of all of them finds nothing odd.
 */
#include <errno.h>
#include <string.h>

#include "extents.h"
#include "fuzz.h"
#include "records.h"

FUZZ_INITIALIZE_SECMEM

#define INO 0x0102030405060708u
#define CHUNK_NO 3u

enum kind { INODE, CHUNK, DENTRY, XATTRS, SEGMENT, KIND_COUNT };

static void
require_same(const struct bytes *b, const uint8_t *data, size_t len)
{
	FUZZ_REQUIRE(b->len == len && memcmp(b->data, data, len) == 0);
}

static void
check_list(struct extent_list *l, uint64_t no)
{
	uint64_t end = no * CHUNK_LEN;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct extent *x = &l->v[i];

		FUZZ_REQUIRE(x->len > 0 && x->off >= end && x->off + x->len <= (no + 1) * CHUNK_LEN);
		FUZZ_REQUIRE(x->x_off <= x->off && x->off + x->len <= x->x_off + x->x_len && x->x_len <= EXTENT_MAX_LEN);
		FUZZ_REQUIRE(!extent_list_lacks(l, x));
		end = x->off + x->len;
	}
	FUZZ_REQUIRE(extent_list_replace(l, no * CHUNK_LEN, CHUNK_LEN, NULL) == 0);
	FUZZ_REQUIRE(l->count == 0);
}

static void
check_chunk(struct chunk *c, uint64_t no)
{
	FUZZ_REQUIRE(c->ino == INO && c->no == no && c->change == 0);
	check_list(&c->current, no);
	check_list(&c->chain, no);
}

static err_t
try_inode(const uint8_t *data, size_t len)
{
	struct bytes b = {0};
	struct inode *i;
	err_t e = record_get_inode(data, len, INO, &i);

	if (e)
		return e;
	FUZZ_REQUIRE(record_put_inode(&b, i) == 0);
	require_same(&b, data, len);
	FUZZ_REQUIRE(i->ino == INO && i->size <= INODE_MAX_SIZE);
	if (i->target)
		FUZZ_REQUIRE(strlen(i->target) <= SYMLINK_LEN_MAX);
	if (i->chunk0)
		check_chunk(i->chunk0, 0);
	inode_free(i);
	bytes_clear(&b);
	return 0;
}

static err_t
try_chunk_head(const uint8_t *data, size_t len)
{
	struct bytes b = {0};
	struct chunk_head h;
	err_t e = record_get_chunk_head(data, len, &h);

	if (e)
		return e;
	FUZZ_REQUIRE(record_put_chunk_head(&b, &h) == 0);
	require_same(&b, data, len);
	bytes_clear(&b);
	return 0;
}

static err_t
try_chunk(const uint8_t *data, size_t len)
{
	struct bytes b = {0};
	struct chunk *c;

	if (record_is_chunk_head(data, len))
		return try_chunk_head(data, len);

	err_t e = record_get_chunk(data, len, INO, CHUNK_NO, &c);

	if (e)
		return e;
	FUZZ_REQUIRE(record_put_chunk(&b, c) == 0);
	require_same(&b, data, len);
	check_chunk(c, CHUNK_NO);
	chunk_free(c);
	bytes_clear(&b);
	return 0;
}

static err_t
try_dentry(const uint8_t *data, size_t len)
{
	struct bytes b = {0};
	struct dentry d;
	err_t e = record_get_dentry(data, len, INO, 7, &d);

	if (e)
		return e;
	FUZZ_REQUIRE(d.name_len > 0 && strlen(d.name) == d.name_len && d.parent == INO && d.cookie == 7);
	FUZZ_REQUIRE(record_put_dentry(&b, &d) == 0);
	require_same(&b, data, len);
	bytes_clear(&b);
	return 0;
}

static err_t
try_xattrs(const uint8_t *data, size_t len)
{
	struct bytes b = {0};
	struct xattr_list l;
	err_t e = record_get_xattrs(data, len, &l);

	if (e)
		return e;
	FUZZ_REQUIRE(record_put_xattrs(&b, &l) == 0);
	require_same(&b, data, len);
	for (uint32_t k = 0; k < l.count; k++)
		FUZZ_REQUIRE(*l.v[k].name && l.v[k].deleted == !l.v[k].value);
	xattr_list_clear(&l);
	bytes_clear(&b);
	return 0;
}

static err_t
try_segment(const uint8_t *data, size_t len)
{
	struct bytes b = {0};
	struct segment s;
	err_t e = record_get_segment(data, len, 9, &s);

	if (e)
		return e;
	FUZZ_REQUIRE(record_put_segment(&b, &s) == 0);
	require_same(&b, data, len);
	bytes_clear(&b);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static err_t (*const TRY[KIND_COUNT])(const uint8_t *data, size_t len) = {
		[INODE] = try_inode,
		[CHUNK] = try_chunk,
		[DENTRY] = try_dentry,
		[XATTRS] = try_xattrs,
		[SEGMENT] = try_segment,
	};

	if (len == 0)
		return 0;

	err_t e = TRY[data[0] % KIND_COUNT](data + 1, len - 1);

	FUZZ_REQUIRE(e == 0 || e == -EBADMSG || e == -EPROTO);
	return 0;
}
