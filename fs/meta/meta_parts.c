/*
 * Parts of chunks.
 *
 * A chunk of few extents is one row.  One of many is a head and parts, each with the extents that begin in 32 KiB of it: whoever
 * writes a block somewhere in a large file reads one part, and a commit seals and writes that one, and not hundreds of extents.  An
 * extent may reach into later parts: the head says which are entered, so that what maps an offset is found from there backwards.
 */
#include <errno.h>

#include "meta_batch.h"

/* Extents of both lists: with more than SPLIT_ABOVE it is kept in parts, until it has no more than JOIN_BELOW. */
#define SPLIT_ABOVE 32u
#define JOIN_BELOW 12u

static uint64_t
part_begin(const struct chunk *c, unsigned part)
{
	return part_number(c->no, part) * CHUNK_PART_LEN;
}

/* From first to last, both included. */
static uint32_t
bits_between(unsigned first, unsigned last)
{
	return PARTS_ALL << first & PARTS_ALL >> (CHUNK_PARTS - 1 - last);
}

uint32_t
parts_between(const struct chunk *c, uint64_t from, uint64_t to)
{
	uint64_t begin = c->no * CHUNK_LEN;
	uint64_t last = to > begin ? (to - 1 - begin) / CHUNK_PART_LEN : 0;

	return bits_between(from > begin ? (unsigned)((from - begin) / CHUNK_PART_LEN) : 0,
	    last < CHUNK_PARTS ? (unsigned)last : CHUNK_PARTS - 1);
}

/* Loading. */

struct loading {
	struct meta *m;
	struct cached_chunk *cc;
	uint32_t wanted;
};

/* They lie where the part is, and between those that are in memory. */
static bool
fits(const struct chunk *c, const struct extent_list *l, const struct extent_list *part, unsigned no)
{
	uint32_t at;

	if (part->count == 0)
		return true;
	if (part->v[0].off < part_begin(c, no) || part->v[part->count - 1].off >= part_begin(c, no + 1))
		return false;
	at = extent_list_find(l, part->v[0].off);
	return at == l->count || l->v[at].off >= part->v[part->count - 1].off + part->v[part->count - 1].len;
}

static err_t
adopt_part(struct cached_chunk *cc, unsigned no, const struct chunk *part)
{
	struct chunk *c = &cc->chunk;
	err_t err;

	if (!fits(c, &c->current, &part->current, no) || !fits(c, &c->chain, &part->chain, no))
		return -EBADMSG;
	if ((err = extent_list_make_room(&c->current, part->current.count)) != 0 ||
	    (err = extent_list_make_room(&c->chain, part->chain.count)) != 0)
		return err;
	extent_list_insert(&c->current, &part->current);
	extent_list_insert(&c->chain, &part->chain);
	cc->parts.loaded |= 1u << no;
	return 0;
}

static err_t
load_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct loading *l = ctx;
	uint64_t no = b - part_number(l->cc->node.b, 0);
	struct chunk *part;
	err_t err;

	(void)mark;
	(void)state;
	if (no >= CHUNK_PARTS)
		return -ECANCELED;
	if ((l->wanted & 1u << no) == 0)
		return 0;
	if ((err = record_get_chunk(data, len, a, l->cc->node.b, &part)) != 0)
		return err;
	err = adopt_part(l->cc, (unsigned)no, part);
	chunk_free(part);
	l->wanted &= ~(1u << no);
	return err != 0 ? err : l->wanted == 0 ? -ECANCELED : 0;
}

/* What reaches into them begins in them, or in one that is not entered itself, or between. */
static uint32_t
with_entering(const struct chunk_parts *p, uint32_t parts)
{
	uint32_t before;

	do {
		before = parts;
		parts |= (parts & p->head.enters) >> 1;
	} while (parts != before);
	return parts;
}

err_t
parts_load(struct meta *m, struct cached_chunk *cc, uint32_t parts)
{
	struct loading l = { .m = m, .cc = cc };
	err_t err;

	if ((parts & ~cc->parts.loaded) == 0 && (parts & cc->parts.head.enters) == 0)
		return 0;
	l.wanted = with_entering(&cc->parts, parts) & ~cc->parts.loaded;
	if (l.wanted == 0)
		return 0;
	err = db_scan(m->db, DB_CHUNK_PART, cc->node.a, part_number(cc->node.b, (unsigned)__builtin_ctz(l.wanted)), UINT32_MAX,
	    load_row, &l);
	cache_weigh_again(m, &cc->node);
	if (err == -ECANCELED)
		err = 0;
	return err == 0 && l.wanted != 0 ? -EBADMSG : err;
}

/* Freezing. */

static bool
is_to_be_split(const struct cached_chunk *cc)
{
	uint32_t count = cc->chunk.current.count + cc->chunk.chain.count;

	return cc->parts.loaded != PARTS_ALL || count > (cc->parts.split ? JOIN_BELOW : SPLIT_ABOVE);
}

static struct chunk
part_of(const struct chunk *c, unsigned part)
{
	uint64_t from = part_begin(c, part), to = part_begin(c, part + 1);

	return (struct chunk){ .ino = c->ino, .no = c->no, .pending = c->pending,
		.current = extent_list_part(&c->current, from, to), .chain = extent_list_part(&c->chain, from, to) };
}

static err_t
put_record(struct batch *b, enum db_table table, uint64_t key, const struct chunk *c)
{
	size_t at = b->data.len;
	err_t err;

	if ((err = batch_delete_row(b, table, c->ino, key)) != 0)
		return err;
	b->rows[b->row_count - 1].mark = table == DB_CHUNK && c->pending;
	if ((err = record_put_chunk(&b->data, c)) == 0)
		batch_end_row(b, at);
	return err;
}

static err_t
put_part(struct batch *b, struct cached_chunk *cc, unsigned no)
{
	const struct chunk part = part_of(&cc->chunk, no);
	struct chunk_parts *p = &cc->parts;
	uint32_t bit = 1u << no;

	if (part.current.count != 0 || part.chain.count != 0) {
		p->stored |= bit;
		return put_record(b, DB_CHUNK_PART, part_number(part.no, no), &part);
	}
	return p->stored & bit ? batch_delete_row(b, DB_CHUNK_PART, part.ino, part_number(part.no, no)) : 0;
}

static err_t
delete_parts(struct batch *b, const struct cached_chunk *cc)
{
	err_t err = 0;

	for (uint32_t left = cc->parts.stored; left != 0 && err == 0; left &= left - 1)
		err = batch_delete_row(b, DB_CHUNK_PART, cc->node.a,
		    part_number(cc->node.b, (unsigned)__builtin_ctz(left)));
	return err;
}

/* Parts that are entered by an extent of those that are in memory, and that begin one. */
static void
look_at(const struct chunk *c, const struct extent_list *l, struct chunk_head *h)
{
	for (uint32_t k = 0; k < l->count; k++) {
		uint32_t touched = parts_between(c, l->v[k].off, l->v[k].off + l->v[k].len);
		uint32_t begun = touched & -touched;

		h->rows |= begun;
		h->enters |= touched & ~begun;
	}
}

/* Of what is not in memory it says what it said. */
static struct chunk_head
make_head(const struct cached_chunk *cc)
{
	const struct chunk_parts *p = &cc->parts;
	struct chunk_head h = { .pending = cc->chunk.pending };

	if (p->loaded != PARTS_ALL) {
		h.rows = p->head.rows & ~p->loaded;
		h.enters = p->head.enters;
	}
	look_at(&cc->chunk, &cc->chunk.current, &h);
	look_at(&cc->chunk, &cc->chunk.chain, &h);
	return h;
}

static err_t
put_head(struct batch *b, struct cached_chunk *cc)
{
	const struct chunk_head h = make_head(cc);
	struct chunk_parts *p = &cc->parts;
	size_t at = b->data.len;
	err_t err;

	if (h.pending != p->head.pending || h.rows != p->head.rows || h.enters != p->head.enters)
		p->head_changed = true;
	p->head = h;
	if (!p->head_changed && (b->to_journal || !p->head_frozen))
		return 0;
	if ((err = batch_delete_row(b, DB_CHUNK, cc->node.a, cc->node.b)) != 0)
		return err;
	b->rows[b->row_count - 1].mark = h.pending;
	if ((err = record_put_chunk_head(&b->data, &h)) == 0)
		batch_end_row(b, at);
	return err;
}

/* The journal has what was frozen before; a commit of the database has to have all of it. */
static err_t
put_split(struct batch *b, struct cached_chunk *cc)
{
	const struct chunk_parts *p = &cc->parts;
	err_t err = 0;

	for (uint32_t left = p->changed | (b->to_journal ? 0 : p->frozen); left != 0 && err == 0; left &= left - 1)
		err = put_part(b, cc, (unsigned)__builtin_ctz(left));
	return err == 0 ? put_head(b, cc) : err;
}

err_t
parts_add_to_batch(struct batch *b, struct cached_chunk *cc)
{
	struct chunk_parts *p = &cc->parts;
	bool split = is_to_be_split(cc);
	err_t err;

	if (cc->node.deleted) {
		err = batch_delete_row(b, DB_CHUNK, cc->node.a, cc->node.b);
		return err == 0 ? delete_parts(b, cc) : err;
	}
	if (split != p->split) {
		p->split = split;
		p->changed = PARTS_ALL;
		p->head_changed = true;
		p->head = (struct chunk_head){ 0 };
	}
	if (split)
		return put_split(b, cc);
	err = put_record(b, DB_CHUNK, cc->node.b, &cc->chunk);
	return err == 0 ? delete_parts(b, cc) : err;
}

void
parts_freeze(struct cached_chunk *cc)
{
	struct chunk_parts *p = &cc->parts;

	p->frozen |= p->changed;
	p->changed = 0;
	p->head_frozen |= p->head_changed;
	p->head_changed = false;
}

void
parts_stored(struct cached_chunk *cc)
{
	struct chunk_parts *p = &cc->parts;

	p->frozen = 0;
	p->head_frozen = false;
	p->stored = p->split ? p->head.rows : 0;
}

void
parts_failed(struct cached_chunk *cc)
{
	struct chunk_parts *p = &cc->parts;

	p->changed |= p->frozen;
	p->frozen = 0;
	p->head_changed |= p->head_frozen;
	p->head_frozen = false;
}
