/* content_write.c: writes. */
#include "content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

/* A WRITE is no longer than a chunk, and as a rule not aligned to one. */
#define PIECES_AT_ONCE 2

/* What a write needs from beginning to end; pieces are the parts of it in each chunk. */
struct writing {
	struct content *c;
	struct scratch *s;
	uint64_t ino;
	uint64_t off;
	const uint8_t *data;
	size_t len;
	bool keep_times;
	bool within; /* the file: if it is shorter by then, nothing is mapped */
	struct writing_key key;
	struct extent *pieces;
	struct change *changes;
	size_t count;
	size_t appended; /* pieces that are in a segment */
	bool outdated;   /* the file got other keys, or another end, before the pieces were mapped */
	bool cut;        /* it is to grow over what a truncation has left: nothing was mapped */
	bool bitty;      /* a block would come to be in too many pieces: nothing was mapped */
	bool as_it_is;   /* whatever that leaves */
};

static void
writing_clear(struct writing *w)
{
	writing_key_wipe(&w->key);
	for (size_t k = 0; k < w->count && w->changes; k++)
		extent_list_clear(&w->changes[k].next);
	free(w->pieces);
	free(w->changes);
}

static err_t
writing_init(struct writing *w)
{
	w->s = scratch_get();
	if (!w->s)
		return -ENOMEM;
	w->count = (size_t)((w->off + w->len - 1) / CHUNK_LEN - w->off / CHUNK_LEN + 1);
	w->pieces = calloc(w->count, sizeof(*w->pieces));
	w->changes = calloc(w->count, sizeof(*w->changes));
	return w->pieces && w->changes ? 0 : -ENOMEM;
}

/* Which part of the data piece k is. */
static void
cut_piece(const struct writing *w, size_t k, struct extent *out)
{
	uint64_t start = (w->off / CHUNK_LEN + k) * CHUNK_LEN;
	uint64_t from = w->off > start ? w->off : start;
	uint64_t to = w->off + w->len < start + CHUNK_LEN ? w->off + w->len : start + CHUNK_LEN;
	uint32_t len = (uint32_t)(to - from);

	*out = (struct extent){.off = from, .len = len, .x_off = from, .x_len = len, .x_encoding = FRAME_RAW,
		.key_version = w->key.version, .stored_len = frame_raw_stored_len(len)};
}

/* As a raw extent of its own. */
static err_t
seal_piece(struct writing *w, struct extent *x, uint8_t *out)
{
	err_t e = random_bytes(x->x_id, sizeof(x->x_id));

	if (e)
		return e;

	const struct extent_identity id = content_identity(w->key.origin, x);

	return frame_seal_raw(w->key.key.b, &id, w->data + (x->off - w->off), out);
}

/* One behind the other, as they are going to stand in that place. */
static err_t
seal_pieces(struct writing *w, size_t from, size_t to, const struct segstore_place *place)
{
	uint64_t off = 0;

	for (size_t k = from; k < to; k++) {
		err_t e = seal_piece(w, &w->pieces[k], w->s->sealed + off);

		if (e)
			return e;
		w->pieces[k].seg = place->seg;
		w->pieces[k].seg_off = place->off + off;
		off += w->pieces[k].stored_len;
	}
	return 0;
}

/* Seals and appends the pieces that follow, as many as go to the disk at once: as a rule all of them. */
static err_t
append_some(struct writing *w)
{
	size_t from = w->appended;
	size_t to = from;
	uint32_t len = 0;

	do {
		cut_piece(w, to, &w->pieces[to]);
		len += w->pieces[to++].stored_len;
	} while (to < w->count && to < from + PIECES_AT_ONCE);

	struct segstore_place place;
	err_t e = scratch_reserve_sealed(w->s, len);

	if (!e)
		e = segstore_reserve(w->c->ss, len, &place);
	if (e)
		return e;
	e = seal_pieces(w, from, to, &place);
	if (e) {
		segstore_give_up(w->c->ss, &place);
		return e;
	}
	e = segstore_fill(w->c->ss, &place, w->s->sealed);
	if (e)
		return e;
	w->appended = to;
	return 0;
}

/* [file lock, exclusive; meta lock] */
static err_t
map_all(struct writing *w)
{
	struct inode *i;
	err_t e = meta_inode_get(w->c->meta, w->ino, &i);

	w->outdated = !e && !content_is_writing_key(w->c, i, &w->key);
	if (w->outdated || (!e && w->within && w->off + w->len > i->size))
		return -EAGAIN;
	w->cut = !e && w->off + w->len > i->size && content_is_being_cut(w->c, w->ino);
	if (w->cut)
		return -EAGAIN;
	w->s->dead_count = 0;
	for (size_t k = 0; k < w->count && !e; k++) {
		const struct extent *x = &w->pieces[k];
		struct chunk *ch;

		e = segstore_note_owner(w->c->ss, x->seg, w->ino);
		if (!e)
			e = meta_chunk_get_for_writing(w->c->meta, i, x->off / CHUNK_LEN, x->off, x->off + x->len, &ch);
		w->bitty |= !e && !w->as_it_is && widen_is_due(&ch->current, x->off, x->off + x->len);
		if (w->bitty)
			return -EAGAIN;
		if (!e)
			e = change_prepare(&w->changes[k], w->s, ch, x->off, x->len, x);
	}
	if (e)
		return e;

	uint64_t end = w->off + w->len;

	content_mark_pending(w->c, i, end > i->size ? end : i->size);
	if (!w->keep_times)
		content_touch(i);
	for (size_t k = 0; k < w->count; k++)
		change_apply(w->c, w->s, i, &w->changes[k]);
	return 0;
}

/* [meta lock] What was appended for nothing. */
static void
release_appended(struct writing *w)
{
	for (size_t k = 0; k < w->appended; k++) {
		const struct extent *x = &w->pieces[k];

		/* Out of memory: the room comes back with the whole segment. */
		if (meta_release(w->c->meta, x->seg, x->seg_off, x->stored_len))
			return;
	}
}

static err_t
append_all(struct writing *w)
{
	err_t e = content_writing_key(w->c, w->ino, &w->key);

	w->appended = 0;
	w->outdated = w->cut = w->bitty = false;
	while (!e && w->appended < w->count)
		e = append_some(w);
	return e;
}

/* [file lock, exclusive] failed: why not all of it was appended. */
static err_t
map_or_release(struct writing *w, err_t failed)
{
	err_t e = failed;

	meta_lock_warm(w->c->meta, w->ino, w->off, w->len);
	if (!e)
		e = map_all(w);
	if (e)
		release_appended(w);
	meta_unlock(w->c->meta);
	if (!w->cut)
		return e;
	/* What can't be unmapped now either must not be seen again. */
	if (truncate_finish(w->c, w->ino))
		return -EIO;
	w->outdated = true;
	return -EAGAIN;
}

static err_t
write_once(struct writing *w)
{
	err_t e = append_all(w);

	if (e && !w->appended)
		return e;
	content_lock_file(w->c, w->ino, true);
	e = map_or_release(w, e);
	content_unlock_file(w->c, w->ino);
	return e;
}

static err_t
write_all(struct writing *w)
{
	err_t e = writing_init(w);

	if (e)
		return e;
	do
		e = write_once(w);
	while (w->outdated);
	return e;
}

/*
 * The same with the rest of the blocks at both ends, with the lock held from reading that to mapping it: so nobody's write in between
 * is undone.  It is rare, and waits for nothing that is not here.
 */
static err_t
write_widened(const struct writing *w)
{
	CLEANUP(content_widen_clear) struct widened wide = {0};
	CLEANUP(writing_clear) struct writing all = {.c = w->c, .ino = w->ino, .off = w->off, .data = w->data, .len = w->len,
		.keep_times = w->keep_times, .within = w->within, .as_it_is = true};

	content_lock_file(w->c, w->ino, true);
	/* What can't be read stays where it is, and in pieces. */
	if (!widen_read(w->c, w->s, w->ino, w->off, w->data, w->len, &wide)) {
		all.off = wide.off;
		all.data = wide.data;
		all.len = wide.len;
	}

	err_t e = writing_init(&all);

	do {
		e = e && !all.outdated ? e : append_all(&all);
		e = map_or_release(&all, e);
	} while (all.outdated);
	content_unlock_file(w->c, w->ino);
	return e;
}

static err_t
write_as_needed(struct writing *w)
{
	err_t e = write_all(w);

	return w->bitty ? write_widened(w) : e;
}

static err_t
write_file(struct content *c, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, bool keep_times)
{
	if (!len)
		return 0;
	if (off > INODE_MAX_SIZE || len > INODE_MAX_SIZE - off)
		return -EFBIG;

	CLEANUP(writing_clear) struct writing w = {
		.c = c, .ino = ino, .off = off, .data = data, .len = len, .keep_times = keep_times,
	};

	return write_as_needed(&w);
}

err_t
content_write(struct content *c, uint64_t ino, uint64_t off, const uint8_t *data, size_t len)
{
	return write_file(c, ino, off, data, len, false);
}

err_t
content_write_back(struct content *c, uint64_t ino, uint64_t off, const uint8_t *data, size_t len)
{
	return write_file(c, ino, off, data, len, true);
}

/* What a hole is going to take of a block.  *end is cut at the file's end. */
static bool
is_bitty(struct content *c, uint64_t ino, uint64_t off, uint64_t *end)
{
	struct inode *i;
	struct chunk *ch;
	bool bitty = false;

	meta_lock(c->meta);
	if (!meta_inode_get(c->meta, ino, &i)) {
		*end = *end < i->size ? *end : i->size;
		bitty = off < *end && !meta_chunk_get_for_reading(c->meta, i, off / CHUNK_LEN, off, *end, &ch) &&
		    widen_is_due(&ch->current, off, *end);
	}
	meta_unlock(c->meta);
	return bitty;
}

void
write_join_block(struct content *c, uint64_t ino, uint64_t off, uint64_t end)
{
	static const uint8_t ZEROS[FRAME_RAW_LEN];

	if (!is_bitty(c, ino, off, &end))
		return;

	/* A merge may have cut the file meanwhile, and a hole makes none longer. */
	CLEANUP(writing_clear) struct writing w = {
		.c = c, .ino = ino, .off = off, .data = ZEROS, .len = (size_t)(end - off), .within = true,
	};

	/* All it does is to keep the map short: a full disk is to keep nobody from making room on it with a hole. */
	(void)!write_as_needed(&w);
}
