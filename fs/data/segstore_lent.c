/*
 * segstore_lent.c: pieces that the disk has no room for, in memory: who waits for them holds the segment, reads them, and lets go.
 */
#include "segstore_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pieces.h"

/* So many bytes at most, of all segments: a full disk is no reason to fill memory, too. */
#define LENT_MAX (64u << 20)

/* [pieces_lock] The same, for somebody who asked a moment before. */
static bool
has_lent(const struct part *p, const struct lent *l)
{
	const struct lent *other = p->lent;

	while (other && (other->off != l->off || other->len != l->len || memcmp(other->data, l->data, l->len)))
		other = other->next;
	return other;
}

/* [pieces_lock] Not taken: an error, or -EEXIST if it is there. */
static err_t
lend(struct segstore *ss, struct part *p, struct lent *l)
{
	uint64_t mask = pieces_touching(p->size, l->off, l->len);

	if (p->hot || l->off % pieces_len(p->size) || l->len != pieces_bytes(p->size, mask))
		return -EINVAL;
	if (has_lent(p, l))
		return -EEXIST;
	if (!p->users || l->len > LENT_MAX - ss->lent_len)
		return -ENOSPC;
	l->next = p->lent;
	p->lent = l;
	p->lent_pieces |= mask;
	ss->lent_len += l->len;
	return 0;
}

err_t
segstore_lend_pieces(struct segstore *ss, uint64_t seg, uint64_t off, const uint8_t *data, size_t len)
{
	CLEANUP(free_ptr) struct lent *l = len <= LENT_MAX ? malloc(sizeof(*l) + len) : NULL;
	struct part *p;

	if (!l)
		return len <= LENT_MAX ? -ENOMEM : -ENOSPC;
	*l = (struct lent){.off = off, .len = len};
	memcpy(l->data, data, len);

	err_t e = segstore_lock_part(ss, seg, &p);

	if (e)
		return e;
	e = lend(ss, p, l);
	pthread_mutex_unlock(&ss->pieces_lock);
	if (!e)
		(void)STEAL(l);
	return e == -EEXIST ? 0 : e;
}

void
segstore_drop_lent(struct segstore *ss, struct part *p)
{
	while (p->lent) {
		struct lent *l = p->lent;

		p->lent = l->next;
		ss->lent_len -= l->len;
		free(l);
	}
	p->lent_pieces = 0;
}

/* Out of what was lent, if the whole range is in one of them. */
static bool
copy_lent(const struct lent *l, uint64_t off, size_t len, uint8_t *out)
{
	for (; l; l = l->next) {
		if (off < l->off || off - l->off > l->len || len > l->len - (off - l->off))
			continue;
		memcpy(out, l->data + (off - l->off), len);
		return true;
	}
	return false;
}

err_t
segstore_read_lent(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out)
{
	struct part *p;
	err_t e = segstore_lock_part(ss, seg, &p);

	if (e)
		return e;

	const struct lent *lent = p->lent;
	uint64_t here = p->here;

	if (!lent || off > p->size || len > p->size - off || pieces_touching(p->size, off, len) & ~(here | p->lent_pieces))
		e = -ENODATA;
	else
		p->users++;
	pthread_mutex_unlock(&ss->pieces_lock);
	if (e)
		return e;
	for (uint64_t at = off, end = off + len, next; at < end && !e; at = next) {
		unsigned piece = (unsigned)(at / pieces_len(p->size));

		next = (piece + 1) * pieces_len(p->size);
		if (next > end)
			next = end;
		if (here >> piece & 1)
			e = segstore_read_here(ss, seg, at, (uint32_t)(next - at), out + (at - off));
		else if (!copy_lent(lent, at, (size_t)(next - at), out + (at - off)))
			e = -ENODATA;
	}
	segstore_end_read(ss, p);
	return e;
}
