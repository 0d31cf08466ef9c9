/* How devices for tests of merging push and pull. */
#include "replica.h"

#include <stdlib.h>
#include <string.h>

#include "extents.h"

struct collecting {
	struct replica *r;
	struct changes *c;
	struct change_inode *ci;
};

static err_t
collect_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct collecting *b = ctx;
	struct change_inode *ci = b->ci;
	struct change_chunk *cc;

	(void)i;
	if (!c->pending)
		return 0;
	ci->chunks = realloc(ci->chunks, (ci->chunk_count + 1) * sizeof(*ci->chunks));
	cc = &ci->chunks[ci->chunk_count++];
	*cc = (struct change_chunk){.no = c->no};
	OK(extent_list_copy(&c->current, &cc->extents));
	for (uint32_t k = 0; k < cc->extents.count; k++) {
		struct change_segment cs = {0};
		struct segment s;
		uint32_t index = 0;

		OK(meta_segment_get(b->r->meta, cc->extents.v[k].seg, &s));
		memcpy(cs.name, s.name, sizeof(cs.name));
		memcpy(cs.sha256, s.sha256, sizeof(cs.sha256));
		cs.size = s.size;
		OK(changes_segment_index(b->c, &cs, &index));
		cc->extents.v[k].seg = index;
	}
	return 0;
}

static void
collect_xattrs(struct collecting *b, struct inode *i)
{
	struct xattr_list *l = NULL;

	OK(meta_xattrs_get(b->r->meta, i, &l));
	b->ci->xattrs = calloc(l->count + 1, sizeof(*b->ci->xattrs));
	for (uint32_t k = 0; k < l->count; k++) {
		struct change_xattr *x = &b->ci->xattrs[b->ci->xattr_count];

		if (!l->v[k].pending)
			continue;
		b->ci->xattr_count++;
		x->name = strdup(l->v[k].name);
		x->value = l->v[k].deleted ? NULL : (uint8_t *)strndup((char *)l->v[k].value, l->v[k].len);
		x->len = l->v[k].len;
	}
}

static void
collect_inode(struct collecting *b, uint64_t ino)
{
	struct inode *i = NULL;
	struct change_inode *ci;

	OK(meta_inode_get(b->r->meta, ino, &i));
	if (i->nlink == 0)
		return;
	ci = b->ci = changes_add_inode(b->c);
	*ci = (struct change_inode){.ino = ino, .mode = i->mode, .uid = i->uid, .gid = i->gid, .rdev = i->rdev,
	    .mtime = i->mtime, .ctime = i->ctime, .btime = i->btime, .size = i->size, .origin = i->origin};
	ci->fields = i->pending & PENDING_NEW ? CHANGE_NEW : 0;
	ci->fields |= i->pending & PENDING_MODE ? CHANGE_MODE : 0;
	ci->fields |= i->pending & PENDING_OWNER ? CHANGE_OWNER : 0;
	ci->fields |= i->pending & (PENDING_MTIME | PENDING_CTIME) ? CHANGE_MTIME : 0;
	if (i->target && i->pending & PENDING_NEW)
		ci->target = strdup(i->target);
	if (i->pending & (PENDING_XATTR | PENDING_NEW)) {
		ci->fields |= i->pending & PENDING_XATTR ? CHANGE_XATTR : 0;
		collect_xattrs(b, i);
	}
	if (S_ISREG(i->mode) && i->pending & (PENDING_CONTENT | PENDING_NEW)) {
		ci->fields |= CHANGE_CONTENT;
		ci->keys = calloc(i->key_count, sizeof(*ci->keys));
		memcpy(ci->keys, i->keys, i->key_count * sizeof(*ci->keys));
		ci->key_count = i->key_count;
		OK(meta_chunk_scan(b->r->meta, i, 0, collect_chunk, b));
	}
}

struct changes *
collect(struct replica *r)
{
	struct collecting b = {.r = r};
	struct dentry *dentries = NULL;
	uint64_t *inos = NULL;
	size_t count = 0;

	OK(changes_new(&b.c));
	meta_lock(r->meta);
	OK(meta_pending_inodes(r->meta, &inos, &count));
	for (size_t k = 0; k < count; k++)
		collect_inode(&b, inos[k]);
	OK(meta_pending_dentries(r->meta, &dentries, &count));
	for (size_t k = 0; k < count; k++) {
		struct change_dentry *d = changes_add_dentry(b.c);

		d->parent = dentries[k].parent;
		d->ino = dentries[k].ino;
		d->type = dentries[k].type;
		memcpy(d->name, dentries[k].name, sizeof(d->name));
	}
	meta_unlock(r->meta);
	free(inos);
	free(dentries);
	if (!b.c->inode_count && !b.c->dentry_count) {
		changes_free(b.c);
		return NULL;
	}
	return b.c;
}

void
add_commit(struct world *w, struct replica *author, struct changes *c)
{
	w->chain = realloc(w->chain, (w->chain_count + 1) * sizeof(*w->chain));
	w->chain[w->chain_count] = (struct commit){.author = author};
	OK(changes_encode(c, &w->chain[w->chain_count].body));
	w->chain_count++;
}

static struct merge_context
context_of(struct replica *r)
{
	return (struct merge_context){.meta = r->meta, .lookups = r->lookups, .my_name = r->name, .now = 1700000000};
}

err_t
apply_foreign(struct replica *r, const struct changes *c, struct merge_result *out)
{
	struct merge_context mc = context_of(r);

	return merge_apply_foreign(&mc, c, NULL, NULL, out);
}

static void
apply_next(struct replica *r)
{
	struct commit *commit = &r->world->chain[r->applied];
	struct merge_context mc = context_of(r);
	struct changes *c = NULL;

	OK(changes_decode(commit->body.data, commit->body.len, &c));
	if (commit->author == r) {
		OK(merge_apply_own(&mc, c, NULL, NULL));
		OK(merge_apply_own(&mc, c, NULL, NULL)); /* as after a crash */
	} else {
		struct merge_result result = {0};

		OK(apply_foreign(r, c, &result));
		r->world->conflict_count += result.conflict_count;
		if (result.conflict_count) {
			merge_result_clear(&r->last);
			r->last = result;
		} else {
			merge_result_clear(&result);
		}
	}
	changes_free(c);
	r->applied++;
}

void
pull(struct replica *r)
{
	while (r->applied < r->world->chain_count)
		apply_next(r);
}

void
push_with(struct replica *r, void (*while_away)(void *ctx, struct replica *r), void *ctx)
{
	struct changes *c;

	pull(r);
	c = collect(r);
	if (!c)
		return;
	add_commit(r->world, r, c);
	changes_free(c);
	if (while_away)
		while_away(ctx, r);
	apply_next(r);
}

void
push(struct replica *r)
{
	push_with(r, NULL, NULL);
}
