/*
 * Segments.  There may be very many of them: their rows come into memory when they are asked for, and leave it like all others.
 * What is wanted of all at once is kept beside: sums, and which number a name has (16 bytes each).
 *
 * Sums and names are learned from the rows, some at a time, in the order of their numbers, and led on from then on: of a segment
 * behind `learned` neither speaks yet.  The sums are stored, too, with the counters; the names are not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "meta_internal.h"
#include "pieces.h"

/* Rows that are looked at before the lock is let go. */
#define STEP 1024u

static struct cached_segment *
segment_cached(struct meta *m, uint64_t id)
{
	struct cached_segment *cs;

	HASH_FIND(hh, m->segments, &id, sizeof(id), cs);
	return cs;
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
	return cs;
}

static err_t
segment_read(struct meta *m, uint64_t id, struct segment *out)
{
	struct bytes b = { 0 };
	err_t err = db_get(m->db, DB_SEGMENT, id, 0, &b);

	if (err == 0)
		err = record_get_segment(b.data, b.len, id, out);
	bytes_clear(&b);
	return err;
}

err_t
meta_segment_get(struct meta *m, uint64_t id, struct segment *out)
{
	struct cached_segment *cs = segment_cached(m, id);
	struct segment s;
	err_t err;

	if (cs == NULL) {
		if ((err = segment_read(m, id, &s)) != 0)
			return err;
		cs = segment_insert(m, &s, true);
		if (cs == NULL)
			return -ENOMEM;
	}
	if (cs->node.deleted)
		return -ENOENT;
	cache_touch(&cs->node);
	*out = cs->segment;
	return 0;
}

err_t
meta_segment_look(struct meta *m, uint64_t id, struct segment *out)
{
	return segment_cached(m, id) != NULL ? meta_segment_get(m, id, out) : segment_read(m, id, out);
}

/* Sums and names. */

static bool
has_sums(const struct meta *m, uint64_t id)
{
	return m->totals_known || id <= m->learned;
}

static void
add_up(struct meta_segment_totals *t, const struct segment *s)
{
	uint64_t here = pieces_bytes(s->size, s->local ? pieces_all(s->size) : s->present);

	if (s->kind != SEGMENT_SETTLED)
		return;
	t->size += s->size;
	t->here += here;
	t->cached += s->in_store ? here : 0;
}

static void
take_off(struct meta_segment_totals *t, const struct segment *s)
{
	struct meta_segment_totals one = { 0 };

	add_up(&one, s);
	t->size -= one.size;
	t->here -= one.here;
	t->cached -= one.cached;
}

/* before, after: NULL, there is none. */
static err_t
segment_changes(struct meta *m, uint64_t id, const struct segment *before, const struct segment *after)
{
	bool settled = after != NULL && after->kind == SEGMENT_SETTLED;
	bool named = before != NULL && before->kind == SEGMENT_SETTLED && settled &&
	    memcmp(before->name, after->name, sizeof(after->name)) == 0;
	err_t err;

	if (settled && !named && id <= m->learned &&
	    (err = segment_names_add(&m->segment_names, after->name, id)) != 0)
		return err;
	if (!has_sums(m, id))
		return 0;
	if (before != NULL)
		take_off(&m->totals, before);
	if (after != NULL)
		add_up(&m->totals, after);
	m->counters_dirty = true;
	return 0;
}

err_t
meta_segment_put(struct meta *m, const struct segment *s)
{
	struct segment old;
	struct cached_segment *cs;
	err_t err = meta_segment_get(m, s->id, &old);
	bool is_new = err == -ENOENT;

	if (err != 0 && !is_new)
		return err;
	if ((err = segment_changes(m, s->id, is_new ? NULL : &old, s)) != 0)
		return err;
	cs = segment_cached(m, s->id);
	if (cs == NULL && (cs = segment_insert(m, s, false)) == NULL) {
		meta_poison(m, -ENOMEM);
		return -ENOMEM;
	}
	cs->segment = *s;
	cs->node.deleted = false;
	return cache_dirty(m, &cs->node);
}

err_t
meta_segment_remove(struct meta *m, uint64_t id)
{
	struct segment s;
	err_t err = meta_segment_get(m, id, &s);

	if (err == 0)
		err = segment_changes(m, id, &s, NULL);
	if (err != 0)
		return err;
	cache_delete(m, &segment_cached(m, id)->node);
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

uint64_t
meta_segment_new_id(struct meta *m)
{
	m->counters_dirty = true;
	return m->next_segment++;
}

/* Going through them: what the database has, and memory does not know better; then what is newer in memory. */

struct step {
	struct meta *m;
	bool unsent;
	uint64_t last;
	size_t rows;
	meta_segment_fn *fn;
	void *ctx;
};

static bool
is_newer(const struct cached_segment *cs)
{
	return cs != NULL && (cs->node.dirty || cs->node.frozen);
}

static err_t
step_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct step *st = ctx;
	struct segment s;
	err_t err;

	(void)b, (void)mark, (void)state;
	st->last = a;
	st->rows++;
	if (is_newer(segment_cached(st->m, a)))
		return 0;
	err = record_get_segment(data, len, a, &s);
	return err != 0 ? err : st->fn(st->ctx, &s);
}

static err_t
step_newer(struct step *st, struct node *first, uint64_t after)
{
	struct node *n;
	err_t err = 0;

	DL_FOREACH (first, n) {
		const struct segment *s;

		if (n->table != DB_SEGMENT || n->deleted || n->a <= after || n->a > st->last)
			continue;
		s = &CONTAINER(n, struct cached_segment, node)->segment;
		if ((!st->unsent || !s->in_store) && (err = st->fn(st->ctx, s)) != 0)
			return err;
	}
	return 0;
}

err_t
meta_segment_scan_some(struct meta *m, bool unsent, uint64_t *after, meta_segment_fn *fn, void *ctx)
{
	struct step st = { .m = m, .unsent = unsent, .fn = fn, .ctx = ctx };
	err_t err = unsent ? db_scan_marked(m->db, DB_SEGMENT, *after, 0, STEP, step_row, &st) :
			     db_scan_all(m->db, DB_SEGMENT, *after, 0, STEP, step_row, &st);

	if (st.rows < STEP)
		st.last = UINT64_MAX;
	if (err == 0 && (err = step_newer(&st, m->dirty.first, *after)) == 0)
		err = step_newer(&st, m->frozen.first, *after);
	if (err == 0)
		*after = st.last;
	return err;
}

err_t
meta_segment_scan(struct meta *m, bool unsent, meta_segment_fn *fn, void *ctx)
{
	err_t err = 0;

	for (uint64_t after = 0; err == 0 && after != UINT64_MAX;) {
		meta_lock(m);
		err = meta_segment_scan_some(m, unsent, &after, fn, ctx);
		meta_unlock(m);
	}
	return err;
}

/* Learning. */

static err_t
learn_one(void *ctx, const struct segment *s)
{
	struct meta *m = ctx;

	if (s->kind != SEGMENT_SETTLED)
		return 0;
	if (!m->totals_known)
		add_up(&m->totals, s);
	return segment_names_add(&m->segment_names, s->name, s->id);
}

static err_t
learn_some(struct meta *m)
{
	err_t err;

	if (m->learned == UINT64_MAX)
		return 0;
	err = meta_segment_scan_some(m, false, &m->learned, learn_one, m);
	if (err != 0) {
		/* Of these rows some are counted: all anew. */
		m->learned = 0;
		segment_names_clear(&m->segment_names);
		if (!m->totals_known)
			m->totals = (struct meta_segment_totals){ 0 };
		return err;
	}
	if (m->learned != UINT64_MAX)
		return 0;
	m->counters_dirty |= !m->totals_known;
	m->totals_known = true;
	return 0;
}

err_t
meta_segments_learn(struct meta *m, bool names)
{
	bool more = true;
	err_t err = 0;

	while (err == 0 && more) {
		meta_lock(m);
		more = m->learned != UINT64_MAX && (names || !m->totals_known);
		if (more)
			err = learn_some(m);
		meta_unlock(m);
	}
	return err;
}

err_t
meta_segments_total(struct meta *m, struct meta_segment_totals *out)
{
	err_t err = 0;

	while (err == 0 && !m->totals_known)
		err = learn_some(m);
	if (err == 0)
		*out = m->totals;
	return err;
}

err_t
meta_segment_find(struct meta *m, const uint8_t name[static 16], struct segment *out)
{
	struct segment s;
	err_t err = 0;

	while (err == 0 && m->learned != UINT64_MAX)
		err = learn_some(m);
	for (uint64_t id = 0; err == 0 && (id = segment_names_next(&m->segment_names, name, id)) != 0;) {
		err = meta_segment_get(m, id, &s);
		if (err == 0 && s.kind == SEGMENT_SETTLED && memcmp(s.name, name, sizeof(s.name)) == 0) {
			*out = s;
			return 0;
		}
		err = err == -ENOENT ? 0 : err;
	}
	return err != 0 ? err : -ENOENT;
}

size_t
meta_segments_in_memory(struct meta *m)
{
	return HASH_COUNT(m->segments);
}
