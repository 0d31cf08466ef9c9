/*
 * content_truncate.c: files are cut.  Where much is behind the new end, the size is set first, and what is behind it goes in steps, with
 * the file's lock held: nobody sees it, and nothing grows over it.  Whose it is stands in the database from the commit that has
 * the new size to the one that has the last step; so a power cut leaves the old size, or the new one and the rest for who opens it next.
 */
#include "content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* [meta lock] The index in c->cut, or cut_count. */
static size_t
find_cut(const struct content *c, uint64_t ino)
{
	size_t k = 0;

	while (k < c->cut_count && c->cut[k] != ino)
		k++;
	return k;
}

bool
content_is_being_cut(const struct content *c, uint64_t ino)
{
	return find_cut(c, ino) < c->cut_count;
}

/* [meta lock] */
static err_t
save_cuts(struct content *c)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t e = bytes_reserve(&b, c->cut_count * 8 + 1);

	for (size_t k = 0; k < c->cut_count && !e; k++)
		e = bytes_append_u64(&b, c->cut[k]);
	return e ? e : meta_kv_put(c->meta, DB_KEY_CUT, b.data, b.len);
}

/* [meta lock] */
static err_t
note_cut(struct content *c, uint64_t ino)
{
	uint64_t *grown;
	err_t e;

	if (content_is_being_cut(c, ino))
		return 0;
	grown = reallocarray(c->cut, c->cut_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->cut = grown;
	c->cut[c->cut_count++] = ino;
	e = save_cuts(c);
	if (e)
		c->cut_count--;
	return e;
}

/* [meta lock] If the row can't be written now, who opens it next looks at the file for nothing. */
static void
forget_cut(struct content *c, uint64_t ino)
{
	size_t at = find_cut(c, ino);

	if (at == c->cut_count)
		return;
	c->cut[at] = c->cut[--c->cut_count];
	(void)!save_cuts(c);
}

err_t
truncate_load(struct content *c)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t e = meta_kv_get(c->meta, DB_KEY_CUT, &b);

	if (e)
		return e == -ENOENT ? 0 : e;
	if (b.len % 8)
		return -EBADMSG;
	c->cut = calloc(b.len / 8 + 1, sizeof(*c->cut));
	if (!c->cut)
		return -ENOMEM;
	for (struct cursor in = {b.data, b.len}; in.len && !e; c->cut_count += !e)
		e = cursor_u64(&in, &c->cut[c->cut_count]);
	return e;
}

/* [meta lock] What neither a reader nor the chain has: a merge may have left it as the chain had it once. */
static err_t
drop_chunk(struct content *c, struct inode *i, uint64_t no)
{
	static const struct extent_list nothing;
	struct chunk *ch;
	err_t e = meta_chunk_get(c->meta, i, no, false, &ch);

	if (!e)
		e = meta_release_gone(c->meta, &ch->current, &nothing);
	if (e)
		return e;
	for (uint32_t k = 0; k < ch->current.count; k++)
		i->mapped -= ch->current.v[k].len;
	extent_list_clear(&ch->current);
	extent_list_clear(&ch->chain);
	ch->pending = false;
	meta_inode_dirty(c->meta, i);
	meta_chunk_dirty(c->meta, i, ch);
	meta_chunk_tidy(c->meta, i, ch);
	return 0;
}

/* [file lock, exclusive; meta lock] */
static err_t
drop_chunks(struct content *c, struct inode *i, const uint64_t *nos, size_t count)
{
	uint64_t end = inode_chain_size(i) > i->size ? inode_chain_size(i) : i->size;
	size_t kept = 0;
	err_t e = 0;

	while (kept < count && nos[kept] < inode_chunks(end))
		kept++;
	if (kept)
		e = holes_unmap(c, i, nos[0] * CHUNK_LEN, (nos[kept - 1] + 1) * CHUNK_LEN, i->size);
	for (size_t k = kept; k < count && !e; k++)
		e = drop_chunk(c, i, nos[k]);
	return e;
}

/*
 * [file lock, exclusive; meta lock] A step further, from chunk *from on: what the chain has of those before is still there.  *done_out:
 * that was the last one.
 */
static err_t
step(struct content *c, uint64_t ino, uint64_t *from, bool *done_out)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	struct inode *i;
	err_t e = meta_inode_get(c->meta, ino, &i);

	if (!e) {
		*from = inode_chunks(i->size) > *from ? inode_chunks(i->size) : *from;
		e = meta_chunk_numbers(c->meta, i, *from, c->step, &nos, &count);
	}
	if (!e)
		e = drop_chunks(c, i, nos, count);
	if (e && e != -ENOENT)
		return e;
	*from = count ? nos[count - 1] + 1 : *from;
	*done_out = count < c->step;
	if (*done_out)
		forget_cut(c, ino);
	return 0;
}

err_t
truncate_finish(struct content *c, uint64_t ino)
{
	uint64_t from = 0;
	bool done = false;
	err_t e = 0;

	while (!done && !e) {
		meta_lock(c->meta);
		done = !content_is_being_cut(c, ino);
		if (!done)
			e = step(c, ino, &from, &done);
		meta_unlock(c->meta);
		if (!done && !e)
			meta_throttle(c->meta);
	}
	return e;
}

/* [meta lock] Where the chunks end that go together with the size. */
static err_t
first_step(struct content *c, struct inode *i, uint64_t size, uint64_t *to_out)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = 0;

	if (size < i->size && (i->size - size) / CHUNK_LEN >= c->step)
		e = meta_chunk_numbers(c->meta, i, size / CHUNK_LEN, c->step + 1, &nos, &count);
	if (!e)
		*to_out = count > c->step ? nos[c->step] * CHUNK_LEN : i->size;
	return e;
}

/* [file lock, exclusive; meta lock] The size is what it is to be; what is left is noted. */
static err_t
begin(struct content *c, uint64_t ino, uint64_t size, bool only_grow)
{
	struct inode *i;
	uint64_t to = 0;
	err_t e = meta_inode_get(c->meta, ino, &i);

	if (!e && only_grow && i->size >= size)
		return 0;
	if (!e)
		e = first_step(c, i, size, &to);
	if (e)
		return e;

	bool more = to < i->size;

	if (more)
		e = note_cut(c, ino);
	if (!e)
		e = holes_unmap(c, i, size, to, size);
	if (!e)
		content_touch(i);
	else if (more)
		forget_cut(c, ino);
	return e;
}

/* What can't be read now (its map has to be) stays behind the end for a while: the file has been cut. */
static void
complain(uint64_t ino, err_t e)
{
	log_warn("the space of what was cut off file %llx will be given back later: %s", (unsigned long long)ino,
	    strerror(-e));
}

static err_t
set_size(struct content *c, uint64_t ino, uint64_t size, bool only_grow)
{
	if (size > INODE_MAX_SIZE)
		return -EFBIG;
	content_lock_file(c, ino, true);

	err_t e = truncate_finish(c, ino); /* of an earlier time */

	if (!e) {
		meta_lock(c->meta);
		e = begin(c, ino, size, only_grow);
		meta_unlock(c->meta);

		err_t left = e ? 0 : truncate_finish(c, ino);

		if (left)
			complain(ino, left);
	}
	content_unlock_file(c, ino);
	return e;
}

err_t
content_truncate(struct content *c, uint64_t ino, uint64_t size)
{
	return set_size(c, ino, size, false);
}

err_t
content_grow(struct content *c, uint64_t ino, uint64_t size)
{
	return set_size(c, ino, size, true);
}

err_t
content_cut_later(struct content *c, struct inode *i, uint64_t from, bool *later_out)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = meta_chunk_numbers(c->meta, i, from, c->step + 1, &nos, &count);

	/* Whoever is about it has gone by what is to go now. */
	bool many = count > c->step && !content_is_being_cut(c, i->ino);

	if (!e && many)
		e = note_cut(c, i->ino);
	if (!e)
		*later_out = many;
	return e;
}

err_t
content_finish_held(struct content *c, const uint64_t *inos, size_t count)
{
	err_t e = 0;

	for (size_t k = 0; k < count && !e; k++)
		e = truncate_finish(c, inos[k]);
	return e;
}

void
content_finish_truncations(struct content *c)
{
	meta_lock(c->meta);

	size_t count = c->cut_count;
	CLEANUP(free_ptr) uint64_t *inos = calloc(count + 1, sizeof(*inos));

	if (inos && count)
		memcpy(inos, c->cut, count * sizeof(*inos));
	meta_unlock(c->meta);
	for (size_t k = 0; inos && k < count; k++) {
		content_lock_file(c, inos[k], true);

		err_t e = truncate_finish(c, inos[k]);

		content_unlock_file(c, inos[k]);
		if (e)
			complain(inos[k], e);
	}
}
