/*
 * merge_own.c: our own commit, now in the chain.  The chain's values become what it says; what is the same here is no longer
 * pending.  Here may have moved on since the commit was written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge_state.h"

static void
set_pending(struct inode *i, uint32_t bit, bool pending)
{
	if (pending)
		i->pending |= bit;
	else
		i->pending &= ~bit;
}

static bool
same_value(const struct xattr *x, const struct change_xattr *cx)
{
	if (x->deleted || !cx->value)
		return x->deleted && !cx->value;
	return x->len == cx->len && memcmp(x->value, cx->value, x->len) == 0;
}

/* The chain has a value of a name that is not here at all any more. */
static err_t
add_deleted(struct xattr_list *l, const char *name)
{
	struct xattr *v = realloc(l->v, (l->count + 1u) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	l->v = v;
	l->cap = l->count + 1;
	v[l->count] = (struct xattr){.name = strdup(name), .pending = true, .deleted = true};
	if (!v[l->count].name)
		return -ENOMEM;
	l->count++;
	return 0;
}

static err_t
own_xattr(struct xattr_list *l, const struct change_xattr *cx)
{
	uint32_t k = 0;

	while (k < l->count && strcmp(l->v[k].name, cx->name) != 0)
		k++;
	if (k == l->count)
		return cx->value ? add_deleted(l, cx->name) : 0;
	l->v[k].pending = !same_value(&l->v[k], cx);
	return 0;
}

/* Drops the marks of removed ones that the chain does not have either. */
static void
tidy_xattrs(struct xattr_list *l, const struct change_inode *ch)
{
	uint32_t kept = 0;

	for (uint32_t k = 0; k < l->count; k++) {
		struct xattr *x = &l->v[k];
		bool in_chain = !(ch->fields & CHANGE_NEW);

		for (uint32_t n = 0; n < ch->xattr_count && !in_chain; n++)
			in_chain = strcmp(ch->xattrs[n].name, x->name) == 0;
		if (x->deleted && (!x->pending || !in_chain))
			free(x->name);
		else
			l->v[kept++] = *x;
	}
	l->count = kept;
}

static err_t
own_xattrs(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	struct xattr_list *l = NULL;
	bool pending = false;
	err_t e;

	if (!i->has_xattrs && !ch->xattr_count) {
		set_pending(i, PENDING_XATTR, false);
		return 0;
	}
	if ((e = meta_xattrs_get(m->meta, i, &l)))
		return e;
	for (uint32_t k = 0; k < ch->xattr_count && !e; k++)
		e = own_xattr(l, &ch->xattrs[k]);
	tidy_xattrs(l, ch);
	for (uint32_t k = 0; k < l->count; k++)
		pending = pending || l->v[k].pending;
	set_pending(i, PENDING_XATTR, pending);
	meta_xattrs_dirty(m->meta, i);
	return e;
}

static err_t
own_inode(struct merge *m, struct inode *i, const struct change_inode *ch)
{
	err_t e = 0;

	if (ch->fields & CHANGE_NEW)
		i->pending &= ~(uint32_t)PENDING_NEW;
	if (ch->fields & CHANGE_MODE)
		set_pending(i, PENDING_MODE, i->mode != ch->mode);
	if (ch->fields & CHANGE_OWNER)
		set_pending(i, PENDING_OWNER, i->uid != ch->uid || i->gid != ch->gid);
	if (ch->fields & CHANGE_MTIME)
		set_pending(i, PENDING_MTIME, !merge_times_equal(&i->mtime, &ch->mtime));
	if (ch->fields & (CHANGE_XATTR | CHANGE_NEW))
		e = own_xattrs(m, i, ch);
	if (!e && ch->fields & CHANGE_CONTENT)
		e = merge_own_content(m, i, ch);
	else if (!e && ch->fields & CHANGE_NEW)
		set_pending(i, PENDING_CONTENT, false);
	set_pending(i, PENDING_CTIME, !merge_times_equal(&i->ctime, &ch->ctime));
	meta_inode_dirty(m->meta, i);
	return e;
}

static err_t
own_inodes(struct merge *m)
{
	err_t e = 0;

	for (uint32_t k = 0; k < m->c->inode_count && !e; k++) {
		const struct change_inode *ch = &m->c->inodes[k];
		struct touched *t = NULL;

		if ((e = merge_touch(m, ch->ino, &t)))
			return e;
		if (t->inode) {
			e = own_inode(m, t->inode, ch);
		} else if (ch->fields & CHANGE_NEW) {
			/* Made, written to a commit, and removed before the commit was in the chain: what it was is kept without
			 * a name until the chain has agreed to that, too. */
			if (!(e = meta_inode_adopt(m->meta, ch->ino, &t->inode)))
				e = merge_fill(m, t->inode, ch);
		}
	}
	return e;
}

static err_t
own_names(struct merge *m)
{
	for (uint32_t k = 0; k < m->c->dentry_count; k++) {
		const struct change_dentry *d = &m->c->dentries[k];
		struct touched *t = NULL;
		struct dentry now;
		err_t e = merge_lookup(m, d->parent, d->name, &now);

		if (e)
			return e;
		if (now.chain_ino == d->ino)
			continue;
		if (now.chain_ino) {
			if ((e = merge_touch(m, now.chain_ino, &t)))
				return e;
			t->chain_names--;
		}
		if (d->ino) {
			if ((e = merge_touch(m, d->ino, &t)))
				return e;
			t->chain_names++;
		}
		if ((e = meta_dentry_set_chain(m->meta, d->parent, d->name, d->ino)))
			return e;
	}
	return 0;
}

err_t
merge_apply_own(const struct merge_context *mc, const struct changes *c, err_t (*commit)(void *ctx), void *ctx)
{
	CLEANUP(merge_unlock_files) struct held_files held = {0};
	CLEANUP(merge_clear) struct merge m = {0};
	err_t e = merge_learn_segments(mc, c);

	/* Of moves: who reads meanwhile must not find the old place gone. */
	if (!e)
		e = merge_lock_files(&held, mc->content, c, UINT32_MAX);
	if (e)
		return e;
	meta_lock(mc->meta);
	e = merge_begin(&m, mc, c);
	if (!e) {
		if (!(e = merge_add_segments(&m)) && !(e = own_inodes(&m)) && !(e = own_names(&m)))
			e = merge_settle_inodes(&m);
		if (!e)
			e = merge_drops(&m);
		if (!e && commit)
			e = commit(ctx);
		if (e)
			meta_poison(mc->meta, e);
	}
	meta_unlock(mc->meta);
	return e;
}
