/* fetcher_keep.c: where what has come is kept: on the disk, or if that takes no more, in the memory of those who wait for it. */
#include "fetcher_internal.h"

#include <string.h>

#include "log.h"

#define ROOM_TRIES 2u /* others take what was made */

/* Does anybody wait for it, and reads it? */
static bool
is_awaited(struct fetcher *f, const struct job *j, bool *read_out)
{
	bool found = false;

	*read_out = false;
	pthread_mutex_lock(&f->lock);
	for (const struct waiter *w = f->waiters; w; w = w->next) {
		bool his = w->seg == j->row.id && w->mask & j->mask;

		found |= his;
		*read_out |= his && w->fetcher;
	}
	pthread_mutex_unlock(&f->lock);
	return found;
}

void
fetcher_set_room(struct fetcher *f, fetcher_room_fn *fn, void *ctx)
{
	pthread_mutex_lock(&f->lock);
	f->room = fn;
	f->room_ctx = ctx;
	while (!fn && f->telling)
		pthread_cond_wait(&f->moved, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static bool
make_room(struct fetcher *f, uint64_t len)
{
	pthread_mutex_lock(&f->lock);

	fetcher_room_fn *room = f->room;
	void *ctx = f->room_ctx;

	f->telling += room != NULL;
	pthread_mutex_unlock(&f->lock);
	if (!room)
		return false;

	bool made = room(ctx, len);

	pthread_mutex_lock(&f->lock);
	if (--f->telling == 0)
		pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
	return made;
}

/* Returns what it was. */
static bool
set_full(struct fetcher *f, bool full)
{
	pthread_mutex_lock(&f->lock);

	bool before = f->full;

	f->full = full;
	pthread_mutex_unlock(&f->lock);
	return before;
}

err_t
fetcher_keep(struct fetcher *f, struct job *j, uint64_t off, const uint8_t *data, size_t len, bool ahead)
{
	err_t e = segstore_put_pieces(f->ss, j->row.id, off, data, len, ahead);
	bool read = false, wanted = e && e != -EINVAL && e != -ENODATA && is_awaited(f, j, &read);

	for (unsigned tries = 0; wanted && is_full(e) && tries < ROOM_TRIES; tries++) {
		bool made = make_room(f, len);

		/* Where nothing could go, somebody else may just have made room. */
		e = segstore_put_pieces(f->ss, j->row.id, off, data, len, ahead);
		if (!made)
			break;
	}

	bool was_full = set_full(f, is_full(e));

	if (!e || !read)
		return e;
	if (!is_full(e) || !was_full)
		log_warn("what is read of the store is not kept on this computer: %s", strerror(-e));
	j->lent = segstore_lend_pieces(f->ss, j->row.id, off, data, len) == 0;
	return j->lent ? 0 : e;
}
