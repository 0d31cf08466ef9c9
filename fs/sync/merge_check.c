/*
 * merge_check.c: does a commit make sense in the chain so far?  Everything that whoever wrote it controls is checked here,
 * before anything changes: that parents, inodes and types are there and agree, that a directory has one name and no
 * entries when it goes, and that no directory becomes its own ancestor.  Looks only at the chain's values, so that every
 * device comes to the same answer.
 */
#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "changes_array.h"
#include "merge_state.h"

static err_t
check_segments(struct merge *m)
{
	for (uint32_t k = 0; k < m->c->segment_count; k++) {
		const struct change_segment *cs = &m->c->segments[k];
		struct segment s = {0};
		err_t e = meta_segment_find(m->meta, cs->name, &s);

		if (e == -ENOENT)
			continue;
		if (e)
			return e;
		if (s.kind != SEGMENT_SETTLED || s.size != cs->size || memcmp(s.sha256, cs->sha256, sizeof(s.sha256)) != 0)
			return -EBADMSG;
	}
	return 0;
}

/* Nothing is dropped and pointed at by one commit. */
static err_t
check_drops(const struct changes *c)
{
	struct change_drop key;

	for (uint32_t k = 0; k < c->segment_count && c->drop_count; k++) {
		memcpy(key.name, c->segments[k].name, sizeof(key.name));
		if (bsearch(&key, c->drops, c->drop_count, sizeof(key), changes_compare_drops))
			return -EBADMSG;
	}
	return 0;
}

static err_t
check_inode(struct merge *m, const struct change_inode *ch)
{
	struct touched *t = NULL;
	err_t e = merge_touch(m, ch->ino, &t);

	if (e)
		return e;
	if (t->inode && t->type != (ch->mode & S_IFMT))
		return -EBADMSG;
	if (!(ch->fields & CHANGE_NEW))
		return t->known ? 0 : -EBADMSG;
	t->type = ch->mode & S_IFMT;
	if (ch->ino == INODE_ROOT) { /* everybody's from the start, and without a name */
		t->introduced = !t->inode;
		t->named = true;
		t->chain_names = 1;
		return merge_is_dir(t) ? 0 : -EBADMSG;
	}
	t->introduced = true;
	return t->known ? -EBADMSG : 0;
}

static bool
in_chain(const struct touched *t)
{
	return t->known || t->introduced || t->ino == INODE_ROOT;
}

static err_t
check_dentry(struct merge *m, uint32_t k)
{
	const struct change_dentry *d = &m->c->dentries[k];
	struct touched *parent = NULL, *old = NULL, *t = NULL;
	struct dentry now;
	err_t e;

	if ((e = merge_touch(m, d->parent, &parent)) || (e = merge_lookup(m, d->parent, d->name, &now)))
		return e;
	if (!in_chain(parent) || !merge_is_dir(parent))
		return -EBADMSG;
	m->old[k] = now.chain_ino;
	if (now.chain_ino == d->ino)
		return 0;
	if (now.chain_ino) {
		if ((e = merge_touch(m, now.chain_ino, &old)))
			return e;
		old->chain_names--;
	}
	if (!d->ino)
		return 0;
	if ((e = merge_touch(m, d->ino, &t)))
		return e;
	if (!in_chain(t) || d->ino == INODE_ROOT || IFTODT(t->type) != d->type)
		return -EBADMSG;
	t->chain_names++;
	return 0;
}

struct leftover {
	struct merge *m;
	uint64_t parent;
};

/* A name that the chain has in a directory that is about to go: the commit must take it away, too. */
static err_t
check_leftover(void *ctx, const struct dentry *d)
{
	struct leftover *l = ctx;
	struct change_dentry key = {.parent = l->parent};
	const struct change_dentry *found;

	if (!d->chain_ino)
		return 0;
	memcpy(key.name, d->name, sizeof(key.name));
	found = l->m->c->dentry_count ? bsearch(&key, l->m->c->dentries, l->m->c->dentry_count, sizeof(key),
	    changes_compare_dentries) : NULL;
	return found && !found->ino ? 0 : -EBADMSG;
}

static err_t
check_directory(struct merge *m, struct touched *t)
{
	struct leftover l = {m, t->ino};

	if (t->ino == INODE_ROOT)
		return 0;
	if (t->chain_names > 1)
		return -EBADMSG;
	if (t->chain_names == 1 || !t->known)
		return 0;
	return meta_dentry_scan_all(m->meta, t->ino, 0, check_leftover, &l);
}

/* Whoever gets a name needs a parent that has one. */
static err_t
check_parents(struct merge *m)
{
	for (uint32_t k = 0; k < m->c->dentry_count; k++) {
		struct touched *parent = NULL;
		err_t e;

		if (!m->c->dentries[k].ino)
			continue;
		if ((e = merge_touch(m, m->c->dentries[k].parent, &parent)))
			return e;
		if (parent->chain_names != 1)
			return -EBADMSG;
	}
	return 0;
}

/* Where the chain will have a directory. */
static uint64_t
chain_parent(const struct merge *m, const struct touched *t)
{
	size_t count = 0;
	size_t first = merge_given_range(m, t->ino, &count);

	if (count)
		return m->given[first]->parent;
	first = merge_pending_range(m->by_chain, m->pending_count, true, t->ino, &count);
	if (count)
		return m->by_chain[first]->parent;
	return t->inode ? t->inode->parent : 0;
}

/* Walks up to the root, or to where an earlier walk has found it. */
static err_t
check_rooted(struct merge *m, uint64_t ino)
{
	uint64_t walk = ++m->walks;
	struct touched *t = NULL;
	err_t e;

	for (uint64_t at = ino; at != INODE_ROOT; at = chain_parent(m, t)) {
		if (!at)
			return -EBADMSG;
		if ((e = merge_touch(m, at, &t)))
			return e;
		if (t->rooted)
			break;
		if (t->walk == walk || !in_chain(t) || !merge_is_dir(t))
			return -EBADMSG;
		t->walk = walk;
	}
	for (uint64_t at = ino; at != INODE_ROOT; at = chain_parent(m, t)) {
		if ((e = merge_touch(m, at, &t)))
			return e;
		if (t->rooted)
			break;
		t->rooted = true;
	}
	return 0;
}

static err_t
check_no_cycle(struct merge *m)
{
	for (uint32_t k = 0; k < m->c->dentry_count; k++) {
		const struct change_dentry *d = &m->c->dentries[k];
		err_t e;

		if (d->ino && d->type == DT_DIR && (e = check_rooted(m, d->ino)))
			return e;
	}
	return 0;
}

err_t
merge_check(struct merge *m)
{
	struct touched *t, *next;
	err_t e = check_segments(m);

	if (!e)
		e = check_drops(m->c);
	for (uint32_t k = 0; k < m->c->inode_count && !e; k++)
		e = check_inode(m, &m->c->inodes[k]);
	for (uint32_t k = 0; k < m->c->dentry_count && !e; k++)
		e = check_dentry(m, k);
	if (e)
		return e;
	HASH_ITER(hh, m->touched, t, next) {
		if (merge_is_dir(t) && (e = check_directory(m, t)))
			return e;
	}
	if ((e = check_parents(m)))
		return e;
	return check_no_cycle(m);
}
