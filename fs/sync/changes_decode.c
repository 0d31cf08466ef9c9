/*
 * changes_decode.c: reading the body of a commit (the CDDL is in changes.c).  Bytes come from another device of the vault, but
 * are believed no more than the store's: every number has a bound before it is used, and nothing is allocated ahead of
 * what is really there.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cborio.h"
#include "changes_array.h"
#include "compress.h"
#include "extents.h"

#define FIELDS_ALL (CHANGE_NEW | CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME | CHANGE_XATTR | CHANGE_CONTENT | \
	CHANGE_RESEALED)
#define XATTR_VALUE_MAX 65536u

static err_t
expect_array(struct cursor *c, size_t count)
{
	size_t n = 0;
	err_t e = cbor_get_array(c, &n);

	if (e)
		return e;
	return n == count ? 0 : -EBADMSG;
}

static err_t
take_u32(struct cursor *c, uint32_t *out)
{
	uint64_t v = 0;
	err_t e = cbor_get_uint_max(c, UINT32_MAX, &v);

	if (!e)
		*out = (uint32_t)v;
	return e;
}

/* A string of 1 to max bytes without NUL, borrowed. */
static err_t
get_name(struct cursor *c, size_t max, const uint8_t **data_out, size_t *len_out)
{
	const uint8_t *data = NULL;
	size_t len = 0;
	err_t e = cbor_get_bytes(c, &data, &len);

	if (e)
		return e;
	if (len == 0 || len > max || memchr(data, 0, len))
		return -EBADMSG;
	*data_out = data;
	*len_out = len;
	return 0;
}

static err_t
get_time(struct cursor *c, struct timespec *out)
{
	int64_t sec = 0;
	uint64_t nsec = 0;
	err_t e;

	if ((e = expect_array(c, 2)) || (e = cbor_get_signed(c, &sec)) || (e = cbor_get_uint_max(c, 999999999, &nsec)))
		return e;
	*out = (struct timespec){sec, (long)nsec};
	return 0;
}

static err_t
get_statements(struct cursor *c, struct changes *out)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		const uint8_t *data = NULL;
		size_t len = 0;

		e = cbor_get_bytes(c, &data, &len);
		if (!e)
			e = changes_add_statement(out, data, len);
	}
	return e ? e : count ? 0 : -EBADMSG;
}

static err_t
get_epoch_keys(struct cursor *c, struct changes *out)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		uint32_t epoch = 0;
		uint8_t wrapped[KEYWRAP_LEN] = {0};

		if ((e = expect_array(c, 2)) || (e = take_u32(c, &epoch)) || (e = cbor_get_bytes_exact(c, wrapped, sizeof(wrapped))))
			return e;
		e = changes_add_epoch_key(out, epoch, wrapped);
	}
	return e ? e : count ? 0 : -EBADMSG;
}

static err_t
get_segments(struct cursor *c, struct change_segment **v, uint32_t *v_count)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct change_segment *s = CHANGES_GROW(*v, *v_count);

		if (!s)
			return -ENOMEM;
		if ((e = expect_array(c, 3)) || (e = cbor_get_bytes_exact(c, s->name, sizeof(s->name))) ||
		    (e = cbor_get_uint_max(c, INT64_MAX, &s->size)))
			return e;
		e = cbor_get_bytes_exact(c, s->sha256, sizeof(s->sha256));
	}
	return e ? e : count ? 0 : -EBADMSG;
}

static err_t
get_keys(struct cursor *c, struct change_inode *i)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct file_key *key = CHANGES_GROW(i->keys, i->key_count);

		if (!key)
			return -ENOMEM;
		if ((e = expect_array(c, 3)) || (e = take_u32(c, &key->version)) || (e = take_u32(c, &key->epoch)) ||
		    (e = cbor_get_bytes_exact(c, key->wrapped, KEYWRAP_LEN)))
			return e;
		if (key->version == 0 || (k > 0 && key->version <= key[-1].version))
			return -EBADMSG;
	}
	return e;
}

static bool
has_key(const struct change_inode *i, uint32_t version)
{
	uint32_t low = 0;
	uint32_t high = i->key_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (i->keys[mid].version == version)
			return true;
		if (i->keys[mid].version < version)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* Reads one; offsets are still those within the chunk. */
static err_t
get_extent(struct cursor *c, struct extent *x)
{
	uint64_t len = 0, encoding = 0, seg = 0, x_len = 0;
	size_t count = 0;
	err_t e;

	if ((e = cbor_get_array(c, &count)))
		return e;
	if (count != 8 && count != 10)
		return -EBADMSG;
	if ((e = cbor_get_uint_max(c, CHUNK_LEN - 1, &x->off)) || (e = cbor_get_uint_max(c, CHUNK_LEN, &len)) ||
	    (e = cbor_get_uint_max(c, FRAME_ZSTD, &encoding)) || (e = take_u32(c, &x->key_version)) ||
	    (e = cbor_get_bytes_exact(c, x->x_id, EXTENT_ID_LEN)) || (e = cbor_get_uint_max(c, UINT32_MAX, &seg)) ||
	    (e = cbor_get_uint_max(c, INT64_MAX, &x->seg_off)) || (e = take_u32(c, &x->stored_len)))
		return e;
	x->len = (uint32_t)len;
	x->x_encoding = (uint8_t)encoding;
	x->seg = seg;
	x->x_off = x->off;
	x->x_len = x->len;
	if (count == 8)
		return 0;
	if ((e = cbor_get_uint_max(c, CHUNK_LEN - 1, &x->x_off)) || (e = cbor_get_uint_max(c, CHUNK_LEN, &x_len)))
		return e;
	x->x_len = (uint32_t)x_len;
	return x->x_off == x->off && x->x_len == x->len ? -EBADMSG : 0;
}

/* Is the mapped range inside the sealed extent, that inside the chunk, and its bytes inside the segment? */
static bool
extent_is_sound(const struct extent *x, const struct changes *c, const struct change_inode *i)
{
	return x->len > 0 && x->stored_len > 0 && x->x_off <= x->off && x->off + x->len <= x->x_off + x->x_len &&
	    x->x_off + x->x_len <= CHUNK_LEN && has_key(i, x->key_version) && x->seg < c->segment_count &&
	    x->seg_off <= c->segments[x->seg].size && x->stored_len <= c->segments[x->seg].size - x->seg_off;
}

static err_t
get_extents(struct cursor *c, const struct changes *all, const struct change_inode *i, struct change_chunk *chunk)
{
	struct extent_list *l = &chunk->extents;
	uint64_t end = 0;
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct extent x = {0};

		if ((e = get_extent(c, &x)))
			return e;
		if (x.off < end || !extent_is_sound(&x, all, i))
			return -EBADMSG;
		end = x.off + x.len;
		x.off += chunk->no * CHUNK_LEN;
		x.x_off += chunk->no * CHUNK_LEN;
		e = extent_list_append(l, &x);
	}
	return e;
}

static err_t
get_chunks(struct cursor *c, const struct changes *all, struct change_inode *i)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct change_chunk *chunk = CHANGES_GROW(i->chunks, i->chunk_count);

		if (!chunk)
			return -ENOMEM;
		if ((e = expect_array(c, 2)) || (e = cbor_get_uint_max(c, INODE_MAX_SIZE / CHUNK_LEN, &chunk->no)))
			return e;
		if (chunk->no * CHUNK_LEN >= i->size || (k > 0 && chunk->no <= chunk[-1].no))
			return -EBADMSG;
		e = get_extents(c, all, i, chunk);
	}
	return e;
}

static err_t
get_xattr(struct cursor *c, struct change_xattr *x)
{
	const uint8_t *name = NULL;
	const uint8_t *value = NULL;
	size_t count = 0, name_len = 0, len = 0;
	err_t e;

	if ((e = cbor_get_array(c, &count)))
		return e;
	if (count != 1 && count != 2)
		return -EBADMSG;
	if ((e = get_name(c, 255, &name, &name_len)))
		return e;
	x->name = strndup((const char *)name, name_len);
	if (!x->name)
		return -ENOMEM;
	if (count == 1)
		return 0;
	if ((e = cbor_get_bytes(c, &value, &len)))
		return e;
	if (len > XATTR_VALUE_MAX)
		return -EBADMSG;
	x->value = malloc(len + 1);
	if (!x->value)
		return -ENOMEM;
	memcpy(x->value, value, len);
	x->len = (uint32_t)len;
	return 0;
}

static err_t
get_xattrs(struct cursor *c, struct change_inode *i)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct change_xattr *x = CHANGES_GROW(i->xattrs, i->xattr_count);

		if (!x)
			return -ENOMEM;
		e = get_xattr(c, x);
		if (!e && k > 0 && strcmp(x[-1].name, x->name) >= 0)
			e = -EBADMSG;
		if (!e && !x->value && i->fields & CHANGE_NEW)
			e = -EBADMSG; /* nothing can be gone from what is new */
	}
	return e;
}

static err_t
get_target(struct cursor *c, struct change_inode *i)
{
	const uint8_t *target = NULL;
	size_t len = 0;
	err_t e = get_name(c, SYMLINK_LEN_MAX, &target, &len);

	if (e)
		return e;
	i->target = strndup((const char *)target, len);
	return i->target ? 0 : -ENOMEM;
}

static err_t
get_owner(struct cursor *c, struct change_inode *i)
{
	err_t e;

	if ((e = expect_array(c, 2)) || (e = take_u32(c, &i->uid)))
		return e;
	return take_u32(c, &i->gid);
}

static err_t
get_fields(struct cursor *c, struct change_inode *i)
{
	uint64_t fields = 0;
	err_t e = cbor_get_uint(c, &fields);

	if (e)
		return e;
	if (fields & ~(uint64_t)FIELDS_ALL)
		return -EPROTO;
	i->fields = (uint32_t)fields;
	return 0;
}

static bool
mode_is_sound(uint64_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return (mode & ~(uint64_t)(S_IFMT | 07777)) == 0;
	default:
		return false;
	}
}

static err_t
get_inode_value(struct cursor *c, uint64_t key, const struct changes *all, struct change_inode *i)
{
	switch (key) {
	case 0:
		return cbor_get_uint_max(c, INT64_MAX, &i->ino);
	case 1:
		return get_fields(c, i);
	case 2:
		return take_u32(c, &i->mode);
	case 3:
		return get_time(c, &i->ctime);
	case 4:
		return get_owner(c, i);
	case 5:
		return get_time(c, &i->mtime);
	case 6:
		return get_time(c, &i->btime);
	case 7:
		return cbor_get_uint(c, &i->rdev);
	case 8:
		return get_target(c, i);
	case 9:
		return cbor_get_uint_max(c, INT64_MAX, &i->origin);
	case 10:
		return cbor_get_uint_max(c, INODE_MAX_SIZE, &i->size);
	case 11:
		return get_keys(c, i);
	case 12:
		return get_chunks(c, all, i);
	case 13:
		return get_xattrs(c, i);
	default:
		return -EPROTO;
	}
}

/* The keys that the fields and the type call for: no more, no less. */
static uint32_t
wanted_keys(const struct change_inode *i)
{
	uint32_t f = i->fields;
	uint32_t keys = 0xf;

	keys |= f & CHANGE_OWNER ? 1u << 4 : 0;
	keys |= f & CHANGE_MTIME ? 1u << 5 : 0;
	keys |= f & CHANGE_NEW ? 1u << 6 : 0;
	keys |= f & CHANGE_NEW && (S_ISCHR(i->mode) || S_ISBLK(i->mode)) ? 1u << 7 : 0;
	keys |= f & CHANGE_NEW && S_ISLNK(i->mode) ? 1u << 8 : 0;
	keys |= f & CHANGE_NEW && S_ISREG(i->mode) ? 1u << 9 : 0;
	keys |= f & CHANGE_CONTENT ? 7u << 10 : 0;
	keys |= f & CHANGE_XATTR ? 1u << 13 : 0;
	return keys;
}

static bool
inode_is_sound(const struct change_inode *i, uint32_t keys)
{
	uint32_t new_needs = CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME | (S_ISREG(i->mode) ? CHANGE_CONTENT : 0u);

	if (keys != wanted_keys(i) || i->ino == 0 || !mode_is_sound(i->mode))
		return false;
	if (i->fields & CHANGE_CONTENT && !S_ISREG(i->mode))
		return false;
	if (i->fields & CHANGE_RESEALED && i->fields != (CHANGE_CONTENT | CHANGE_RESEALED))
		return false;
	return !(i->fields & CHANGE_NEW) || ((i->fields & new_needs) == new_needs && (!S_ISREG(i->mode) || i->origin != 0));
}

static err_t
get_inode(struct cursor *c, const struct changes *all, struct change_inode *i)
{
	int64_t last = -1;
	uint32_t keys = 0;
	size_t pairs = 0;
	err_t e = cbor_get_map(c, &pairs);

	for (size_t k = 0; k < pairs && !e; k++) {
		uint64_t key = 0;

		if ((e = cbor_key(c, &last, &key)) || (e = get_inode_value(c, key, all, i)))
			return e;
		keys |= 1u << key;
	}
	if (e)
		return e;
	return inode_is_sound(i, keys) ? 0 : -EBADMSG;
}

static err_t
get_inodes(struct cursor *c, struct changes *out)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct change_inode *i = changes_add_inode(out);

		if (!i)
			return -ENOMEM;
		e = get_inode(c, out, i);
		if (!e && k > 0 && i->ino <= i[-1].ino)
			e = -EBADMSG;
	}
	return e ? e : count ? 0 : -EBADMSG;
}

static bool
type_is_sound(uint8_t type)
{
	return type == DT_REG || type == DT_DIR || type == DT_LNK || type == DT_FIFO || type == DT_SOCK || type == DT_CHR ||
	    type == DT_BLK;
}

static err_t
get_dentry(struct cursor *c, struct change_dentry *d)
{
	const uint8_t *name = NULL;
	uint64_t type = 0;
	size_t len = 0;
	err_t e;

	if ((e = expect_array(c, 4)) || (e = cbor_get_uint_max(c, INT64_MAX, &d->parent)) ||
	    (e = cbor_get_uint_max(c, INT64_MAX, &d->ino)) || (e = cbor_get_uint_max(c, UINT8_MAX, &type)) ||
	    (e = get_name(c, NAME_LEN_MAX, &name, &len)))
		return e;
	memcpy(d->name, name, len);
	d->type = (uint8_t)type;
	if (d->parent == 0 || strchr(d->name, '/') || strcmp(d->name, ".") == 0 || strcmp(d->name, "..") == 0)
		return -EBADMSG;
	return (d->ino ? type_is_sound(d->type) : type == 0) ? 0 : -EBADMSG;
}

static err_t
get_dentries(struct cursor *c, struct changes *out)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct change_dentry *d = changes_add_dentry(out);

		if (!d)
			return -ENOMEM;
		e = get_dentry(c, d);
		if (!e && k > 0 && changes_compare_dentries(&d[-1], d) >= 0)
			e = -EBADMSG;
	}
	return e ? e : count ? 0 : -EBADMSG;
}

static err_t
get_drops(struct cursor *c, struct changes *out)
{
	size_t count = 0;
	err_t e = cbor_get_array(c, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct change_drop *d = CHANGES_GROW(out->drops, out->drop_count);

		if (!d)
			return -ENOMEM;
		e = cbor_get_bytes_exact(c, d->name, sizeof(d->name));
		if (!e && k > 0 && changes_compare_drops(&d[-1], d) >= 0)
			e = -EBADMSG;
	}
	return e ? e : count ? 0 : -EBADMSG;
}

static err_t
get_version(struct cursor *c)
{
	uint64_t version = 0;
	err_t e = cbor_get_uint(c, &version);

	if (e)
		return e;
	return version == 1 ? 0 : -EPROTO;
}

static err_t
get_body_value(struct cursor *c, uint64_t key, struct changes *out)
{
	switch (key) {
	case 0:
		return get_version(c);
	case 1:
		return get_statements(c, out);
	case 2:
		return get_epoch_keys(c, out);
	case 3:
		return get_segments(c, &out->segments, &out->segment_count);
	case 4:
		return get_inodes(c, out);
	case 5:
		return get_dentries(c, out);
	case 6:
		return get_segments(c, &out->parts, &out->part_count);
	case 7:
		return get_drops(c, out);
	default:
		return -EPROTO;
	}
}

err_t
changes_decode_plain(const uint8_t *data, size_t len, struct changes **out)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	struct cursor cursor = {data, len};
	int64_t last = -1;
	size_t pairs = 0;
	err_t e;

	if ((e = changes_new(&c)) || (e = cbor_get_map(&cursor, &pairs)))
		return e;
	for (size_t k = 0; k < pairs; k++) {
		uint64_t key = 0;

		if ((e = cbor_key(&cursor, &last, &key)))
			return e;
		if (k == 0 && key != 0)
			return -EBADMSG; /* the version comes first: whatever follows is read by it */
		if ((e = get_body_value(&cursor, key, c)))
			return e;
	}
	if (pairs == 0 || (e = cbor_end(&cursor)))
		return -EBADMSG;
	*out = STEAL(c);
	return 0;
}

err_t
changes_decode(const uint8_t *data, size_t len, struct changes **out)
{
	CLEANUP(bytes_clear) struct bytes body = {0};
	err_t e = decompress_buffer(data, len, CHANGES_MAX_LEN, &body);

	if (e)
		return e;
	return changes_decode_plain(body.data, body.len, out);
}
