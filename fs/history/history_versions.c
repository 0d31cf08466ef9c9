/*
 * What became of a file: the commits that mention it, read backwards from the head, twice.
 *
 * A commit names files by number, and of a name says which file it leads to from then on, not which one it led to.  Many
 * programs save by writing a new file and giving it the old one's name.  So the first walk finds out which files had the name;
 * the second, what was done to each of them until it lost it, under this name or an earlier one.
 *
 * Whose name it was that was taken away is shown by the tree as it was before, if no commit in between says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"

/* With a change of ctime alone a commit gives the mtime, too: whether that is another one the version before shows. */
#define MAYBE_TIMES (1u << 16)

void
history_versions_clear(struct history_versions *l)
{
	free(l->v);
	*l = (struct history_versions){ 0 };
}

err_t
history_versions_add(struct history_versions *l, const struct history_version *v)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct history_version *grown = reallocarray(l->v, cap, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		l->v = grown;
		l->cap = cap;
	}
	l->v[l->count++] = *v;
	return 0;
}

/* One commit. */

static int
by_ino(const void *key, const void *element)
{
	uint64_t ino = *(const uint64_t *)key;
	const struct change_inode *ci = element;

	return ino < ci->ino ? -1 : ino > ci->ino;
}

static const struct change_inode *
find_inode(const struct changes *c, uint64_t ino)
{
	return c->inode_count == 0 ? NULL : bsearch(&ino, c->inodes, c->inode_count, sizeof(c->inodes[0]), by_ino);
}

static void
look_at_inode(const struct change_inode *ci, struct history_version *v)
{
	if (ci->fields & CHANGE_NEW)
		v->changes |= HISTORY_CREATED;
	if (ci->fields & CHANGE_CONTENT) {
		v->changes |= HISTORY_CONTENT;
		v->has_size = true;
		v->size = ci->size;
	} else if (ci->fields & CHANGE_MTIME) {
		v->changes |= MAYBE_TIMES;
	}
	if (ci->fields & (CHANGE_MODE | CHANGE_OWNER | CHANGE_XATTR) && !(ci->fields & CHANGE_NEW))
		v->changes |= HISTORY_ATTRIBUTES;
	if (ci->fields & CHANGE_MTIME) {
		v->has_mtime = true;
		v->mtime = ci->mtime;
	}
	v->ctime = ci->ctime;
}

static void
look_at_names(const struct changes *c, uint64_t ino, struct history_version *v)
{
	for (uint32_t i = 0; i < c->dentry_count; i++) {
		const struct change_dentry *d = &c->dentries[i];

		if (d->parent == ino)
			v->changes = (v->changes & ~MAYBE_TIMES) | HISTORY_CONTENT;
		if (d->ino != ino)
			continue;
		v->changes |= HISTORY_NAMED;
		memcpy(v->name, d->name, sizeof(v->name));
	}
}

/*
 * Whatever changes a file moves its ctime.  Where the last version has that of this one, nothing that a person would call
 * a change had happened between them: its bytes were only put into another segment, or under another key.
 */
static bool
is_same(const struct history_version *newer, const struct history_version *older)
{
	return newer->changes == HISTORY_CONTENT && older->ctime.tv_sec == newer->ctime.tv_sec &&
	    older->ctime.tv_nsec == newer->ctime.tv_nsec;
}

/* A file that had the name, before commit `end`. */
struct holder {
	uint64_t ino;
	uint64_t end;
	size_t last; /* its version that was found last, as an index and one: 0: none yet */
};

static err_t
take_commit(const struct past_commit *c, struct holder *h, struct history_versions *out)
{
	const struct change_inode *ci = find_inode(c->changes, h->ino);
	struct history_version seen = { .seq = c->seq, .time_ns = c->time_ns, .ino = h->ino };
	err_t err;

	if (ci != NULL)
		look_at_inode(ci, &seen);
	look_at_names(c->changes, h->ino, &seen);
	if (seen.changes == 0)
		return 0;
	memccpy(seen.device, c->device, '\0', sizeof(seen.device) - 1);
	if (ci != NULL && h->last > 0 && is_same(&out->v[h->last - 1], &seen)) {
		out->v[h->last - 1] = seen;
		return 0;
	}
	if ((err = history_versions_add(out, &seen)) == 0)
		h->last = out->count;
	return err;
}

static bool
has_other_mtime(const struct history_versions *l, size_t i)
{
	const struct history_version *v = &l->v[i], *older = NULL;

	for (size_t k = i + 1; k < l->count && older == NULL; k++)
		if (l->v[k].ino == v->ino && l->v[k].has_mtime)
			older = &l->v[k];
	if (older == NULL)
		return (v->changes & ~MAYBE_TIMES) == 0;
	return older->mtime.tv_sec != v->mtime.tv_sec || older->mtime.tv_nsec != v->mtime.tv_nsec;
}

/* Decides on MAYBE_TIMES, and leaves out what then is no change at all. */
static void
drop_unchanged(struct history_versions *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++)
		if (l->v[i].changes & MAYBE_TIMES)
			l->v[i].changes = (l->v[i].changes & ~MAYBE_TIMES) | (has_other_mtime(l, i) ? (unsigned)HISTORY_ATTRIBUTES : 0u);
	for (size_t i = 0; i < l->count; i++)
		if (l->v[i].changes != 0)
			l->v[kept++] = l->v[i];
	l->count = kept;
}

/* Without a change of content the size is that of the version before.  last: of a file of which nothing is known but that. */
static void
fill_sizes(struct history_versions *l, const struct history_version *last)
{
	for (size_t i = l->count; i-- > 0;) {
		struct history_version *v = &l->v[i];
		const struct history_version *older = NULL;

		for (size_t k = i + 1; k < l->count && older == NULL && !v->has_size; k++)
			if (l->v[k].ino == v->ino && l->v[k].has_size)
				older = &l->v[k];
		if (older != NULL) {
			v->has_size = true;
			v->size = older->size;
		}
	}
	if (!last->has_size)
		return;
	for (size_t i = 0; i < l->count; i++)
		if (l->v[i].ino == last->ino) {
			if (l->v[i].has_size)
				return; /* older ones may have had another */
			l->v[i].has_size = true;
			l->v[i].size = last->size;
		}
}

/* The first walk: who had the name. */

struct holders {
	struct holder *v;
	size_t count;
};

static void
holders_clear(struct holders *l)
{
	free(l->v);
}

static err_t
add_holder(struct holders *l, uint64_t ino, uint64_t end)
{
	struct holder *v = reallocarray(l->v, l->count + 1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	l->v = v;
	v[l->count++] = (struct holder){ ino, end, 0 };
	return 0;
}

/* It led there from this commit on, until commit *end. */
static err_t
note_name(const struct past_commit *c, const struct trail *t, uint64_t *end, struct holders *l,
    struct history_versions *out)
{
	struct history_version gone = { .seq = c->seq, .time_ns = c->time_ns, .changes = HISTORY_UNNAMED };

	for (uint32_t i = 0; i < c->changes->dentry_count; i++) {
		const struct change_dentry *d = &c->changes->dentries[i];
		uint64_t until = *end;

		if (d->parent != t->folder || strcmp(d->name, t->name) != 0)
			continue;
		*end = c->seq;
		if (d->ino != 0)
			return l->count > 0 && l->v[l->count - 1].ino == d->ino ? 0 : add_holder(l, d->ino, until);
		memccpy(gone.device, c->device, '\0', sizeof(gone.device) - 1);
		memcpy(gone.name, t->name, sizeof(gone.name));
		return history_versions_add(out, &gone);
	}
	return 0;
}

static err_t
find_holders(const struct looking *k, struct trail *t, struct holders *l, struct history_versions *out)
{
	uint64_t end = t->from + 1;
	bool over = false;
	err_t err = t->holder.ino != 0 ? add_holder(l, t->holder.ino, end) : 0;

	for (uint64_t seq = t->from; err == 0 && !over; seq--) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };

		if ((err = past_read(k->p, seq, &c)) != 0 || (err = note_name(&c, t, &end, l, out)) != 0)
			return err;
		over = seq == 0 || c.time_ns < k->oldest_ns;
	}
	if (err != 0 || l->count > 0)
		return err;
	if (out->count == 0)
		return -ENOENT;
	/* It had the name since before the time that is looked at, and lost it in it. */
	if ((err = trail_look_up_then(k, end - 1, t)) != 0)
		return err;
	return t->holder.ino != 0 ? add_holder(l, t->holder.ino, end) : 0;
}

/* The second. */
static err_t
find_versions(const struct looking *k, const struct trail *t, struct holders *l, struct history_versions *out)
{
	bool over = false;
	err_t err;

	for (uint64_t seq = t->from; !over; seq--) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };

		if ((err = past_read(k->p, seq, &c)) != 0)
			return err;
		for (size_t i = 0; i < l->count; i++)
			if (seq < l->v[i].end && (err = take_commit(&c, &l->v[i], out)) != 0)
				return err;
		over = seq == 0 || c.time_ns < k->oldest_ns;
		out->complete = seq == 0;
	}
	return 0;
}

static int
newest_first(const void *a, const void *b)
{
	const struct history_version *x = a, *y = b;

	return x->seq < y->seq ? 1 : x->seq > y->seq ? -1 : 0;
}

static err_t
add_removal(const struct trail *t, struct history_versions *out)
{
	struct history_version gone = t->removal;

	if (gone.changes == 0 || t->holder.ino == 0)
		return 0;
	memcpy(gone.name, t->name, sizeof(gone.name));
	return history_versions_add(out, &gone);
}

/* In the newest folder of that path in which something had the name. */
static err_t
find_names(const struct looking *k, struct trail *t, struct holders *holders, struct history_versions *out)
{
	err_t err = trail_lead(k, t);

	while (err == 0 && (err = add_removal(t, out)) == 0 && (err = find_holders(k, t, holders, out)) == -ENOENT)
		if ((err = trail_go_back(k, t)) == 0)
			err = trail_lead(k, t);
	return err;
}

err_t
history_versions_of(struct history *h, struct sync *s, struct past *p, struct vfs *now, const char *path,
    uint64_t oldest_ns, struct history_versions *out)
{
	CLEANUP(history_versions_clear) struct history_versions l = { 0 };
	CLEANUP(holders_clear) struct holders holders = { 0 };
	CLEANUP(trail_clear) struct trail t = { 0 };
	const struct looking k = { h, s, p, oldest_ns };
	err_t err;

	if ((err = trail_begin(&k, now, path, &t)) != 0)
		return err;
	l.deleted = t.holder.ino == 0 || t.unheard;
	if ((err = find_names(&k, &t, &holders, &l)) != 0 || (err = find_versions(&k, &t, &holders, &l)) != 0)
		return err;
	if (l.count > 0)
		qsort(l.v, l.count, sizeof(l.v[0]), newest_first);
	drop_unchanged(&l);
	fill_sizes(&l, &t.holder);
	*out = l;
	l = (struct history_versions){ 0 };
	return 0;
}

err_t
history_versions_last(struct history *h, struct sync *s, struct past *p, struct vfs *now, const char *path,
    uint64_t oldest_ns, uint64_t *seq_out)
{
	CLEANUP(trail_clear) struct trail t = { 0 };
	const struct looking k = { h, s, p, oldest_ns };
	err_t err = trail_begin(&k, now, path, &t);

	while (err == 0 && t.holder.ino == 0)
		err = trail_go_back(&k, &t);
	if (err == 0)
		*seq_out = t.from;
	return err;
}
