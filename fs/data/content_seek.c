/* content_seek.c: where data and holes are. */
#include "content_internal.h"

#include <errno.h>

struct seeking {
	uint64_t at;   /* looked at up to there */
	uint64_t next; /* the chunk to go on with, or UINT64_MAX */
	unsigned seen; /* chunks, since the lock was taken */
	bool found;
};

static bool
seek_must_pause(struct seeking *k, const struct chunk *ch)
{
	if (k->seen++ < STEP_CHUNKS)
		return false;
	k->next = ch->no;
	return true;
}

static err_t
seek_data(void *ctx, struct inode *i, struct chunk *ch)
{
	struct seeking *k = ctx;
	uint32_t first = extent_list_find(&ch->current, k->at);

	(void)i;
	if (seek_must_pause(k, ch))
		return -ECANCELED;
	if (first == ch->current.count)
		return 0;
	if (ch->current.v[first].off > k->at)
		k->at = ch->current.v[first].off;
	k->found = true;
	return -ECANCELED;
}

static err_t
seek_hole(void *ctx, struct inode *i, struct chunk *ch)
{
	struct seeking *k = ctx;

	(void)i;
	if (seek_must_pause(k, ch))
		return -ECANCELED;
	for (uint32_t n = extent_list_find(&ch->current, k->at); n < ch->current.count; n++) {
		if (ch->current.v[n].off > k->at)
			return -ECANCELED;
		k->at = ch->current.v[n].off + ch->current.v[n].len;
	}
	return k->at < (ch->no + 1) * CHUNK_LEN ? -ECANCELED : 0;
}

/* [meta lock] Some chunks further; -EAGAIN: there are more. */
static err_t
seek_step(struct content *c, uint64_t ino, bool want_data, struct seeking *k)
{
	uint64_t from = k->next;
	struct inode *i;
	err_t e = meta_inode_get(c->meta, ino, &i);

	if (e)
		return e;
	uint64_t size = i->size;

	if (k->at >= size)
		return -ENXIO;
	k->next = UINT64_MAX;
	k->seen = 0;
	e = meta_chunk_scan(c->meta, i, from, want_data ? seek_data : seek_hole, k);
	if (e && e != -ECANCELED)
		return e;
	if (k->next != UINT64_MAX)
		return -EAGAIN;
	/* What was cut off may still be mapped for a while. */
	if (want_data && (!k->found || k->at >= size))
		return -ENXIO;
	k->at = k->at < size ? k->at : size;
	return 0;
}

err_t
content_seek(struct content *c, uint64_t ino, uint64_t off, bool want_data, uint64_t *out)
{
	struct seeking k = {.at = off, .next = off / CHUNK_LEN};
	err_t e;

	do {
		meta_lock(c->meta);
		e = seek_step(c, ino, want_data, &k);
		meta_unlock(c->meta);
	} while (e == -EAGAIN);
	if (e)
		return e;
	*out = k.at;
	return 0;
}
