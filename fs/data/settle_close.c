/* settle_close.c: a segment that is full: made durable, and only then pointed at, while the next one is filled. */
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

/* Makes a segment durable, and then points the chunks into it. */
static err_t
run(struct settle *s, struct closing *c)
{
	bool used = false;
	err_t e = finish_build(s, c);

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
	return c->full ? s->full(s->full_ctx, &c->row, &c->object) : 0;
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

	c->result = run(c->settle, c);
	return NULL;
}

/* Waits for the segment on its way. */
static err_t
await_closing(struct settle *s)
{
	struct closing *c = STEAL(s->closing);
	err_t e;

	if (!c)
		return 0;
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

err_t
settle_close(struct settle *s, bool full)
{
	err_t e = await_closing(s);

	if (e || !s->build)
		return e;

	struct closing *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->settle = s;
	c->build = STEAL(s->build);
	c->settled = STEAL(s->settled);
	c->full = full && s->full;
	for (const struct settled *d = c->settled; d; d = d->next)
		c->len += d->len;
	s->settled_count = s->settled_extents = s->settled_after = 0;
	s->closing = c;
	/* Sealing and the disk need not wait for each other. */
	c->in_thread = c->full && pthread_create(&c->thread, NULL, closing_main, c) == 0;
	if (c->in_thread)
		return 0;
	c->result = run(s, c);
	return await_closing(s);
}

void
settle_close_end(struct settle *s)
{
	err_t e = await_closing(s);

	if (e)
		log_warn("a segment was not completed: %s", strerror(-e));
}
