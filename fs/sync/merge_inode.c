/* merge_inode.c: a foreign commit's inodes: those that it introduces, and attributes field by field. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge_state.h"

bool
merge_times_equal(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static struct xattr *
find_xattr(const struct xattr_list *l, const char *name)
{
	for (uint32_t k = 0; k < l->count; k++) {
		if (strcmp(l->v[k].name, name) == 0)
			return &l->v[k];
	}
	return NULL;
}

static struct xattr *
add_xattr(struct xattr_list *l, const char *name)
{
	if (l->count == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;
		struct xattr *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return NULL;
		l->v = v;
		l->cap = cap;
	}

	char *copy = strdup(name);

	if (!copy)
		return NULL;
	l->v[l->count] = (struct xattr){.name = copy};
	return &l->v[l->count++];
}

static void
remove_xattr(struct xattr_list *l, struct xattr *x)
{
	free(x->name);
	free(x->value);
	*x = l->v[--l->count];
}

static err_t
set_xattr(struct xattr_list *l, const char *name, const uint8_t *value, uint32_t len, bool pending)
{
	uint8_t *copy = malloc(len + 1u);
	struct xattr *x = find_xattr(l, name);

	if (!x)
		x = add_xattr(l, name);
	if (!x || !copy) {
		free(copy);
		return -ENOMEM;
	}
	if (len)
		memcpy(copy, value, len);
	free(x->value);
	x->value = copy;
	x->len = len;
	x->deleted = false;
	x->pending = pending;
	return 0;
}

/* By name: what is pending here is later than what they say. */
static err_t
take_xattrs(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	struct xattr_list *l = NULL;
	err_t e = meta_xattrs_get(m->meta, i, &l);

	for (uint32_t k = 0; k < ch->xattr_count && !e; k++) {
		const struct change_xattr *cx = &ch->xattrs[k];
		struct xattr *x = find_xattr(l, cx->name);

		if (x && x->pending)
			continue;
		if (cx->value)
			e = set_xattr(l, cx->name, cx->value, cx->len, false);
		else if (x)
			remove_xattr(l, x);
	}
	if (!e)
		meta_xattrs_dirty(m->meta, i);
	return e;
}

static err_t
drop_xattrs(struct merge *m, struct inode *i)
{
	struct xattr_list *l = NULL;
	err_t e;

	if (!i->has_xattrs)
		return 0;
	if ((e = meta_xattrs_get(m->meta, i, &l)))
		return e;
	while (l->count)
		remove_xattr(l, &l->v[0]);
	meta_xattrs_dirty(m->meta, i);
	return 0;
}

static err_t
copy_xattrs(struct merge *m, struct inode *from, struct inode *to)
{
	struct xattr_list *source = NULL, *l = NULL;
	err_t e;

	if (!from->has_xattrs)
		return 0;
	if ((e = meta_xattrs_get(m->meta, from, &source)) || (e = meta_xattrs_get(m->meta, to, &l)))
		return e;
	for (uint32_t k = 0; k < source->count && !e; k++) {
		if (!source->v[k].deleted)
			e = set_xattr(l, source->v[k].name, source->v[k].value, source->v[k].len, true);
	}
	if (!e)
		meta_xattrs_dirty(m->meta, to);
	return e;
}

err_t
merge_fill(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	char *target = ch->target ? strdup(ch->target) : NULL;
	err_t e;

	if (ch->target && !target)
		return -ENOMEM;
	free(i->target);
	i->target = target;
	i->mode = ch->mode;
	i->uid = ch->uid;
	i->gid = ch->gid;
	i->rdev = ch->rdev;
	i->atime = i->mtime = ch->mtime;
	i->ctime = ch->ctime;
	i->btime = ch->btime;
	i->pending = 0;
	if (S_ISREG(ch->mode))
		i->origin = ch->origin;
	if ((e = drop_xattrs(m, i)) || (ch->xattr_count && (e = take_xattrs(m, i, ch))))
		return e;
	if (S_ISREG(ch->mode) && (e = merge_take_content(m, i, ch)))
		return e;
	meta_inode_dirty(m->meta, i);
	return merge_tell_inode(m, i->ino);
}

/* A new file with all that is so here of an old one; the content moves over. */
static err_t
copy_inode(struct merge *m, struct inode *from, struct inode **copy_out)
{
	struct inode *i = NULL;
	err_t e = meta_inode_new(m->meta, &i);

	if (e)
		return e;
	i->mode = from->mode;
	i->uid = from->uid;
	i->gid = from->gid;
	i->atime = from->atime;
	i->mtime = from->mtime;
	i->ctime = from->ctime;
	i->btime = from->btime;
	i->origin = from->origin;
	i->pending = PENDING_NEW | PENDING_MODE | PENDING_OWNER | PENDING_MTIME | PENDING_CONTENT;
	if ((e = copy_xattrs(m, from, i)) || (e = merge_move_content(m, from, i)))
		return e;
	i->pending |= i->has_xattrs ? PENDING_XATTR : 0u;
	meta_inode_dirty(m->meta, i);
	*copy_out = i;
	return 0;
}

/*
 * A file that the chain had lost, that was kept on several devices, and that another one was the first to introduce again:
 * its number is theirs now; what is here, names and all, becomes a file of its own.
 */
static err_t
make_way(struct merge *m, struct touched *t)
{
	struct inode *copy = NULL;
	size_t count = 0;
	size_t first = merge_pending_range(m->by_ino, m->pending_count, false, t->ino, &count);
	err_t e = copy_inode(m, t->inode, &copy);

	for (size_t k = first; k < first + count && !e; k++) {
		const struct dentry *d = m->by_ino[k];

		if (!(e = merge_unlink(m, d->parent, d->name)))
			e = merge_link(m, d->parent, d->name, copy->ino, d->type);
	}
	return e;
}

static err_t
introduce(struct merge *m, struct touched *t, const struct change_inode *ch)
{
	err_t e = 0;

	if (!t->inode) {
		if ((e = meta_inode_adopt(m->meta, ch->ino, &t->inode)))
			return e;
		t->inode->nlink = merge_is_dir(t) ? 2 : 0;
		t->inode->parent = ch->ino == INODE_ROOT ? INODE_ROOT : 0;
	} else if (S_ISREG(ch->mode)) {
		e = t->inode->nlink ? make_way(m, t) : merge_drop_content(m, t->inode);
	}
	return e ? e : merge_fill(m, t->inode, ch);
}

err_t
merge_introduce(struct merge *m)
{
	err_t e = 0;

	for (uint32_t k = 0; k < m->c->inode_count && !e; k++) {
		const struct change_inode *ch = &m->c->inodes[k];
		struct touched *t = NULL;

		if (!(ch->fields & CHANGE_NEW))
			continue;
		e = merge_touch(m, ch->ino, &t);
		if (!e && t->introduced)
			e = introduce(m, t, ch);
	}
	return e;
}

/* Ours goes beside it, under a number of its own. */
static err_t
keep_copy(struct merge *m, struct touched *t)
{
	struct inode *copy = NULL;
	struct dentry at;
	char used[NAME_LEN_MAX + 1];
	err_t e = merge_find_local_name(m, t, &at);

	if (e == -ENOENT)
		at = (struct dentry){.parent = INODE_ROOT, .name = "file"};
	else if (e)
		return e;
	if ((e = copy_inode(m, t->inode, &copy)) || (e = merge_link_beside(m, at.parent, at.name, copy->ino, DT_REG, used)))
		return e;
	return merge_note(m, NOTE_COPY, at.parent, at.name, used);
}

static err_t
merge_content(struct merge *m, struct touched *t, const struct change_inode *ch)
{
	err_t e = 0;

	if (!merge_is_named(t) && (e = merge_revive(m, t)))
		return e;
	if (t->inode->pending & PENDING_CONTENT) {
		/* What was changed and then deleted here is not missed: their version is what there is. */
		if ((e = t->was_named ? keep_copy(m, t) : merge_drop_content(m, t->inode)))
			return e;
	}
	/* Their time goes with their content, whatever we did to the file otherwise: tools look there for changes. */
	if (ch->fields & CHANGE_MTIME)
		t->inode->pending &= ~(uint32_t)PENDING_MTIME;
	return merge_take_content(m, t->inode, ch);
}

static err_t
merge_attributes(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	if (ch->fields & CHANGE_MODE && !(i->pending & PENDING_MODE))
		i->mode = ch->mode;
	if (ch->fields & CHANGE_OWNER && !(i->pending & PENDING_OWNER)) {
		i->uid = ch->uid;
		i->gid = ch->gid;
	}
	if (ch->fields & CHANGE_MTIME && !(i->pending & PENDING_MTIME))
		i->mtime = ch->mtime;
	if (!i->pending || is_later(&ch->ctime, &i->ctime))
		i->ctime = ch->ctime;
	meta_inode_dirty(m->meta, i);
	return ch->fields & CHANGE_XATTR ? take_xattrs(m, i, ch) : 0;
}

err_t
merge_inodes(struct merge *m)
{
	err_t e = 0;

	for (uint32_t k = 0; k < m->c->inode_count && !e; k++) {
		const struct change_inode *ch = &m->c->inodes[k];
		struct touched *t = NULL;
		bool moved = false;

		if ((e = merge_touch(m, ch->ino, &t)))
			return e;
		if (t->introduced || !t->inode || t->chain_names <= 0)
			continue;
		if ((e = merge_is_move(m, t->inode, ch, &moved)) ||
		    (moved && ((e = merge_take_keys(m, t->inode, ch)) || (e = merge_follow_moves(m, t->inode, ch)))))
			return e;
		if (moved)
			continue; /* nothing that anybody could see */
		if (ch->fields & CHANGE_CONTENT && (e = merge_content(m, t, ch)))
			return e;
		if ((e = merge_attributes(m, t->inode, ch)))
			return e;
		e = merge_tell_inode(m, ch->ino);
	}
	return e;
}
