/* Segments by number and, once all are loaded, by name. */
#include <errno.h>
#include <stdlib.h>

#include "meta_internal.h"

static struct cached_segment *
segment_cached(struct meta *m, uint64_t id)
{
	struct cached_segment *cs;

	HASH_FIND(hh, m->segments, &id, sizeof(id), cs);
	return cs;
}

static void
segment_name(struct meta *m, struct cached_segment *cs)
{
	if (!m->segments_loaded || cs->named || cs->segment.kind != SEGMENT_SETTLED)
		return;
	HASH_ADD(by_name, m->segments_by_name, segment.name, sizeof(cs->segment.name), cs);
	cs->named = true;
}

static struct cached_segment *
segment_insert(struct meta *m, const struct segment *s, bool stored)
{
	struct cached_segment *cs = calloc(1, sizeof(*cs));

	if (cs == NULL)
		return NULL;
	cache_init(&cs->node, DB_SEGMENT, s->id, 0, stored);
	cs->segment = *s;
	HASH_ADD(hh, m->segments, node.a, sizeof(cs->node.a), cs);
	cache_insert_clean(m, &cs->node);
	segment_name(m, cs);
	return cs;
}

err_t
meta_segment_get(struct meta *m, uint64_t id, struct segment *out)
{
	struct cached_segment *cs = segment_cached(m, id);
	struct bytes b = { 0 };
	struct segment s;
	err_t err;

	if (cs == NULL) {
		err = db_get(m->db, DB_SEGMENT, id, 0, &b);
		if (err == 0)
			err = record_get_segment(b.data, b.len, id, &s);
		bytes_clear(&b);
		if (err != 0)
			return err;
		cs = segment_insert(m, &s, true);
		if (cs == NULL)
			return -ENOMEM;
	}
	if (cs->node.deleted)
		return -ENOENT;
	*out = cs->segment;
	return 0;
}

err_t
meta_segment_put(struct meta *m, const struct segment *s)
{
	struct cached_segment *cs = segment_cached(m, s->id);
	struct segment old;
	err_t err;

	if (cs == NULL) {
		err = meta_segment_get(m, s->id, &old);
		if (err != 0 && err != -ENOENT)
			return err;
		cs = segment_cached(m, s->id);
	}
	if (cs == NULL && (cs = segment_insert(m, s, false)) == NULL)
		return -ENOMEM;
	if (cs->named)
		HASH_DELETE(by_name, m->segments_by_name, cs);
	cs->named = false;
	cs->segment = *s;
	cs->node.deleted = false;
	segment_name(m, cs);
	return cache_dirty(m, &cs->node);
}

err_t
meta_segment_remove(struct meta *m, uint64_t id)
{
	struct segment s;
	struct cached_segment *cs;
	err_t err = meta_segment_get(m, id, &s);

	if (err != 0)
		return err;
	cs = segment_cached(m, id);
	if (cs->named)
		HASH_DELETE(by_name, m->segments_by_name, cs);
	cs->named = false;
	cache_delete(m, &cs->node);
	return 0;
}

/* Ranges grow in steps of that many numbers, so that a segment's row does not change with every new file. */
#define RANGE_STEP 4096u

err_t
meta_segment_widen(struct meta *m, uint64_t id, uint64_t ino)
{
	struct cached_segment *cs = segment_cached(m, id);
	struct segment s;
	err_t err;

	if (cs != NULL && !cs->node.deleted && ino >= cs->segment.first_ino && ino <= cs->segment.last_ino &&
	    cs->segment.first_ino != 0)
		return 0;
	if ((err = meta_segment_get(m, id, &s)) != 0)
		return err;
	if (s.first_ino == 0 || ino < s.first_ino)
		s.first_ino = ino / RANGE_STEP > 0 ? ino / RANGE_STEP * RANGE_STEP : 1;
	if (ino > s.last_ino)
		s.last_ino = ino | (RANGE_STEP - 1);
	return meta_segment_put(m, &s);
}

uint64_t
meta_segment_moves(struct meta *m)
{
	return m->hot_moves;
}

void
meta_segment_note_move(struct meta *m)
{
	m->hot_moves++;
}

static err_t
segment_load_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct meta *m = ctx;
	struct segment s;
	err_t err;

	(void)b;
	(void)mark;
	(void)state;
	if (segment_cached(m, a) != NULL)
		return 0;
	if ((err = record_get_segment(data, len, a, &s)) != 0)
		return err;
	return segment_insert(m, &s, true) == NULL ? -ENOMEM : 0;
}

static err_t
segments_load_all(struct meta *m)
{
	struct cached_segment *cs, *next;
	err_t err;

	if (m->segments_loaded)
		return 0;
	err = db_scan_all(m->db, DB_SEGMENT, 0, 0, UINT32_MAX, segment_load_row, m);
	if (err != 0)
		return err;
	m->segments_loaded = true;
	HASH_ITER (hh, m->segments, cs, next)
		if (!cs->node.deleted)
			segment_name(m, cs);
	return 0;
}

err_t
meta_segment_find(struct meta *m, const uint8_t name[static 16], struct segment *out)
{
	struct cached_segment *cs;
	err_t err = segments_load_all(m);

	if (err != 0)
		return err;
	HASH_FIND(by_name, m->segments_by_name, name, 16, cs);
	if (cs == NULL)
		return -ENOENT;
	*out = cs->segment;
	return 0;
}

uint64_t
meta_segment_new_id(struct meta *m)
{
	m->counters_dirty = true;
	return m->next_segment++;
}

err_t
meta_segment_scan(struct meta *m, meta_segment_fn *fn, void *ctx)
{
	struct cached_segment *cs, *next;
	err_t err = segments_load_all(m);

	if (err != 0)
		return err;
	HASH_ITER (hh, m->segments, cs, next)
		if (!cs->node.deleted && (err = fn(ctx, &cs->segment)) != 0)
			return err;
	return 0;
}
