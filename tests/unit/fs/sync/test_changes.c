/* Bodies of commits: what is written is read again, in one form only; nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cborio.h"
#include "changes.h"
#include "compress.h"
#include "extents.h"

#define OK(call) assert_int_equal((call), 0)

static uint64_t random_state = 88172645463325252u;

static uint64_t
rnd(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void
random_fill(void *out, size_t len)
{
	for (size_t k = 0; k < len; k++)
		((uint8_t *)out)[k] = (uint8_t)rnd(256);
}

/* Any bytes but NUL and "/". */
static void
random_text(char *out, size_t len)
{
	for (size_t k = 0; k < len; k++) {
		out[k] = (char)(1 + rnd(255));
		if (out[k] == '/' || out[k] == '.')
			out[k] = 'x';
	}
	out[len] = '\0';
}

static struct timespec
random_time(void)
{
	return (struct timespec){(time_t)rnd(UINT64_C(1) << 40) - (INT64_C(1) << 39), (long)rnd(1000000000)};
}

static void
random_extents(struct changes *c, struct change_inode *i, struct change_chunk *chunk)
{
	uint64_t base = chunk->no * CHUNK_LEN;
	uint64_t off = base + rnd(100);

	for (uint64_t n = rnd(5); n > 0 && off < base + CHUNK_LEN - 200000; n--) {
		struct extent x = {.off = off, .len = 1 + (uint32_t)rnd(100000), .x_encoding = (uint8_t)rnd(2)};
		struct change_segment s = {.size = UINT64_C(1) << 40};
		uint32_t index = 0;

		s.name[0] = (uint8_t)rnd(4);
		OK(changes_segment_index(c, &s, &index));
		x.seg = index;
		x.x_off = rnd(2) ? off : off - rnd(off - base + 1);
		x.x_len = (uint32_t)(off + x.len - x.x_off + (rnd(2) ? rnd(50000) : 0));
		x.key_version = i->keys[rnd(i->key_count)].version;
		x.seg_off = rnd(UINT64_C(1) << 39);
		x.stored_len = 1 + (uint32_t)rnd(UINT32_MAX);
		random_fill(x.x_id, sizeof(x.x_id));
		OK(extent_list_append(&chunk->extents, &x));
		off += x.len + rnd(3) * 1000;
	}
}

static void
random_content(struct changes *c, struct change_inode *i)
{
	uint64_t no = 0;

	i->size = 1 + rnd(INODE_MAX_SIZE);
	i->key_count = 1 + (uint32_t)rnd(3);
	i->keys = calloc(i->key_count, sizeof(*i->keys));
	for (uint32_t k = 0; k < i->key_count; k++) {
		i->keys[k].version = (k ? i->keys[k - 1].version : 0) + 1 + (uint32_t)rnd(3);
		i->keys[k].epoch = (uint32_t)rnd(UINT32_MAX);
		random_fill(i->keys[k].wrapped, KEYWRAP_LEN);
	}
	i->chunks = calloc(4, sizeof(*i->chunks));
	for (uint64_t n = rnd(4); n > 0 && no * CHUNK_LEN < i->size; n--) {
		struct change_chunk *chunk = &i->chunks[i->chunk_count++];

		chunk->no = no;
		random_extents(c, i, chunk);
		no += 1 + rnd(INODE_MAX_SIZE / CHUNK_LEN / 4);
	}
}

static void
random_xattrs(struct change_inode *i)
{
	i->xattr_count = (uint32_t)rnd(4);
	i->xattrs = calloc(4, sizeof(*i->xattrs));
	for (uint32_t k = 0; k < i->xattr_count; k++) {
		struct change_xattr *x = &i->xattrs[k];

		x->name = calloc(1, 256);
		random_text(x->name, 200 + rnd(56));
		x->name[0] = (char)('a' + k); /* ascending, so that sorting changes nothing to compare */
		if (!(i->fields & CHANGE_NEW) && rnd(3) == 0)
			continue;
		x->len = (uint32_t)rnd(1000);
		x->value = calloc(1, x->len + 1);
		random_fill(x->value, x->len);
	}
}

static void
random_inode(struct changes *c, uint64_t ino)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	struct change_inode *i = changes_add_inode(c);

	i->ino = ino;
	i->mode = types[rnd(9)] | (uint32_t)rnd(010000);
	i->fields = rnd(2) ? CHANGE_NEW | CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME : (uint32_t)rnd(32) & ~1u;
	i->ctime = random_time();
	if (i->fields & CHANGE_OWNER) {
		i->uid = (uint32_t)rnd(UINT32_MAX);
		i->gid = (uint32_t)rnd(UINT32_MAX);
	}
	if (i->fields & CHANGE_MTIME)
		i->mtime = random_time();
	if (i->fields & CHANGE_NEW) {
		i->btime = random_time();
		i->rdev = S_ISCHR(i->mode) || S_ISBLK(i->mode) ? rnd(UINT64_MAX) : 0;
		i->origin = S_ISREG(i->mode) ? 1 + rnd(INT64_MAX - 1) : 0;
		if (S_ISLNK(i->mode)) {
			i->target = calloc(1, SYMLINK_LEN_MAX + 1);
			random_text(i->target, 1 + rnd(SYMLINK_LEN_MAX));
		}
	}
	if (S_ISREG(i->mode) && (i->fields & CHANGE_NEW || rnd(2))) {
		i->fields |= CHANGE_CONTENT;
		random_content(c, i);
	}
	if (i->fields & CHANGE_NEW && rnd(2))
		i->fields |= CHANGE_XATTR;
	if (i->fields & CHANGE_XATTR)
		random_xattrs(i);
}

static struct changes *
random_changes(void)
{
	struct changes *c = NULL;
	uint8_t junk[300];
	uint64_t ino = 0;

	OK(changes_new(&c));
	random_fill(junk, sizeof(junk));
	for (uint64_t n = rnd(3); n > 0; n--)
		OK(changes_add_statement(c, junk, rnd(sizeof(junk))));
	for (uint64_t n = rnd(3); n > 0; n--)
		OK(changes_add_epoch_key(c, (uint32_t)rnd(1000), junk));
	for (uint64_t n = rnd(12); n > 0; n--)
		random_inode(c, ino += 1 + rnd(UINT64_C(1) << 45));
	for (uint64_t n = rnd(12); n > 0; n--) {
		struct change_dentry *d = changes_add_dentry(c);

		d->parent = n;
		d->ino = rnd(3) ? 1 + rnd(INT64_MAX - 1) : 0;
		d->type = d->ino ? DT_REG : 0;
		random_text(d->name, 1 + rnd(NAME_LEN_MAX));
	}
	c->part_count = (uint32_t)rnd(3);
	c->parts = calloc(3, sizeof(*c->parts));
	for (uint32_t k = 0; k < c->part_count; k++) {
		random_fill(&c->parts[k], sizeof(c->parts[k]));
		c->parts[k].size = rnd(INT64_MAX);
	}
	return c;
}

static void
assert_same_inode(const struct change_inode *a, const struct change_inode *b)
{
	assert_int_equal(a->ino, b->ino);
	assert_int_equal(a->fields, b->fields);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->rdev, b->rdev);
	assert_memory_equal(&a->mtime, &b->mtime, sizeof(a->mtime));
	assert_memory_equal(&a->ctime, &b->ctime, sizeof(a->ctime));
	assert_memory_equal(&a->btime, &b->btime, sizeof(a->btime));
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->origin, b->origin);
	assert_int_equal(!a->target, !b->target);
	if (a->target)
		assert_string_equal(a->target, b->target);
	assert_int_equal(a->key_count, b->key_count);
	for (uint32_t k = 0; k < a->key_count; k++)
		assert_memory_equal(&a->keys[k], &b->keys[k], sizeof(a->keys[k]));
	assert_int_equal(a->xattr_count, b->xattr_count);
	for (uint32_t k = 0; k < a->xattr_count; k++) {
		assert_string_equal(a->xattrs[k].name, b->xattrs[k].name);
		assert_int_equal(!a->xattrs[k].value, !b->xattrs[k].value);
		assert_int_equal(a->xattrs[k].len, b->xattrs[k].len);
		if (a->xattrs[k].len)
			assert_memory_equal(a->xattrs[k].value, b->xattrs[k].value, a->xattrs[k].len);
	}
	assert_int_equal(a->chunk_count, b->chunk_count);
	for (uint32_t k = 0; k < a->chunk_count; k++) {
		assert_int_equal(a->chunks[k].no, b->chunks[k].no);
		assert_true(extent_list_equal(&a->chunks[k].extents, &b->chunks[k].extents));
	}
}

static void
assert_same(const struct changes *a, const struct changes *b)
{
	assert_int_equal(a->statement_count, b->statement_count);
	for (uint32_t k = 0; k < a->statement_count; k++) {
		assert_int_equal(a->statements[k].len, b->statements[k].len);
		if (a->statements[k].len)
			assert_memory_equal(a->statements[k].data, b->statements[k].data, a->statements[k].len);
	}
	assert_int_equal(a->epoch_key_count, b->epoch_key_count);
	for (uint32_t k = 0; k < a->epoch_key_count; k++)
		assert_memory_equal(&a->epoch_keys[k], &b->epoch_keys[k], sizeof(a->epoch_keys[k]));
	assert_int_equal(a->segment_count, b->segment_count);
	for (uint32_t k = 0; k < a->segment_count; k++)
		assert_memory_equal(&a->segments[k], &b->segments[k], sizeof(a->segments[k]));
	assert_int_equal(a->inode_count, b->inode_count);
	for (uint32_t k = 0; k < a->inode_count; k++)
		assert_same_inode(&a->inodes[k], &b->inodes[k]);
	assert_int_equal(a->dentry_count, b->dentry_count);
	for (uint32_t k = 0; k < a->dentry_count; k++) {
		assert_int_equal(a->dentries[k].parent, b->dentries[k].parent);
		assert_int_equal(a->dentries[k].ino, b->dentries[k].ino);
		assert_int_equal(a->dentries[k].type, b->dentries[k].type);
		assert_string_equal(a->dentries[k].name, b->dentries[k].name);
	}
	assert_int_equal(a->part_count, b->part_count);
	for (uint32_t k = 0; k < a->part_count; k++)
		assert_memory_equal(&a->parts[k], &b->parts[k], sizeof(a->parts[k]));
}

static void
encode_plain(struct changes *c, struct bytes *out)
{
	CLEANUP(bytes_clear) struct bytes compressed = {0};

	OK(changes_encode(c, &compressed));
	OK(decompress_buffer(compressed.data, compressed.len, CHANGES_MAX_LEN, out));
}

static void
what_is_written_is_read_again(void **state)
{
	(void)state;
	for (int round = 0; round < 300; round++) {
		CLEANUP(changes_free_ptr) struct changes *c = random_changes();
		CLEANUP(changes_free_ptr) struct changes *read = NULL;
		CLEANUP(bytes_clear) struct bytes b = {0};
		CLEANUP(bytes_clear) struct bytes again = {0};

		OK(changes_encode(c, &b));
		OK(changes_decode(b.data, b.len, &read));
		assert_same(c, read);
		OK(changes_encode(read, &again));
		assert_int_equal(again.len, b.len);
		assert_memory_equal(again.data, b.data, b.len);
	}
}

/* Decodes a copy of exactly that length, so that a sanitizer sees what reaches past it. */
static err_t
decode_exact(const uint8_t *data, size_t len, struct changes **out)
{
	uint8_t *copy = malloc(len ? len : 1);
	err_t e;

	memcpy(copy, data, len);
	e = changes_decode_plain(copy, len, out);
	free(copy);
	return e;
}

static void
a_body_with_any_byte_changed_is_refused_or_well_formed(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(bytes_clear) struct bytes b = {0};
	size_t accepted = 0;

	(void)state;
	do {
		changes_free(c);
		bytes_clear(&b);
		c = random_changes();
		encode_plain(c, &b);
	} while (b.len < 1500 || b.len > 4000);
	for (size_t k = 0; k < b.len; k++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			CLEANUP(changes_free_ptr) struct changes *read = NULL;
			err_t e;

			b.data[k] ^= (uint8_t)(1u << bit);
			e = decode_exact(b.data, b.len, &read);
			if (e == 0) {
				CLEANUP(bytes_clear) struct bytes again = {0};

				encode_plain(read, &again);
				assert_int_equal(again.len, b.len);
				assert_memory_equal(again.data, b.data, b.len);
				accepted++;
			} else {
				assert_true(e == -EBADMSG || e == -EPROTO);
			}
			b.data[k] ^= (uint8_t)(1u << bit);
		}
	}
	assert_true(accepted > 0);
}

static void
a_body_cut_short_is_refused_at_every_length(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = random_changes();
	CLEANUP(bytes_clear) struct bytes b = {0};
	CLEANUP(bytes_clear) struct bytes compressed = {0};
	struct changes *read = NULL;

	(void)state;
	encode_plain(c, &b);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(decode_exact(b.data, len, &read), -EBADMSG);
	OK(bytes_append_u8(&b, 0));
	assert_int_equal(decode_exact(b.data, b.len, &read), -EBADMSG);
	OK(changes_encode(c, &compressed));
	for (size_t len = 0; len < compressed.len; len++)
		assert_int_equal(changes_decode(compressed.data, len, &read), -EBADMSG);
}

static void
absurd_lengths_cost_nothing(void **state)
{
	/* Each claims 2^32 - 1, or 2^60, elements or bytes. */
	static const struct {
		size_t len;
		const char *data;
	} bodies[] = {
		{6, "\xba\xff\xff\xff\xff\x00"},
		{8, "\xa2\x00\x01\x01\x9a\xff\xff\xff"},
		{9, "\xa2\x00\x01\x04\x9a\xff\xff\xff\xff"},
		{13, "\xa2\x00\x01\x05\x9b\x10\x00\x00\x00\x00\x00\x00\x00"},
		{15, "\xa2\x00\x01\x05\x81\x84\x01\x01\x08\x5a\xff\xff\xff\xff\x61"},
		{19, "\xa2\x00\x01\x01\x81\x5b\x10\x00\x00\x00\x00\x00\x00\x00" "abcde"},
	};
	struct changes *read = NULL;

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(bodies); k++)
		assert_int_equal(decode_exact((const uint8_t *)bodies[k].data, bodies[k].len, &read), -EBADMSG);
}

static void
a_body_that_grows_beyond_the_limit_is_refused(void **state)
{
	CLEANUP(bytes_clear) struct bytes compressed = {0};
	uint8_t *zeros = calloc(1, CHANGES_MAX_LEN + 1u);
	struct changes *read = NULL;

	(void)state;
	OK(compress_buffer(zeros, CHANGES_MAX_LEN + 1u, &compressed));
	assert_true(compressed.len < 1 << 20);
	assert_int_equal(changes_decode(compressed.data, compressed.len, &read), -EBADMSG);
	free(zeros);
}

static void
too_much_to_encode_is_refused(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(bytes_clear) struct bytes out = {0};
	uint8_t *statement = calloc(1, 1 << 20);

	(void)state;
	OK(changes_new(&c));
	for (int k = 0; k < 129; k++)
		OK(changes_add_statement(c, statement, 1 << 20));
	assert_int_equal(changes_encode(c, &out), -E2BIG);
	assert_int_equal(out.len, 0);
	free(statement);
}

static void
what_a_collector_drops_is_read_as_it_was_written(void **state)
{
	CLEANUP(bytes_clear) struct bytes out = {0};
	const uint8_t low[16] = {1}, high[16] = {2};
	struct changes *c = NULL, *read = NULL;

	(void)state;
	OK(changes_new(&c));
	OK(changes_add_drop(c, high));
	OK(changes_add_drop(c, low));
	OK(changes_encode(c, &out));
	OK(changes_decode(out.data, out.len, &read));
	assert_int_equal(read->drop_count, 2);
	assert_memory_equal(read->drops[0].name, low, 16);
	assert_memory_equal(read->drops[1].name, high, 16);
	changes_free(read);
	OK(changes_add_drop(c, low)); /* twice */
	assert_int_equal(changes_encode(c, &out), -EINVAL);
	changes_free(c);
	/* {0: 1, 7: []} */
	assert_int_equal(decode_exact((const uint8_t *)"\xa2\x00\x01\x07\x80", 5, &read), -EBADMSG);
}

static void
unknown_versions_keys_and_fields_are_not_guessed(void **state)
{
	struct changes *read = NULL;

	(void)state;
	assert_int_equal(decode_exact((const uint8_t *)"\xa1\x00\x02", 3, &read), -EPROTO);
	assert_int_equal(decode_exact((const uint8_t *)"\xa2\x00\x01\x08\x00", 5, &read), -EPROTO);
	/* {0: 1, 4: [{0: 5, 1: 64, ...}]}, then one with key 14 */
	assert_int_equal(decode_exact((const uint8_t *)"\xa2\x00\x01\x04\x81\xa2\x00\x05\x01\x18\x80", 11, &read), -EPROTO);
	assert_int_equal(decode_exact((const uint8_t *)"\xa2\x00\x01\x04\x81\xa2\x00\x05\x0e\x00", 10, &read), -EPROTO);
	OK(decode_exact((const uint8_t *)"\xa1\x00\x01", 3, &read));
	changes_free(read);
}

/* A small valid one: a file of one extent with a name. */
static struct changes *
small_changes(void)
{
	struct changes *c = NULL;
	struct change_segment s = {.name = {1}, .size = 5000};
	struct change_inode *i;
	struct change_dentry *d;
	struct extent x = {.off = CHUNK_LEN + 10, .len = 100, .x_off = CHUNK_LEN, .x_len = 200, .key_version = 1, .seg_off = 1000,
	    .stored_len = 300};
	uint32_t index = 0;

	OK(changes_new(&c));
	OK(changes_segment_index(c, &s, &index));
	i = changes_add_inode(c);
	*i = (struct change_inode){.ino = 9, .fields = CHANGE_NEW, .mode = S_IFREG | 0644, .size = 2 * CHUNK_LEN, .origin = 9};
	i->keys = calloc(1, sizeof(*i->keys));
	i->keys[0].version = 1;
	i->key_count = 1;
	i->chunks = calloc(1, sizeof(*i->chunks));
	i->chunks[0].no = 1;
	i->chunk_count = 1;
	OK(extent_list_append(&i->chunks[0].extents, &x));
	i->xattrs = calloc(1, sizeof(*i->xattrs));
	i->xattrs[0].name = strdup("user.x");
	i->xattrs[0].value = calloc(1, 1);
	i->xattr_count = 1;
	d = changes_add_dentry(c);
	d->parent = 1;
	d->ino = 9;
	d->type = DT_REG;
	strcpy(d->name, "name");
	return c;
}

typedef void spoil_fn(struct changes *c);

static void spoil_dot(struct changes *c) { strcpy(c->dentries[0].name, "."); }
static void spoil_dotdot(struct changes *c) { strcpy(c->dentries[0].name, ".."); }
static void spoil_slash(struct changes *c) { strcpy(c->dentries[0].name, "a/b"); }
static void spoil_empty(struct changes *c) { c->dentries[0].name[0] = '\0'; }
static void spoil_parent(struct changes *c) { c->dentries[0].parent = 0; }
static void spoil_type(struct changes *c) { c->dentries[0].type = DT_UNKNOWN; }
static void spoil_twice(struct changes *c) { struct change_dentry d = c->dentries[0]; *changes_add_dentry(c) = d; }
static void spoil_ino(struct changes *c) { c->inodes[0].ino = 0; }
static void spoil_mode(struct changes *c) { c->inodes[0].mode = 0644; }
static void spoil_mode_bits(struct changes *c) { c->inodes[0].mode |= 1u << 20; }
static void spoil_fields(struct changes *c) { c->inodes[0].fields |= 1u << 9; }
static void spoil_size(struct changes *c) { c->inodes[0].size = UINT64_MAX; }
static void spoil_origin(struct changes *c) { c->inodes[0].origin = 0; }
static void spoil_time(struct changes *c) { c->inodes[0].mtime.tv_nsec = 1000000000; }
static void spoil_key(struct changes *c) { c->inodes[0].keys[0].version = 0; }
static void spoil_no_key(struct changes *c) { c->inodes[0].key_count = 0; }
static void spoil_resealed_mode(struct changes *c) { c->inodes[0].fields |= CHANGE_RESEALED; }
static void spoil_dir_content(struct changes *c) { c->inodes[0].mode = S_IFDIR; c->inodes[0].fields |= CHANGE_CONTENT; }
static void spoil_link(struct changes *c) { c->inodes[0].mode = S_IFLNK; }
static void spoil_xattr(struct changes *c) { c->inodes[0].xattrs[0].name[0] = '\0'; }
static void spoil_range(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].len = 191; }
static void spoil_range_start(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].x_off += 11; }
static void spoil_len(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].len = 0; }
static void spoil_chunk(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].x_len = CHUNK_LEN + 1; }
static void spoil_encoding(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].x_encoding = 2; }
static void spoil_key_version(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].key_version = 2; }
static void spoil_seg(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].seg = 1; }
static void spoil_seg_off(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].seg_off = 4701; }
static void spoil_stored_len(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].stored_len = 4001; }
static void spoil_stored_none(struct changes *c) { c->inodes[0].chunks[0].extents.v[0].stored_len = 0; }
static void spoil_inode_twice(struct changes *c) { *changes_add_inode(c) = (struct change_inode){.ino = 9, .mode = S_IFDIR}; }

static void
what_is_not_well_formed_is_not_even_written(void **state)
{
	static spoil_fn *const spoilers[] = {spoil_dot, spoil_dotdot, spoil_slash, spoil_empty, spoil_parent, spoil_type,
	    spoil_twice, spoil_ino, spoil_mode, spoil_mode_bits, spoil_fields, spoil_size, spoil_origin, spoil_time, spoil_key,
	    spoil_no_key, spoil_resealed_mode, spoil_dir_content, spoil_link, spoil_xattr, spoil_range, spoil_range_start,
	    spoil_len, spoil_chunk, spoil_encoding, spoil_key_version, spoil_seg, spoil_seg_off, spoil_stored_len, spoil_stored_none, spoil_inode_twice};
	CLEANUP(bytes_clear) struct bytes good = {0};
	struct changes *c = small_changes();

	(void)state;
	OK(changes_encode(c, &good));
	changes_free(c);
	for (size_t k = 0; k < ARRAY_LEN(spoilers); k++) {
		CLEANUP(bytes_clear) struct bytes b = {0};

		c = small_changes();
		spoilers[k](c);
		if (changes_encode(c, &b) != -EINVAL)
			fail_msg("spoiler %zu was written", k);
		assert_int_equal(b.len, 0);
		changes_free(c);
	}
}

static void
chunks_behind_the_end_and_removed_xattrs_of_new_files_are_left_out(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = small_changes();
	CLEANUP(changes_free_ptr) struct changes *read = NULL;
	CLEANUP(bytes_clear) struct bytes b = {0};

	(void)state;
	c->inodes[0].size = CHUNK_LEN;
	free(c->inodes[0].xattrs[0].value);
	c->inodes[0].xattrs[0].value = NULL;
	OK(changes_encode(c, &b));
	OK(changes_decode(b.data, b.len, &read));
	assert_int_equal(read->inodes[0].chunk_count, 0);
	assert_int_equal(read->inodes[0].xattr_count, 0);
}

static void
inodes_names_and_xattrs_are_sorted(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(changes_free_ptr) struct changes *read = NULL;
	CLEANUP(bytes_clear) struct bytes b = {0};

	(void)state;
	OK(changes_new(&c));
	for (uint64_t ino = 9; ino > 6; ino--) {
		struct change_inode *i = changes_add_inode(c);
		struct change_dentry *d = changes_add_dentry(c);

		*i = (struct change_inode){.ino = ino, .mode = S_IFDIR, .fields = CHANGE_MODE};
		*d = (struct change_dentry){.parent = 1, .name = {(char)('a' + ino), '\0'}};
	}
	OK(changes_encode(c, &b));
	OK(changes_decode(b.data, b.len, &read));
	assert_int_equal(read->inodes[0].ino, 7);
	assert_int_equal(read->inodes[2].ino, 9);
	assert_string_equal(read->dentries[0].name, "h");
	assert_string_equal(read->dentries[2].name, "j");
}

static void
each_segment_is_listed_once(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;

	(void)state;
	OK(changes_new(&c));
	for (uint32_t k = 0; k < 3000; k++) {
		struct change_segment s = {.size = k};
		uint32_t index = UINT32_MAX;

		put_u32(s.name, k % 1000);
		OK(changes_segment_index(c, &s, &index));
		assert_int_equal(index, k % 1000);
	}
	assert_int_equal(c->segment_count, 1000);
}

static void
a_small_file_costs_less_than_250_bytes(void **state)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(bytes_clear) struct bytes b = {0};
	struct change_segment s = {.size = 16 << 20};
	uint32_t index = 0;

	(void)state;
	OK(changes_new(&c));
	OK(changes_segment_index(c, &s, &index));
	for (uint64_t k = 0; k < 20000; k++) {
		struct change_inode *i = changes_add_inode(c);
		struct change_dentry *d = changes_add_dentry(c);
		uint64_t ino = (UINT64_C(3) << INODE_MEMBER_SHIFT) + 1000000 + k;
		struct extent x = {.len = 3000, .x_len = 3000, .key_version = 1, .seg_off = k * 800, .stored_len = 800,
		    .x_encoding = FRAME_ZSTD};
		struct timespec t = {1795219200, 123456789};

		random_fill(x.x_id, sizeof(x.x_id));
		*i = (struct change_inode){.ino = ino, .fields = CHANGE_NEW, .mode = S_IFREG | 0644, .uid = 1000, .gid = 1000,
		    .mtime = t, .ctime = t, .btime = t, .size = 3000, .origin = ino, .key_count = 1, .chunk_count = 1};
		i->keys = calloc(1, sizeof(*i->keys));
		i->keys[0] = (struct file_key){.version = 1, .epoch = 1};
		random_fill(i->keys[0].wrapped, KEYWRAP_LEN);
		i->chunks = calloc(1, sizeof(*i->chunks));
		OK(extent_list_append(&i->chunks[0].extents, &x));
		*d = (struct change_dentry){.parent = ino - 1000000, .ino = ino, .type = DT_REG};
		snprintf(d->name, sizeof(d->name), "some-header-file-%llu.h", (unsigned long long)k);
	}
	encode_plain(c, &b);
	assert_true(b.len < 20000 * 250);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(a_body_with_any_byte_changed_is_refused_or_well_formed),
		cmocka_unit_test(a_body_cut_short_is_refused_at_every_length),
		cmocka_unit_test(absurd_lengths_cost_nothing),
		cmocka_unit_test(a_body_that_grows_beyond_the_limit_is_refused),
		cmocka_unit_test(too_much_to_encode_is_refused),
		cmocka_unit_test(what_a_collector_drops_is_read_as_it_was_written),
		cmocka_unit_test(unknown_versions_keys_and_fields_are_not_guessed),
		cmocka_unit_test(what_is_not_well_formed_is_not_even_written),
		cmocka_unit_test(chunks_behind_the_end_and_removed_xattrs_of_new_files_are_left_out),
		cmocka_unit_test(inodes_names_and_xattrs_are_sorted),
		cmocka_unit_test(each_segment_is_listed_once),
		cmocka_unit_test(a_small_file_costs_less_than_250_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
