/* An inode as commits and bases say it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "extents.h"

#define INODE_COST 160u
#define KEY_COST 52u
#define EXTENT_COST 96u

size_t
describe_cost(const struct change_inode *ci)
{
	size_t cost = INODE_COST + ci->key_count * (size_t)KEY_COST;

	if (ci->target != NULL)
		cost += strlen(ci->target);
	for (uint32_t k = 0; k < ci->xattr_count; k++)
		cost += 16 + strlen(ci->xattrs[k].name) + ci->xattrs[k].len;
	return cost;
}

static err_t
copy_xattr(const struct xattr *x, struct change_xattr *cx)
{
	cx->name = strdup(x->name);
	if (cx->name == NULL)
		return -ENOMEM;
	if (x->deleted)
		return 0;
	cx->value = malloc(x->len + 1u); /* never NULL, which would mean removed */
	if (cx->value == NULL)
		return -ENOMEM;
	if (x->len > 0)
		memcpy(cx->value, x->value, x->len);
	cx->len = x->len;
	return 0;
}

static err_t
copy_xattrs(struct meta *m, struct inode *i, bool all, struct change_inode *ci)
{
	struct xattr_list *l;
	err_t err = meta_xattrs_get(m, i, &l);

	if (err != 0 || l->count == 0)
		return err;
	ci->xattrs = calloc(l->count, sizeof(*ci->xattrs));
	if (ci->xattrs == NULL)
		return -ENOMEM;
	for (uint32_t k = 0; k < l->count; k++) {
		if (all ? l->v[k].deleted : !l->v[k].pending)
			continue;
		/* Counted first: what it has so far is freed with the rest if this fails. */
		ci->xattr_count++;
		if ((err = copy_xattr(&l->v[k], &ci->xattrs[ci->xattr_count - 1])) != 0)
			return err;
	}
	return 0;
}

err_t
describe_attributes(struct meta *m, struct inode *i, uint32_t fields, struct change_inode *ci)
{
	ci->ino = i->ino;
	ci->fields = fields;
	ci->mode = i->mode;
	ci->uid = i->uid;
	ci->gid = i->gid;
	ci->rdev = i->rdev;
	ci->mtime = i->mtime;
	ci->ctime = i->ctime;
	ci->btime = i->btime;
	if (fields & CHANGE_NEW && i->target != NULL && (ci->target = strdup(i->target)) == NULL)
		return -ENOMEM;
	if (fields & CHANGE_CONTENT) {
		ci->size = i->size;
		ci->origin = i->origin;
		if (i->key_count > 0 && (ci->keys = calloc(i->key_count, sizeof(*ci->keys))) == NULL)
			return -ENOMEM;
		if (i->key_count > 0)
			memcpy(ci->keys, i->keys, i->key_count * sizeof(*ci->keys));
		ci->key_count = i->key_count;
	}
	return fields & CHANGE_XATTR ? copy_xattrs(m, i, (fields & CHANGE_NEW) != 0, ci) : 0;
}

err_t
describe_chunk(struct meta *m, struct changes *c, struct change_inode *ci, const struct chunk *chunk)
{
	uint64_t last_seg = UINT64_MAX;
	uint32_t index = 0;
	struct change_chunk *chunks = reallocarray(ci->chunks, ci->chunk_count + 1u, sizeof(*chunks));
	struct extent_list copy = { 0 };
	err_t err;

	if (chunks == NULL)
		return -ENOMEM;
	ci->chunks = chunks;
	if ((err = extent_list_copy(&chunk->current, &copy)) != 0)
		return err;
	chunks[ci->chunk_count++] = (struct change_chunk){ chunk->no, copy };
	for (uint32_t k = 0; k < copy.count; k++) {
		struct segment seg;

		if (copy.v[k].seg != last_seg) {
			last_seg = copy.v[k].seg;
			if ((err = meta_segment_get(m, last_seg, &seg)) != 0)
				return err;
			struct change_segment cs = { .size = seg.size };
			memcpy(cs.name, seg.name, sizeof(cs.name));
			memcpy(cs.sha256, seg.sha256, sizeof(cs.sha256));
			if ((err = changes_segment_index(c, &cs, &index)) != 0)
				return err;
		}
		copy.v[k].seg = index; /* the list in ci, too: they share the array */
	}
	return 0;
}

size_t
describe_chunk_cost(const struct chunk *chunk)
{
	return 16 + chunk->current.count * (size_t)EXTENT_COST;
}
