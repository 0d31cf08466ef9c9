/*
 * segstore_lent.c: pieces in memory.  Those that the disk has no room for: who waits for them holds the segment, reads them, and lets go.
 * And copies of those that came just now: who reads on need not wait for the disk to give back what it is still busy with.
 */
#include "segstore_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "pieces.h"

/* So many bytes at most, of all segments: a full disk is no reason to fill memory, too. */
#define LENT_MAX (64u << 20)
/* As far as one is read ahead: what was not read by then is read by nobody, or slowly. */
#define COPIES_MAX (32u << 20)

static void
lent_free(struct lent *l)
{
	bytes_clear(&l->data);
	free(l);
}

/* [pieces_lock] Out of its part; it is the caller's unless somebody reads it. */
static void
take_out(struct segstore *ss, struct lent *l)
{
	struct part *p = l->part;

	LL_DELETE(p->lent, l);
	p->lent_pieces = 0;
	for (const struct lent *other = p->lent; other; other = other->next)
		p->lent_pieces |= pieces_touching(p->size, other->off, other->data.len);
	if (l->copy) {
		DL_DELETE2(ss->copies, l, older, newer);
		ss->copies_len -= l->data.cap;
	} else {
		ss->lent_len -= l->data.len;
	}
	atomic_fetch_sub_explicit(&ss->lents, 1, memory_order_relaxed);
	l->gone = true;
}

/* [pieces_lock] The memory of one that was taken out is for those to come, if it may be so much. */
static void
retire(struct segstore *ss, struct lent *l)
{
	if (l->readers)
		return;
	for (unsigned k = 0; k < SPARES && l->copy && ss->copies_len + l->data.cap <= COPIES_MAX && l->data.data; k++) {
		if (ss->spare[k].data)
			continue;
		ss->copies_len += l->data.cap;
		ss->spare[k] = l->data;
		l->data = (struct bytes){0};
	}
	lent_free(l);
}

static void
drop(struct segstore *ss, struct part *p, bool copies, uint64_t mask)
{
	for (struct lent *l = p->lent, *next; l; l = next) {
		next = l->next;
		if (l->copy != copies || !(pieces_touching(p->size, l->off, l->data.len) & mask))
			continue;
		take_out(ss, l);
		retire(ss, l);
	}
}

void
segstore_drop_lent(struct segstore *ss, struct part *p)
{
	drop(ss, p, false, UINT64_MAX);
}

void
segstore_drop_copies(struct segstore *ss, struct part *p, uint64_t mask)
{
	drop(ss, p, true, mask);
}

/* [pieces_lock] The same, for somebody who asked a moment before. */
static bool
has_lent(const struct part *p, const struct lent *l)
{
	const struct lent *other = p->lent;

	while (other && (other->copy || other->off != l->off || other->data.len != l->data.len || memcmp(other->data.data, l->data.data, l->data.len)))
		other = other->next;
	return other;
}

static bool
are_whole_pieces(const struct part *p, const struct lent *l)
{
	uint64_t mask = pieces_touching(p->size, l->off, l->data.len);

	return !p->hot && l->off % pieces_len(p->size) == 0 && l->data.len == pieces_bytes(p->size, mask);
}

/* [pieces_lock] */
static void
put_in(struct segstore *ss, struct part *p, struct lent *l)
{
	l->part = p;
	l->unread = l->data.len;
	LL_PREPEND(p->lent, l);
	p->lent_pieces |= pieces_touching(p->size, l->off, l->data.len);
	if (l->copy) {
		DL_APPEND2(ss->copies, l, older, newer);
		ss->copies_len += l->data.cap;
	} else {
		ss->lent_len += l->data.len;
	}
	atomic_fetch_add_explicit(&ss->lents, 1, memory_order_relaxed);
}

/* [pieces_lock] Not taken: an error, or -EEXIST if it is there. */
static err_t
lend(struct segstore *ss, struct part *p, struct lent *l)
{
	if (!are_whole_pieces(p, l))
		return -EINVAL;
	if (has_lent(p, l))
		return -EEXIST;
	if (!p->users || l->data.len > LENT_MAX - ss->lent_len)
		return -ENOSPC;
	put_in(ss, p, l);
	return 0;
}

err_t
segstore_lend_pieces(struct segstore *ss, uint64_t seg, uint64_t off, const uint8_t *data, size_t len)
{
	struct lent *l;
	struct part *p;
	err_t e;

	if (len > LENT_MAX)
		return -ENOSPC;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->off = off;
	e = bytes_append(&l->data, data, len);
	if (!e)
		e = segstore_lock_part(ss, seg, &p);
	if (!e) {
		e = lend(ss, p, l);
		pthread_mutex_unlock(&ss->pieces_lock);
	}
	if (e)
		lent_free(l);
	return e == -EEXIST ? 0 : e;
}

/* Copies. */

/* [pieces_lock] The largest, since the next one is likely to be as large. */
static struct bytes
take_spare(struct segstore *ss)
{
	struct bytes *best = &ss->spare[0], found;

	for (unsigned k = 1; k < SPARES; k++)
		if (ss->spare[k].cap > best->cap)
			best = &ss->spare[k];
	found = *best;
	*best = (struct bytes){0};
	ss->copies_len -= found.cap;
	bytes_reset(&found);
	return found;
}

/* [pieces_lock] Room for so much more: the oldest go.  Returns memory that is left, or none. */
static struct bytes
make_room(struct segstore *ss, size_t len)
{
	struct bytes memory = take_spare(ss);

	while (ss->copies_len + len > COPIES_MAX) {
		struct lent *oldest = ss->copies;

		if (oldest) {
			take_out(ss, oldest);
			retire(ss, oldest);
		}

		CLEANUP(bytes_clear) struct bytes less = take_spare(ss);

		if (less.cap > memory.cap) {
			struct bytes more = less;

			less = memory;
			memory = more;
		}
	}
	return memory;
}

void
segstore_keep_copy(struct segstore *ss, uint64_t seg, uint64_t off, struct bytes *data)
{
	struct lent *l = calloc(1, sizeof(*l));
	struct bytes memory = {0};
	struct part *p;

	if (!l)
		return;
	*l = (struct lent){.off = off, .data = *data, .copy = true};
	if (!data->len || data->cap > COPIES_MAX || segstore_lock_part(ss, seg, &p)) {
		free(l);
		return;
	}

	uint64_t mask = pieces_touching(p->size, off, data->len);
	/* What was found to be whole is better than what came. */
	bool kept = are_whole_pieces(p, l) && !(mask & ~p->here) && !p->whole;

	if (kept) {
		memory = make_room(ss, data->cap);
		put_in(ss, p, l);
	}
	pthread_mutex_unlock(&ss->pieces_lock);
	if (!kept) {
		free(l);
		return;
	}
	*data = memory;
}

void
segstore_forget_copies(struct segstore *ss)
{
	struct bytes spare[SPARES];

	pthread_mutex_lock(&ss->pieces_lock);
	while (ss->copies) {
		struct lent *l = ss->copies;

		take_out(ss, l);
		retire(ss, l);
	}
	for (unsigned k = 0; k < SPARES; k++) {
		spare[k] = ss->spare[k];
		ss->copies_len -= spare[k].cap;
		ss->spare[k] = (struct bytes){0};
	}
	pthread_mutex_unlock(&ss->pieces_lock);
	for (unsigned k = 0; k < SPARES; k++)
		bytes_clear(&spare[k]);
}

/* Reading. */

/* [pieces_lock] */
static struct lent *
find_lent(const struct part *p, uint64_t at)
{
	struct lent *l = p->lent;

	while (l && (at < l->off || at - l->off >= l->data.len))
		l = l->next;
	return l;
}

/* [pieces_lock, given up meanwhile] As much of a range as is in that one; so many bytes. */
static uint64_t
copy_lent(struct segstore *ss, struct lent *l, uint64_t at, uint64_t end, uint8_t *out)
{
	uint64_t here = l->off + l->data.len - at, len = end - at < here ? end - at : here;

	l->readers++;
	pthread_mutex_unlock(&ss->pieces_lock);
	memcpy(out, l->data.data + (at - l->off), len);
	pthread_mutex_lock(&ss->pieces_lock);
	l->readers--;
	l->unread -= len < l->unread ? len : l->unread;
	if (l->copy && !l->unread && !l->gone)
		take_out(ss, l);
	if (l->gone)
		retire(ss, l);
	return len;
}

/* [pieces_lock, given up meanwhile] */
static err_t
read_on(struct segstore *ss, struct part *p, uint64_t at, uint64_t end, bool all, uint8_t *out)
{
	err_t e = 0;

	while (at < end && !e) {
		struct lent *l = find_lent(p, at);
		uint64_t piece_end = (at / pieces_len(p->size) + 1) * pieces_len(p->size);
		uint64_t len = (piece_end < end ? piece_end : end) - at;

		if (l) {
			len = copy_lent(ss, l, at, end, out);
		} else if (all) {
			e = -ENODATA;
		} else {
			pthread_mutex_unlock(&ss->pieces_lock);
			e = segstore_read_here(ss, p->seg, at, (uint32_t)len, out);
			pthread_mutex_lock(&ss->pieces_lock);
		}
		at += len;
		out += len;
	}
	return e;
}

err_t
segstore_read_lent(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, bool all, uint8_t *out)
{
	struct part *p;
	err_t e;

	if (!atomic_load_explicit(&ss->lents, memory_order_relaxed))
		return -ENODATA;
	e = segstore_lock_part(ss, seg, &p);
	if (e)
		return e;

	uint64_t wanted = pieces_touching(p->size, off, len), ahead = p->ahead & wanted;
	segstore_ahead_fn *fn = ss->on_ahead;
	void *ctx = ss->on_ahead_ctx;

	if (!p->lent || off > p->size || len > p->size - off || wanted & ~((all ? 0 : p->here) | p->lent_pieces)) {
		pthread_mutex_unlock(&ss->pieces_lock);
		return -ENODATA;
	}
	p->users++;
	p->used = ++ss->tick;
	p->ahead &= ~ahead;
	pthread_mutex_unlock(&ss->pieces_lock);
	if (ahead && fn)
		fn(ctx, seg, ahead);
	pthread_mutex_lock(&ss->pieces_lock);
	e = read_on(ss, p, off, off + len, all, out);
	segstore_leave_part(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
	return e;
}
