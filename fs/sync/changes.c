/*
 * changes.c: building the body of a commit, and writing it.  changes_decode.c reads it.
 *
 * The body, before compression, is deterministic CBOR (RFC 8949 section 4.2.1) in this form (CDDL, RFC 8610):
 *
 *   body = {
 *     0: 1,                        ; version of this form
 *     ? 1: [+ bstr],               ; trust statements, in order
 *     ? 2: [+ epoch-key],
 *     ? 3: [+ segment],            ; what extents point into, by index
 *     ? 4: [+ inode],              ; ascending numbers
 *     ? 5: [+ dentry],             ; ascending (parent, name), each once
 *     ? 6: [+ segment],            ; the parts of a base
 *     ? 7: [+ bstr .size 16],      ; segments that are going to be deleted, ascending
 *   }
 *   epoch-key = [epoch: uint .size 4, wrapped: bstr .size 40]
 *   segment = [name: bstr .size 16, size: uint, sha256: bstr .size 32]
 *   inode = {
 *     0: uint,                     ; number, not 0
 *     1: uint,                     ; fields, a sum of 1 new, 2 mode, 4 owner, 8 mtime, 16 xattrs, 32 content
 *     2: uint,                     ; mode; the type bits always count, the permissions if fields has mode
 *     3: time,                     ; ctime
 *     ? 4: [uid: uint .size 4, gid: uint .size 4],  ; with owner
 *     ? 5: time,                   ; mtime
 *     ? 6: time,                   ; btime, with new
 *     ? 7: uint,                   ; rdev, with new, for device nodes
 *     ? 8: bstr .size (1..4095),   ; target, with new, for symbolic links
 *     ? 9: uint,                   ; origin, with new, for regular files
 *     ? 10: uint,                  ; size, with content
 *     ? 11: [* file-key],          ; with content, ascending versions
 *     ? 12: [* chunk],             ; with content, ascending numbers
 *     ? 13: [* xattr],             ; with xattrs, ascending names
 *   }                              ; new comes with mode, owner, mtime, and for regular files content
 *   time = [seconds: int, nanoseconds: 0..999999999]
 *   file-key = [version: uint .size 4, epoch: uint .size 4, wrapped: bstr .size 40]
 *   chunk = [number: uint, [* extent]]     ; the whole chunk; it begins before the file's end
 *   extent = [
 *     offset: uint, length: uint,          ; the mapped range; offsets count from the start of the chunk
 *     encoding: 0..1, key-version: uint .size 4, id: bstr .size 16,
 *     segment: uint, segment-offset: uint, stored-length: uint .size 4,
 *     ? sealed-offset: uint, sealed-length: uint   ; the sealed extent, where it is more than the range
 *   ]
 *   xattr = [name: bstr .size (1..255), ? value: bstr .size (0..65536)]  ; without a value: removed
 *   dentry = [parent: uint, inode: uint, type: uint, name: bstr .size (1..255)]  ; inode and type 0: the name is gone
 *
 * Names, targets and names of xattrs are bytes without NUL; a dentry's name has no "/" and is neither "." nor "..".
 */
#include "changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "cborio.h"
#include "changes_array.h"
#include "compress.h"
#include "extents.h"

#define BODY_VERSION 1

struct changes_index {
	uint8_t name[16];
	uint32_t index;
	UT_hash_handle hh;
};

err_t
changes_new(struct changes **out)
{
	struct changes *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	*out = c;
	return 0;
}

static void
inode_clear(struct change_inode *i)
{
	free(i->target);
	free(i->keys);
	for (uint32_t k = 0; k < i->xattr_count; k++) {
		free(i->xattrs[k].name);
		free(i->xattrs[k].value);
	}
	free(i->xattrs);
	for (uint32_t k = 0; k < i->chunk_count; k++)
		extent_list_clear(&i->chunks[k].extents);
	free(i->chunks);
}

void
changes_free(struct changes *c)
{
	struct changes_index *e, *next;

	if (!c)
		return;
	for (uint32_t k = 0; k < c->statement_count; k++)
		bytes_clear(&c->statements[k]);
	free(c->statements);
	free(c->epoch_keys);
	free(c->segments);
	for (uint32_t k = 0; k < c->inode_count; k++)
		inode_clear(&c->inodes[k]);
	free(c->inodes);
	free(c->dentries);
	free(c->parts);
	free(c->drops);
	HASH_ITER(hh, c->segment_index, e, next) {
		HASH_DEL(c->segment_index, e);
		free(e);
	}
	free(c);
}

void
changes_free_ptr(struct changes **c)
{
	changes_free(*c);
}

/* Capacities are powers of two, so that the count alone tells when an array is full. */
void *
changes_grow(void **array, uint32_t *count, size_t element_len)
{
	uint32_t n = *count;
	bool full = n == 0 || (n >= 4 && (n & (n - 1)) == 0);

	if (full) {
		uint32_t cap = n == 0 ? 4 : n * 2;
		void *v = cap > n ? realloc(*array, cap * element_len) : NULL;

		if (!v)
			return NULL;
		*array = v;
	}

	void *element = (char *)*array + n * element_len;

	memset(element, 0, element_len);
	*count = n + 1;
	return element;
}

struct change_inode *
changes_add_inode(struct changes *c)
{
	return CHANGES_GROW(c->inodes, c->inode_count);
}

struct change_dentry *
changes_add_dentry(struct changes *c)
{
	return CHANGES_GROW(c->dentries, c->dentry_count);
}

err_t
changes_add_statement(struct changes *c, const uint8_t *data, size_t len)
{
	struct bytes *b = CHANGES_GROW(c->statements, c->statement_count);
	err_t e = b ? bytes_append(b, data, len) : -ENOMEM;

	if (b && e)
		c->statement_count--;
	return e;
}

err_t
changes_add_epoch_key(struct changes *c, uint32_t epoch, const uint8_t wrapped[static KEYWRAP_LEN])
{
	__typeof__(c->epoch_keys) k = CHANGES_GROW(c->epoch_keys, c->epoch_key_count);

	if (!k)
		return -ENOMEM;
	k->epoch = epoch;
	memcpy(k->wrapped, wrapped, KEYWRAP_LEN);
	return 0;
}

err_t
changes_add_drop(struct changes *c, const uint8_t name[static 16])
{
	struct change_drop *d = CHANGES_GROW(c->drops, c->drop_count);

	if (!d)
		return -ENOMEM;
	memcpy(d->name, name, sizeof(d->name));
	return 0;
}

err_t
changes_segment_index(struct changes *c, const struct change_segment *s, uint32_t *index_out)
{
	struct changes_index *e = NULL;

	HASH_FIND(hh, c->segment_index, s->name, sizeof(s->name), e);
	if (e) {
		*index_out = e->index;
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	memcpy(e->name, s->name, sizeof(e->name));
	e->index = c->segment_count;
	HASH_ADD(hh, c->segment_index, name, sizeof(e->name), e);
	if (!e->hh.tbl) {
		free(e);
		return -ENOMEM;
	}

	struct change_segment *added = CHANGES_GROW(c->segments, c->segment_count);

	if (!added) {
		HASH_DEL(c->segment_index, e);
		free(e);
		return -ENOMEM;
	}
	*added = *s;
	*index_out = e->index;
	return 0;
}

static int
compare_inodes(const void *a, const void *b)
{
	uint64_t x = ((const struct change_inode *)a)->ino;
	uint64_t y = ((const struct change_inode *)b)->ino;

	return (x > y) - (x < y);
}

int
changes_compare_dentries(const void *a, const void *b)
{
	const struct change_dentry *x = a;
	const struct change_dentry *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->name, y->name);
}

int
changes_compare_drops(const void *a, const void *b)
{
	return memcmp(((const struct change_drop *)a)->name, ((const struct change_drop *)b)->name, 16);
}

static int
compare_xattrs(const void *a, const void *b)
{
	return strcmp(((const struct change_xattr *)a)->name, ((const struct change_xattr *)b)->name);
}

static err_t
put_time(struct bytes *b, const struct timespec *t)
{
	err_t e;

	if ((e = cbor_put_array(b, 2)) || (e = cbor_put_signed(b, t->tv_sec)))
		return e;
	return cbor_put_uint(b, (uint64_t)t->tv_nsec);
}

static err_t
put_segments(struct bytes *b, const struct change_segment *v, uint32_t count)
{
	err_t e = cbor_put_array(b, count);

	for (uint32_t i = 0; i < count && !e; i++) {
		if ((e = cbor_put_array(b, 3)) || (e = cbor_put_bytes(b, v[i].name, sizeof(v[i].name))) ||
		    (e = cbor_put_uint(b, v[i].size)))
			return e;
		e = cbor_put_bytes(b, v[i].sha256, sizeof(v[i].sha256));
	}
	return e;
}

static err_t
put_keys(struct bytes *b, const struct change_inode *i)
{
	err_t e = cbor_put_array(b, i->key_count);

	for (uint32_t k = 0; k < i->key_count && !e; k++) {
		if ((e = cbor_put_array(b, 3)) || (e = cbor_put_uint(b, i->keys[k].version)) ||
		    (e = cbor_put_uint(b, i->keys[k].epoch)))
			return e;
		e = cbor_put_bytes(b, i->keys[k].wrapped, KEYWRAP_LEN);
	}
	return e;
}

static err_t
put_extent(struct bytes *b, uint64_t chunk_off, const struct extent *x)
{
	bool whole = x->x_off == x->off && x->x_len == x->len;
	err_t e;

	if ((e = cbor_put_array(b, whole ? 8 : 10)) || (e = cbor_put_uint(b, x->off - chunk_off)) ||
	    (e = cbor_put_uint(b, x->len)) || (e = cbor_put_uint(b, x->x_encoding)) ||
	    (e = cbor_put_uint(b, x->key_version)) || (e = cbor_put_bytes(b, x->x_id, EXTENT_ID_LEN)) ||
	    (e = cbor_put_uint(b, x->seg)) || (e = cbor_put_uint(b, x->seg_off)) || (e = cbor_put_uint(b, x->stored_len)))
		return e;
	if (whole)
		return 0;
	if ((e = cbor_put_uint(b, x->x_off - chunk_off)))
		return e;
	return cbor_put_uint(b, x->x_len);
}

static bool
is_behind(const struct change_inode *i, const struct change_chunk *c)
{
	return c->no > INODE_MAX_SIZE / CHUNK_LEN || c->no * CHUNK_LEN >= i->size;
}

static err_t
put_chunks(struct bytes *b, const struct change_inode *i)
{
	uint32_t count = 0;
	err_t e;

	for (uint32_t k = 0; k < i->chunk_count; k++)
		count += !is_behind(i, &i->chunks[k]);
	e = cbor_put_array(b, count);
	for (uint32_t k = 0; k < i->chunk_count && !e; k++) {
		const struct change_chunk *c = &i->chunks[k];

		if (is_behind(i, c))
			continue;
		if ((e = cbor_put_array(b, 2)) || (e = cbor_put_uint(b, c->no)) || (e = cbor_put_array(b, c->extents.count)))
			return e;
		for (uint32_t x = 0; x < c->extents.count && !e; x++)
			e = put_extent(b, c->no * CHUNK_LEN, &c->extents.v[x]);
	}
	return e;
}

static err_t
put_xattrs(struct bytes *b, const struct change_inode *i)
{
	err_t e = cbor_put_array(b, i->xattr_count);

	for (uint32_t k = 0; k < i->xattr_count && !e; k++) {
		const struct change_xattr *x = &i->xattrs[k];

		if ((e = cbor_put_array(b, x->value ? 2 : 1)) || (e = cbor_put_bytes(b, x->name, strlen(x->name))))
			return e;
		if (x->value)
			e = cbor_put_bytes(b, x->value, x->len);
	}
	return e;
}

static err_t
put_new(struct bytes *b, const struct change_inode *i)
{
	err_t e;

	if ((e = cbor_put_uint(b, 6)) || (e = put_time(b, &i->btime)))
		return e;
	if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
		if ((e = cbor_put_uint(b, 7)) || (e = cbor_put_uint(b, i->rdev)))
			return e;
	} else if (S_ISLNK(i->mode)) {
		const char *target = i->target ? i->target : "";

		if ((e = cbor_put_uint(b, 8)) || (e = cbor_put_bytes(b, target, strlen(target))))
			return e;
	} else if (S_ISREG(i->mode)) {
		if ((e = cbor_put_uint(b, 9)) || (e = cbor_put_uint(b, i->origin)))
			return e;
	}
	return 0;
}

static bool
has_own_key(const struct change_inode *i)
{
	return S_ISCHR(i->mode) || S_ISBLK(i->mode) || S_ISLNK(i->mode) || S_ISREG(i->mode);
}

static err_t
put_inode(struct bytes *b, const struct change_inode *i)
{
	uint32_t f = i->fields;
	size_t pairs = 4 + !!(f & CHANGE_OWNER) + !!(f & CHANGE_MTIME) + !!(f & CHANGE_XATTR) +
	    (f & CHANGE_NEW ? 1u + has_own_key(i) : 0) + (f & CHANGE_CONTENT ? 3u : 0);
	err_t e;

	if ((e = cbor_put_map(b, pairs)) || (e = cbor_put_uint(b, 0)) || (e = cbor_put_uint(b, i->ino)) ||
	    (e = cbor_put_uint(b, 1)) || (e = cbor_put_uint(b, f)) || (e = cbor_put_uint(b, 2)) ||
	    (e = cbor_put_uint(b, i->mode)) || (e = cbor_put_uint(b, 3)) || (e = put_time(b, &i->ctime)))
		return e;
	if (f & CHANGE_OWNER && ((e = cbor_put_uint(b, 4)) || (e = cbor_put_array(b, 2)) ||
	    (e = cbor_put_uint(b, i->uid)) || (e = cbor_put_uint(b, i->gid))))
		return e;
	if (f & CHANGE_MTIME && ((e = cbor_put_uint(b, 5)) || (e = put_time(b, &i->mtime))))
		return e;
	if (f & CHANGE_NEW && (e = put_new(b, i)))
		return e;
	if (f & CHANGE_CONTENT && ((e = cbor_put_uint(b, 10)) || (e = cbor_put_uint(b, i->size)) ||
	    (e = cbor_put_uint(b, 11)) || (e = put_keys(b, i)) || (e = cbor_put_uint(b, 12)) || (e = put_chunks(b, i))))
		return e;
	if (f & CHANGE_XATTR && ((e = cbor_put_uint(b, 13)) || (e = put_xattrs(b, i))))
		return e;
	return 0;
}

static err_t
put_inodes(struct bytes *b, const struct changes *c)
{
	err_t e = cbor_put_array(b, c->inode_count);

	for (uint32_t k = 0; k < c->inode_count && !e; k++) {
		e = put_inode(b, &c->inodes[k]);
		if (!e && b->len > CHANGES_MAX_LEN)
			e = -E2BIG;
	}
	return e;
}

static err_t
put_dentries(struct bytes *b, const struct changes *c)
{
	err_t e = cbor_put_array(b, c->dentry_count);

	for (uint32_t k = 0; k < c->dentry_count && !e; k++) {
		const struct change_dentry *d = &c->dentries[k];

		if ((e = cbor_put_array(b, 4)) || (e = cbor_put_uint(b, d->parent)) || (e = cbor_put_uint(b, d->ino)) ||
		    (e = cbor_put_uint(b, d->ino ? d->type : 0)))
			return e;
		e = cbor_put_bytes(b, d->name, strlen(d->name));
	}
	return e;
}

static err_t
put_statements(struct bytes *b, const struct changes *c)
{
	err_t e = cbor_put_array(b, c->statement_count);

	for (uint32_t k = 0; k < c->statement_count && !e; k++)
		e = cbor_put_bytes(b, c->statements[k].data, c->statements[k].len);
	return e;
}

static err_t
put_epoch_keys(struct bytes *b, const struct changes *c)
{
	err_t e = cbor_put_array(b, c->epoch_key_count);

	for (uint32_t k = 0; k < c->epoch_key_count && !e; k++) {
		if ((e = cbor_put_array(b, 2)) || (e = cbor_put_uint(b, c->epoch_keys[k].epoch)))
			return e;
		e = cbor_put_bytes(b, c->epoch_keys[k].wrapped, KEYWRAP_LEN);
	}
	return e;
}

static err_t
put_drops(struct bytes *b, const struct changes *c)
{
	err_t e = cbor_put_array(b, c->drop_count);

	for (uint32_t k = 0; k < c->drop_count && !e; k++)
		e = cbor_put_bytes(b, c->drops[k].name, sizeof(c->drops[k].name));
	return e;
}

static err_t
put_body(struct bytes *b, const struct changes *c)
{
	size_t pairs = 1 + !!c->statement_count + !!c->epoch_key_count + !!c->segment_count + !!c->inode_count +
	    !!c->dentry_count + !!c->part_count + !!c->drop_count;
	err_t e;

	if ((e = cbor_put_map(b, pairs)) || (e = cbor_put_uint(b, 0)) || (e = cbor_put_uint(b, BODY_VERSION)))
		return e;
	if (c->statement_count && ((e = cbor_put_uint(b, 1)) || (e = put_statements(b, c))))
		return e;
	if (c->epoch_key_count && ((e = cbor_put_uint(b, 2)) || (e = put_epoch_keys(b, c))))
		return e;
	if (c->segment_count && ((e = cbor_put_uint(b, 3)) || (e = put_segments(b, c->segments, c->segment_count))))
		return e;
	if (c->inode_count && ((e = cbor_put_uint(b, 4)) || (e = put_inodes(b, c))))
		return e;
	if (c->dentry_count && ((e = cbor_put_uint(b, 5)) || (e = put_dentries(b, c))))
		return e;
	if (c->part_count && ((e = cbor_put_uint(b, 6)) || (e = put_segments(b, c->parts, c->part_count))))
		return e;
	if (c->drop_count && ((e = cbor_put_uint(b, 7)) || (e = put_drops(b, c))))
		return e;
	return b->len > CHANGES_MAX_LEN ? -E2BIG : 0;
}

/* What is new has nothing to remove. */
static void
drop_removed_xattrs(struct change_inode *i)
{
	uint32_t kept = 0;

	for (uint32_t k = 0; k < i->xattr_count; k++) {
		if (i->xattrs[k].value)
			i->xattrs[kept++] = i->xattrs[k];
		else
			free(i->xattrs[k].name);
	}
	i->xattr_count = kept;
}

static void
normalize(struct changes *c)
{
	for (uint32_t k = 0; k < c->inode_count; k++) {
		struct change_inode *i = &c->inodes[k];

		if (i->fields & CHANGE_NEW) {
			drop_removed_xattrs(i);
			i->fields |= CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME;
			i->fields |= S_ISREG(i->mode) ? CHANGE_CONTENT : 0u;
			i->fields |= i->xattr_count ? CHANGE_XATTR : 0u;
		}
		if (i->xattr_count)
			qsort(i->xattrs, i->xattr_count, sizeof(*i->xattrs), compare_xattrs);
	}
	if (c->inode_count)
		qsort(c->inodes, c->inode_count, sizeof(*c->inodes), compare_inodes);
	if (c->dentry_count)
		qsort(c->dentries, c->dentry_count, sizeof(*c->dentries), changes_compare_dentries);
	if (c->drop_count)
		qsort(c->drops, c->drop_count, sizeof(*c->drops), changes_compare_drops);
}

/* A commit that the others can't read would stop the vault for good: what was written is read back before it is handed out. */
err_t
changes_encode(struct changes *c, struct bytes *out)
{
	CLEANUP(bytes_clear) struct bytes body = {0};
	CLEANUP(changes_free_ptr) struct changes *check = NULL;
	err_t e;

	normalize(c);
	if ((e = put_body(&body, c)))
		return e;
	e = changes_decode_plain(body.data, body.len, &check);
	if (e)
		return e == -ENOMEM ? e : -EINVAL;
	return compress_buffer(body.data, body.len, out);
}
