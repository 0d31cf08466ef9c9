/* content_holes.c: ranges that are not mapped any more; where they are very long, in steps. */
#include "content_internal.h"

#include <errno.h>
#include <stdlib.h>

struct unmapping {
	struct content *c;
	struct scratch *s;
	uint64_t from;
	uint64_t to;
	struct change *v;
	size_t count;
	size_t cap;
};

static void
unmapping_clear(struct unmapping *u)
{
	for (size_t k = 0; k < u->count; k++)
		extent_list_clear(&u->v[k].next);
	free(u->v);
}

/* Prepares the change of one chunk, if something is mapped there. */
static err_t
unmap_chunk(void *ctx, struct inode *i, struct chunk *ch)
{
	struct unmapping *u = ctx;
	uint64_t start = ch->no * CHUNK_LEN;
	uint64_t from = u->from > start ? u->from : start;
	uint64_t to = u->to < start + CHUNK_LEN ? u->to : start + CHUNK_LEN;

	(void)i;
	if (start >= u->to)
		return -ECANCELED;

	uint32_t first = extent_list_find(&ch->current, from);

	if (first == ch->current.count || ch->current.v[first].off >= to)
		return 0;
	if (u->count == u->cap) {
		size_t cap = u->cap ? 2 * u->cap : 4;
		struct change *grown = reallocarray(u->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		u->v = grown;
		u->cap = cap;
	}

	err_t e = change_prepare(&u->v[u->count], u->s, ch, from, (uint32_t)(to - from), NULL);

	if (!e)
		u->count++;
	return e;
}

err_t
holes_unmap(struct content *c, struct inode *i, uint64_t from, uint64_t to, uint64_t new_size)
{
	CLEANUP(unmapping_clear) struct unmapping u = {.c = c, .s = scratch_get(), .from = from, .to = to};
	err_t e = u.s ? 0 : -ENOMEM;

	if (!e) {
		u.s->dead_count = 0;
		if (from < to)
			e = meta_chunk_scan(c->meta, i, from / CHUNK_LEN, unmap_chunk, &u);
	}
	if (e && e != -ECANCELED)
		return e;
	content_mark_pending(c, i, new_size);
	for (size_t k = 0; k < u.count; k++)
		change_apply(c, u.s, i, &u.v[k]);
	return 0;
}

/* Makes [off, end) a hole; of a file that is to be dropped nothing is left. */
static err_t
punch_step(struct content *c, uint64_t ino, uint64_t off, uint64_t end, bool drop)
{
	struct inode *i;

	content_lock_file(c, ino, true);
	meta_lock(c->meta);

	err_t e = meta_inode_get(c->meta, ino, &i);

	if (!e && (drop || off < i->size)) {
		e = holes_unmap(c, i, off, end < i->size ? end : i->size, drop ? 0 : i->size);
		if (!e)
			content_touch(i);
	}
	meta_unlock(c->meta);
	content_unlock_file(c, ino);
	return e;
}

/* Where a step of so many chunks ends that begins at off; end: it is the last one. */
static err_t
find_step(struct content *c, uint64_t ino, uint64_t off, uint64_t end, uint64_t *end_out)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	uint64_t to;
	struct inode *i;

	meta_lock(c->meta);

	err_t e = meta_inode_get(c->meta, ino, &i);

	to = !e && i->size < end ? i->size : end;
	if (!e && to > off && to - off > (uint64_t)STEP_CHUNKS * CHUNK_LEN)
		e = meta_chunk_numbers(c->meta, i, off / CHUNK_LEN, STEP_CHUNKS + 1, &nos, &count);
	meta_unlock(c->meta);
	*end_out = count > STEP_CHUNKS && nos[STEP_CHUNKS] * CHUNK_LEN < end ? nos[STEP_CHUNKS] * CHUNK_LEN : end;
	return e;
}

static err_t
punch(struct content *c, uint64_t ino, uint64_t off, uint64_t end, bool drop)
{
	uint64_t step;
	err_t e;

	while (!(e = find_step(c, ino, off, end, &step)) && step < end) {
		if ((e = punch_step(c, ino, off, step, false)) != 0)
			return e;
		off = step;
		meta_throttle(c->meta);
	}
	return e ? e : punch_step(c, ino, off, end, drop);
}

err_t
content_discard(struct content *c, uint64_t ino)
{
	err_t e;

	content_lock_file(c, ino, true);
	e = truncate_finish(c, ino);
	content_unlock_file(c, ino);
	return e ? e : punch(c, ino, 0, UINT64_MAX, true);
}

err_t
content_punch(struct content *c, uint64_t ino, uint64_t off, uint64_t len)
{
	uint64_t end = len < UINT64_MAX - off ? off + len : UINT64_MAX;
	uint64_t first_end = widen_begin(off) + FRAME_RAW_LEN, last = widen_begin(end);

	write_join_block(c, ino, off, end < first_end ? end : first_end);
	if (last >= first_end)
		write_join_block(c, ino, last, end);
	return punch(c, ino, off, end, false);
}
