/*
 * merge_settle.c: what follows from a merge's names.  Directories that hold something must be somewhere, none may be its own
 * ancestor, what the chain has lost is introduced again or removed, and link counts say what is so.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "merge_state.h"

/* The chain had it and has it no more. */
static bool
is_lost(const struct touched *t)
{
	return t->inode && t->known && t->chain_names == 0;
}

/* Puts it back where the commit took it away, or beside that. */
static err_t
relink_taken(struct merge *m, struct touched *t)
{
	const struct change_dentry *at = t->taken;
	uint8_t type = (uint8_t)IFTODT(t->type);
	char used[NAME_LEN_MAX + 1];
	struct dentry d;
	err_t e = merge_lookup(m, at->parent, at->name, &d);

	if (e)
		return e;
	if (!d.ino && !d.chain_ino)
		return merge_link(m, at->parent, at->name, t->ino, type);
	return merge_link_beside(m, at->parent, at->name, t->ino, type, used);
}

/*
 * A file that lost its last name here by the commit.  If the chain has other names of it, we had deleted those, and nobody
 * has deleted the file: they are there again.  If it has none but was changed here, it keeps its name.
 */
err_t
merge_keep_changed(struct merge *m)
{
	struct touched *t, *next;
	err_t e;

	HASH_ITER(hh, m->touched, t, next) {
		if (!t->inode || merge_is_dir(t) || merge_is_named(t) || !t->taken)
			continue;
		if (t->chain_names > 0 && (e = merge_revive(m, t)))
			return e;
		if (t->chain_names == 0 && t->inode->pending & PENDING_CONTENT && (e = relink_taken(m, t)))
			return e;
	}
	return 0;
}

/* A directory that they deleted, that we had moved, and that holds nothing: it goes. */
static err_t
drop_empty(struct merge *m, bool *changed)
{
	struct touched *t, *next;
	struct dentry at;
	err_t e;

	*changed = false;
	HASH_ITER(hh, m->touched, t, next) {
		if (!is_lost(t) || !merge_is_dir(t) || !t->named || t->inode->entry_count)
			continue;
		if ((e = merge_find_local_name(m, t, &at)) || (e = merge_unlink(m, at.parent, at.name)))
			return e;
		*changed = true;
	}
	return 0;
}

/* They deleted it, and something new is inside. */
static err_t
keep_directory(struct merge *m, struct touched *t)
{
	struct touched *there = NULL;
	char used[NAME_LEN_MAX + 1];
	struct dentry d;
	err_t e;

	if (!t->taken)
		return merge_link_beside(m, INODE_ROOT, "directory", t->ino, DT_DIR, used);
	if ((e = merge_lookup(m, t->taken->parent, t->taken->name, &d)))
		return e;
	if (d.ino) {
		if ((e = merge_touch(m, d.ino, &there)))
			return e;
		if (merge_is_dir(there)) /* they made another one there */
			return merge_pour(m, t->ino, d.ino);
	}
	return relink_taken(m, t);
}

static err_t
name_directory(struct merge *m, struct touched *t)
{
	struct dentry d;
	err_t e = merge_find_chain_name(m, t, &d);

	if (e == -ENOENT)
		return keep_directory(m, t);
	if (e || (e = merge_place(m, d.parent, d.name, t->ino, DT_DIR)))
		return e;
	return merge_note(m, NOTE_BACK, d.parent, d.name, "");
}

static err_t
name_directories(struct merge *m, bool *changed)
{
	struct touched *t, *next;
	err_t e;

	HASH_ITER(hh, m->touched, t, next) {
		if (!t->inode || !merge_is_dir(t) || t->named || !t->inode->entry_count)
			continue;
		if ((e = name_directory(m, t)))
			return e;
		*changed = true;
	}
	return 0;
}

/* One step up here; 0 at the root, or where a directory has no place yet. */
static err_t
step_up(struct merge *m, uint64_t ino, uint64_t *out)
{
	struct touched *t = NULL;
	err_t e;

	*out = 0;
	if (ino == 0 || ino == INODE_ROOT)
		return 0;
	if ((e = merge_touch(m, ino, &t)))
		return e;
	if (t->inode && t->named)
		*out = t->inode->parent;
	return 0;
}

/* A member of the cycle that one comes into on the way up from ino, or 0 (Floyd's two runners). */
static err_t
find_cycle(struct merge *m, uint64_t ino, uint64_t *out)
{
	uint64_t slow = ino;
	uint64_t fast = ino;
	err_t e;

	do {
		if ((e = step_up(m, slow, &slow)) || (e = step_up(m, fast, &fast)) || (e = step_up(m, fast, &fast)))
			return e;
	} while (fast && slow != fast);
	*out = fast;
	return 0;
}

/* The chain has no cycles, so somebody in this one was moved here: it goes back to where the chain has it. */
static err_t
break_cycle(struct merge *m, uint64_t member)
{
	char used[NAME_LEN_MAX + 1];
	struct touched *t = NULL;
	uint64_t at = member;
	struct dentry d;
	err_t e;

	do {
		if ((e = merge_touch(m, at, &t)))
			return e;
		e = merge_find_chain_name(m, t, &d);
		if (!e && d.parent != t->inode->parent) {
			if ((e = merge_place(m, d.parent, d.name, at, DT_DIR)))
				return e;
			return merge_note(m, NOTE_MOVE, d.parent, d.name, "");
		}
		if ((e && e != -ENOENT) || (e = step_up(m, at, &at)))
			return e;
	} while (at != member);
	if ((e = merge_touch(m, member, &t)) || (e = merge_find_local_name(m, t, &d)) ||
	    (e = merge_unlink(m, d.parent, d.name)))
		return e;
	return merge_link_beside(m, INODE_ROOT, d.name, member, DT_DIR, used);
}

static err_t
break_cycles(struct merge *m, bool *changed)
{
	struct touched *t, *next;
	err_t e;

	HASH_ITER(hh, m->touched, t, next) {
		uint64_t member = 0;

		if (!t->moved)
			continue;
		t->moved = false;
		if ((e = find_cycle(m, t->ino, &member)))
			return e;
		if (!member)
			continue;
		if ((e = break_cycle(m, member)))
			return e;
		t->moved = true; /* there may be another */
		*changed = true;
	}
	return 0;
}

err_t
merge_settle_tree(struct merge *m)
{
	bool changed;
	err_t e;

	do {
		if ((e = drop_empty(m, &changed)))
			return e;
	} while (changed);
	do {
		changed = false;
		if ((e = name_directories(m, &changed)) || (e = break_cycles(m, &changed)))
			return e;
	} while (changed);
	return 0;
}

static err_t
make_xattrs_new(struct merge *m, struct inode *i)
{
	struct xattr_list *l = NULL;
	uint32_t kept = 0;
	err_t e;

	if (!i->has_xattrs)
		return 0;
	if ((e = meta_xattrs_get(m->meta, i, &l)))
		return e;
	for (uint32_t k = 0; k < l->count; k++) {
		if (l->v[k].deleted) {
			free(l->v[k].name);
			continue;
		}
		l->v[kept] = l->v[k];
		l->v[kept++].pending = true;
	}
	l->count = kept;
	meta_xattrs_dirty(m->meta, i);
	return 0;
}

/* The chain has it no more, but it stays here: everything about it is pending. */
static err_t
make_new(struct merge *m, struct inode *i)
{
	err_t e = make_xattrs_new(m, i);

	if (e || (S_ISREG(i->mode) && (e = merge_make_content_new(m, i))))
		return e;
	i->pending = PENDING_NEW | PENDING_MODE | PENDING_OWNER | PENDING_MTIME;
	i->pending |= i->has_xattrs ? PENDING_XATTR : 0u;
	i->pending |= S_ISREG(i->mode) ? PENDING_CONTENT : 0u;
	meta_inode_dirty(m->meta, i);
	return 0;
}

static err_t
note_kept(struct merge *m, struct touched *t)
{
	struct dentry d;
	err_t e = merge_find_local_name(m, t, &d);

	if (e)
		return e == -ENOENT ? 0 : e;
	return merge_note(m, NOTE_KEPT, d.parent, d.name, "");
}

/* Nobody has it any more.  One with a long map stays, without a name, until that is gone in steps: this makes it as short as it can be. */
static err_t
remove_inode(struct merge *m, struct inode *i)
{
	bool later = false;
	err_t e = S_ISREG(i->mode) ? merge_leave(m, i, 0, &later) : 0;

	if (e || !later)
		return e ? e : meta_inode_remove(m->meta, i);
	i->size = i->chain_size = 0;
	i->nlink = 0;
	i->pending = PENDING_NEW;
	meta_inode_dirty(m->meta, i);
	return merge_left_note(&m->mc->left->removed, &m->mc->left->removed_count, i->ino);
}

/* What the chain does not have stays if it has a name here, or as an orphan while the kernel knows it. */
static err_t
settle_absent(struct merge *m, struct touched *t)
{
	bool named = merge_is_named(t);
	err_t e;

	if (!named && !merge_kernel_knows(m, t->ino)) {
		e = remove_inode(m, t->inode);
		t->inode = NULL;
		return e;
	}
	if (t->inode->pending & PENDING_NEW)
		return 0;
	if (named && m->placing && (e = note_kept(m, t)))
		return e;
	return make_new(m, t->inode);
}

/* A directory that we had deleted and that is there again. */
static bool
is_back(const struct touched *t)
{
	return t->inode && t->known && merge_is_dir(t) && !t->was_named && t->named;
}

err_t
merge_settle_inodes(struct merge *m)
{
	struct touched *t, *next;
	err_t e;

	HASH_ITER(hh, m->touched, t, next) {
		if (!t->inode || t->ino == INODE_ROOT)
			continue;
		if (merge_is_dir(t) && !t->named && t->inode->nlink) {
			t->inode->nlink = 0;
			meta_inode_dirty(m->meta, t->inode);
		}
		if (t->chain_names <= 0 && (e = settle_absent(m, t)))
			return e;
		if (is_back(t) && !t->inode->pending) {
			t->inode->pending = PENDING_CTIME; /* removing it here had moved it */
			meta_inode_dirty(m->meta, t->inode);
		}
	}
	return 0;
}
