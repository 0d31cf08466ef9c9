/* hidden.c: moments, and what the hidden folder shows of them. */
#include "hidden.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

#define MOMENTS 2048u /* 0 is the folders themselves */
#define INO_MASK ((UINT64_C(1) << HIDDEN_MOMENT_SHIFT) - 1)
#define TOP_NAME ".snugfs"
#define AT_NAME "at"
#define LIST_MAX 512u

struct moment {
	/* under the lock */
	uint64_t lookups; /* of all its inodes together */
	struct hidden_key key;
	uint64_t commit;  /* UINT64_MAX: not found yet */
};

struct hidden {
	const struct hidden_source *source;
	struct vfs *vfs; /* of the vault itself */

	pthread_mutex_t lock;
	/* under lock */
	struct moment *moments[MOMENTS];
	char *names[LIST_MAX]; /* what .snugfs/at was last seen to have */
	size_t name_count;
};

/* Moments. */

static struct moment *
moment_new(const struct hidden_key *key)
{
	struct moment *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->key = *key;
	m->commit = UINT64_MAX;
	return m;
}

/* [lock] The number of the moment, new or not. */
static err_t
number_moment(struct hidden *p, const struct hidden_key *key, unsigned *out)
{
	unsigned free_one = 0;

	for (unsigned i = 1; i < MOMENTS; i++) {
		const struct moment *m = p->moments[i];

		if (m == NULL && free_one == 0)
			free_one = i;
		if (m != NULL && m->key.is_commit == key->is_commit && m->key.value == key->value) {
			*out = i;
			return 0;
		}
	}
	if (free_one == 0)
		return -EBUSY;
	p->moments[free_one] = moment_new(key);
	*out = free_one;
	return p->moments[free_one] != NULL ? 0 : -ENOMEM;
}

void
hidden_leave(struct hidden_visit *v)
{
	if (v->token != NULL)
		v->hidden->source->leave(v->hidden->source->ctx, v->token);
}

err_t
hidden_enter(struct hidden *p, uint64_t ino, struct hidden_visit *v)
{
	struct hidden_key key = { 0 };
	uint64_t commit = UINT64_MAX;
	struct moment *m;
	err_t err;

	*v = (struct hidden_visit){ .hidden = p, .number = (unsigned)((ino & ~HIDDEN_FLAG) >> HIDDEN_MOMENT_SHIFT), .ino = ino & INO_MASK };
	pthread_mutex_lock(&p->lock);
	m = p->moments[v->number];
	if (m != NULL) {
		key = m->key;
		commit = m->commit;
	}
	pthread_mutex_unlock(&p->lock);
	if (m == NULL)
		return -ESTALE;
	err = p->source->enter(p->source->ctx, &key, &commit, &v->vfs, &v->token);
	if (err != 0)
		return err;
	pthread_mutex_lock(&p->lock);
	m->commit = commit;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static void
count_lookups(struct hidden *p, uint64_t ino, uint64_t n)
{
	unsigned number = (unsigned)((ino & ~HIDDEN_FLAG) >> HIDDEN_MOMENT_SHIFT);

	pthread_mutex_lock(&p->lock);
	if (p->moments[number] != NULL)
		p->moments[number]->lookups += n;
	pthread_mutex_unlock(&p->lock);
}

void
hidden_forget(struct hidden *p, uint64_t ino, uint64_t n)
{
	unsigned number = (unsigned)((ino & ~HIDDEN_FLAG) >> HIDDEN_MOMENT_SHIFT);
	struct moment *m;

	pthread_mutex_lock(&p->lock);
	m = p->moments[number];
	if (m != NULL)
		m->lookups -= n < m->lookups ? n : m->lookups;
	if (m != NULL && m->lookups == 0)
		p->moments[number] = NULL;
	else
		m = NULL;
	pthread_mutex_unlock(&p->lock);
	if (m != NULL)
		free(m);
}

/* Attributes. */

uint64_t
hidden_number(const struct hidden_visit *v, uint64_t ino)
{
	return HIDDEN_FLAG | (uint64_t)v->number << HIDDEN_MOMENT_SHIFT | (ino & INO_MASK);
}

/* What no number is left for can't be shown. */
static err_t
show(const struct hidden_visit *v, struct stat *st)
{
	if (st->st_ino > INO_MASK)
		return -EOVERFLOW;
	st->st_ino = hidden_number(v, st->st_ino);
	st->st_mode &= ~0222u;
	return 0;
}

/* One of the folders, or a moment that nobody has entered yet. */
static err_t
folder_attr(struct hidden *p, uint64_t ino, struct stat *out)
{
	struct stat root;
	err_t err = vfs_getattr(p->vfs, INODE_ROOT, &root);

	if (err == 0)
		*out = (struct stat){ .st_ino = ino, .st_mode = S_IFDIR | 0500, .st_nlink = 2, .st_uid = root.st_uid,
			.st_gid = root.st_gid, .st_size = root.st_size, .st_blksize = root.st_blksize, .st_mtim = root.st_mtim,
			.st_ctim = root.st_ctim, .st_atim = root.st_atim };
	return err;
}

bool
hidden_is_folder(uint64_t ino)
{
	return ino == HIDDEN_TOP || ino == HIDDEN_AT || (ino & INO_MASK) == INODE_ROOT;
}

err_t
hidden_attr(struct hidden *p, uint64_t ino, struct stat *out)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	err_t err;

	if (hidden_is_folder(ino))
		return folder_attr(p, ino, out);
	if ((err = hidden_enter(p, ino, &v)) != 0 || (err = vfs_getattr(v.vfs, v.ino, out)) != 0)
		return err;
	return show(&v, out);
}

/* Looking up. */

static err_t
look_up_moment(struct hidden *p, const char *name, struct stat *out)
{
	struct hidden_key key;
	unsigned number = 0;
	uint64_t ino;
	err_t err = p->source->parse(p->source->ctx, name, &key);

	if (err != 0)
		return -ENOENT;
	pthread_mutex_lock(&p->lock);
	err = number_moment(p, &key, &number);
	if (err == 0)
		p->moments[number]->lookups++;
	pthread_mutex_unlock(&p->lock);
	if (err != 0)
		return err;
	ino = HIDDEN_FLAG | (uint64_t)number << HIDDEN_MOMENT_SHIFT | INODE_ROOT;
	err = folder_attr(p, ino, out);
	if (err != 0)
		hidden_forget(p, ino, 1);
	return err;
}

static err_t
look_up_in_tree(struct hidden *p, uint64_t parent, const char *name, struct stat *out)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	err_t err;

	if ((parent & INO_MASK) == INODE_ROOT && strcmp(name, "..") == 0)
		return folder_attr(p, HIDDEN_AT, out);
	if ((err = hidden_enter(p, parent, &v)) != 0 || (err = vfs_lookup(v.vfs, v.ino, name, out)) != 0)
		return err;
	vfs_forget(v.vfs, out->st_ino, 1); /* a tree that is only read needs no count */
	if ((out->st_ino & INO_MASK) == INODE_ROOT)
		err = folder_attr(p, hidden_number(&v, INODE_ROOT), out);
	else
		err = show(&v, out);
	if (err == 0)
		count_lookups(p, out->st_ino, 1);
	return err;
}

static err_t
look_up_folder(struct hidden *p, uint64_t parent, const char *name, struct stat *out)
{
	if (strcmp(name, ".") == 0)
		return folder_attr(p, parent, out);
	if (strcmp(name, "..") == 0)
		return parent == HIDDEN_AT ? folder_attr(p, HIDDEN_TOP, out) : vfs_lookup(p->vfs, INODE_ROOT, ".", out);
	if (parent == HIDDEN_TOP)
		return strcmp(name, AT_NAME) == 0 ? folder_attr(p, HIDDEN_AT, out) : -ENOENT;
	return look_up_moment(p, name, out);
}

bool
hidden_is_name(struct hidden *p, uint64_t parent, const char *name)
{
	struct stat st;

	if (parent != INODE_ROOT || strcmp(name, TOP_NAME) != 0 || p == NULL)
		return false;
	if (vfs_lookup(p->vfs, parent, name, &st) != 0)
		return true;
	vfs_forget(p->vfs, st.st_ino, 1);
	return false;
}

err_t
hidden_lookup(struct hidden *p, uint64_t parent, const char *name, struct stat *out)
{
	if (parent == INODE_ROOT)
		return folder_attr(p, HIDDEN_TOP, out);
	if (parent == HIDDEN_TOP || parent == HIDDEN_AT)
		return look_up_folder(p, parent, name, out);
	return look_up_in_tree(p, parent, name, out);
}

/* Listing. */

static int
take_name(void *ctx, const char *name)
{
	struct hidden *p = ctx;

	if (p->name_count == LIST_MAX || (p->names[p->name_count] = strdup(name)) == NULL)
		return 1;
	p->name_count++;
	return 0;
}

static void
drop_names(struct hidden *p)
{
	while (p->name_count > 0)
		free(p->names[--p->name_count]);
}

/* The source may read from the store: not with the lock held. */
static err_t
renew_names(struct hidden *p)
{
	struct hidden fresh = { 0 };
	err_t err = p->source->list(p->source->ctx, take_name, &fresh);

	pthread_mutex_lock(&p->lock);
	drop_names(p);
	memcpy(p->names, fresh.names, sizeof(p->names));
	p->name_count = fresh.name_count;
	pthread_mutex_unlock(&p->lock);
	return err;
}

err_t
hidden_list(struct hidden *p, uint64_t ino, uint64_t after, hidden_entry_fn *add, void *ctx)
{
	struct stat st = { .st_ino = ino, .st_mode = S_IFDIR };
	err_t err = ino == HIDDEN_AT && after == 0 ? renew_names(p) : 0;

	if (err != 0 || (after < 1 && add(ctx, ".", &st, 1) != 0))
		return err;
	st.st_ino = ino == HIDDEN_AT ? HIDDEN_TOP : INODE_ROOT;
	if (after < 2 && add(ctx, "..", &st, 2) != 0)
		return 0;
	st.st_ino = HIDDEN_AT;
	if (ino == HIDDEN_TOP) {
		if (after < 3)
			(void)add(ctx, AT_NAME, &st, 3);
		return 0;
	}
	pthread_mutex_lock(&p->lock);
	for (uint64_t i = after < 3 ? 0 : after - 2; i < p->name_count; i++)
		if (add(ctx, p->names[i], &st, i + 3) != 0)
			break;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

err_t
hidden_new(struct vfs *v, const struct hidden_source *source, struct hidden **out)
{
	struct hidden *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->vfs = v;
	p->source = source;
	pthread_mutex_init(&p->lock, NULL);
	*out = p;
	return 0;
}

void
hidden_free(struct hidden *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 0; i < MOMENTS; i++)
		free(p->moments[i]);
	drop_names(p);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
