/* fetcher_ahead.c: who reads piece after piece, and what he will want next. */
#include "fetcher_internal.h"

#include <errno.h>

#include "pieces.h"

/* Reads of one file come in several threads: so far behind the first one at most. */
#define LATE_LEN (UINT64_C(4) << 20)

/* Is that piece asked for already, or the next one behind? */
static bool
is_before_front(const struct stream *s, uint64_t seg, unsigned piece)
{
	return seg < s->front_seg || (seg == s->front_seg && piece <= s->front_piece);
}

/* Does this go on with the stream, somewhat out of order perhaps? */
static bool
goes_on(const struct stream *s, const struct segment *row, unsigned piece)
{
	uint64_t late = LATE_LEN / pieces_len(row->size);

	if (s->seg == row->id && piece >= s->piece)
		return piece - s->piece <= 1 || (s->window && is_before_front(s, row->id, piece));
	if (s->seg < row->id)
		return (piece == 0 && (s->seg + 1 == row->id || s->front_seg == row->id)) ||
		    (s->window && s->seg + 1 == row->id && is_before_front(s, row->id, piece));
	if (!s->window)
		return false;
	if (s->seg == row->id)
		return s->piece - piece <= late;
	return s->seg == row->id + 1 && s->piece + pieces_count(row->size) - piece <= late;
}

/* [lock] NULL: none is gone on with.  Who has read for longer comes first. */
static struct stream *
stream_find(struct fetcher *f, const struct segment *row, unsigned piece)
{
	struct stream *found = NULL;

	for (unsigned k = 0; k < STREAMS; k++) {
		struct stream *s = &f->streams[k];

		if (s->used && goes_on(s, row, piece) && (!found || s->window > found->window))
			found = s;
	}
	return found;
}

static uint64_t
left_behind(const struct segment *row, unsigned piece)
{
	uint64_t end = (piece + 1) * pieces_len(row->size);

	return row->size > end ? row->size - end : 0;
}

/* [lock] In place of the one that was used the longest time ago. */
static void
stream_begin(struct fetcher *f, const struct segment *row, unsigned piece)
{
	struct stream *oldest = NULL;

	for (unsigned k = 0; k < STREAMS; k++) {
		struct stream *s = &f->streams[k];

		if (!s->planning && (!oldest || s->used < oldest->used))
			oldest = s;
	}
	if (oldest)
		*oldest = (struct stream){.seg = row->id, .piece = piece, .left = left_behind(row, piece),
			.front_seg = row->id, .front_piece = piece + 1, .used = ++f->tick};
}

/* What is to be asked for; outside the lock, since rows are looked at. */
struct plan {
	uint64_t seg;
	unsigned piece;
	uint64_t len;   /* bytes from there on; 0: nothing */
	uint64_t unit;  /* in transfers of that length */
	uint64_t asked; /* bytes */
};

/* [lock] He has come to that piece.  False: he was there, or beyond. */
static bool
stream_move(struct fetcher *f, struct stream *s, const struct segment *row, unsigned piece)
{
	uint64_t piece_len = pieces_len(row->size), passed;

	if (row->id < s->seg || (row->id == s->seg && piece <= s->piece))
		return false;
	passed = row->id == s->seg ? (piece - s->piece) * piece_len : s->left + (piece + 1) * piece_len;
	s->ahead -= passed < s->ahead ? passed : s->ahead;
	s->seg = row->id;
	s->piece = piece;
	s->left = left_behind(row, piece);
	s->used = ++f->tick;
	if (s->front_seg < row->id || (s->front_seg == row->id && s->front_piece <= piece)) {
		s->front_seg = row->id;
		s->front_piece = piece + 1;
		s->ahead = 0;
	}
	return true;
}

/* [lock] Where transfers take their time, what is ahead must not be in the way of somebody who waits. */
static void
stream_plan(struct fetcher *f, struct stream *s, uint64_t piece_len, struct plan *out)
{
	uint64_t most = f->quick ? AHEAD_LEN_QUICK_MAX : AHEAD_LEN_MAX;
	uint64_t unit, unit_most = fetcher_transfer_max(f);

	s->window = s->window ? s->window * 2 : piece_len;
	if (s->window > most)
		s->window = most;
	unit = s->window / 2 < unit_most ? s->window / 2 : unit_most;
	if (f->held || f->full || s->planning || s->ahead + unit > s->window)
		return;
	*out = (struct plan){s->front_seg, s->front_piece, s->window - s->ahead, unit, 0};
	s->planning = true;
}

/* Those of the pieces that are missing, in transfers that begin at multiples of their length. */
static err_t
ask_for(struct fetcher *f, const struct segment *row, uint64_t missing, unsigned unit)
{
	err_t e = 0;

	pthread_mutex_lock(&f->lock);
	if (!f->source)
		e = -ENODATA;
	for (unsigned at = 0; at < PIECES_MAX && !e; at += unit) {
		uint64_t part = missing & pieces_run(at, unit);

		if (part)
			e = fetcher_enqueue(f, row, part, AHEAD);
	}
	pthread_mutex_unlock(&f->lock);
	return e;
}

/* Asks for the pieces of one segment that the plan begins in; moves it on.  False: that is the end. */
static bool
ask(struct fetcher *f, struct plan *p)
{
	struct segment row;
	uint64_t missing = 0;

	meta_lock(f->meta);

	err_t e = meta_segment_get(f->meta, p->seg, &row);

	meta_unlock(f->meta);
	if (e || row.kind != SEGMENT_SETTLED || !row.in_store)
		return false;

	unsigned count = pieces_count(row.size);
	uint64_t piece_len = pieces_len(row.size);
	unsigned unit = p->unit > piece_len ? (unsigned)(p->unit / piece_len) : 1;
	unsigned end = p->piece + (unsigned)(p->len / piece_len);
	bool over = end < count;

	/* What is left of a transfer comes with the next one. */
	end = over ? end - end % unit : count;
	if (p->piece < end) {
		uint64_t len = (end - p->piece) * piece_len;

		if (segstore_missing(f->ss, p->seg, pieces_run(p->piece, end - p->piece), &missing) ||
		    (missing && ask_for(f, &row, missing, unit)))
			return false;
		p->asked += len;
		p->len -= len < p->len ? len : p->len;
		p->piece = end;
	}
	if (over || !p->len)
		return false;
	p->seg++;
	p->piece = 0;
	return true;
}

void
fetcher_note_read(struct fetcher *f, const struct segment *row, uint64_t mask)
{
	struct plan plan = {0};
	unsigned first, count = pieces_first_run(mask, PIECES_MAX, &first);
	struct stream *s;

	if (!count)
		return;
	pthread_mutex_lock(&f->lock);
	s = stream_find(f, row, first);
	if (!s)
		stream_begin(f, row, first + count - 1);
	else if (stream_move(f, s, row, first + count - 1))
		stream_plan(f, s, pieces_len(row->size), &plan);
	pthread_mutex_unlock(&f->lock);
	if (!plan.len)
		return;
	while (ask(f, &plan))
		;
	pthread_mutex_lock(&f->lock);
	s->front_seg = plan.seg;
	s->front_piece = plan.piece;
	s->ahead += plan.asked;
	s->planning = false;
	pthread_mutex_unlock(&f->lock);
}
