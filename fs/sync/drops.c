/*
 * Around a commit that drops segments: what something pending here needs of them is brought before it is too late, and what
 * was forgotten leaves the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "log.h"
#include "usage.h"

/* Local numbers of the dropped ones that the store has. [meta lock] */
static err_t
find_stored(struct meta *m, const struct changes *c, struct numset **out)
{
	struct segment seg;
	err_t err = 0;

	for (uint32_t k = 0; err == 0 && k < c->drop_count; k++) {
		err = meta_segment_find(m, c->drops[k].name, &seg);
		if (err == 0 && seg.kind == SEGMENT_SETTLED && seg.in_store)
			err = numset_add(out, seg.id);
		else if (err == -ENOENT)
			err = 0;
	}
	return err;
}

err_t
drops_read_object(struct sync *s, const struct segment *seg, struct bytes *out)
{
	uint8_t sha256[32];
	err_t err = chain_read_segment(s->chain, seg->name, seg->size, out);

	if (err == 0)
		err = hash_sha256(out->data, out->len, sha256);
	if (err != 0)
		return err;
	return out->len == seg->size && memcmp(sha256, seg->sha256, sizeof(sha256)) == 0 ? 0 : -EBADMSG;
}

/* Whoever has dropped it may have deleted it by now; then what pointed there was away for longer than history is kept. */
static err_t
fetch_one(struct sync *s, const struct segment *seg, struct drops_held *h)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	char name[CHAIN_NAME_MAX];
	err_t err = drops_read_object(s, seg, &b);

	if (err == 0)
		err = segstore_put_pieces(s->v->segments, seg->id, 0, b.data, b.len, false);
	if (err == 0)
		err = segstore_save_pieces(s->v->segments);
	if (err != -ENOENT && err != -EBADMSG)
		return err;
	chain_segment_object_name(seg->name, name);
	log_error("the object %s is gone from the store", name);
	return numset_add(&h->lost, seg->id);
}

/* All of it is here from now on, also if somebody wants its room. */
static err_t
keep_one(struct sync *s, struct segment *seg, struct drops_held *h)
{
	struct part **grown = reallocarray(h->v, h->count + 1, sizeof(struct part *));
	struct meta *m = s->v->meta;
	uint64_t missing;
	err_t err;

	if (grown == NULL)
		return -ENOMEM;
	h->v = grown;
	h->ss = s->v->segments;
	if ((err = segstore_hold(h->ss, seg->id, &h->v[h->count])) != 0)
		return err;
	h->count++;
	meta_lock(m);
	err = meta_segment_get(m, seg->id, seg);
	meta_unlock(m);
	if (err == 0)
		err = segstore_missing(h->ss, seg->id, UINT64_MAX, &missing);
	return err != 0 || (seg->local && missing == 0) ? err : fetch_one(s, seg, h);
}

void
drops_let_go(struct drops_held *h)
{
	while (h->count > 0)
		segstore_let_go(h->ss, h->v[--h->count]);
	free(h->v);
	h->v = NULL;
	numset_clear(&h->lost);
}

struct losing {
	const struct numset *lost;
	bool any;
};

static err_t
note_lost(void *ctx, struct meta *m, const struct chunk *c)
{
	struct losing *l = ctx;

	(void)m;
	for (uint32_t k = 0; k < c->current.count; k++)
		l->any = l->any || numset_has(l->lost, c->current.v[k].seg);
	return 0;
}

static err_t
tell_of_file(struct sync *s, uint64_t ino, const struct numset *lost)
{
	struct losing l = { .lost = lost };
	struct meta *m = s->v->meta;
	char path[1024];
	err_t err;

	meta_lock(m);
	err = usage_pending_chunks(m, ino, note_lost, &l);
	if (err == 0 && l.any)
		meta_path(m, ino, path, sizeof(path));
	meta_unlock(m);
	if (err == 0 && l.any)
		report_message(s, "\"%s\" was changed here, and on another device, too; what it still needs of the older version was "
		    "deleted from the store before it came here. What is left of it can be read here, and stays here: copy "
		    "that, then delete the file.", path);
	return err;
}

void
drops_tell(struct sync *s, const struct drops_held *h)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	size_t count = 0;
	err_t err;

	if (h->lost == NULL)
		return;
	meta_lock(s->v->meta);
	err = meta_pending_inodes(s->v->meta, &inos, &count);
	meta_unlock(s->v->meta);
	for (size_t k = 0; err == 0 && k < count; k++)
		err = tell_of_file(s, inos[k], h->lost);
	if (err != 0)
		log_warn("files that have lost something could not be named: %s", strerror(-err));
}

err_t
drops_fetch(struct sync *s, const struct changes *c, struct drops_held *held_out)
{
	CLEANUP(numset_clear) struct numset *stored = NULL;
	CLEANUP(numset_clear) struct numset *used = NULL;
	struct meta *m = s->v->meta;
	struct segment seg;
	err_t err;

	if (c->drop_count == 0)
		return 0;
	if ((err = meta_segments_learn(m, true)) != 0)
		return err;
	meta_lock(m);
	err = find_stored(m, c, &stored);
	if (err == 0 && stored != NULL)
		err = usage_pending(m, stored, &used);
	meta_unlock(m);
	for (uint32_t k = 0; err == 0 && used != NULL && k < c->drop_count; k++) {
		meta_lock(m);
		err = meta_segment_find(m, c->drops[k].name, &seg);
		meta_unlock(m);
		if (err == 0 && numset_has(used, seg.id))
			err = keep_one(s, &seg, held_out);
		else if (err == -ENOENT)
			err = 0;
	}
	return err;
}

err_t
drops_finish(struct sync *s, const struct merge_left *d)
{
	err_t err = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t k = 0; k < d->renamed_count; k++)
		numset_remove(&s->uploaded, d->renamed[k]);
	pthread_mutex_unlock(&s->lock);
	/* A row on the disk may still point there: only when it is overwritten may the bytes go. */
	if (d->forgotten_count > 0)
		err = meta_sync(s->v->meta);
	for (size_t k = 0; err == 0 && k < d->forgotten_count; k++) {
		err = segstore_drop(s->v->segments, d->forgotten[k]);
		err = err == -ENOENT ? 0 : err;
	}
	return err;
}
