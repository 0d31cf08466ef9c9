/*
 * Sparse segments: what is left in them is copied, sealed as it is, into new ones, and a commit says where it is now.  That is no
 * edit (merge_moved.c).  Files that are pending here are left for another day, since what the chain says of their times is not
 * known here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "extents.h"
#include "gc_internal.h"
#include "hash.h"
#include "log.h"
#include "settle.h"

/* So many segments are emptied by one commit: that bounds memory, and the local disk that it takes. */
#define SOURCES_MAX 16u
/* If others commit in between. */
#define TRIES 5u

/* A sealed extent in a sparse segment, and its new place. */
struct place {
	uint64_t seg;
	uint64_t off;
	uint32_t len;
	uint64_t to_seg; /* 0: nowhere */
	uint64_t to_off;
};
struct owner {
	uint64_t ino;
	uint64_t no;
};

struct moving {
	struct gc *g;
	struct numset *sources;
	struct place *places;
	size_t place_count;
	size_t place_cap;
	struct owner *owners;
	size_t owner_count;
	size_t owner_cap;
	struct segstore_build *build;
	struct gc_ids made;
	bool remote; /* no source is here: nor need be what is made of them */
};

static void
moving_clear(struct moving *mv)
{
	numset_clear(&mv->sources);
	free(mv->places);
	free(mv->owners);
	if (mv->build != NULL)
		segstore_build_abandon(mv->build);
	free(mv->made.v);
}

/* Finding. */

static err_t
add_place(struct moving *mv, const struct extent *x)
{
	void *v = mv->places;
	err_t err = gc_grow(&v, mv->place_count, &mv->place_cap, sizeof(*mv->places));

	mv->places = v;
	if (err == 0)
		mv->places[mv->place_count++] = (struct place){ .seg = x->seg, .off = x->seg_off, .len = x->stored_len };
	return err;
}

static err_t
find_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct moving *mv = ctx;
	void *v = mv->owners;
	bool any = false;
	err_t err = 0;

	if (i->pending != 0 || i->nlink == 0 || c->pending)
		return 0;
	for (uint32_t k = 0; err == 0 && k < c->current.count; k++) {
		if (!numset_has(mv->sources, c->current.v[k].seg))
			continue;
		any = true;
		err = add_place(mv, &c->current.v[k]);
	}
	if (err != 0 || !any)
		return err;
	err = gc_grow(&v, mv->owner_count, &mv->owner_cap, sizeof(*mv->owners));
	mv->owners = v;
	if (err == 0)
		mv->owners[mv->owner_count++] = (struct owner){ i->ino, c->no };
	return err;
}

static int
by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->seg != y->seg)
		return x->seg < y->seg ? -1 : 1;
	return (x->off > y->off) - (x->off < y->off);
}

static int
by_owner(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->no > y->no) - (x->no < y->no);
}

/* Each place once, in order. */
static void
sort_found(struct moving *mv)
{
	size_t kept = 0;

	if (mv->place_count == 0)
		return;
	qsort(mv->places, mv->place_count, sizeof(*mv->places), by_place);
	qsort(mv->owners, mv->owner_count, sizeof(*mv->owners), by_owner);
	for (size_t k = 0; k < mv->place_count; k++)
		if (kept == 0 || by_place(&mv->places[kept - 1], &mv->places[k]) != 0)
			mv->places[kept++] = mv->places[k];
	mv->place_count = kept;
}

static struct place *
find_place(struct moving *mv, const struct extent *x)
{
	struct place key = { .seg = x->seg, .off = x->seg_off };
	struct place *p = mv->place_count == 0 ? NULL : bsearch(&key, mv->places, mv->place_count, sizeof(key), by_place);

	return p != NULL && p->to_seg != 0 && p->len == x->stored_len ? p : NULL;
}

/* Copying. */

/* What is here may be damaged, and then it must not take the place of what the store has. */
static err_t
read_source(struct moving *mv, const struct segment *seg, struct bytes *out)
{
	struct sync *s = mv->g->s;
	uint8_t sha256[32];

	if (seg->local && segstore_read_whole(s->v->segments, seg, out) == 0 &&
	    hash_sha256(out->data, out->len, sha256) == 0 && memcmp(sha256, seg->sha256, sizeof(sha256)) == 0)
		return 0;
	out->len = 0;
	return drops_read_object(s, seg, out);
}

static err_t
finish_build(struct moving *mv)
{
	struct segment made;
	err_t err;

	if (mv->build == NULL)
		return 0;
	err = segstore_build_finish(STEAL(mv->build), &made);
	return err != 0 ? err : gc_ids_add(&mv->made, made.id);
}

static err_t
copy_place(struct moving *mv, struct place *p, const struct bytes *source)
{
	err_t err = 0;

	if (p->off > source->len || p->len > source->len - p->off)
		return 0; /* a row that is wrong: leave it */
	if (mv->build != NULL && segstore_build_len(mv->build) + p->len > SETTLE_SEGMENT_LEN)
		err = finish_build(mv);
	if (err == 0 && mv->build == NULL)
		err = segstore_build_begin(mv->g->s->v->segments, &mv->build);
	if (err == 0)
		err = segstore_build_add(mv->build, source->data + p->off, p->len, &p->to_off);
	if (err == 0)
		p->to_seg = segstore_build_id(mv->build);
	return err;
}

/* Copies the places of one source from `first` on; returns behind the last in *next_out. */
static err_t
copy_source(struct moving *mv, size_t first, size_t *next_out)
{
	CLEANUP(bytes_clear) struct bytes source = { 0 };
	struct meta *m = mv->g->s->v->meta;
	char name[CHAIN_NAME_MAX];
	struct segment seg;
	size_t end = first;
	err_t err;

	while (end < mv->place_count && mv->places[end].seg == mv->places[first].seg)
		end++;
	*next_out = end;
	meta_lock(m);
	err = meta_segment_get(m, mv->places[first].seg, &seg);
	meta_unlock(m);
	if (err != 0)
		return err;
	err = read_source(mv, &seg, &source);
	if (err == -EBADMSG || err == -ENOENT) {
		chain_segment_object_name(seg.name, name);
		log_error("the object %s is damaged or gone, and left as it is", name);
		return 0;
	}
	if (err != 0)
		return report_store(mv->g->s, err);
	mv->remote = mv->remote && !seg.local;
	mv->g->r->moved.objects++;
	mv->g->r->moved.bytes += seg.size;
	for (size_t k = first; err == 0 && k < end; k++)
		err = copy_place(mv, &mv->places[k], &source);
	return err;
}

static err_t
copy_all(struct moving *mv)
{
	size_t k = 0;
	err_t err = 0;

	mv->remote = true;
	while (err == 0 && k < mv->place_count && (err = copy_source(mv, k, &k)) == 0)
		err = gc_step(mv->g, k, mv->place_count, "what is left in sparse segments");
	return err != 0 ? err : finish_build(mv);
}

static err_t
upload_made(struct moving *mv)
{
	struct meta *m = mv->g->s->v->meta;
	err_t err = 0;

	mv->g->s->swept = false; /* if no commit comes to name them */
	for (size_t k = 0; err == 0 && k < mv->made.count; k++) {
		struct segment seg;

		meta_lock(m);
		err = meta_segment_get(m, mv->made.v[k], &seg);
		meta_unlock(m);
		if (err == 0)
			err = upload_segment(mv->g->s, &seg);
	}
	return err;
}

/* Saying so. */

/* [meta lock] The chunk as it is to be; nothing if nothing of it moves. */
static err_t
describe_moved(struct moving *mv, struct inode *i, uint64_t no, struct changes *c, struct change_inode **ci)
{
	CLEANUP(extent_list_clear) struct extent_list list = { 0 };
	struct meta *m = mv->g->s->v->meta;
	struct chunk *now, then = { .ino = i->ino, .no = no };
	bool any = false;
	err_t err = meta_chunk_get(m, i, no, false, &now);

	if (err != 0 || now->pending || (err = extent_list_copy(&now->current, &list)) != 0)
		return err == -ENOENT ? 0 : err;
	for (uint32_t k = 0; k < list.count; k++) {
		const struct place *p = find_place(mv, &list.v[k]);

		if (p == NULL)
			continue;
		list.v[k].seg = p->to_seg;
		list.v[k].seg_off = p->to_off;
		any = true;
	}
	if (!any)
		return 0;
	if (*ci == NULL) {
		*ci = changes_add_inode(c);
		if (*ci == NULL)
			return -ENOMEM;
		if ((err = describe_attributes(m, i, CHANGE_CONTENT, *ci)) != 0)
			return err;
	}
	then.current = list;
	return describe_chunk(m, c, *ci, &then);
}

static err_t
describe_all(struct moving *mv, struct changes *c)
{
	struct meta *m = mv->g->s->v->meta;
	struct change_inode *ci = NULL;
	err_t err = 0;

	meta_lock(m);
	for (size_t k = 0; err == 0 && k < mv->owner_count; k++) {
		struct inode *i;

		if (k == 0 || mv->owners[k].ino != mv->owners[k - 1].ino)
			ci = NULL;
		err = meta_inode_get(m, mv->owners[k].ino, &i);
		if (err == 0 && i->pending == 0 && i->nlink > 0 && S_ISREG(i->mode))
			err = describe_moved(mv, i, mv->owners[k].no, c, &ci);
		err = err == -ENOENT ? 0 : err;
	}
	meta_unlock(m);
	return err;
}

/* -EEXIST: somebody else was first, and theirs is applied now. */
static err_t
commit_moves(struct moving *mv)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	bool news;
	err_t err;

	if ((err = changes_new(&c)) != 0 || (err = describe_all(mv, c)) != 0 || c->inode_count == 0)
		return err;
	err = push_commit(mv->g->s, c);
	if (err == -EEXIST && (err = pull_all(mv->g->s, &news)) == 0)
		err = -EEXIST;
	return err;
}

/* What was made of segments that are not here need not be here. */
static void
drop_made(struct moving *mv)
{
	CLEANUP(free_ptr) struct segstore_leaving *v = calloc(mv->made.count + 1, sizeof(*v));

	if (!mv->remote || v == NULL)
		return;
	for (size_t k = 0; k < mv->made.count; k++)
		v[k] = (struct segstore_leaving){ .seg = mv->made.v[k], .mask = UINT64_MAX };
	if (segstore_drop_pieces(mv->g->s->v->segments, v, mv->made.count) != 0)
		log_warn("segments that are in the store stay on the disk");
}

static err_t
move_some(struct gc *g, const uint64_t *seg, size_t count)
{
	CLEANUP(moving_clear) struct moving mv = { .g = g };
	err_t err = 0;

	for (size_t k = 0; err == 0 && k < count; k++)
		err = numset_add(&mv.sources, seg[k]);
	if (err != 0 || (err = gc_each_chunk(g, find_chunk, &mv)) != 0)
		return err;
	sort_found(&mv);
	if ((err = copy_all(&mv)) != 0 || (err = upload_made(&mv)) != 0)
		return err;
	err = -EEXIST;
	for (unsigned try = 0; try < TRIES && err == -EEXIST; try++)
		err = commit_moves(&mv);
	if (err == 0)
		drop_made(&mv);
	g->r->gave_way = g->r->gave_way || err == -EEXIST;
	return err;
}

err_t
gc_move_sparse(struct gc *g)
{
	struct meta *m = g->s->v->meta;
	err_t err = 0;

	for (size_t k = 0; k < g->sparse.count && g->o->dry_run; k++) {
		struct segment seg;

		meta_lock(m);
		err = meta_segment_get(m, g->sparse.v[k], &seg);
		meta_unlock(m);
		g->r->moved.objects += err == 0;
		g->r->moved.bytes += err == 0 ? seg.size : 0;
	}
	for (size_t k = 0; err == 0 && k < g->sparse.count && !g->o->dry_run; k += SOURCES_MAX)
		err = move_some(g, g->sparse.v + k, g->sparse.count - k < SOURCES_MAX ? g->sparse.count - k : SOURCES_MAX);
	return err == -EEXIST || (err == -ENOENT && g->o->dry_run) ? 0 : err;
}
