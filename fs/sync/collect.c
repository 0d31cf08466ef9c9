/*
 * What the next commit says: one consistent cut of what is pending, taken under the meta lock.
 *
 * A commit must be applicable on its own.  So an inode is introduced together with a name of it; a name only in a directory
 * that the chain knows or that is introduced with it; and names that the chain has something under (moves, replacements,
 * deletions) all go into one commit, since half of a move would be a loss; but a file that is replaced by one whose content is
 * not in the store yet may stay until it is.  What is left, new names of new files, may be
 * spread over several commits, directories first.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine.h"

#define COMMIT_INODES 50000u
#define COMMIT_COST (32u << 20)
/* A file whose map of extents is larger than that fits no commit. */
#define INODE_COST_MAX (96u << 20)

struct collecting {
	struct sync *s;
	struct meta *m;
	struct changes *c;
	bool partial;
	struct dentry *dentries;
	size_t dentry_count;
	bool *done; /* by dentry: in this commit, or left out for good */
	struct numset *dirs;       /* directories with pending names: which of `dentries` it is */
	struct numset *introduced; /* new inodes in this commit */
	struct numset *left;       /* new inodes that are not to be in it */
	size_t cost;
	struct collected *out;
};

static void
collecting_clear(struct collecting *b)
{
	numset_clear(&b->dirs);
	numset_clear(&b->introduced);
	numset_clear(&b->left);
	changes_free(b->c);
	free(b->dentries);
	free(b->done);
}

static bool
is_full(const struct collecting *b)
{
	return b->c->inode_count >= COMMIT_INODES || b->cost >= COMMIT_COST;
}

/* Inodes. */

/* READY: all that the chunk points at is in the store; NEVER: some of it is damaged or gone here, and can't come there. */
enum readiness { READY, LATER, NEVER };

static enum readiness
readiness_of(struct sync *s, const struct segment *seg)
{
	bool unsound;

	if (seg->kind != SEGMENT_SETTLED)
		return LATER;
	if (seg->in_store || upload_is_done(s, seg->id))
		return READY;
	pthread_mutex_lock(&s->lock);
	unsound = numset_has(s->unsound, seg->id);
	pthread_mutex_unlock(&s->lock);
	return unsound || !seg->local ? NEVER : LATER;
}

static err_t
look_at_chunk(struct collecting *b, const struct chunk *c, enum readiness *out)
{
	uint64_t last_seg = UINT64_MAX;
	struct segment seg;
	enum readiness worst = READY;
	err_t err;

	for (uint32_t k = 0; k < c->current.count && worst != NEVER; k++) {
		enum readiness one;

		if (c->current.v[k].seg == last_seg)
			continue;
		last_seg = c->current.v[k].seg;
		if ((err = meta_segment_get(b->m, last_seg, &seg)) != 0)
			return err;
		one = readiness_of(b->s, &seg);
		worst = one > worst ? one : worst;
	}
	*out = worst;
	return 0;
}

struct content_check {
	enum readiness readiness; /* of all */
	size_t cost;
};

/* Looks at a file's pending chunks before any of them is taken. */
static err_t
check_content(struct collecting *b, struct inode *i, const uint64_t *nos, size_t count, struct content_check *out)
{
	struct content_check cc = { .readiness = numset_has(b->s->damaged, i->ino) ? NEVER : READY };
	struct chunk *c;
	err_t err;

	for (size_t k = 0; k < count; k++) {
		enum readiness one;

		if ((err = meta_chunk_get(b->m, i, nos[k], false, &c)) != 0 || (err = look_at_chunk(b, c, &one)) != 0)
			return err;
		if (one == READY)
			cc.cost += describe_chunk_cost(c);
		cc.readiness = one > cc.readiness ? one : cc.readiness;
	}
	*out = cc;
	return 0;
}

static err_t
take_chunks(struct collecting *b, struct inode *i, const uint64_t *nos, size_t count, struct change_inode *ci)
{
	enum readiness readiness;
	struct chunk *c;
	err_t err;

	for (size_t k = 0; k < count; k++) {
		if ((err = meta_chunk_get(b->m, i, nos[k], false, &c)) != 0 || (err = look_at_chunk(b, c, &readiness)) != 0)
			return err;
		if (readiness != READY)
			continue;
		if ((err = describe_chunk(b->m, b->c, ci, c)) != 0)
			return err;
		b->cost += describe_chunk_cost(c);
	}
	return 0;
}

static uint32_t
fields_of(const struct inode *i)
{
	static const struct {
		uint32_t pending;
		uint32_t field;
	} map[] = {
		{ PENDING_MODE, CHANGE_MODE },
		{ PENDING_OWNER, CHANGE_OWNER },
		{ PENDING_MTIME, CHANGE_MTIME },
		{ PENDING_CTIME, CHANGE_MTIME },
		{ PENDING_XATTR, CHANGE_XATTR },
		{ PENDING_CONTENT, CHANGE_CONTENT },
	};
	uint32_t fields = 0;

	if (i->pending & PENDING_NEW)
		return CHANGE_NEW | CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME | CHANGE_XATTR |
		       (S_ISREG(i->mode) ? CHANGE_CONTENT : 0);
	for (size_t k = 0; k < ARRAY_LEN(map); k++)
		if (i->pending & map[k].pending)
			fields |= map[k].field;
	return fields;
}

/* It is for the next push: who makes files without end would be followed from one to the next. */
static bool
is_made_meanwhile(const struct collecting *b, uint64_t ino)
{
	return ino >> INODE_MEMBER_SHIFT == b->s->next_ino >> INODE_MEMBER_SHIFT && ino >= b->s->next_ino;
}

/* What can be said of the inode now.  *taken_out false: a new one that must wait. */
static err_t
take_inode(struct collecting *b, struct inode *i, bool *taken_out)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	struct content_check cc = { 0 };
	uint32_t fields = fields_of(i);
	struct change_inode *ci;
	size_t count = 0;
	err_t err;

	*taken_out = true;
	if (fields & CHANGE_CONTENT && ((err = meta_pending_chunks(b->m, i, &nos, &count)) != 0 ||
	    (err = check_content(b, i, nos, count, &cc)) != 0))
		return err;
	if (cc.cost > INODE_COST_MAX || cc.readiness == NEVER) {
		b->out->too_large = cc.readiness != NEVER;
		b->out->damaged = cc.readiness == NEVER;
		meta_path(b->m, i->ino, b->out->path, sizeof(b->out->path));
	} else if (cc.readiness == LATER) {
		b->out->unsettled = b->out->unsettled || !is_made_meanwhile(b, i->ino);
	}
	/* What can't come would be zeros elsewhere, and nothing would say so. */
	if (cc.cost > INODE_COST_MAX || cc.readiness == NEVER || (cc.readiness == LATER && !b->partial)) {
		*taken_out = (fields & CHANGE_NEW) == 0;
		/* All of its content at once, or none; and a time of its own would say that nothing is to come. */
		fields &= ~(uint32_t)(CHANGE_CONTENT | CHANGE_MTIME);
	}
	if (!*taken_out || fields == 0)
		return 0;
	ci = changes_add_inode(b->c);
	if (ci == NULL)
		return -ENOMEM;
	if ((err = describe_attributes(b->m, i, fields, ci)) != 0)
		return err;
	b->cost += describe_cost(ci);
	return fields & CHANGE_CONTENT ? take_chunks(b, i, nos, count, ci) : 0;
}

/* Makes sure that the chain knows the inode by this commit at the latest.  *known_out false: it must wait. */
static err_t
introduce(struct collecting *b, uint64_t ino, bool *known_out)
{
	struct inode *i;
	bool taken;
	err_t err = meta_inode_get(b->m, ino, &i);

	if (err != 0)
		return err;
	*known_out = !(i->pending & PENDING_NEW) || numset_has(b->introduced, ino);
	if (*known_out || numset_has(b->left, ino))
		return 0;
	if ((err = take_inode(b, i, &taken)) != 0)
		return err;
	*known_out = taken;
	return numset_add(taken ? &b->introduced : &b->left, ino);
}

/* Names. */

static err_t
add_name(struct collecting *b, size_t index, bool *added_out)
{
	const struct dentry *d = &b->dentries[index];
	struct change_dentry *cd;
	bool known = true;
	err_t err;

	*added_out = b->done[index];
	if (b->done[index])
		return 0;
	if (d->ino != 0 && ((err = introduce(b, d->ino, &known)) != 0 || !known))
		return err;
	cd = changes_add_dentry(b->c);
	if (cd == NULL)
		return -ENOMEM;
	cd->parent = d->parent;
	cd->ino = d->ino;
	cd->type = d->ino != 0 ? d->type : 0;
	memcpy(cd->name, d->name, (size_t)d->name_len + 1);
	b->cost += DESCRIBE_DENTRY_COST + d->name_len;
	b->done[index] = true;
	*added_out = true;
	return 0;
}

/* The pending name of a directory that the chain does not know yet, or SIZE_MAX if it does (or will by this commit). */
static err_t
name_of_parent(struct collecting *b, uint64_t parent, size_t *index_out)
{
	struct inode *i;
	err_t err;

	*index_out = SIZE_MAX;
	if (numset_has(b->introduced, parent))
		return 0;
	if ((err = meta_inode_get(b->m, parent, &i)) != 0)
		return err;
	if (!(i->pending & PENDING_NEW))
		return 0;
	err = numset_get(b->dirs, parent, index_out);
	return err == -ENOENT ? -EIO : err; /* a directory without a name: only a bug can do that */
}

/* A name with all the new directories above it, the uppermost first. */
static err_t
take_name(struct collecting *b, size_t index, bool *added_out)
{
	CLEANUP(free_ptr) size_t *above = NULL;
	size_t depth = 0, cap = 0, up;
	bool added = true;
	err_t err = name_of_parent(b, b->dentries[index].parent, &up);

	while (err == 0 && up != SIZE_MAX) {
		if (depth == cap) {
			size_t *more = reallocarray(above, cap + 64, sizeof(*above));

			if (more == NULL)
				return -ENOMEM;
			above = more;
			cap += 64;
		}
		above[depth++] = up;
		err = name_of_parent(b, b->dentries[up].parent, &up);
	}
	while (err == 0 && depth > 0)
		err = add_name(b, above[--depth], &added);
	return err != 0 ? err : add_name(b, index, added_out);
}

/* The chain has something under the name, or knows what is to be there. */
static err_t
is_structural(struct collecting *b, const struct dentry *d, bool *out)
{
	struct inode *i;
	err_t err;

	*out = true;
	if (d->chain_ino != 0 || d->ino == 0)
		return 0;
	if ((err = meta_inode_get(b->m, d->ino, &i)) != 0)
		return err;
	*out = !(i->pending & PENDING_NEW);
	return 0;
}

/*
 * A new file takes the place of another, and must wait: the chain may go on having the old one there, which at worst has a
 * second name then.  A directory can't have two.
 */
static bool
may_wait(struct collecting *b, const struct dentry *d)
{
	struct inode *i;

	return d->chain_ino != 0 && meta_inode_get(b->m, d->chain_ino, &i) == 0 && !S_ISDIR(i->mode);
}

/* -EAGAIN: one of them leads to a file that must wait, and they can't be parted. */
static err_t
take_structural(struct collecting *b)
{
	bool structural, added;
	err_t err;

	for (size_t k = 0; k < b->dentry_count; k++) {
		if ((err = is_structural(b, &b->dentries[k], &structural)) != 0)
			return err;
		if (!structural)
			continue;
		if ((err = take_name(b, k, &added)) != 0)
			return err;
		if (!added && !may_wait(b, &b->dentries[k]))
			return -EAGAIN;
	}
	return 0;
}

static err_t
take_additions(struct collecting *b)
{
	bool added;
	err_t err;

	for (size_t k = 0; k < b->dentry_count; k++) {
		if (b->done[k])
			continue;
		if (is_full(b)) {
			b->out->more = true;
			return 0;
		}
		if ((err = take_name(b, k, &added)) != 0)
			return err;
	}
	return 0;
}

/* Changes of what the chain knows.  What has lost its last name needs none: its names say it. */
static err_t
take_changed_inodes(struct collecting *b)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	size_t count = 0;
	struct inode *i;
	bool taken;
	err_t err = meta_pending_inodes(b->m, &inos, &count);

	for (size_t k = 0; err == 0 && k < count; k++) {
		err = meta_inode_get(b->m, inos[k], &i);
		if (err != 0 || i->pending & PENDING_NEW || i->nlink == 0) {
			err = err == -ENOENT ? 0 : err;
			continue;
		}
		if (is_full(b)) {
			b->out->more = true;
			return 0;
		}
		err = take_inode(b, i, &taken);
	}
	return err;
}

static err_t
take_root(struct collecting *b)
{
	struct inode *root;
	bool known;
	err_t err = meta_inode_get(b->m, INODE_ROOT, &root);

	if (err != 0 || !(root->pending & PENDING_NEW))
		return err;
	return introduce(b, INODE_ROOT, &known);
}

static err_t
load_names(struct collecting *b)
{
	err_t err = meta_pending_dentries(b->m, &b->dentries, &b->dentry_count);

	if (err != 0)
		return err;
	b->done = calloc(b->dentry_count + 1, sizeof(*b->done));
	if (b->done == NULL)
		return -ENOMEM;
	for (size_t k = 0; k < b->dentry_count; k++) {
		if (b->dentries[k].type == DT_DIR && b->dentries[k].ino != 0 &&
		    (err = numset_put(&b->dirs, b->dentries[k].ino, k)) != 0)
			return err;
	}
	return 0;
}

static err_t
collect_locked(struct collecting *b)
{
	err_t err;

	if ((err = changes_new(&b->c)) != 0 || (err = load_names(b)) != 0 || (err = take_root(b)) != 0)
		return err;
	err = take_structural(b);
	if (err == -EAGAIN) {
		/* Nothing now: settle again first. */
		b->out->unsettled = b->out->blocked = true;
		changes_free(b->c);
		b->c = NULL;
		return changes_new(&b->c);
	}
	if (err != 0 || (err = take_additions(b)) != 0)
		return err;
	return take_changed_inodes(b);
}

err_t
collect_changes(struct sync *s, bool partial, struct collected *out)
{
	struct collected found = { 0 };
	CLEANUP(collecting_clear) struct collecting b = { .s = s, .m = s->v->meta, .partial = partial, .out = &found };
	err_t err;

	meta_lock(s->v->meta);
	err = collect_locked(&b);
	meta_unlock(s->v->meta);
	if (err != 0)
		return err;
	*out = found;
	out->changes = STEAL(b.c);
	return 0;
}
