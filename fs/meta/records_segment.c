/*
 * records_segment.c: segments: the fixed part, then what the flags and the kind say there is.
 */
#include "records_internal.h"

#include <errno.h>

/* Lengths of the parts, without the version byte. */
#define SEGMENT_LEN (1 + 1 + 16 + 8 + 32)
#define SEGMENT_HOT_LEN (8 + 8 + 8)
#define SEGMENT_WASTE_LEN (8 + 8)

enum { SEGMENT_IN_STORE = 1, SEGMENT_LOCAL = 2, SEGMENT_TIDIED = 4, SEGMENT_PARTIAL = 8, SEGMENT_WASTE = 16, SEGMENT_FULL = 32,
	SEGMENT_FLAGS = 63 };

err_t
record_put_segment(struct bytes *b, const struct segment *s)
{
	bool hot = s->kind == SEGMENT_HOT;
	bool partial = !hot && !s->local && s->present;
	bool waste = !hot && (s->dead_since || s->sparse_since);
	uint8_t *p;
	err_t e = bytes_extend(b, 1 + SEGMENT_LEN + (hot ? SEGMENT_HOT_LEN : 0) + (partial ? sizeof(s->present) : 0) +
	    (waste ? SEGMENT_WASTE_LEN : 0), &p);

	if (e)
		return e;
	w8(&p, RECORD_VERSION);
	w8(&p, s->kind);
	w8(&p, (uint8_t)((s->in_store ? SEGMENT_IN_STORE : 0) | (s->local ? SEGMENT_LOCAL : 0) |
	    (s->tidied ? SEGMENT_TIDIED : 0) | (partial ? SEGMENT_PARTIAL : 0) | (waste ? SEGMENT_WASTE : 0) |
	    (s->full ? SEGMENT_FULL : 0)));
	wbytes(&p, s->name, sizeof(s->name));
	w64(&p, s->size);
	wbytes(&p, s->sha256, sizeof(s->sha256));
	if (hot) {
		w64(&p, s->live);
		w64(&p, s->first_ino);
		w64(&p, s->last_ino);
	}
	if (partial)
		w64(&p, s->present);
	if (waste) {
		w64(&p, s->dead_since);
		w64(&p, s->sparse_since);
	}
	return 0;
}

static err_t
get_segment_use(struct cursor *in, struct segment *s)
{
	const uint8_t *p;
	err_t e = cursor_take(in, SEGMENT_HOT_LEN, &p);

	if (e)
		return e;
	s->live = r64(&p);
	s->first_ino = r64(&p);
	s->last_ino = r64(&p);
	return s->first_ino > s->last_ino ? -EBADMSG : 0;
}

/* A row says so only of a segment of which some is here, and not all. */
static err_t
get_segment_pieces(struct cursor *in, struct segment *s)
{
	const uint8_t *p;
	err_t e = cursor_take(in, sizeof(s->present), &p);

	if (e)
		return e;
	s->present = r64(&p);
	return s->present && !s->local && s->kind == SEGMENT_SETTLED ? 0 : -EBADMSG;
}

static err_t
get_segment_waste(struct cursor *in, struct segment *s)
{
	const uint8_t *p;
	err_t e = cursor_take(in, SEGMENT_WASTE_LEN, &p);

	if (e)
		return e;
	s->dead_since = r64(&p);
	s->sparse_since = r64(&p);
	return s->dead_since || s->sparse_since ? 0 : -EBADMSG;
}

err_t
record_get_segment(const uint8_t *data, size_t len, uint64_t id, struct segment *out)
{
	struct cursor in = {data, len};
	const uint8_t *p;
	err_t e = record_take_version(&in);

	if (!e)
		e = cursor_take(&in, SEGMENT_LEN, &p);
	if (e)
		return e;

	struct segment s = {.id = id};

	s.kind = r8(&p);

	uint8_t flags = r8(&p);

	s.in_store = flags & SEGMENT_IN_STORE;
	s.local = flags & SEGMENT_LOCAL;
	s.tidied = flags & SEGMENT_TIDIED;
	s.full = flags & SEGMENT_FULL;
	rbytes(&p, s.name, sizeof(s.name));
	s.size = r64(&p);
	rbytes(&p, s.sha256, sizeof(s.sha256));
	if (flags & ~SEGMENT_FLAGS || s.kind > SEGMENT_SETTLED || ((s.tidied || s.full) && s.kind != SEGMENT_HOT))
		return -EBADMSG;
	if (s.kind == SEGMENT_HOT)
		e = get_segment_use(&in, &s);
	if (!e && flags & SEGMENT_PARTIAL)
		e = get_segment_pieces(&in, &s);
	if (!e && flags & SEGMENT_WASTE)
		e = s.kind == SEGMENT_SETTLED ? get_segment_waste(&in, &s) : -EBADMSG;
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = s;
	return 0;
}
