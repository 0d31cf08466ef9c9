/*
 * settle_close.c: a segment that is full: made durable, and only then pointed at, while the next one is filled.  Two wait for the disk
 * at a time; chunks come to point into them, and they are handed on, in the order in which they were filled.
 */
#include "settle_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

void
settle_free_chunk(struct settled *d)
{
	extent_list_clear(&d->before);
	extent_list_clear(&d->after);
	free(d);
}

/* [meta lock] Bytes of the segment under way that nothing came to point at.  One that is for the store is never punched. */
static void
release_unused(struct settle *s, const struct settled *d, uint64_t seg)
{
	for (uint32_t k = 0; s->local && k < d->after.count; k++) {
		const struct extent *x = &d->after.v[k];

		if (x->seg == seg && meta_release(s->m, seg, x->seg_off, x->stored_len))
			log_warn("out of memory: some disk space is not given back");
	}
}

/* 1: it points into the segment now. */
static bool
install(struct settle *s, struct settled *d, uint64_t seg)
{
	struct inode *i;
	struct chunk *ch;
	bool same = false;

	content_lock_file(s->c, d->ino, true);
	meta_lock(s->m);
	/* Extent ids are random: the same list means that nothing was written meanwhile, even if it was evicted and read back. */
	if (!meta_inode_get(s->m, d->ino, &i) && !meta_chunk_get(s->m, i, d->no, false, &ch))
		same = extent_list_equal(&ch->current, &d->before) && content_has_key(i, &d->key);
	if (same)
		content_install(s->c, i, ch, &d->after);
	else
		release_unused(s, d, seg);
	meta_unlock(s->m);
	content_unlock_file(s->c, d->ino);
	return same;
}

/* Nothing came to point into it. */
static err_t
remove_unused(struct settle *s, uint64_t seg)
{
	err_t e = segstore_drop(s->ss, seg);

	if (e)
		return e;
	meta_lock(s->m);
	e = meta_segment_remove(s->m, seg);
	meta_unlock(s->m);
	return e;
}

static err_t
finish_build(const struct settle *s, struct closing *c)
{
	CLEANUP(free_ptr) uint64_t *owners = NULL;
	size_t count = 0;

	if (!s->local)
		return segstore_build_finish_kept(STEAL(c->build), &c->row, &c->object);
	for (const struct settled *d = c->settled; d; d = d->next)
		count++;
	owners = calloc(count, sizeof(*owners));
	if (!owners)
		return -ENOMEM;
	count = 0;
	for (const struct settled *d = c->settled; d; d = d->next)
		owners[count++] = d->ino;
	return segstore_build_finish_hot(STEAL(c->build), owners, count, &c->row);
}

/* false: one before it has failed. */
static bool
await_turn(struct settle *s, const struct closing *c)
{
	struct settle_turns *t = &s->turns;

	pthread_mutex_lock(&t->lock);
	while (t->over != c->turn)
		pthread_cond_wait(&t->moved, &t->lock);

	bool good = !t->failed;

	pthread_mutex_unlock(&t->lock);
	return good;
}

static void
end_turn(struct settle *s, err_t result)
{
	struct settle_turns *t = &s->turns;

	pthread_mutex_lock(&t->lock);
	t->over++;
	t->failed |= result != 0;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}

/* [its turn] e: whether the segment is durable. */
static err_t
point_there(struct settle *s, struct closing *c, err_t e, bool wanted)
{
	bool used = false;

	while (c->settled) {
		struct settled *d = c->settled;

		c->settled = d->next;
		if (!e && install(s, d, c->row.id)) {
			c->installed += d->len;
			used = true;
		} else {
			settle_note_unsure(s, &d->before);
		}
		settle_free_chunk(d);
	}
	if (e)
		return e;
	/* The sources give back what has left them before more is written. */
	if (s->local) {
		e = meta_sync(s->m);
		meta_give_back(s->m);
		return e;
	}
	if (!used)
		return remove_unused(s, c->row.id);
	return s->full && wanted ? s->full(s->full_ctx, &c->row, &c->object) : 0;
}

/* Makes a segment durable, and then points the chunks into it. */
static void
run(struct settle *s, struct closing *c)
{
	err_t e = finish_build(s, c);
	bool wanted = await_turn(s, c);

	c->result = point_there(s, c, e, wanted);
	end_turn(s, c->result);
}

static void
closing_free(struct closing *c)
{
	segstore_build_abandon(c->build);
	bytes_clear(&c->object);
	free(c);
}

static void *
closing_main(void *arg)
{
	struct closing *c = arg;

	run(c->settle, c);
	return NULL;
}

/* Waits for the oldest of the segments on their way, so that no more than that many are left. */
static err_t
await_oldest(struct settle *s, unsigned left)
{
	struct closing *c = s->closing[0];
	err_t e;

	if (s->closing_count <= left)
		return 0;
	memmove(s->closing, s->closing + 1, --s->closing_count * sizeof(struct closing *));
	if (c->in_thread)
		pthread_join(c->thread, NULL);
	s->settled_len += c->installed;
	if (c->object.cap > s->memory.cap) {
		struct bytes spare = s->memory;

		s->memory = c->object;
		c->object = spare;
	}
	e = c->result;
	closing_free(c);
	return e;
}

static err_t
await_all(struct settle *s)
{
	err_t e = 0;

	while (s->closing_count) {
		err_t one = await_oldest(s, 0);

		e = e ? e : one;
	}
	return e;
}

err_t
settle_close(struct settle *s, bool full)
{
	bool few = s->settled_extents <= EXTENTS_FEW;
	err_t e = full ? await_oldest(s, few ? CLOSINGS - 1 : 0) : await_all(s);

	if (e || !s->build)
		return e;

	struct closing *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->settle = s;
	c->build = STEAL(s->build);
	c->settled = STEAL(s->settled);
	c->turn = s->closed++;
	for (const struct settled *d = c->settled; d; d = d->next)
		c->len += d->len;
	s->settled_count = s->settled_extents = s->settled_after = 0;
	s->closing[s->closing_count++] = c;
	/* Sealing and the disk need not wait for each other. */
	c->in_thread = full && s->full && pthread_create(&c->thread, NULL, closing_main, c) == 0;
	if (c->in_thread)
		return 0;
	run(s, c);
	return await_all(s);
}

err_t
settle_catch_up(struct settle *s)
{
	err_t e = await_all(s);

	return e ? e : segstore_sweep(s->ss);
}

void
settle_close_end(struct settle *s)
{
	err_t e = await_all(s);

	if (e)
		log_warn("a segment was not completed: %s", strerror(-e));
}
