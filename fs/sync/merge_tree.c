/*
 * merge_tree.c: a foreign commit's names.  In three rounds over all of them: the chain's values move on and names that were
 * as the chain had them are taken away; what was moved on both sides loses its name of here; the new names are given.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "merge_state.h"

/*
 * Of a name that the kernel does not know it takes no notice, and keeps its list of the folder; the commit need not mention the folder,
 * if the name is one of ours.  And the number of names changed.
 */
static err_t
tell_name(struct merge *m, const struct touched *parent, const char *name, const struct touched *named)
{
	err_t e = merge_tell_entry(m, parent->ino, name);

	if (!e && !(e = merge_tell_inode(m, parent->ino)))
		e = merge_tell_inode(m, named->ino);
	return e;
}

err_t
merge_link(struct merge *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct touched *p = NULL, *t = NULL;
	err_t e;

	if ((e = merge_touch(m, parent, &p)) || (e = merge_touch(m, ino, &t)))
		return e;
	if ((e = meta_dentry_set(m->meta, parent, name, ino, type)))
		return e;
	p->inode->entry_count++;
	t->inode->parent = parent;
	if (merge_is_dir(t)) {
		p->inode->nlink++;
		t->named = t->moved = true;
	} else {
		t->inode->nlink++;
	}
	meta_inode_dirty(m->meta, p->inode);
	meta_inode_dirty(m->meta, t->inode);
	return tell_name(m, p, name, t);
}

err_t
merge_unlink(struct merge *m, uint64_t parent, const char *name)
{
	struct touched *p = NULL, *t = NULL;
	struct dentry d;
	err_t e = merge_lookup(m, parent, name, &d);

	if (e || !d.ino)
		return e;
	if ((e = merge_touch(m, parent, &p)) || (e = merge_touch(m, d.ino, &t)) ||
	    (e = meta_dentry_set(m->meta, parent, name, 0, 0)))
		return e;
	p->inode->entry_count--;
	if (merge_is_dir(t)) {
		p->inode->nlink--;
		t->named = false;
	} else {
		t->inode->nlink--;
	}
	meta_inode_dirty(m->meta, p->inode);
	meta_inode_dirty(m->meta, t->inode);
	return tell_name(m, p, name, t);
}

/* The first conflict name that neither this device nor the chain has there. */
static err_t
find_free_name(struct merge *m, uint64_t parent, const char *name, char out[static NAME_LEN_MAX + 1])
{
	for (unsigned n = 1; n < UINT32_MAX; n++) {
		struct dentry *d = NULL;
		err_t e;

		merge_conflict_name(name, m->mc->my_name, m->mc->now, n, out);
		e = meta_dentry_get(m->meta, parent, out, &d);
		if (e)
			return e == -ENOENT ? 0 : e;
	}
	return -EEXIST;
}

err_t
merge_link_beside(struct merge *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type,
    char used_out[static NAME_LEN_MAX + 1])
{
	err_t e = find_free_name(m, parent, name, used_out);

	return e ? e : merge_link(m, parent, used_out, ino, type);
}

/* Takes away a name that only is so here.  If it stood in the way of a file of the chain, that is there again. */
static err_t
drop_name(struct merge *m, uint64_t parent, const char *name)
{
	struct touched *below = NULL;
	struct dentry d;
	err_t e;

	if ((e = merge_unlink(m, parent, name)) || (e = merge_lookup(m, parent, name, &d)) || !d.chain_ino)
		return e;
	if ((e = merge_touch(m, d.chain_ino, &below)))
		return e;
	if (!below->inode || merge_is_dir(below) || merge_is_named(below))
		return 0;
	return merge_link(m, parent, name, below->ino, (uint8_t)IFTODT(below->type));
}

/* Names to be worked through, collected first: a scan's callback may not change names. */
struct name_list {
	struct dentry *v;
	size_t count;
	size_t cap;
};

static void
name_list_clear(struct name_list *l)
{
	free(l->v);
}

static err_t
name_list_add(void *list, const struct dentry *d)
{
	struct name_list *l = list;

	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct dentry *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = *d;
	return 0;
}

/* Two directories that have to become one, to be worked through one after the other: no recursion, however deep it goes. */
struct pair_list {
	struct pair {
		uint64_t from;
		uint64_t to;
	} *v;
	size_t count;
	size_t cap;
};

static void
pair_list_clear(struct pair_list *l)
{
	free(l->v);
}

static err_t
pair_list_add(struct pair_list *l, uint64_t from, uint64_t to)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct pair *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = (struct pair){from, to};
	return 0;
}

/* A directory that the chain has never seen can be poured into another. */
static bool
can_pour(const struct touched *ours, const struct touched *theirs)
{
	return merge_is_dir(ours) && merge_is_dir(theirs) && ours->inode->pending & PENDING_NEW && !ours->introduced;
}

static err_t
pour_entry(struct merge *m, const struct dentry *d, uint64_t to, struct pair_list *more)
{
	struct touched *ours = NULL, *theirs = NULL;
	char used[NAME_LEN_MAX + 1];
	struct dentry there;
	err_t e;

	if ((e = merge_unlink(m, d->parent, d->name)) || (e = merge_lookup(m, to, d->name, &there)))
		return e;
	if (!there.ino)
		return merge_link(m, to, d->name, d->ino, d->type);
	if ((e = merge_touch(m, d->ino, &ours)) || (e = merge_touch(m, there.ino, &theirs)))
		return e;
	if (can_pour(ours, theirs))
		return pair_list_add(more, d->ino, there.ino);
	if ((e = merge_link_beside(m, to, d->name, d->ino, d->type, used)))
		return e;
	return merge_note(m, NOTE_NAME, to, d->name, used);
}

err_t
merge_pour(struct merge *m, uint64_t from, uint64_t to)
{
	CLEANUP(pair_list_clear) struct pair_list todo = {0};
	err_t e = pair_list_add(&todo, from, to);

	while (!e && todo.count) {
		CLEANUP(name_list_clear) struct name_list names = {0};
		struct pair p = todo.v[--todo.count];

		e = meta_dentry_scan(m->meta, p.from, 0, name_list_add, &names);
		for (size_t k = 0; k < names.count && !e; k++)
			e = pour_entry(m, &names.v[k], p.to, &todo);
	}
	return e;
}

err_t
merge_place(struct merge *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct touched *t = NULL, *ours = NULL;
	char used[NAME_LEN_MAX + 1];
	struct dentry d;
	err_t e;

	if ((e = merge_touch(m, ino, &t)) || (e = merge_lookup(m, parent, name, &d)) || d.ino == ino)
		return e;
	if (merge_is_dir(t) && t->named) { /* it can be in one place only */
		struct dentry at;

		if ((e = merge_find_local_name(m, t, &at)) || (e = drop_name(m, at.parent, at.name)) ||
		    (e = merge_lookup(m, parent, name, &d)))
			return e;
	}
	if (!d.ino)
		return merge_link(m, parent, name, ino, type);
	if ((e = merge_touch(m, d.ino, &ours)) || (e = merge_unlink(m, parent, name)) ||
	    (e = merge_link(m, parent, name, ino, type)))
		return e;
	if (can_pour(ours, t))
		return merge_pour(m, d.ino, ino);
	if ((e = merge_link_beside(m, parent, name, d.ino, d.type, used)))
		return e;
	return merge_note(m, NOTE_NAME, parent, name, used);
}

err_t
merge_revive(struct merge *m, struct touched *t)
{
	struct dentry d;
	bool noted = false;
	err_t e;

	while (!(e = merge_find_chain_name(m, t, &d))) {
		if ((e = merge_place(m, d.parent, d.name, t->ino, (uint8_t)IFTODT(t->type))))
			return e;
		if (!noted && (e = merge_note(m, NOTE_BACK, d.parent, d.name, "")))
			return e;
		noted = true;
	}
	return e == -ENOENT ? 0 : e;
}

/* First round. */
static err_t
take_name(struct merge *m, uint32_t k)
{
	const struct change_dentry *d = &m->c->dentries[k];
	uint64_t old = m->old[k];
	struct touched *t = NULL;
	struct dentry now;
	err_t e;

	if (old == d->ino)
		return 0;
	if ((e = merge_lookup(m, d->parent, d->name, &now)) ||
	    (e = meta_dentry_set_chain(m->meta, d->parent, d->name, d->ino)))
		return e;
	if (!old || now.ino != old)
		return 0;
	if ((e = merge_touch(m, old, &t)))
		return e;
	t->taken = d;
	return merge_unlink(m, d->parent, d->name);
}

/*
 * Second round: a directory that they moved loses the place where we had moved it; so does a file if it has only ever had
 * one name on both sides (otherwise ours is just one more name).
 */
static err_t
drop_our_move(struct merge *m, uint32_t k)
{
	const struct change_dentry *d = &m->c->dentries[k];
	struct touched *t = NULL;
	struct dentry at;
	err_t e;

	if (!d->ino || m->old[k] == d->ino)
		return 0;
	if ((e = merge_touch(m, d->ino, &t)))
		return e;
	if (!t->inode || !merge_is_named(t))
		return 0;
	if (!merge_is_dir(t) && (!t->known || t->inode->nlink != 1 || t->chain_before != 1 || t->chain_names != 1))
		return 0;
	e = merge_find_local_name(m, t, &at);
	if (e)
		return e == -ENOENT ? 0 : e;
	if (at.chain_ino == t->ino) /* both moved it to the same place, or here it is where the chain has it */
		return 0;
	if ((e = drop_name(m, at.parent, at.name)))
		return e;
	return t->known ? merge_note(m, NOTE_MOVE, d->parent, d->name, "") : 0;
}

/* They moved a directory that we had deleted: all of it is there again. */
static err_t
revive_below(struct merge *m, uint64_t ino)
{
	CLEANUP(pair_list_clear) struct pair_list todo = {0};
	err_t e = pair_list_add(&todo, ino, 0);

	while (!e && todo.count) {
		CLEANUP(name_list_clear) struct name_list names = {0};
		uint64_t dir = todo.v[--todo.count].from;

		e = meta_dentry_scan_all(m->meta, dir, 0, name_list_add, &names);
		for (size_t k = 0; k < names.count && !e; k++) {
			const struct dentry *d = &names.v[k];
			struct touched *t = NULL;

			if (d->ino || !d->chain_ino)
				continue;
			if ((e = merge_touch(m, d->chain_ino, &t)))
				break;
			if (!t->inode || !t->known || t->was_named || merge_is_named(t))
				continue;
			e = merge_link(m, dir, d->name, t->ino, (uint8_t)IFTODT(t->type));
			if (!e && merge_is_dir(t))
				e = pair_list_add(&todo, t->ino, 0);
		}
	}
	return e;
}

/* Third round. */
static err_t
give_name(struct merge *m, uint32_t k)
{
	const struct change_dentry *d = &m->c->dentries[k];
	struct touched *t = NULL;
	bool was_deleted;
	err_t e;

	if (!d->ino || m->old[k] == d->ino)
		return 0;
	if ((e = merge_touch(m, d->ino, &t)))
		return e;
	was_deleted = t->known && !t->was_named && !merge_is_named(t);
	if ((e = merge_place(m, d->parent, d->name, d->ino, d->type)) || !was_deleted)
		return e;
	if ((e = merge_note(m, NOTE_BACK, d->parent, d->name, "")))
		return e;
	return merge_is_dir(t) ? revive_below(m, t->ino) : 0;
}

err_t
merge_names(struct merge *m)
{
	uint32_t count = m->c->dentry_count;
	err_t e = 0;

	for (uint32_t k = 0; k < count && !e; k++)
		e = take_name(m, k);
	for (uint32_t k = 0; k < count && !e; k++)
		e = drop_our_move(m, k);
	for (uint32_t k = 0; k < count && !e; k++)
		e = give_name(m, k);
	return e;
}
