/*
 * records.c: the rows of meta.db to bytes and back: inodes and directory entries here, chunks, xattrs and segments beside.  A decoder
 * takes a fixed-width part whole and then reads its fields, so that each length is checked once; whatever decodes encodes to the
 * same bytes again.
 */
#include "records_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Lengths of the fixed parts, without the version byte. */
#define INODE_LEN (1 + 3 * 4 + 8 + 4 + 8 + 4 * 12 + 8 + 8 + 8 + 4 + 8 + 8)
#define KEY_LEN (4 + 4 + KEYWRAP_LEN)
#define DENTRY_LEN (8 + 8 + 1 + 1)

#define KEY_COUNT_MAX 65536u

enum { INODE_HAS_XATTRS = 1, INODE_HAS_TARGET = 2, INODE_HAS_CHUNK0 = 4, INODE_FLAGS = 7 };

err_t
record_take_version(struct cursor *c)
{
	uint8_t version;
	err_t e = cursor_u8(c, &version);

	if (e)
		return e;
	return version == RECORD_VERSION ? 0 : -EPROTO;
}

err_t
record_take_text(struct cursor *c, size_t len, char **out)
{
	const uint8_t *p;
	err_t e = cursor_take(c, len, &p);

	if (e)
		return e;
	if (len && memchr(p, '\0', len))
		return -EBADMSG;

	char *text = malloc(len + 1);

	if (!text)
		return -ENOMEM;
	if (len)
		memcpy(text, p, len);
	text[len] = '\0';
	*out = text;
	return 0;
}

/* Inodes: the fixed part, the keys, then what the flags say there is: target, chunk 0. */

void
inode_free(struct inode *i)
{
	if (!i)
		return;
	free(i->target);
	free(i->keys);
	chunk_free(i->chunk0);
	free(i);
}

static void
inode_cleanup(struct inode **i)
{
	inode_free(*i);
}

static void
wtime(uint8_t **p, const struct timespec *t)
{
	w64(p, (uint64_t)t->tv_sec);
	w32(p, (uint32_t)t->tv_nsec);
}

static struct timespec
rtime(const uint8_t **p)
{
	struct timespec t = {.tv_sec = (time_t)r64(p)};

	t.tv_nsec = (long)r32(p);
	return t;
}

static bool
is_time(const struct timespec *t)
{
	return t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

static void
put_inode_fields(uint8_t **p, const struct inode *i)
{
	w8(p, (uint8_t)((i->has_xattrs ? INODE_HAS_XATTRS : 0) | (i->target ? INODE_HAS_TARGET : 0) |
	    (i->chunk0 ? INODE_HAS_CHUNK0 : 0)));
	w32(p, i->mode);
	w32(p, i->uid);
	w32(p, i->gid);
	w64(p, i->rdev);
	w32(p, i->nlink);
	w64(p, i->size);
	wtime(p, &i->atime);
	wtime(p, &i->mtime);
	wtime(p, &i->ctime);
	wtime(p, &i->btime);
	w64(p, i->parent);
	w64(p, i->entry_count);
	w64(p, i->origin);
	w32(p, i->pending);
	w64(p, i->chain_size);
	w64(p, i->mapped);
}

static err_t
get_inode_fields(struct cursor *in, uint8_t *flags, struct inode *i)
{
	const uint8_t *p;
	err_t e = cursor_take(in, INODE_LEN, &p);

	if (e)
		return e;
	*flags = r8(&p);
	i->mode = r32(&p);
	i->uid = r32(&p);
	i->gid = r32(&p);
	i->rdev = r64(&p);
	i->nlink = r32(&p);
	i->size = r64(&p);
	i->atime = rtime(&p);
	i->mtime = rtime(&p);
	i->ctime = rtime(&p);
	i->btime = rtime(&p);
	i->parent = r64(&p);
	i->entry_count = r64(&p);
	i->origin = r64(&p);
	i->pending = r32(&p);
	i->chain_size = r64(&p);
	i->mapped = r64(&p);
	i->has_xattrs = *flags & INODE_HAS_XATTRS;

	bool times = is_time(&i->atime) && is_time(&i->mtime) && is_time(&i->ctime) && is_time(&i->btime);

	if (*flags & ~INODE_FLAGS || i->pending & ~(uint32_t)PENDING_ALL || !times)
		return -EBADMSG;
	return i->size > INODE_MAX_SIZE || i->chain_size > INODE_MAX_SIZE ? -EBADMSG : 0;
}

static err_t
get_keys(struct cursor *in, struct inode *i)
{
	uint32_t count;
	err_t e = cursor_u32(in, &count);

	if (e)
		return e;
	if (count > KEY_COUNT_MAX || count > in->len / KEY_LEN)
		return -EBADMSG;
	if (count == 0)
		return 0;
	i->keys = malloc(count * sizeof(*i->keys));
	if (!i->keys)
		return -ENOMEM;
	i->key_count = count;
	for (uint32_t k = 0, before = 0; k < count; before = i->keys[k++].version) {
		const uint8_t *p;

		e = cursor_take(in, KEY_LEN, &p);
		if (e)
			return e;
		i->keys[k].version = r32(&p);
		i->keys[k].epoch = r32(&p);
		rbytes(&p, i->keys[k].wrapped, KEYWRAP_LEN);
		if (i->keys[k].version <= before)
			return -EBADMSG;
	}
	return 0;
}

static err_t
get_target(struct cursor *in, char **out)
{
	uint16_t len;
	err_t e = cursor_u16(in, &len);

	if (e)
		return e;
	return len > SYMLINK_LEN_MAX ? -EBADMSG : record_take_text(in, len, out);
}

err_t
record_put_inode(struct bytes *b, const struct inode *i)
{
	size_t target_len = i->target ? strlen(i->target) : 0;
	size_t len = 1 + INODE_LEN + 4 + (size_t)i->key_count * KEY_LEN + (i->target ? 2 + target_len : 0) +
	    (i->chunk0 ? chunk_encoded_len(i->chunk0) : 0);
	uint8_t *p;

	assert(target_len <= SYMLINK_LEN_MAX && i->key_count <= KEY_COUNT_MAX && (!i->chunk0 || i->chunk0->no == 0));

	err_t e = bytes_extend(b, len, &p);

	if (e)
		return e;
	w8(&p, RECORD_VERSION);
	put_inode_fields(&p, i);
	w32(&p, i->key_count);
	for (uint32_t k = 0; k < i->key_count; k++) {
		w32(&p, i->keys[k].version);
		w32(&p, i->keys[k].epoch);
		wbytes(&p, i->keys[k].wrapped, KEYWRAP_LEN);
	}
	if (i->target) {
		w8(&p, (uint8_t)(target_len >> 8));
		w8(&p, (uint8_t)target_len);
		wbytes(&p, i->target, target_len);
	}
	if (i->chunk0)
		chunk_encode(&p, i->chunk0);
	return 0;
}

err_t
record_get_inode(const uint8_t *data, size_t len, uint64_t ino, struct inode **out)
{
	struct cursor in = {data, len};
	CLEANUP(inode_cleanup) struct inode *i = calloc(1, sizeof(*i));
	uint8_t flags = 0;

	if (!i)
		return -ENOMEM;
	i->ino = ino;

	err_t e = record_take_version(&in);

	if (!e)
		e = get_inode_fields(&in, &flags, i);
	if (!e)
		e = get_keys(&in, i);
	if (!e && flags & INODE_HAS_TARGET)
		e = get_target(&in, &i->target);
	if (!e && flags & INODE_HAS_CHUNK0)
		e = chunk_decode(&in, ino, 0, &i->chunk0);
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = STEAL(i);
	return 0;
}

/* Directory entries. */

err_t
record_put_dentry(struct bytes *b, const struct dentry *d)
{
	uint8_t *p;
	err_t e = bytes_extend(b, 1 + DENTRY_LEN + (size_t)d->name_len, &p);

	if (e)
		return e;
	w8(&p, RECORD_VERSION);
	w64(&p, d->ino);
	w64(&p, d->chain_ino);
	w8(&p, d->type);
	w8(&p, d->name_len);
	wbytes(&p, d->name, d->name_len);
	return 0;
}

err_t
record_get_dentry(const uint8_t *data, size_t len, uint64_t parent, uint64_t cookie, struct dentry *out)
{
	struct cursor in = {data, len};
	const uint8_t *p;
	err_t e = record_take_version(&in);

	if (!e)
		e = cursor_take(&in, DENTRY_LEN, &p);
	if (e)
		return e;

	struct dentry d = {.parent = parent, .cookie = cookie};

	d.ino = r64(&p);
	d.chain_ino = r64(&p);
	d.type = r8(&p);
	d.name_len = r8(&p);
	if (d.name_len == 0 || in.len != d.name_len || memchr(in.p, '\0', in.len))
		return -EBADMSG;
	memcpy(d.name, in.p, in.len);
	*out = d;
	return 0;
}
