/* depot.c: settling, and a store in memory. */
#include "depot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bytes.h"
#include "extents.h"
#include "settle.h"
#include "tidy.h"

struct object {
	uint8_t name[16];
	struct bytes data;
};
static struct object *objects;
static size_t object_count, object_cap;

void
depot_clear(void)
{
	for (size_t k = 0; k < object_count; k++)
		bytes_clear(&objects[k].data);
	free(objects);
	objects = NULL;
	object_count = object_cap = 0;
}

static err_t
fetch(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	(void)ctx;
	for (size_t k = 0; k < object_count; k++)
		if (memcmp(objects[k].name, s->name, sizeof(s->name)) == 0)
			return bytes_append(out, objects[k].data.data + off, len);
	return -ENODATA;
}

void
depot_attach(struct vault *v)
{
	content_set_fetch(v->content, fetch, v);
}

err_t
settle_pending(struct vault *v, struct rng *r, unsigned percent)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	struct settle *s;
	size_t count = 0;
	uint64_t settled;
	err_t e;

	meta_lock(v->meta);
	e = meta_pending_inodes(v->meta, &inos, &count);
	meta_unlock(v->meta);
	if (!e)
		e = settle_begin(v->content, v->meta, v->segments, v->keys, &s);
	if (e)
		return e;
	for (size_t k = 0; k < count && !e; k++)
		if (rng_chance(r, percent))
			e = settle_inode(s, inos[k]);
	/* What the disk does not give back is told as what is damaged is; the tree, looked at afterwards, shows which it was. */
	if (e == -EBADMSG)
		e = -EIO;
	if (e) {
		settle_abandon(s);
		return e;
	}
	return settle_finish(s, &settled);
}

err_t
tidy_some(struct vault *v, struct rng *r)
{
	static const uint64_t QUIET_MS[] = {0, 5000, 60000, UINT64_MAX};
	const struct tidy_place p = {v->content, v->meta, v->segments, v->keys};
	bool done = false;
	err_t e = 0;

	for (uint64_t passes = 1 + rng_below(r, 3); passes > 0 && !e && !done; passes--) {
		uint64_t moved;

		e = tidy_pass(&p, QUIET_MS[rng_below(r, ARRAY_LEN(QUIET_MS))], NULL, NULL, &moved, &done);
	}
	return e;
}

/* Segments. */

struct segments {
	struct segment *v;
	size_t count;
	size_t cap;
};

static err_t
collect(void *ctx, const struct segment *s)
{
	struct segments *l = ctx;

	if (s->kind != SEGMENT_SETTLED || !s->local)
		return 0;
	l->v = grown(l->v, &l->cap, l->count, sizeof(*l->v));
	l->v[l->count++] = *s;
	return 0;
}

static err_t
local_segments(struct vault *v, struct segments *out)
{
	return meta_segment_scan(v->meta, false, collect, out);
}

static err_t
upload(struct vault *v, struct segment *s)
{
	struct object o = {.data = {0}};
	err_t e = segstore_read_whole(v->segments, s, &o.data);

	if (e) {
		bytes_clear(&o.data);
		return e;
	}
	memcpy(o.name, s->name, sizeof(o.name));
	objects = grown(objects, &object_cap, object_count, sizeof(*objects));
	objects[object_count++] = o;
	s->in_store = true;
	meta_lock(v->meta);
	e = meta_segment_put(v->meta, s);
	meta_unlock(v->meta);
	return e;
}

static err_t
upload_all(struct vault *v)
{
	struct segments l = {0};
	err_t e = local_segments(v, &l);

	for (size_t k = 0; k < l.count && !e; k++)
		if (!l.v[k].in_store)
			e = upload(v, &l.v[k]);
	free(l.v);
	return e;
}

err_t
depot_evict(struct vault *v, struct rng *r)
{
	struct segments l = {0};
	err_t e = local_segments(v, &l);

	for (size_t k = 0; k < l.count && !e; k++) {
		struct segstore_leaving leaving = {.seg = l.v[k].id, .mask = UINT64_MAX};

		if (l.v[k].in_store && rng_chance(r, 50))
			e = segstore_drop_pieces(v->segments, &leaving, 1);
	}
	free(l.v);
	return e;
}

/* What the chain is said to know. [meta lock] */

static err_t
know_chunks(struct vault *v, struct inode *i)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	size_t count = 0;
	err_t e = meta_pending_chunks(v->meta, i, &nos, &count);

	for (size_t k = 0; k < count && !e; k++) {
		struct chunk *c;

		e = meta_chunk_get(v->meta, i, nos[k], false, &c);
		if (e)
			break;
		c->pending = false;
		extent_list_clear(&c->chain);
		meta_chunk_dirty(v->meta, i, c);
		meta_chunk_tidy(v->meta, i, c);
	}
	return e;
}

static err_t
know_inode(struct vault *v, uint64_t ino)
{
	struct inode *i;
	err_t e = meta_inode_get(v->meta, ino, &i);

	if (e)
		return e;
	if (i->nlink == 0 && lookups_count(v->lookups, ino) != 0)
		return 0;
	if (i->nlink == 0)
		return meta_inode_remove(v->meta, i);
	if (S_ISREG(i->mode) && (e = know_chunks(v, i)) != 0)
		return e;
	i->pending &= PENDING_XATTR; /* these stay as they are */
	meta_inode_dirty(v->meta, i);
	return 0;
}

static err_t
know_all(struct vault *v)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	CLEANUP(free_ptr) struct dentry *names = NULL;
	size_t ino_count = 0, name_count = 0;
	err_t e = meta_pending_inodes(v->meta, &inos, &ino_count);

	if (!e)
		e = meta_pending_dentries(v->meta, &names, &name_count);
	for (size_t k = 0; k < name_count && !e; k++)
		e = meta_dentry_set_chain(v->meta, names[k].parent, names[k].name, names[k].ino);
	for (size_t k = 0; k < ino_count && !e; k++)
		e = know_inode(v, inos[k]);
	meta_note_local_change(v->meta);
	return e;
}

err_t
depot_push(struct vault *v, struct rng *r)
{
	err_t e = settle_pending(v, r, 100);

	if (!e)
		e = upload_all(v);
	if (e)
		return e;
	meta_lock(v->meta);
	e = know_all(v);
	meta_unlock(v->meta);
	return e;
}
