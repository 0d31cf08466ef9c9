/*
 * content_widen.c: blocks in many pieces.
 *
 * What is smaller than a block of 4 KiB and is written by itself becomes an extent by itself, and may cut another one in two.  Where a
 * block would come to be in more pieces than PIECES_MAX, the write takes all of it along instead, as one: so the map of a chunk has
 * a length that nobody can exceed, and whoever writes byte by byte does not pay for all the bytes before.
 */
#include "content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "secmem.h"

/* As many as there are sectors in it: who writes those does not pay for reading. */
#define PIECES_MAX 8u

static uint32_t
pieces_between(const struct extent_list *l, uint64_t from, uint64_t to)
{
	uint32_t first = extent_list_find(l, from);
	uint32_t k = first;

	while (k < l->count && l->v[k].off < to)
		k++;
	return from < to ? k - first : 0;
}

bool
widen_is_due(const struct extent_list *l, uint64_t off, uint64_t end)
{
	uint64_t first_end = widen_begin(off) + FRAME_RAW_LEN;
	uint32_t before = pieces_between(l, widen_begin(off), off);
	uint32_t after = pieces_between(l, end, widen_end(end));

	if (end <= first_end)
		return before + 1 + after > PIECES_MAX;
	return before + 1 > PIECES_MAX || 1 + after > PIECES_MAX;
}

void
content_widen_clear(struct widened *w)
{
	if (w->data)
		secmem_wipe(w->data, w->len);
	free(w->data);
}

/* [file lock] What there is of [from, to), which may be nothing. */
static err_t
read_part(struct content *c, struct scratch *s, uint64_t ino, uint64_t from, uint64_t to, uint8_t *buf, size_t *got_out)
{
	*got_out = (size_t)(to - from);
	return from < to ? content_read_here(c, s, ino, from, got_out, buf) : 0;
}

err_t
widen_read(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, struct widened *out)
{
	uint64_t end = off + len, from = widen_begin(off), to = widen_end(end);
	CLEANUP(content_widen_clear) struct widened w = {.off = from, .len = (size_t)(to - from)};
	size_t before, after;

	w.data = calloc(1, w.len);
	if (!w.data)
		return -ENOMEM;

	/* What is behind the end of the file reads as zeros: it is a hole, or was none of it. */
	err_t e = read_part(c, s, ino, from, off, w.data, &before);

	if (!e)
		e = read_part(c, s, ino, end, to, w.data + (end - from), &after);
	if (e)
		return e;
	memcpy(w.data + (off - from), data, len);
	w.len = (size_t)(end - from) + after;
	*out = w;
	w.data = NULL;
	return 0;
}
