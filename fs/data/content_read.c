/* content_read.c: reads: which extents, from which segment, opened frame by frame. */
#include "content_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"
#include "bytes.h"
#include "compress.h"
#include "log.h"

/* A sealed extent that is not larger, or of which most is wanted, is read whole, to save a second read for the index. */
#define READ_WHOLE_LEN 32768u
#define BRING_TRIES 4u /* somebody may remove files of segments behind our back */
#define LOOKS_MAX 4u
#define ZSTD_FRAMES_MAX (EXTENT_MAX_LEN / FRAME_ZSTD_LEN)

/* Opening extents. */

/* The part [from, to) of an extent's plaintext, and where frame i meets it. */
struct range {
	uint32_t from;
	uint32_t to;
	uint8_t *buf;
};
struct meeting {
	uint32_t skip; /* bytes of the frame before the range */
	uint32_t len;
	uint8_t *at;
	bool whole;
};

static struct meeting
meet(const struct range *r, uint32_t frame_off, uint32_t frame_len)
{
	uint32_t from = r->from > frame_off ? r->from : frame_off;
	uint32_t to = r->to < frame_off + frame_len ? r->to : frame_off + frame_len;

	return (struct meeting){from - frame_off, to - from, r->buf + (from - r->from), to - from == frame_len};
}

static err_t
open_raw(struct content *c, struct scratch *s, struct frame_cipher *fc, const struct extent_identity *id,
    const struct extent *x, const struct range *r)
{
	uint32_t first = r->from / FRAME_RAW_LEN;
	uint32_t last = (r->to - 1) / FRAME_RAW_LEN;
	uint32_t off, len;
	uint8_t *sealed = NULL;

	sealed_span(x, r->from, r->to, &off, &len);

	err_t e = sealed_read(c, s, x, off, len, &sealed);

	for (uint32_t k = first; k <= last && !e; k++) {
		uint32_t plain_len = frame_plain_len(id, k);
		struct meeting m = meet(r, k * FRAME_RAW_LEN, plain_len);

		e = frame_open(fc, k, sealed + (size_t)(k - first) * SEALED_RAW_STEP, plain_len + AEAD_TAG_LEN,
		    m.whole ? m.at : s->frame);
		if (!e && !m.whole)
			memcpy(m.at, s->frame + m.skip, m.len);
	}
	return e;
}

/* Where each data frame of a packed extent begins, counted from the extent's start; off[count] is the end. */
struct index {
	uint32_t count;
	uint32_t off[ZSTD_FRAMES_MAX + 1];
};

static err_t
open_index(struct frame_cipher *fc, const struct extent_identity *id, uint32_t stored_len, const uint8_t *sealed,
    struct index *out)
{
	uint8_t plain[ZSTD_FRAMES_MAX * 4];
	uint32_t count = frame_count(id);
	uint64_t off = (uint64_t)count * 4 + AEAD_TAG_LEN;
	err_t e = frame_open(fc, 0, sealed, (size_t)off, plain);

	if (e)
		return e;
	out->count = count;
	for (uint32_t k = 0; k < count; k++) {
		uint32_t len = get_u32(plain + (size_t)k * 4);

		if (!len || len > frame_plain_len(id, k))
			return -EBADMSG;
		out->off[k] = (uint32_t)off;
		off += len + AEAD_TAG_LEN;
	}
	out->off[count] = (uint32_t)off;
	return off == stored_len ? 0 : -EBADMSG;
}

/* sealed: one data frame, opened in place. */
static err_t
open_packed_frame(struct scratch *s, struct frame_cipher *fc, const struct extent_identity *id, uint32_t no,
    uint8_t *sealed, uint32_t sealed_len, const struct range *r)
{
	uint32_t plain_len = frame_plain_len(id, no);
	uint32_t packed_len = sealed_len - AEAD_TAG_LEN;
	struct meeting m = meet(r, no * FRAME_ZSTD_LEN, plain_len);
	uint8_t *to = m.whole ? m.at : s->frame;
	err_t e = frame_open(fc, no + 1, sealed, sealed_len, packed_len == plain_len ? to : sealed);

	if (!e && packed_len < plain_len)
		e = decompress_block(sealed, packed_len, to, plain_len);
	if (!e && !m.whole)
		memcpy(m.at, to + m.skip, m.len);
	return e;
}

static err_t
open_packed(struct content *c, struct scratch *s, struct frame_cipher *fc, const struct extent_identity *id,
    const struct extent *x, const struct range *r)
{
	uint32_t index_len = frame_count(id) * 4 + AEAD_TAG_LEN;
	bool whole = x->stored_len <= READ_WHOLE_LEN || r->to - r->from > x->x_len / 2;
	uint32_t have = whole ? x->stored_len : index_len;
	struct index index;
	uint8_t *sealed = NULL;

	if (x->stored_len < index_len)
		return -EBADMSG;

	err_t e = sealed_read(c, s, x, 0, have, &sealed);

	if (!e)
		e = open_index(fc, id, x->stored_len, sealed, &index);
	if (e)
		return e;

	uint32_t first = r->from / FRAME_ZSTD_LEN;
	uint32_t last = (r->to - 1) / FRAME_ZSTD_LEN;
	uint32_t base = 0; /* of what is in sealed */

	if (have < x->stored_len) {
		base = index.off[first];
		e = sealed_read(c, s, x, base, index.off[last + 1] - base, &sealed);
	}
	for (uint32_t k = first; k <= last && !e; k++)
		e = open_packed_frame(s, fc, id, k, sealed + (index.off[k] - base), index.off[k + 1] - index.off[k], r);
	return e;
}

/* -ENODATA: the segment is not here. */
static err_t
open_range(struct content *c, uint64_t origin, const struct key32 *key, const struct extent *x, uint64_t off,
    uint32_t len, uint8_t *buf)
{
	struct scratch *s = scratch_get();

	if (!s)
		return -ENOMEM;
	if (!sealed_is_sound(x, off, len))
		return -EBADMSG;

	const struct extent_identity id = content_identity(origin, x);
	const struct range r = {(uint32_t)(off - x->x_off), (uint32_t)(off - x->x_off) + len, buf};
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
	err_t e = frame_cipher_init(&fc, key->b, &id);

	if (e)
		return e == -EINVAL ? -EBADMSG : e;
	return x->x_encoding == FRAME_RAW ? open_raw(c, s, &fc, &id, x, &r) : open_packed(c, s, &fc, &id, x, &r);
}

/* It came from the store, and was not checked as a whole (yet), or is here for what is whole in it. */
static bool
is_damaged(struct content *c, uint64_t seg)
{
	struct segment row;

	meta_lock(c->meta);

	err_t e = meta_segment_get(c->meta, seg, &row);

	meta_unlock(c->meta);
	return !e && row.kind == SEGMENT_SETTLED && row.in_store && !row.local;
}

/* Until let_go_all nothing is given up of that segment: what has come is still there when it is read. */
static err_t
hold(struct content *c, struct scratch *s, uint64_t seg)
{
	err_t e = scratch_reserve_held(s, s->held_count + 1);

	if (!e)
		e = segstore_hold(c->ss, seg, &s->held[s->held_count]);
	if (!e)
		s->held_count++;
	return e;
}

static void
let_go_all(struct content *c, struct scratch *s)
{
	while (s->held_count)
		segstore_let_go(c->ss, s->held[--s->held_count]);
}

/* What can be done about a failure to open that extent.  0: worth another try. */
static err_t
bring(struct content *c, struct scratch *s, const struct extent *x, err_t why)
{
	/* What is damaged: the store may have been mended since. */
	bool anew = why == -EBADMSG && is_damaged(c, x->seg);

	if (why != -ENODATA && !anew)
		return why;

	err_t e = hold(c, s, x->seg);

	if (!e)
		e = fetcher_bring(c->fetcher, x->seg, x->seg_off, x->stored_len, anew);
	return e && e != -EINTR && anew ? why : e;
}

/* The key is there only while it is needed: what follows a failure may take as long as the network does. */
static err_t
try_extent(struct content *c, uint64_t origin, const struct file_key *key, const struct extent *x, uint64_t off,
    uint32_t len, uint8_t *buf)
{
	CLEANUP(key32_wipe) struct key32 opened = {{0}};
	err_t e = keyring_open_file_key(c->keys, key, &opened);

	return e ? e : open_range(c, origin, &opened, x, off, len, buf);
}

err_t
content_open_extent(struct content *c, uint64_t origin, const struct file_key *key, const struct extent *x,
    uint64_t off, uint32_t len, uint8_t *buf)
{
	struct scratch *s = scratch_get();
	err_t e = try_extent(c, origin, key, x, off, len, buf);

	if (!e || !s)
		return e;
	e = bring(c, s, x, e);
	if (!e)
		e = try_extent(c, origin, key, x, off, len, buf);
	let_go_all(c, s);
	return e;
}

/* Reading. */

/* [meta lock] Adds what is mapped of [off, end) to the pieces. */
static err_t
collect_chunk(struct scratch *s, const struct chunk *ch, uint64_t off, uint64_t end)
{
	uint32_t k = extent_list_find(&ch->current, off);

	for (; k < ch->current.count && ch->current.v[k].off < end; k++) {
		const struct extent *x = &ch->current.v[k];
		uint64_t from = x->off > off ? x->off : off;
		uint64_t to = x->off + x->len < end ? x->off + x->len : end;
		err_t e = scratch_reserve_pieces(s, s->piece_count + 1);

		if (e)
			return e;
		s->pieces[s->piece_count++] = (struct piece){*x, from, (uint32_t)(to - from)};
	}
	return 0;
}

/* [meta lock] */
static err_t
collect_keys(struct scratch *s, const struct inode *i)
{
	err_t e = scratch_reserve_keys(s, i->key_count);

	if (e)
		return e;
	if (i->key_count)
		memcpy(s->keys, i->keys, i->key_count * sizeof(*s->keys));
	s->key_count = i->key_count;
	return 0;
}

/* [meta lock] What the read needs to know of the file: *len is cut at its end. */
static err_t
collect(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, size_t *len, uint64_t *origin_out)
{
	struct inode *i;
	err_t e = meta_inode_get(c->meta, ino, &i);

	if (e)
		return e;
	s->piece_count = s->key_count = 0;
	if (off >= i->size)
		*len = 0;
	else if (*len > i->size - off)
		*len = (size_t)(i->size - off);
	*origin_out = i->origin;
	if (!*len)
		return 0;
	for (uint64_t no = off / CHUNK_LEN; no <= (off + *len - 1) / CHUNK_LEN && !e; no++) {
		struct chunk *ch;

		e = meta_chunk_get_for_reading(c->meta, i, no, off, off + *len, &ch);
		if (!e)
			e = collect_chunk(s, ch, off, off + *len);
		if (e == -ENOENT)
			e = 0;
	}
	return e ? e : collect_keys(s, i);
}

static void
zero_holes(const struct scratch *s, uint64_t off, size_t len, uint8_t *buf)
{
	size_t at = 0;

	for (size_t k = 0; k < s->piece_count; k++) {
		size_t from = (size_t)(s->pieces[k].off - off);

		memset(buf + at, 0, from - at);
		at = from + s->pieces[k].len;
	}
	memset(buf + at, 0, len - at);
}

/* Opens the key of a version unless it is the one that is open already. */
static err_t
use_key(struct content *c, const struct scratch *s, uint64_t ino, uint32_t version, struct writing_key *open)
{
	if (open->version == version)
		return 0;
	for (size_t k = s->key_count; k > 0; k--) {
		if (s->keys[k - 1].version != version)
			continue;

		err_t e = content_open_key(c, ino, &s->keys[k - 1], &open->key);

		if (!e)
			open->version = version;
		return e;
	}
	log_error("inode %llu has no version %u of its key", (unsigned long long)ino, version);
	return -EIO;
}

/* " (s/<xx>/<name>)", the object in the store, if there is one.  [meta lock] */
static void
name_object(struct content *c, uint64_t seg, char out[static 48])
{
	struct segment s = {0};
	size_t len;

	out[0] = '\0';
	if (meta_segment_get(c->meta, seg, &s) != 0 || !s.in_store)
		return;
	len = (size_t)snprintf(out, 48, " (s/%02x/", s.name[0]);
	for (size_t k = 0; k < sizeof(s.name); k++)
		len += (size_t)snprintf(out + len, 48 - len, "%02x", s.name[k]);
	snprintf(out + len, 48 - len, ")");
}

/* What a read is about, and what became of it. */
struct reading {
	uint64_t ino;
	uint64_t off;
	size_t len;
	uint8_t *buf;
	uint64_t origin;
	struct piece failed; /* which can't be opened; of length 0 if it is not for that */
	bool unsure;         /* what is gone from there may be elsewhere: not all the news could be had */
};

/* The one log line of a failed read.  That the store is out of reach is for those to tell who talk to it. */
static void
complain(struct content *c, const struct reading *r, err_t e)
{
	const struct piece *p = &r->failed;
	bool absent = e == -ENODATA || e == -ENOENT;
	const char *why = e == -EBADMSG ? "it does not authenticate" : absent ? "it is not there" : strerror(-e);
	char path[1024], object[48];

	if (e == -EAGAIN || e == -EINTR)
		return;
	meta_lock(c->meta);
	meta_path(c->meta, r->ino, path, sizeof(path));
	name_object(c, p->x.seg, object);
	meta_unlock(c->meta);
	log_error("%s: the data at offset %llu can't be read from segment %016llx%s, position %llu: %s", path,
	    (unsigned long long)p->off, (unsigned long long)p->x.seg, object, (unsigned long long)p->x.seg_off, why);
	if (e == -EBADMSG || (absent && !r->unsure))
		content_tell_loss(c, r->ino, path);
}

/* [file lock, shared] */
static err_t
read_pieces(struct content *c, struct scratch *s, struct reading *r)
{
	CLEANUP(writing_key_wipe) struct writing_key open = {0}; /* version 0: none is open */
	size_t run_end = 0;
	err_t e = 0;

	for (size_t k = 0; k < s->piece_count && !e; k++) {
		const struct piece *p = &s->pieces[k];

		if (k == run_end)
			run_end = sealed_read_run(c, s, k);
		e = use_key(c, s, r->ino, p->x.key_version, &open);
		if (e)
			break;
		e = open_range(c, r->origin, &open.key, &p->x, p->off, p->len, r->buf + (p->off - r->off));
		if (e)
			r->failed = *p;
	}
	sealed_forget_run(s);
	return e;
}

/* [file lock] One try, with what is here. */
static err_t
read_held(struct content *c, struct scratch *s, struct reading *r)
{
	meta_lock_warm(c->meta, r->ino, r->off, r->len);

	err_t e = collect(c, s, r->ino, r->off, &r->len, &r->origin);

	meta_unlock(c->meta);
	if (e || !r->len)
		return e;
	zero_holes(s, r->off, r->len, r->buf);
	return read_pieces(c, s, r);
}

static err_t
read_local(struct content *c, struct scratch *s, struct reading *r)
{
	content_lock_file(c, r->ino, false);

	err_t e = read_held(c, s, r);

	content_unlock_file(c, r->ino);
	return e;
}

err_t
content_read_here(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, size_t *len, uint8_t *buf)
{
	struct reading r = {.ino = ino, .off = off, .len = *len, .buf = buf};
	err_t e = read_held(c, s, &r);

	if (!e)
		*len = r.len;
	return e;
}

/* What has to come from the store is waited for without the lock, and then the file may be another. */
static err_t
read_and_bring(struct content *c, struct scratch *s, const struct reading *wanted, struct reading *r)
{
	struct extent brought = {0};
	unsigned tries = 0; /* with that one */
	unsigned looks = 0;
	bool absent = false, asked = false, unsure = false;

	for (;;) {
		*r = *wanted;
		r->unsure = unsure;

		err_t e = read_local(c, s, r);

		if (!e || !r->failed.len)
			return e;

		bool again = r->failed.x.seg == brought.seg && r->failed.x.seg_off == brought.seg_off;

		/* What is damaged stays so. */
		tries = again ? tries + 1 : 0;
		asked = asked && again; /* that it is elsewhere was the news, and now it is gone from there */
		if (again && (e != -ENODATA || tries == BRING_TRIES || absent)) {
			if (!absent || asked)
				return e;
			unsure = !content_ask_news(c, wanted->ino);
			asked = true;
			continue;
		}
		brought = r->failed.x;
		e = bring(c, s, &brought, e);
		/* A collector may have put elsewhere what was there before it was deleted: the file may say so by now, or others. */
		absent = e == -ENOENT || e == -ENODATA;
		if (e && (!absent || looks++ == LOOKS_MAX))
			return e;
	}
}

err_t
content_read(struct content *c, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out)
{
	const struct reading wanted = {.ino = ino, .off = off, .len = len, .buf = buf};
	struct scratch *s = scratch_get();
	struct reading r;

	if (!s)
		return -ENOMEM;

	err_t e = read_and_bring(c, s, &wanted, &r);

	let_go_all(c, s);
	if (e && r.failed.len) {
		complain(c, &r, e);
		return e == -ENOMEM || e == -EINTR ? e : -EIO;
	}
	if (!e)
		*read_out = r.len;
	return e;
}
