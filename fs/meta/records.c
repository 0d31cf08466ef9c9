/*
 * records.c: the rows of meta.db to bytes and back.  A decoder takes a fixed-width part whole and then reads its fields, so
 * that each length is checked once; whatever decodes encodes to the same bytes again.
 */
#include "records.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

/* Lengths of the fixed parts, without the version byte. */
#define INODE_LEN (1 + 3 * 4 + 8 + 4 + 8 + 4 * 12 + 8 + 8 + 8 + 4 + 8 + 8)
#define KEY_LEN (4 + 4 + KEYWRAP_LEN)
#define EXTENT_LEN (4 * 4 + 1 + 4 + EXTENT_ID_LEN + 8 + 8 + 4)
#define DENTRY_LEN (8 + 8 + 1 + 1)
#define SEGMENT_LEN (1 + 1 + 16 + 8 + 32)
#define SEGMENT_HOT_LEN (8 + 8 + 8)
#define SEGMENT_WASTE_LEN (8 + 8)
#define XATTR_MIN_LEN (1 + 1 + 4)

#define KEY_COUNT_MAX 65536u
#define XATTR_VALUE_MAX 65536u

enum { INODE_HAS_XATTRS = 1, INODE_HAS_TARGET = 2, INODE_HAS_CHUNK0 = 4, INODE_FLAGS = 7 };
enum { XATTR_PENDING = 1, XATTR_DELETED = 2, XATTR_FLAGS = 3 };
enum { SEGMENT_IN_STORE = 1, SEGMENT_LOCAL = 2, SEGMENT_TIDIED = 4, SEGMENT_PARTIAL = 8, SEGMENT_WASTE = 16, SEGMENT_FLAGS = 31 };

/* Writing into room that bytes_extend has made, reading from bytes that cursor_take has checked: neither can fail. */
static void
w8(uint8_t **p, uint8_t v)
{
	*(*p)++ = v;
}

static void
w32(uint8_t **p, uint32_t v)
{
	put_u32(*p, v);
	*p += 4;
}

static void
w64(uint8_t **p, uint64_t v)
{
	put_u64(*p, v);
	*p += 8;
}

static void
wbytes(uint8_t **p, const void *data, size_t len)
{
	if (len)
		memcpy(*p, data, len);
	*p += len;
}

static uint8_t
r8(const uint8_t **p)
{
	return *(*p)++;
}

static uint32_t
r32(const uint8_t **p)
{
	uint32_t v = get_u32(*p);

	*p += 4;
	return v;
}

static uint64_t
r64(const uint8_t **p)
{
	uint64_t v = get_u64(*p);

	*p += 8;
	return v;
}

static void
rbytes(const uint8_t **p, void *out, size_t len)
{
	memcpy(out, *p, len);
	*p += len;
}

static err_t
take_version(struct cursor *c)
{
	uint8_t version;
	err_t e = cursor_u8(c, &version);

	if (e)
		return e;
	return version == VERSION ? 0 : -EPROTO;
}

/* len bytes as a string of its own; none of them may be NUL. */
static err_t
take_text(struct cursor *c, size_t len, char **out)
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

/* Extents: offsets are relative to the chunk, the sealed one's to the range (it begins at or before it). */

static void
put_list(uint8_t **p, const struct extent_list *l, uint64_t no)
{
	w32(p, l->count);
	for (uint32_t i = 0; i < l->count; i++) {
		const struct extent *x = &l->v[i];

		assert(x->off / CHUNK_LEN == no && x->x_off <= x->off && x->off - x->x_off < EXTENT_MAX_LEN);
		w32(p, (uint32_t)(x->off - no * CHUNK_LEN));
		w32(p, x->len);
		w32(p, (uint32_t)(x->off - x->x_off));
		w32(p, x->x_len);
		w8(p, x->x_encoding);
		w32(p, x->key_version);
		wbytes(p, x->x_id, EXTENT_ID_LEN);
		w64(p, x->seg);
		w64(p, x->seg_off);
		w32(p, x->stored_len);
	}
}

static err_t
get_extent(const uint8_t *p, uint64_t no, uint64_t *end, struct extent *out)
{
	uint32_t at = r32(&p);
	uint32_t len = r32(&p);
	uint32_t cut = r32(&p);
	struct extent x = {.off = no * CHUNK_LEN + at, .len = len};

	x.x_off = x.off - cut;
	x.x_len = r32(&p);
	x.x_encoding = r8(&p);
	x.key_version = r32(&p);
	rbytes(&p, x.x_id, EXTENT_ID_LEN);
	x.seg = r64(&p);
	x.seg_off = r64(&p);
	x.stored_len = r32(&p);

	if (len == 0 || at < *end || (uint64_t)at + len > CHUNK_LEN)
		return -EBADMSG;
	if (x.x_len > EXTENT_MAX_LEN || cut > x.off || (uint64_t)cut + len > x.x_len || x.x_encoding > FRAME_ZSTD)
		return -EBADMSG;
	*end = (uint64_t)at + len;
	*out = x;
	return 0;
}

/* The list's length is bounded by the record's, and by the chunk's, since ranges do not overlap. */
static err_t
get_list(struct cursor *c, uint64_t no, struct extent_list *out)
{
	uint32_t count;
	err_t e = cursor_u32(c, &count);

	if (e)
		return e;
	if (count > c->len / EXTENT_LEN)
		return -EBADMSG;
	if (count == 0)
		return 0;

	CLEANUP(free_ptr) struct extent *v = malloc(count * sizeof(*v));
	uint64_t end = 0;

	if (!v)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;

		e = cursor_take(c, EXTENT_LEN, &p);
		if (!e)
			e = get_extent(p, no, &end, &v[i]);
		if (e)
			return e;
	}
	*out = (struct extent_list){STEAL(v), count, count};
	return 0;
}

/* Chunks: pending, then both lists. */

void
chunk_free(struct chunk *c)
{
	if (!c)
		return;
	free(c->current.v);
	free(c->chain.v);
	free(c);
}

static void
chunk_cleanup(struct chunk **c)
{
	chunk_free(*c);
}

static size_t
chunk_len(const struct chunk *c)
{
	return 1 + 4 + 4 + ((size_t)c->current.count + c->chain.count) * EXTENT_LEN;
}

static void
put_chunk(uint8_t **p, const struct chunk *c)
{
	w8(p, c->pending);
	put_list(p, &c->current, c->no);
	put_list(p, &c->chain, c->no);
}

static err_t
get_chunk(struct cursor *in, uint64_t ino, uint64_t no, struct chunk **out)
{
	CLEANUP(chunk_cleanup) struct chunk *c = calloc(1, sizeof(*c));
	uint8_t pending;

	if (!c)
		return -ENOMEM;
	if (no > INODE_MAX_SIZE / CHUNK_LEN)
		return -EBADMSG;
	c->ino = ino;
	c->no = no;

	err_t e = cursor_u8(in, &pending);

	if (!e && pending > 1)
		e = -EBADMSG;
	if (!e)
		e = get_list(in, no, &c->current);
	if (!e)
		e = get_list(in, no, &c->chain);
	if (e)
		return e;
	c->pending = pending;
	*out = STEAL(c);
	return 0;
}

err_t
record_put_chunk(struct bytes *b, const struct chunk *c)
{
	uint8_t *p;
	err_t e = bytes_extend(b, 1 + chunk_len(c), &p);

	if (e)
		return e;
	w8(&p, VERSION);
	put_chunk(&p, c);
	return 0;
}

err_t
record_get_chunk(const uint8_t *data, size_t len, uint64_t ino, uint64_t no, struct chunk **out)
{
	struct cursor in = {data, len};
	CLEANUP(chunk_cleanup) struct chunk *c = NULL;
	err_t e = take_version(&in);

	if (!e)
		e = get_chunk(&in, ino, no, &c);
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = STEAL(c);
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
	return len > SYMLINK_LEN_MAX ? -EBADMSG : take_text(in, len, out);
}

err_t
record_put_inode(struct bytes *b, const struct inode *i)
{
	size_t target_len = i->target ? strlen(i->target) : 0;
	size_t len = 1 + INODE_LEN + 4 + (size_t)i->key_count * KEY_LEN + (i->target ? 2 + target_len : 0) +
	    (i->chunk0 ? chunk_len(i->chunk0) : 0);
	uint8_t *p;

	assert(target_len <= SYMLINK_LEN_MAX && i->key_count <= KEY_COUNT_MAX && (!i->chunk0 || i->chunk0->no == 0));

	err_t e = bytes_extend(b, len, &p);

	if (e)
		return e;
	w8(&p, VERSION);
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
		put_chunk(&p, i->chunk0);
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

	err_t e = take_version(&in);

	if (!e)
		e = get_inode_fields(&in, &flags, i);
	if (!e)
		e = get_keys(&in, i);
	if (!e && flags & INODE_HAS_TARGET)
		e = get_target(&in, &i->target);
	if (!e && flags & INODE_HAS_CHUNK0)
		e = get_chunk(&in, ino, 0, &i->chunk0);
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
	w8(&p, VERSION);
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
	err_t e = take_version(&in);

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

/* Extended attributes: a count, then flags, name and value of each. */

void
xattr_list_clear(struct xattr_list *l)
{
	for (uint32_t k = 0; k < l->count; k++) {
		free(l->v[k].name);
		free(l->v[k].value);
	}
	free(l->v);
	*l = (struct xattr_list){0};
}

err_t
record_put_xattrs(struct bytes *b, const struct xattr_list *l)
{
	size_t len = 1 + 4;
	uint8_t *p;

	for (uint32_t k = 0; k < l->count; k++) {
		assert(strlen(l->v[k].name) <= 255 && l->v[k].len <= XATTR_VALUE_MAX);
		len += XATTR_MIN_LEN + strlen(l->v[k].name) + (l->v[k].deleted ? 0 : l->v[k].len);
	}

	err_t e = bytes_extend(b, len, &p);

	if (e)
		return e;
	w8(&p, VERSION);
	w32(&p, l->count);
	for (uint32_t k = 0; k < l->count; k++) {
		const struct xattr *x = &l->v[k];
		uint8_t name_len = (uint8_t)strlen(x->name);
		uint32_t value_len = x->deleted ? 0 : x->len;

		w8(&p, (uint8_t)((x->pending ? XATTR_PENDING : 0) | (x->deleted ? XATTR_DELETED : 0)));
		w8(&p, name_len);
		wbytes(&p, x->name, name_len);
		w32(&p, value_len);
		wbytes(&p, x->value, value_len);
	}
	return 0;
}

/* *x was zero; what is set in it at a failure is freed with the list. */
static err_t
get_xattr(struct cursor *in, struct xattr *x)
{
	uint8_t flags = 0;
	uint8_t name_len = 0;
	uint32_t len = 0;
	err_t e = cursor_u8(in, &flags);

	if (!e)
		e = cursor_u8(in, &name_len);
	if (!e)
		e = flags & ~XATTR_FLAGS || name_len == 0 ? -EBADMSG : take_text(in, name_len, &x->name);
	if (!e)
		e = cursor_u32(in, &len);
	if (e)
		return e;
	x->pending = flags & XATTR_PENDING;
	x->deleted = flags & XATTR_DELETED;
	if (len > XATTR_VALUE_MAX || len > in->len || (x->deleted && len))
		return -EBADMSG;
	if (x->deleted)
		return 0;
	x->value = malloc(len ? len : 1);
	if (!x->value)
		return -ENOMEM;
	x->len = len;
	return cursor_copy(in, x->value, len);
}

err_t
record_get_xattrs(const uint8_t *data, size_t len, struct xattr_list *out)
{
	struct cursor in = {data, len};
	CLEANUP(xattr_list_clear) struct xattr_list l = {0};
	uint32_t count = 0;
	err_t e = take_version(&in);

	if (!e)
		e = cursor_u32(&in, &count);
	if (!e && count > in.len / XATTR_MIN_LEN)
		e = -EBADMSG;
	if (e)
		return e;
	if (count) {
		l.v = calloc(count, sizeof(*l.v));
		if (!l.v)
			return -ENOMEM;
		l.count = l.cap = count;
	}
	for (uint32_t k = 0; k < count && !e; k++)
		e = get_xattr(&in, &l.v[k]);
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = l;
	l = (struct xattr_list){0};
	return 0;
}

/* Segments: the fixed part, and of hot ones what is known of their use. */

err_t
record_put_segment(struct bytes *b, const struct segment *s)
{
	bool hot = s->kind == SEGMENT_HOT;
	bool partial = !hot && !s->local && s->present;
	bool waste = !hot && (s->dead_since || s->sparse_since);
	uint8_t *p;
	err_t e = bytes_extend(b, 1 + SEGMENT_LEN + (hot ? SEGMENT_HOT_LEN : 0) + (partial ? sizeof(s->present) : 0) +
	    (waste ? SEGMENT_WASTE_LEN : 0), &p);

	if (e)
		return e;
	w8(&p, VERSION);
	w8(&p, s->kind);
	w8(&p, (uint8_t)((s->in_store ? SEGMENT_IN_STORE : 0) | (s->local ? SEGMENT_LOCAL : 0) |
	    (s->tidied ? SEGMENT_TIDIED : 0) | (partial ? SEGMENT_PARTIAL : 0) | (waste ? SEGMENT_WASTE : 0)));
	wbytes(&p, s->name, sizeof(s->name));
	w64(&p, s->size);
	wbytes(&p, s->sha256, sizeof(s->sha256));
	if (hot) {
		w64(&p, s->live);
		w64(&p, s->first_ino);
		w64(&p, s->last_ino);
	}
	if (partial)
		w64(&p, s->present);
	if (waste) {
		w64(&p, s->dead_since);
		w64(&p, s->sparse_since);
	}
	return 0;
}

static err_t
get_segment_use(struct cursor *in, struct segment *s)
{
	const uint8_t *p;
	err_t e = cursor_take(in, SEGMENT_HOT_LEN, &p);

	if (e)
		return e;
	s->live = r64(&p);
	s->first_ino = r64(&p);
	s->last_ino = r64(&p);
	return s->first_ino > s->last_ino ? -EBADMSG : 0;
}

/* A row says so only of a segment of which some is here, and not all. */
static err_t
get_segment_pieces(struct cursor *in, struct segment *s)
{
	const uint8_t *p;
	err_t e = cursor_take(in, sizeof(s->present), &p);

	if (e)
		return e;
	s->present = r64(&p);
	return s->present && !s->local && s->kind == SEGMENT_SETTLED ? 0 : -EBADMSG;
}

static err_t
get_segment_waste(struct cursor *in, struct segment *s)
{
	const uint8_t *p;
	err_t e = cursor_take(in, SEGMENT_WASTE_LEN, &p);

	if (e)
		return e;
	s->dead_since = r64(&p);
	s->sparse_since = r64(&p);
	return s->dead_since || s->sparse_since ? 0 : -EBADMSG;
}

err_t
record_get_segment(const uint8_t *data, size_t len, uint64_t id, struct segment *out)
{
	struct cursor in = {data, len};
	const uint8_t *p;
	err_t e = take_version(&in);

	if (!e)
		e = cursor_take(&in, SEGMENT_LEN, &p);
	if (e)
		return e;

	struct segment s = {.id = id};

	s.kind = r8(&p);

	uint8_t flags = r8(&p);

	s.in_store = flags & SEGMENT_IN_STORE;
	s.local = flags & SEGMENT_LOCAL;
	s.tidied = flags & SEGMENT_TIDIED;
	rbytes(&p, s.name, sizeof(s.name));
	s.size = r64(&p);
	rbytes(&p, s.sha256, sizeof(s.sha256));
	if (flags & ~SEGMENT_FLAGS || s.kind > SEGMENT_SETTLED || (s.tidied && s.kind != SEGMENT_HOT))
		return -EBADMSG;
	if (s.kind == SEGMENT_HOT)
		e = get_segment_use(&in, &s);
	if (!e && flags & SEGMENT_PARTIAL)
		e = get_segment_pieces(&in, &s);
	if (!e && flags & SEGMENT_WASTE)
		e = s.kind == SEGMENT_SETTLED ? get_segment_waste(&in, &s) : -EBADMSG;
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = s;
	return 0;
}
