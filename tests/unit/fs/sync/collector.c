/* A collector of garbage for replicas. */
#include "collector.h"

#include <stdlib.h>
#include <string.h>

#include "extents.h"
#include "numset.h"

static struct segment
new_place(struct replica *r)
{
	static uint64_t count;
	struct segment s = {.id = meta_segment_new_id(r->meta), .kind = SEGMENT_SETTLED, .local = true, .size = 1 << 20};

	count++;
	memcpy(s.name, &count, sizeof(count));
	s.name[15] = 0xee; /* not a token */
	OK(meta_segment_put(r->meta, &s));
	return s;
}

struct moving {
	struct replica *r;
	struct changes *c;
	struct change_inode *ci;
	uint32_t index;
	uint64_t at;
	const struct file_key *key; /* to seal anew under, or NULL */
	bool half;
};

static void
reseal(const struct moving *mv, struct extent *x)
{
	x->key_version = mv->key->version;
	memcpy(x->x_id + sizeof(uint64_t), mv->key->wrapped, SEALED_UNDER_LEN);
	x->x_id[15]++;
}

static err_t
move_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct moving *mv = ctx;
	struct change_chunk *cc;

	(void)i;
	assert_false(c->pending);
	mv->ci->chunks = realloc(mv->ci->chunks, (mv->ci->chunk_count + 1) * sizeof(*mv->ci->chunks));
	cc = &mv->ci->chunks[mv->ci->chunk_count++];
	*cc = (struct change_chunk){.no = c->no};
	OK(extent_list_copy(&c->current, &cc->extents));
	for (uint32_t k = 0; k < cc->extents.count; k++) {
		/* Two ranges of one sealed extent stay that. */
		if (mv->key && (!mv->half || cc->extents.v[k].x_off / 64 % 2))
			reseal(mv, &cc->extents.v[k]);
		cc->extents.v[k].seg = mv->index;
		cc->extents.v[k].seg_off = mv->at;
		mv->at += cc->extents.v[k].stored_len;
	}
	return 0;
}

static void
commit(struct replica *r, struct changes *c)
{
	add_commit(r->world, r, c);
	changes_free(c);
	pull(r);
}

/* [meta lock] */
static void
add_key(struct replica *r, struct inode *i)
{
	static uint8_t count;
	uint32_t version = i->keys[i->key_count - 1].version + 1;

	i->keys = realloc(i->keys, (i->key_count + 1) * sizeof(*i->keys));
	i->keys[i->key_count++] = (struct file_key){version, 2, {++count, (uint8_t)(0x80 | r->member)}};
	meta_inode_dirty(r->meta, i);
}

static bool
move_file(struct replica *r, uint64_t ino, uint32_t fields, bool half)
{
	struct moving mv = {.r = r, .half = half};
	struct change_segment cs = {.size = 1 << 20};
	struct inode *i = NULL;
	struct segment s;

	pull(r);
	i = inode_of(r, ino);
	if (!i || i->pending || !i->nlink || !S_ISREG(i->mode) || !i->mapped)
		return false;
	OK(changes_new(&mv.c));
	meta_lock(r->meta);
	s = new_place(r);
	memcpy(cs.name, s.name, sizeof(cs.name));
	OK(changes_segment_index(mv.c, &cs, &mv.index));
	mv.ci = changes_add_inode(mv.c);
	if (fields & CHANGE_RESEALED) {
		add_key(r, i);
		mv.key = &i->keys[i->key_count - 1];
	}
	*mv.ci = (struct change_inode){.ino = ino, .fields = fields, .mode = i->mode, .ctime = i->ctime, .size = i->size,
	    .key_count = i->key_count};
	mv.ci->keys = calloc(i->key_count, sizeof(*mv.ci->keys));
	memcpy(mv.ci->keys, i->keys, i->key_count * sizeof(*mv.ci->keys));
	OK(meta_chunk_scan(r->meta, i, 0, move_chunk, &mv));
	meta_unlock(r->meta);
	commit(r, mv.c);
	return true;
}

bool
collector_move(struct replica *r, uint64_t ino)
{
	return move_file(r, ino, CHANGE_CONTENT, false);
}

bool
collector_reseal(struct replica *r, uint64_t ino, bool half)
{
	return move_file(r, ino, CHANGE_CONTENT | CHANGE_RESEALED, half);
}

/* Dropping. */

struct dropping {
	struct numset *used;
	struct changes *c;
};

static err_t
use_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct dropping *d = ctx;

	(void)i;
	for (uint32_t k = 0; k < c->current.count; k++)
		OK(numset_add(&d->used, c->current.v[k].seg));
	for (uint32_t k = 0; k < c->chain.count; k++)
		OK(numset_add(&d->used, c->chain.v[k].seg));
	return 0;
}

static err_t
drop_segment(void *ctx, const struct segment *s)
{
	struct dropping *d = ctx;

	if (s->in_store && !numset_has(d->used, s->id))
		OK(changes_add_drop(d->c, s->name));
	return 0;
}

static void
find_used(struct replica *r, struct numset **used)
{
	struct dropping d = {0};
	uint64_t inos[64];
	uint64_t from = 1;
	size_t count = 0;

	OK(meta_sync(r->meta));
	meta_lock(r->meta);
	do {
		OK(meta_inode_numbers(r->meta, from, UINT64_MAX, inos, 64, &count));
		for (size_t k = 0; k < count; k++) {
			struct inode *i = NULL;

			OK(meta_inode_get(r->meta, inos[k], &i));
			if (S_ISREG(i->mode))
				OK(meta_chunk_scan(r->meta, i, 0, use_chunk, &d));
			from = inos[k] + 1;
		}
	} while (count);
	meta_unlock(r->meta);
	*used = d.used;
}

bool
collector_drop(struct replica *r)
{
	struct dropping d = {0};

	pull(r);
	find_used(r, &d.used);
	OK(changes_new(&d.c));
	OK(meta_segment_scan(r->meta, false, drop_segment, &d));
	numset_clear(&d.used);
	if (!d.c->drop_count) {
		changes_free(d.c);
		return false;
	}
	commit(r, d.c);
	return true;
}

/* Checking. */

static void
check_commit(struct world *w, struct changes **decoded, size_t k)
{
	for (size_t before = 0; before < k; before++)
		for (uint32_t d = 0; d < decoded[before]->drop_count; d++)
			for (uint32_t s = 0; s < decoded[k]->segment_count; s++)
				assert_memory_not_equal(decoded[before]->drops[d].name, decoded[k]->segments[s].name, 16);
	for (uint32_t d = 0; d < decoded[k]->drop_count; d++) {
		for (size_t n = 0; n < w->count; n++) {
			struct segment s;

			meta_lock(w->r[n].meta);
			assert_int_not_equal(meta_segment_find(w->r[n].meta, decoded[k]->drops[d].name, &s), 0);
			meta_unlock(w->r[n].meta);
		}
	}
}

void
collector_check(struct world *w)
{
	struct changes **decoded = calloc(w->chain_count + 1, sizeof(*decoded));

	for (size_t k = 0; k < w->chain_count; k++)
		OK(changes_decode(w->chain[k].body.data, w->chain[k].body.len, &decoded[k]));
	for (size_t k = 0; k < w->chain_count; k++)
		check_commit(w, decoded, k);
	for (size_t k = 0; k < w->chain_count; k++)
		changes_free(decoded[k]);
	free(decoded);
}
