/*
 * The rows of meta.db as bytes: what is encoded comes back, and whatever else comes is refused.  The module is compiled into
 * the test, so that each of its allocations can be made to fail.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"

static long fail_at = -1; /* the allocation that fails, counted down; -1: none */

static bool
fail_now(void)
{
	return fail_at >= 0 && fail_at-- == 0;
}

static void *
failing_malloc(size_t len)
{
	return fail_now() ? NULL : malloc(len);
}

static void *
failing_calloc(size_t count, size_t len)
{
	return fail_now() ? NULL : calloc(count, len);
}

#define malloc failing_malloc
#define calloc failing_calloc
#include "records.c"
#include "records_chunk.c"
#include "records_segment.c"
#include "records_xattrs.c"
#undef malloc
#undef calloc

#define INO 1234567890123u
#define FIRST_EXTENT (int)(1 + INODE_LEN + 4 + 2 * KEY_LEN + 1 + 4) /* in the file's record below */

static struct extent
extent_at(uint64_t off, uint32_t len, uint32_t n)
{
	struct extent x = {.off = off, .len = len, .x_off = off, .x_len = len, .x_encoding = FRAME_ZSTD};

	x.key_version = 0x01020304;
	memset(x.x_id, (int)n, sizeof(x.x_id));
	x.seg = 0x1122334455667788;
	x.seg_off = UINT64_MAX - n;
	x.stored_len = UINT32_MAX;
	return x;
}

static void
append(struct extent_list *l, struct extent x)
{
	assert_int_equal(extent_list_append(l, &x), 0);
}

static struct chunk *
make_chunk(uint64_t no)
{
	struct chunk *c = calloc(1, sizeof(*c));
	uint64_t base = no * CHUNK_LEN;
	struct extent cut = extent_at(base + 5000, 1000, 2);

	assert_non_null(c);
	c->ino = INO;
	c->no = no;
	c->pending = true;
	c->change = 99;
	cut.x_off = base + 4096;
	cut.x_len = 4096;
	append(&c->current, extent_at(base, 4096, 1));
	append(&c->current, cut);
	append(&c->current, extent_at(base + CHUNK_LEN - 1, 1, 3));
	append(&c->chain, extent_at(base, CHUNK_LEN, 4));
	return c;
}

static struct inode *
make_file(void)
{
	struct inode *i = calloc(1, sizeof(*i));

	assert_non_null(i);
	i->ino = INO;
	i->mode = 0100644;
	i->uid = 1000;
	i->gid = UINT32_MAX;
	i->rdev = 0x8000000000000001;
	i->nlink = 3;
	i->size = INODE_MAX_SIZE;
	i->atime = (struct timespec){-1, 999999999};
	i->mtime = (struct timespec){INT64_MAX, 1};
	i->ctime = (struct timespec){INT64_MIN, 2};
	i->btime = (struct timespec){1700000000, 3};
	i->parent = 7;
	i->entry_count = 8;
	i->origin = 9;
	i->pending = PENDING_CONTENT | PENDING_MODE;
	i->chain_size = 10;
	i->has_xattrs = true;
	i->key_count = 2;
	i->keys = calloc(2, sizeof(*i->keys));
	assert_non_null(i->keys);
	for (unsigned k = 0; k < 2; k++) {
		i->keys[k].version = k + 1;
		i->keys[k].epoch = 70 + k;
		memset(i->keys[k].wrapped, (int)k + 5, KEYWRAP_LEN);
	}
	i->chunk0 = make_chunk(0);
	return i;
}

static struct inode *
make_symlink(size_t target_len)
{
	struct inode *i = calloc(1, sizeof(*i));

	assert_non_null(i);
	i->ino = INO;
	i->mode = 0120777;
	i->target = calloc(1, target_len + 1);
	assert_non_null(i->target);
	memset(i->target, 't', target_len);
	return i;
}

static void
assert_chunk_equal(const struct chunk *a, const struct chunk *b)
{
	assert_int_equal(a->ino, b->ino);
	assert_int_equal(a->no, b->no);
	assert_int_equal(a->pending, b->pending);
	assert_true(extent_list_equal(&a->current, &b->current));
	assert_true(extent_list_equal(&a->chain, &b->chain));
}

static void
assert_time_equal(struct timespec a, struct timespec b)
{
	assert_int_equal(a.tv_sec, b.tv_sec);
	assert_int_equal(a.tv_nsec, b.tv_nsec);
}

static void
assert_inode_equal(const struct inode *a, const struct inode *b)
{
	assert_int_equal(a->ino, b->ino);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->rdev, b->rdev);
	assert_int_equal(a->nlink, b->nlink);
	assert_int_equal(a->size, b->size);
	assert_time_equal(a->atime, b->atime);
	assert_time_equal(a->mtime, b->mtime);
	assert_time_equal(a->ctime, b->ctime);
	assert_time_equal(a->btime, b->btime);
	assert_int_equal(a->parent, b->parent);
	assert_int_equal(a->entry_count, b->entry_count);
	assert_int_equal(a->origin, b->origin);
	assert_int_equal(a->pending, b->pending);
	assert_int_equal(a->chain_size, b->chain_size);
	assert_int_equal(a->has_xattrs, b->has_xattrs);
	assert_int_equal(!a->target, !b->target);
	if (a->target)
		assert_string_equal(a->target, b->target);
	assert_int_equal(a->key_count, b->key_count);
	for (uint32_t k = 0; k < a->key_count; k++) {
		assert_int_equal(a->keys[k].version, b->keys[k].version);
		assert_int_equal(a->keys[k].epoch, b->keys[k].epoch);
		assert_memory_equal(a->keys[k].wrapped, b->keys[k].wrapped, KEYWRAP_LEN);
	}
	assert_int_equal(!a->chunk0, !b->chunk0);
	if (a->chunk0)
		assert_chunk_equal(a->chunk0, b->chunk0);
}

static void
assert_inode_survives(struct inode *i)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	struct inode *got = NULL;

	assert_int_equal(record_put_inode(&b, i), 0);
	assert_int_equal(record_get_inode(b.data, b.len, i->ino, &got), 0);
	assert_inode_equal(i, got);
	inode_free(got);
	inode_free(i);
}

static void
inodes_of_every_kind_come_back(void **state)
{
	struct inode *dir = calloc(1, sizeof(*dir));

	(void)state;
	assert_non_null(dir);
	dir->ino = 1;
	dir->mode = 040755;
	dir->pending = PENDING_ALL;
	assert_inode_survives(dir);
	assert_inode_survives(make_file());
	assert_inode_survives(make_symlink(0));
	assert_inode_survives(make_symlink(1));
	assert_inode_survives(make_symlink(SYMLINK_LEN_MAX));
}

static void
chunks_come_back_with_both_lists(void **state)
{
	static const uint64_t NUMBERS[] = {1, 2, 1 << 20, INODE_MAX_SIZE / CHUNK_LEN};

	(void)state;
	for (unsigned n = 0; n < ARRAY_LEN(NUMBERS); n++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		struct chunk *c = make_chunk(NUMBERS[n]);
		struct chunk *got = NULL;

		assert_int_equal(record_put_chunk(&b, c), 0);
		assert_int_equal(record_get_chunk(b.data, b.len, INO, NUMBERS[n], &got), 0);
		if (!got)
			abort(); /* the compiler does not know that what fails ends the test */
		assert_chunk_equal(c, got);
		assert_int_equal(got->change, 0);
		chunk_free(got);
		chunk_free(c);
	}
}

static void
a_chunk_of_a_million_one_byte_extents_comes_back(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	struct chunk *c = calloc(1, sizeof(*c));
	struct chunk *got = NULL;

	(void)state;
	assert_non_null(c);
	c->ino = INO;
	for (uint32_t at = 0; at < CHUNK_LEN; at++)
		append(&c->current, extent_at(at, 1, at));
	assert_int_equal(record_put_chunk(&b, c), 0);
	assert_int_equal(record_get_chunk(b.data, b.len, INO, 0, &got), 0);
	assert_chunk_equal(c, got);
	chunk_free(got);
	chunk_free(c);
}

static void
names_come_back(void **state)
{
	(void)state;
	for (unsigned len = 1; len <= NAME_LEN_MAX; len++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		struct dentry d = {.parent = 3, .cookie = 4, .ino = INO, .chain_ino = UINT64_MAX, .type = 8};
		struct dentry got;

		d.name_len = (uint8_t)len;
		memset(d.name, 0xff, len);
		assert_int_equal(record_put_dentry(&b, &d), 0);
		assert_int_equal(record_get_dentry(b.data, b.len, 3, 4, &got), 0);
		assert_int_equal(got.parent, 3);
		assert_int_equal(got.cookie, 4);
		assert_int_equal(got.ino, INO);
		assert_int_equal(got.chain_ino, UINT64_MAX);
		assert_int_equal(got.type, 8);
		assert_int_equal(got.name_len, len);
		assert_string_equal(got.name, d.name);
	}
}

static uint8_t large_value[XATTR_VALUE_MAX];
static char long_name[256];

/* Borrows all that it points at. */
static struct xattr_list
example_xattrs(struct xattr v[static 4])
{
	static uint8_t value[] = {0, 1, 2};

	memset(long_name, 'n', 255);
	v[0] = (struct xattr){.name = (char *)(uintptr_t)"user.a", .value = value, .len = 3};
	v[1] = (struct xattr){.name = long_name, .value = large_value, .len = sizeof(large_value), .pending = true};
	v[2] = (struct xattr){.name = (char *)(uintptr_t)"user.gone", .pending = true, .deleted = true};
	v[3] = (struct xattr){.name = (char *)(uintptr_t)"e", .value = value, .len = 0};
	return (struct xattr_list){v, 4, 4};
}

static void
extended_attributes_come_back(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	CLEANUP(bytes_clear) struct bytes none = {0};
	struct xattr v[4];
	struct xattr_list l = example_xattrs(v);
	struct xattr_list got = {0};

	(void)state;
	assert_int_equal(record_put_xattrs(&b, &l), 0);
	assert_int_equal(record_get_xattrs(b.data, b.len, &got), 0);
	assert_int_equal(got.count, 4);
	for (unsigned k = 0; k < 4; k++) {
		assert_string_equal(got.v[k].name, v[k].name);
		assert_int_equal(got.v[k].len, v[k].len);
		assert_int_equal(got.v[k].pending, v[k].pending);
		assert_int_equal(got.v[k].deleted, v[k].deleted);
		assert_int_equal(!got.v[k].value, v[k].deleted);
		if (v[k].len)
			assert_memory_equal(got.v[k].value, v[k].value, v[k].len);
	}
	xattr_list_clear(&got);
	assert_int_equal(got.count, 0);

	l = (struct xattr_list){0};
	assert_int_equal(record_put_xattrs(&none, &l), 0);
	assert_int_equal(record_get_xattrs(none.data, none.len, &got), 0);
	assert_int_equal(got.count, 0);
	xattr_list_clear(&got);
}

static void
segments_come_back(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		struct segment s = {.id = 5, .kind = bits & 1, .in_store = bits & 2, .local = bits & 4,
			.full = bits == 4, .size = 1ull << 40};
		struct segment got;

		memset(s.name, 7, sizeof(s.name));
		memset(s.sha256, 8, sizeof(s.sha256));
		assert_int_equal(record_put_segment(&b, &s), 0);
		assert_int_equal(record_get_segment(b.data, b.len, 5, &got), 0);
		assert_int_equal(got.id, 5);
		assert_int_equal(got.kind, s.kind);
		assert_int_equal(got.in_store, s.in_store);
		assert_int_equal(got.local, s.local);
		assert_int_equal(got.full, s.full);
		assert_int_equal(got.size, s.size);
		assert_memory_equal(got.name, s.name, sizeof(s.name));
		assert_memory_equal(got.sha256, s.sha256, sizeof(s.sha256));
	}
}

static void
what_is_here_of_a_segment_comes_back_and_only_of_one_that_is_not_whole(void **state)
{
	(void)state;

	CLEANUP(bytes_clear) struct bytes b = {0}, whole = {0};
	struct segment s = {.kind = SEGMENT_SETTLED, .in_store = true, .size = 1 << 24, .present = 0x8001}, got;

	assert_int_equal(record_put_segment(&b, &s), 0);
	assert_int_equal(record_get_segment(b.data, b.len, 5, &got), 0);
	assert_int_equal(got.present, 0x8001);
	s.local = true;
	assert_int_equal(record_put_segment(&whole, &s), 0);
	assert_int_equal(record_get_segment(whole.data, whole.len, 5, &got), 0);
	assert_int_equal(got.present, 0);
	b.data[2] |= 2; /* whole, and yet in pieces */
	assert_int_equal(record_get_segment(b.data, b.len, 5, &got), -EBADMSG);
}

/* One of each kind, and how to decode and encode it again. */

enum kind { FILE_INODE, SYMLINK_INODE, CHUNK, CHUNK_HEAD, DENTRY, XATTRS, SEGMENT, KIND_COUNT };

static void
encode_example(enum kind kind, struct bytes *b)
{
	struct inode *i = kind == FILE_INODE ? make_file() : make_symlink(20);
	struct chunk *c = make_chunk(3);
	struct dentry d = {.ino = 1, .chain_ino = 2, .type = 4, .name_len = 5, .name = "hello"};
	struct segment s = {.kind = SEGMENT_SETTLED, .in_store = true, .size = 17};
	struct xattr v[4];
	struct xattr_list l = example_xattrs(v);

	v[1].len = 100; /* or flipping each byte takes long */
	switch (kind) {
	case FILE_INODE:
	case SYMLINK_INODE:
		assert_int_equal(record_put_inode(b, i), 0);
		break;
	case CHUNK:
		assert_int_equal(record_put_chunk(b, c), 0);
		break;
	case CHUNK_HEAD:
		assert_int_equal(record_put_chunk_head(b, &(struct chunk_head){true, 0x80010003, 0x00f00002}), 0);
		break;
	case DENTRY:
		assert_int_equal(record_put_dentry(b, &d), 0);
		break;
	case XATTRS:
		assert_int_equal(record_put_xattrs(b, &l), 0);
		break;
	case SEGMENT:
		assert_int_equal(record_put_segment(b, &s), 0);
		break;
	case KIND_COUNT:
	default:
		fail();
	}
	inode_free(i);
	chunk_free(c);
}

/* Decodes, and encodes the result to out; outputs must be untouched when it fails. */
static err_t
decode(enum kind kind, const uint8_t *data, size_t len, struct bytes *out)
{
	struct inode *i = NULL;
	struct chunk *c = NULL;
	struct chunk_head h = {.rows = 77};
	struct dentry d = {.cookie = 77};
	struct xattr_list l = {.cap = 77};
	struct segment s = {.id = 77};
	err_t e = -1;

	switch (kind) {
	case FILE_INODE:
	case SYMLINK_INODE:
		e = record_get_inode(data, len, INO, &i);
		assert_true(e == 0 || !i);
		if (!e)
			assert_int_equal(record_put_inode(out, i), 0);
		inode_free(i);
		break;
	case CHUNK:
		e = record_get_chunk(data, len, INO, 3, &c);
		assert_true(e == 0 || !c);
		if (!e)
			assert_int_equal(record_put_chunk(out, c), 0);
		chunk_free(c);
		break;
	case CHUNK_HEAD:
		e = record_get_chunk_head(data, len, &h);
		assert_true(e == 0 || h.rows == 77);
		if (!e)
			assert_int_equal(record_put_chunk_head(out, &h), 0);
		break;
	case DENTRY:
		e = record_get_dentry(data, len, 1, 2, &d);
		assert_int_equal(d.cookie, e ? 77 : 2);
		if (!e)
			assert_int_equal(record_put_dentry(out, &d), 0);
		break;
	case XATTRS:
		e = record_get_xattrs(data, len, &l);
		assert_true(e == 0 || (l.cap == 77 && !l.v));
		if (!e)
			assert_int_equal(record_put_xattrs(out, &l), 0);
		xattr_list_clear(&l);
		break;
	case SEGMENT:
		e = record_get_segment(data, len, 1, &s);
		assert_int_equal(s.id, e ? 77 : 1);
		if (!e)
			assert_int_equal(record_put_segment(out, &s), 0);
		break;
	case KIND_COUNT:
	default:
		fail();
	}
	return e;
}

/* A copy of just that size, so that a sanitizer sees a read behind its end. */
static uint8_t *
exact_copy(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	if (len)
		memcpy(copy, data, len);
	return copy;
}

static void
every_truncation_and_every_extension_is_refused(void **state)
{
	(void)state;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		CLEANUP(bytes_clear) struct bytes out = {0};

		encode_example((enum kind)kind, &b);
		for (size_t len = 0; len < b.len; len++) {
			CLEANUP(free_ptr) uint8_t *copy = exact_copy(b.data, len);

			assert_int_equal(decode((enum kind)kind, copy, len, &out), -EBADMSG);
		}
		assert_int_equal(decode((enum kind)kind, b.data, b.len, &out), 0);
		assert_int_equal(bytes_append_u8(&b, 0), 0);
		assert_int_equal(decode((enum kind)kind, b.data, b.len, &out), -EBADMSG);
	}
}

static void
every_flipped_bit_is_refused_or_encodes_to_the_same_bytes_again(void **state)
{
	(void)state;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		unsigned refused = 0;

		encode_example((enum kind)kind, &b);
		for (size_t bit = 0; bit < b.len * 8; bit++) {
			CLEANUP(free_ptr) uint8_t *copy = exact_copy(b.data, b.len);
			CLEANUP(bytes_clear) struct bytes out = {0};

			copy[bit / 8] ^= (uint8_t)(1u << bit % 8);

			err_t e = decode((enum kind)kind, copy, b.len, &out);

			if (bit < 8) {
				assert_int_equal(e, -EPROTO);
			} else if (e) {
				assert_int_equal(e, -EBADMSG);
				refused++;
			} else {
				assert_int_equal(out.len, b.len);
				assert_memory_equal(out.data, copy, b.len);
			}
		}
		assert_true(refused > 0);
	}
}

static void
decoding_fails_cleanly_at_every_allocation(void **state)
{
	(void)state;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		CLEANUP(bytes_clear) struct bytes out = {0};
		err_t e = -ENOMEM;
		unsigned failures = 0;

		encode_example((enum kind)kind, &b);
		for (long at = 0; e; at++) {
			fail_at = at;
			e = decode((enum kind)kind, b.data, b.len, &out);
			fail_at = -1;
			assert_true(e == 0 || e == -ENOMEM);
			failures += e != 0;
		}
		assert_int_equal(failures > 0, kind != CHUNK_HEAD && kind != DENTRY && kind != SEGMENT);
	}
}

/* The file's record with one u32 of its first three extents (57 bytes each) set to v. */
static err_t
decode_with_extent_field(int extent, int field_at, uint32_t v)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	CLEANUP(bytes_clear) struct bytes out = {0};

	encode_example(FILE_INODE, &b);
	put_u32(b.data + FIRST_EXTENT + extent * (int)EXTENT_LEN + field_at, v);
	return decode(FILE_INODE, b.data, b.len, &out);
}

static void
extents_that_lie_are_refused(void **state)
{
	enum { OFF = 0, LEN = 4, CUT = 8, X_LEN = 12 };

	(void)state;
	/* Extents of the example: [0, 4096), [5000, 6000) of a sealed [4096, 8192), and the chunk's last byte. */
	assert_int_equal(decode_with_extent_field(1, OFF, 5001), 0);
	assert_int_equal(decode_with_extent_field(1, OFF, 4095), -EBADMSG); /* overlaps the first */
	assert_int_equal(decode_with_extent_field(1, OFF, CHUNK_LEN - 1000), -EBADMSG); /* overlaps the last */
	assert_int_equal(decode_with_extent_field(2, OFF, CHUNK_LEN), -EBADMSG); /* outside the chunk */
	assert_int_equal(decode_with_extent_field(2, OFF, UINT32_MAX), -EBADMSG);
	assert_int_equal(decode_with_extent_field(2, LEN, 2), -EBADMSG); /* crosses its end */
	assert_int_equal(decode_with_extent_field(1, LEN, 0), -EBADMSG);
	assert_int_equal(decode_with_extent_field(1, LEN, UINT32_MAX), -EBADMSG);
	assert_int_equal(decode_with_extent_field(1, LEN, 4096 - 904), 0); /* up to the sealed one's end */
	assert_int_equal(decode_with_extent_field(1, LEN, 4096 - 904 + 1), -EBADMSG); /* and behind it */
	assert_int_equal(decode_with_extent_field(1, CUT, 3096), 0);
	assert_int_equal(decode_with_extent_field(1, CUT, 3097), -EBADMSG);
	assert_int_equal(decode_with_extent_field(0, CUT, 1), -EBADMSG); /* begins before the file */
	assert_int_equal(decode_with_extent_field(1, CUT, UINT32_MAX), -EBADMSG);
	assert_int_equal(decode_with_extent_field(1, X_LEN, 1904), 0);
	assert_int_equal(decode_with_extent_field(1, X_LEN, 1903), -EBADMSG);
	assert_int_equal(decode_with_extent_field(1, X_LEN, EXTENT_MAX_LEN + 1), -EBADMSG);
	assert_int_equal(decode_with_extent_field(1, X_LEN, 0), -EBADMSG);
	assert_int_equal(decode_with_extent_field(0, -4, 4), -EBADMSG); /* the count */
	assert_int_equal(decode_with_extent_field(0, -4, UINT32_MAX), -EBADMSG);
}

static void
key_versions_that_do_not_ascend_are_refused(void **state)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	CLEANUP(bytes_clear) struct bytes out = {0};
	uint8_t *second;

	(void)state;
	encode_example(FILE_INODE, &b);
	second = b.data + 1 + INODE_LEN + 4 + KEY_LEN;
	assert_int_equal(get_u32(second), 2);
	put_u32(second, 1);
	assert_int_equal(decode(FILE_INODE, b.data, b.len, &out), -EBADMSG);
	put_u32(second, 500);
	assert_int_equal(decode(FILE_INODE, b.data, b.len, &out), 0);
}

static void
a_nul_in_a_name_or_target_is_refused(void **state)
{
	static const enum kind KINDS[] = {SYMLINK_INODE, DENTRY};

	(void)state;
	for (unsigned k = 0; k < ARRAY_LEN(KINDS); k++) {
		CLEANUP(bytes_clear) struct bytes b = {0};
		CLEANUP(bytes_clear) struct bytes out = {0};

		encode_example(KINDS[k], &b);
		b.data[b.len - 3] = 0;
		assert_int_equal(decode(KINDS[k], b.data, b.len, &out), -EBADMSG);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inodes_of_every_kind_come_back),
		cmocka_unit_test(chunks_come_back_with_both_lists),
		cmocka_unit_test(a_chunk_of_a_million_one_byte_extents_comes_back),
		cmocka_unit_test(names_come_back),
		cmocka_unit_test(extended_attributes_come_back),
		cmocka_unit_test(segments_come_back),
		cmocka_unit_test(what_is_here_of_a_segment_comes_back_and_only_of_one_that_is_not_whole),
		cmocka_unit_test(every_truncation_and_every_extension_is_refused),
		cmocka_unit_test(every_flipped_bit_is_refused_or_encodes_to_the_same_bytes_again),
		cmocka_unit_test(decoding_fails_cleanly_at_every_allocation),
		cmocka_unit_test(extents_that_lie_are_refused),
		cmocka_unit_test(key_versions_that_do_not_ascend_are_refused),
		cmocka_unit_test(a_nul_in_a_name_or_target_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
