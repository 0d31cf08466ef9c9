/* settle.c: from raw, scattered hot extents to packed ones in segments that can be uploaded. */
#include "settle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "aead.h"
#include "bytes.h"
#include "compress.h"
#include "extents.h"
#include "log.h"
#include "random.h"

#define TRIES 3
#define FRAMES_MAX (EXTENT_MAX_LEN / FRAME_ZSTD_LEN)
/* A chunk that is mostly settled is left so, and only what is hot in it is settled, unless it is in that many pieces. */
#define HOT_SHARE 8
#define PIECES_MAX 64

/* Stands for the segment under way in extents that are sealed, but not yet added to it. */
#define SEG_TO_COME UINT64_MAX

/* A chunk that is in the segment under way: what it is to become, if it still is what it was. */
struct settled {
	uint64_t ino;
	uint64_t no;
	struct extent_list before;
	struct extent_list after;
	uint64_t len; /* plaintext bytes in the segment */
	struct settled *next;
};

struct settle {
	struct content *c;
	struct meta *m;
	struct segstore *ss;
	struct segstore_build *build; /* NULL: none under way */
	struct settled *settled;      /* in it */
	uint64_t settled_len;
	uint8_t *plain;      /* CHUNK_LEN: the chunk being settled, by offset in it */
	uint8_t *packed;     /* the same, compressed, each frame where its plaintext stands */
	struct bytes sealed; /* all extents of the chunk, one after the other */
};

static void
settled_free(struct settled *d)
{
	extent_list_clear(&d->before);
	extent_list_clear(&d->after);
	free(d);
}

static void
settled_cleanup(struct settled **d)
{
	if (*d)
		settled_free(*d);
}

static void
settle_free(struct settle *s)
{
	while (s->settled) {
		struct settled *d = s->settled;

		s->settled = d->next;
		settled_free(d);
	}
	segstore_build_abandon(s->build);
	free(s->plain);
	free(s->packed);
	bytes_clear(&s->sealed);
	free(s);
}

err_t
settle_begin(struct content *c, struct meta *m, struct segstore *ss, struct keyring *k, struct settle **out)
{
	uint32_t epoch;
	err_t e = keyring_current(k, &epoch);

	/* Better known before anything is read than at the first extent. */
	if (e)
		return e;

	struct settle *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->c = c;
	s->m = m;
	s->ss = ss;
	s->plain = malloc(CHUNK_LEN);
	s->packed = malloc(CHUNK_LEN);
	if (!s->plain || !s->packed) {
		settle_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void
settle_abandon(struct settle *s)
{
	if (s)
		settle_free(s);
}

/* Installing. */

/* 1: it points into the segment now. */
static bool
install(struct settle *s, struct settled *d)
{
	struct inode *i;
	struct chunk *ch;
	bool same = false;

	content_lock_file(s->c, d->ino, true);
	meta_lock(s->m);
	/* Extent ids are random: the same list means that nothing was written meanwhile, even if it was evicted and read back. */
	if (!meta_inode_get(s->m, d->ino, &i) && !meta_chunk_get(s->m, i, d->no, false, &ch))
		same = extent_list_equal(&ch->current, &d->before);
	if (same)
		content_install(s->c, i, ch, &d->after);
	meta_unlock(s->m);
	content_unlock_file(s->c, d->ino);
	return same;
}

/* Nothing came to point into it. */
static err_t
remove_unused(struct settle *s, uint64_t seg)
{
	err_t e = segstore_drop(s->ss, seg);

	if (e)
		return e;
	meta_lock(s->m);
	e = meta_segment_remove(s->m, seg);
	meta_unlock(s->m);
	return e;
}

/* Makes the segment under way durable, and then points the chunks into it. */
static err_t
close_segment(struct settle *s)
{
	struct segment row;
	bool used = false;

	if (!s->build)
		return 0;

	err_t e = segstore_build_finish(STEAL(s->build), &row);

	while (s->settled) {
		struct settled *d = s->settled;

		s->settled = d->next;
		if (!e && install(s, d)) {
			s->settled_len += d->len;
			used = true;
		}
		settled_free(d);
	}
	if (!e && !used)
		e = remove_unused(s, row.id);
	return e;
}

/* Sealing. */

/* Compresses one frame; what does not shrink stays as it is. */
static err_t
pack_frame(struct settle *s, size_t at, uint32_t len, uint32_t *packed_len_out)
{
	size_t packed_len = 0;
	err_t e = compress_block(s->plain + at, len, s->packed + at, len - 1, &packed_len);

	if (e == -E2BIG) {
		memcpy(s->packed + at, s->plain + at, len);
		packed_len = len;
	} else if (e) {
		return e;
	}
	*packed_len_out = (uint32_t)packed_len;
	return 0;
}

/* Compresses the run at `at` in s->plain; *len_out is what it would take in a segment. */
static err_t
pack(struct settle *s, const struct extent_identity *id, size_t at, uint32_t packed[static FRAMES_MAX],
    uint32_t *len_out)
{
	uint32_t count = frame_count(id);
	uint32_t len = count * 4 + AEAD_TAG_LEN;

	for (uint32_t k = 0; k < count; k++) {
		err_t e = pack_frame(s, at + (size_t)k * FRAME_ZSTD_LEN, frame_plain_len(id, k), &packed[k]);

		if (e)
			return e;
		len += packed[k] + AEAD_TAG_LEN;
	}
	*len_out = len;
	return 0;
}

static err_t
seal_packed(const struct settle *s, const struct key32 *key, const struct extent_identity *id, size_t at,
    const uint32_t packed[static FRAMES_MAX], uint8_t *out)
{
	CLEANUP(frame_cipher_clear) struct frame_cipher fc = {0};
	uint32_t count = frame_count(id);
	uint8_t index[FRAMES_MAX * 4];
	err_t e = frame_cipher_init(&fc, key->b, id);

	for (uint32_t k = 0; k < count; k++)
		put_u32(index + (size_t)k * 4, packed[k]);
	if (!e)
		e = frame_seal(&fc, 0, index, (size_t)count * 4, out);
	out += (size_t)count * 4 + AEAD_TAG_LEN;
	for (uint32_t k = 0; k < count && !e; k++) {
		e = frame_seal(&fc, k + 1, s->packed + at + (size_t)k * FRAME_ZSTD_LEN, packed[k], out);
		out += packed[k] + AEAD_TAG_LEN;
	}
	return e;
}

/* Seals one run of plaintext as an extent of its own, appended to s->sealed and to the chunk's new list. */
static err_t
seal_run(struct settle *s, struct settled *d, const struct writing_key *key, uint64_t off, uint32_t len)
{
	size_t at = (size_t)(off - d->no * CHUNK_LEN);
	struct extent_identity id = {.file_id = key->origin, .offset = off, .len = len, .encoding = FRAME_ZSTD};
	uint32_t packed[FRAMES_MAX];
	uint32_t stored_len = 0;
	uint32_t raw_len = frame_raw_stored_len(len);
	uint8_t *out;
	err_t e = random_bytes(id.id, sizeof(id.id));

	if (!e)
		e = pack(s, &id, at, packed, &stored_len);
	if (e)
		return e;
	/* Compression has to save a tenth to be worth the larger frames. */
	if (stored_len > raw_len - raw_len / 10) {
		id.encoding = FRAME_RAW;
		stored_len = raw_len;
	}

	struct extent x = {.off = off, .len = len, .x_off = off, .x_len = len, .x_encoding = (uint8_t)id.encoding};

	x.key_version = key->version;
	x.seg = SEG_TO_COME;
	x.seg_off = s->sealed.len;
	x.stored_len = stored_len;
	memcpy(x.x_id, id.id, sizeof(x.x_id));
	e = bytes_extend(&s->sealed, stored_len, &out);
	if (!e && id.encoding == FRAME_RAW)
		e = frame_seal_raw(key->key.b, &id, s->plain + at, out);
	else if (!e)
		e = seal_packed(s, &key->key, &id, at, packed, out);
	if (!e)
		e = extent_list_append(&d->after, &x);
	if (!e)
		d->len += len;
	return e;
}

/* Choosing and reading. */

/* What was found out about a chunk under the locks. */
struct selection {
	uint64_t origin;
	struct file_key *keys;
	uint32_t key_count;
	bool *chosen; /* by index in the list */
	bool any;
};

static void
selection_clear(struct selection *l)
{
	free(l->keys);
	free(l->chosen);
}

/* [meta lock] All of the chunk, unless some of it is not at hand or little of it is hot; else only what is hot. */
static bool
choose_all(struct settle *s, const struct extent_list *list)
{
	uint64_t hot_len = 0, len = 0;
	struct segment row;

	for (uint32_t k = 0; k < list->count; k++) {
		len += list->v[k].len;
		if (segstore_is_hot(s->ss, list->v[k].seg))
			hot_len += list->v[k].len;
		else if (meta_segment_get(s->m, list->v[k].seg, &row) || !row.local)
			return false;
	}
	return hot_len >= len / HOT_SHARE || list->count > PIECES_MAX;
}

/* [meta lock] */
static err_t
choose(struct settle *s, const struct inode *i, const struct chunk *ch, bool only_hot, struct selection *out)
{
	bool all = !only_hot && choose_all(s, &ch->current);

	out->origin = i->origin;
	out->chosen = calloc((size_t)ch->current.count + 1, sizeof(*out->chosen));
	out->keys = calloc((size_t)i->key_count + 1, sizeof(*out->keys));
	if (!out->chosen || !out->keys)
		return -ENOMEM;
	if (i->key_count)
		memcpy(out->keys, i->keys, i->key_count * sizeof(*out->keys));
	out->key_count = i->key_count;
	for (uint32_t k = 0; k < ch->current.count; k++) {
		bool hot = segstore_is_hot(s->ss, ch->current.v[k].seg);

		out->chosen[k] = all || hot;
		out->any |= hot;
	}
	return 0;
}

static err_t
read_extent(struct settle *s, const struct selection *l, const struct extent *x)
{
	for (uint32_t k = 0; k < l->key_count; k++) {
		if (l->keys[k].version == x->key_version)
			return content_open_extent(s->c, l->origin, &l->keys[k], x, x->off, x->len,
			    s->plain + x->off % CHUNK_LEN);
	}
	return -EBADMSG;
}

/* [file lock, shared] Notes what the chunk is and reads what is chosen of it.  l->any stays false: nothing to do. */
static err_t
read_locked(struct settle *s, struct settled *d, bool only_hot, struct selection *l)
{
	struct inode *i;
	struct chunk *ch;

	meta_lock(s->m);

	err_t e = meta_inode_get(s->m, d->ino, &i);

	if (!e)
		e = meta_chunk_get(s->m, i, d->no, false, &ch);
	if (!e && ch->pending)
		e = choose(s, i, ch, only_hot, l);
	if (!e && l->any)
		e = extent_list_copy(&ch->current, &d->before);
	meta_unlock(s->m);
	if (e == -ENOENT)
		return 0;
	for (uint32_t k = 0; k < d->before.count && !e; k++) {
		if (l->chosen[k])
			e = read_extent(s, l, &d->before.v[k]);
	}
	return e;
}

/* Seals what was chosen, neighbours as one; the rest of the list stays as it is. */
static err_t
seal_chunk(struct settle *s, struct settled *d, const struct selection *l)
{
	CLEANUP(writing_key_wipe) struct writing_key key = {0};
	err_t e = content_writing_key(s->c, d->ino, &key);

	bytes_reset(&s->sealed);
	for (uint32_t k = 0; k < d->before.count && !e;) {
		const struct extent *x = &d->before.v[k++];
		uint64_t end = x->off + x->len;

		if (!l->chosen[k - 1]) {
			e = extent_list_append(&d->after, x);
			continue;
		}
		for (; k < d->before.count && l->chosen[k] && d->before.v[k].off == end; k++)
			end += d->before.v[k].len;
		e = seal_run(s, d, &key, x->off, (uint32_t)(end - x->off));
	}
	return e;
}

/* Reads and seals.  -EAGAIN: it was changed meanwhile.  *out stays NULL: nothing to do. */
static err_t
prepare(struct settle *s, uint64_t ino, uint64_t no, bool only_hot, struct settled **out)
{
	CLEANUP(settled_cleanup) struct settled *d = calloc(1, sizeof(*d));
	CLEANUP(selection_clear) struct selection l = {0};
	struct inode *i;
	struct chunk *ch;

	if (!d)
		return -ENOMEM;
	d->ino = ino;
	d->no = no;
	content_lock_file(s->c, ino, false);

	err_t e = read_locked(s, d, only_hot, &l);

	content_unlock_file(s->c, ino);
	if (!e && l.any)
		e = seal_chunk(s, d, &l);
	if (e || !l.any)
		return e;
	meta_lock(s->m);
	if (meta_inode_get(s->m, ino, &i) || meta_chunk_get(s->m, i, no, false, &ch) ||
	    !extent_list_equal(&ch->current, &d->before))
		e = -EAGAIN;
	meta_unlock(s->m);
	if (!e)
		*out = STEAL(d);
	return e;
}

/* Adds what was sealed to the segment under way. */
static err_t
add(struct settle *s, struct settled **d)
{
	uint64_t base;
	err_t e = 0;

	if (s->build && segstore_build_len(s->build) + s->sealed.len > SETTLE_SEGMENT_LEN)
		e = close_segment(s);
	if (!e && !s->build)
		e = segstore_build_begin(s->ss, &s->build);
	if (!e)
		e = segstore_build_add(s->build, s->sealed.data, (uint32_t)s->sealed.len, &base);
	if (e)
		return e;
	for (uint32_t k = 0; k < (*d)->after.count; k++) {
		struct extent *x = &(*d)->after.v[k];

		if (x->seg != SEG_TO_COME)
			continue;
		x->seg = segstore_build_id(s->build);
		x->seg_off += base;
	}
	(*d)->next = s->settled;
	s->settled = STEAL(*d);
	return 0;
}

static err_t
settle_chunk(struct settle *s, uint64_t ino, uint64_t no)
{
	CLEANUP(settled_cleanup) struct settled *d = NULL;
	err_t e = -EAGAIN;

	for (unsigned k = 0; k < TRIES && e == -EAGAIN; k++)
		e = prepare(s, ino, no, false, &d);
	/* What can't be read is perhaps in a part that is settled already. */
	if (e == -EBADMSG || e == -ENODATA || e == -EIO)
		e = prepare(s, ino, no, true, &d);
	return e || !d ? e : add(s, &d);
}

static void
complain(struct settle *s, uint64_t ino, uint64_t no, err_t e)
{
	char path[1024];

	meta_lock(s->m);
	meta_path(s->m, ino, path, sizeof(path));
	meta_unlock(s->m);
	log_warn("%s: the data at offset %llu can't be made ready for the store: %s", path,
	    (unsigned long long)(no * CHUNK_LEN), e == -EBADMSG ? "it is damaged" : strerror(-e));
}

err_t
settle_inode(struct settle *s, uint64_t ino)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	struct inode *i;
	err_t result = 0;

	meta_lock(s->m);

	err_t e = meta_inode_get(s->m, ino, &i);

	if (!e && S_ISREG(i->mode))
		e = meta_pending_chunks(s->m, i, &nos, &count);
	meta_unlock(s->m);
	if (e)
		return e;
	for (size_t k = 0; k < count; k++) {
		e = settle_chunk(s, ino, nos[k]);
		if (e == -EBADMSG || e == -ENODATA)
			complain(s, ino, nos[k], e);
		else if (e && e != -EAGAIN)
			return e;
		if (e)
			result = e == -EAGAIN ? e : -EIO;
	}
	return result;
}

err_t
settle_finish(struct settle *s, uint64_t *settled_bytes_out)
{
	err_t e = close_segment(s);

	if (!e)
		e = segstore_sweep(s->ss);
	if (!e)
		*settled_bytes_out = s->settled_len;
	settle_free(s);
	return e;
}
