/* fetcher_ahead.c: who reads piece after piece, and what he will want next. */
#include "fetcher_internal.h"

#include <errno.h>

#include "pieces.h"

/* [lock] The stream that this goes on with: its last piece, or the one behind; NULL: none does. */
static struct stream *
stream_find(struct fetcher *f, const struct segment *row, unsigned piece)
{
	for (unsigned k = 0; k < STREAMS; k++) {
		struct stream *s = &f->streams[k];

		if (!s->used)
			continue;
		if (s->seg == row->id && piece >= s->piece && piece - s->piece <= 1)
			return s;
		if (s->seg < row->id && piece == 0 && (s->seg + 1 == row->id || s->front_seg == row->id))
			return s;
		/* Reads of one file come in several threads: somewhat out of order. */
		if (s->window && s->seg == row->id && piece > s->piece && (s->front_seg > row->id || piece < s->front_piece))
			return s;
	}
	return NULL;
}

/* [lock] In place of the one that was used the longest time ago. */
static void
stream_begin(struct fetcher *f, const struct segment *row, unsigned piece)
{
	struct stream *oldest = f->streams;

	for (unsigned k = 1; k < STREAMS; k++)
		if (f->streams[k].used < oldest->used)
			oldest = &f->streams[k];
	*oldest = (struct stream){.seg = row->id, .piece = piece, .front_seg = row->id, .front_piece = piece + 1,
		.used = ++f->tick};
}

/* What is to be asked for; outside the lock, since rows are looked at. */
struct plan {
	uint64_t seg;
	unsigned piece;
	uint64_t len; /* bytes from there on; 0: nothing */
};

/* [lock] He has come to that piece. */
static void
stream_advance(struct fetcher *f, struct stream *s, const struct segment *row, unsigned piece, struct plan *out)
{
	uint64_t piece_len = pieces_len(row->size), ahead;

	if (s->seg == row->id && s->piece == piece)
		return;
	s->seg = row->id;
	s->piece = piece;
	s->used = ++f->tick;
	if (s->front_seg < row->id || (s->front_seg == row->id && s->front_piece <= piece)) {
		s->front_seg = row->id;
		s->front_piece = piece + 1;
	}
	s->window = s->window ? s->window * 2 : piece_len;
	if (s->window > AHEAD_LEN_MAX)
		s->window = AHEAD_LEN_MAX;
	/* Of a front two segments on, how long the one between is does not matter: it is enough. */
	if (s->front_seg == row->id)
		ahead = (s->front_piece - piece - 1) * piece_len;
	else if (s->front_seg == row->id + 1)
		ahead = row->size - (piece + 1) * piece_len + s->front_piece * piece_len;
	else
		ahead = AHEAD_LEN_MAX;
	if ((int64_t)ahead < 0)
		ahead = 0;

	uint64_t portion = s->window / 2 < TRANSFER_LEN_MAX ? s->window / 2 : TRANSFER_LEN_MAX;

	if (f->held || ahead + portion > s->window)
		return;
	*out = (struct plan){s->front_seg, s->front_piece, s->window - ahead};
}

/* Asks for the pieces of one segment that the plan begins in; moves it on to the next one.  False: that is the end. */
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
	unsigned wanted = (unsigned)((p->len + piece_len - 1) / piece_len);

	if (p->piece < count) {
		unsigned n = wanted < count - p->piece ? wanted : count - p->piece;

		if (segstore_missing(f->ss, p->seg, pieces_run(p->piece, n), &missing))
			return false;
		p->len = p->len > n * piece_len ? p->len - n * piece_len : 0;
		p->piece += n;
	}
	if (missing) {
		pthread_mutex_lock(&f->lock);
		e = f->source ? fetcher_enqueue(f, &row, missing, AHEAD) : -ENODATA;
		pthread_mutex_unlock(&f->lock);
	}
	if (e || !p->len)
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
	if (s)
		stream_advance(f, s, row, first + count - 1, &plan);
	else
		stream_begin(f, row, first + count - 1);
	/* What is asked for below is the front from now on, so that nobody else asks for it. */
	if (s && plan.len) {
		uint64_t piece_len = pieces_len(row->size);
		unsigned pieces = pieces_count(row->size);
		uint64_t front = plan.piece + (plan.len + piece_len - 1) / piece_len;

		if (plan.seg == row->id && front > pieces) {
			s->front_seg = row->id + 1;
			s->front_piece = (unsigned)(front - pieces);
		} else {
			s->front_seg = plan.seg;
			s->front_piece = (unsigned)front;
		}
	}
	pthread_mutex_unlock(&f->lock);
	while (plan.len && ask(f, &plan))
		;
}
