/* content_sealed.c: sealed bytes on their way from a segment: what lies close together is read at once. */
#include "content_internal.h"

/* So much is read at once at most, and so much in between that is not wanted. */
#define RUN_MAX (EXTENT_MAX_LEN + EXTENT_MAX_LEN / 16)
#define RUN_GAP_MAX 16384u
/* Pieces that are shorter on the average were written through the kernel's cache: it may still have them. */
#define RUN_DIRECT_PIECE (SEGSTORE_DIRECT_MIN / 4)

err_t
sealed_read(struct content *c, struct scratch *s, const struct extent *x, uint32_t off, uint32_t len, uint8_t **at_out)
{
	uint64_t from = x->seg_off + off;

	if (s->run.len && x->seg == s->run.seg && from >= s->run.off && from + len <= s->run.off + s->run.len) {
		*at_out = s->run.at + (from - s->run.off);
		return 0;
	}
	s->run.len = 0;

	err_t e = scratch_reserve_sealed(s, len);

	return e ? e : segstore_read_blocks(c->ss, x->seg, from, len, s->sealed, at_out);
}

bool
sealed_is_sound(const struct extent *x, uint64_t off, uint32_t len)
{
	if (!len || off < x->x_off || off - x->x_off > x->x_len || len > x->x_len - (off - x->x_off))
		return false;
	return x->x_encoding != FRAME_RAW || x->stored_len == frame_raw_stored_len(x->x_len);
}

void
sealed_span(const struct extent *x, uint32_t from, uint32_t to, uint32_t *off_out, uint32_t *len_out)
{
	uint32_t off = from / FRAME_RAW_LEN * SEALED_RAW_STEP;
	uint32_t end = ((to - 1) / FRAME_RAW_LEN + 1) * SEALED_RAW_STEP;

	*off_out = off;
	*len_out = (end < x->stored_len ? end : x->stored_len) - off;
}

/* Where in its segment the frames of a raw piece are. */
static bool
place_of_piece(const struct piece *p, uint64_t *off_out, uint64_t *end_out)
{
	uint32_t off, len;

	if (p->x.x_encoding != FRAME_RAW || !sealed_is_sound(&p->x, p->off, p->len))
		return false;

	uint32_t from = (uint32_t)(p->off - p->x.x_off);

	sealed_span(&p->x, from, from + p->len, &off, &len);
	*off_out = p->x.seg_off + off;
	*end_out = *off_out + len;
	return true;
}

/* Of a run that starts there and ends there so far: does this piece go on with it?  Then *end moves. */
static bool
goes_on(const struct piece *first, const struct piece *p, uint64_t start, uint64_t *end)
{
	uint64_t off, piece_end;

	if (p->x.seg != first->x.seg || !place_of_piece(p, &off, &piece_end))
		return false;
	if (off < *end || off - *end > RUN_GAP_MAX || piece_end - start > RUN_MAX)
		return false;
	*end = piece_end;
	return true;
}

size_t
sealed_read_run(struct content *c, struct scratch *s, size_t k)
{
	const struct piece *first = &s->pieces[k];
	size_t next = k + 1;
	uint64_t start, end;

	s->run.len = 0;
	if (!place_of_piece(first, &start, &end))
		return next;
	while (next < s->piece_count && goes_on(first, &s->pieces[next], start, &end))
		next++;

	struct run run = {.seg = first->x.seg, .off = start, .len = (uint32_t)(end - start)};

	if (next == k + 1 || scratch_reserve_sealed(s, run.len))
		return next;
	run.at = s->sealed;

	bool small = run.len / (next - k) < RUN_DIRECT_PIECE;
	err_t e = small ? segstore_read(c->ss, run.seg, run.off, run.len, s->sealed)
	                : segstore_read_blocks(c->ss, run.seg, run.off, run.len, s->sealed, &run.at);

	if (!e)
		s->run = run;
	return next;
}

void
sealed_forget_run(struct scratch *s)
{
	s->run.len = 0;
}
