/* Names: directory entries by name. */
#include <errno.h>
#include <stdlib.h>

#include "meta_internal.h"

/* Rows that are read ahead in a larger one; and how near to where that ended the next miss must be. */
#define AHEAD_ROWS 64u
#define AHEAD_NEAR 256u

err_t
dentry_hash(struct meta *m, struct cached_dentry *cd)
{
	err_t err;

	if (cd->has_hash)
		return 0;
	err = rowseal_name_hash(m->rs, cd->node.a, (const char *)cd->key + 8, cd->name_len, &cd->hash);
	cd->has_hash = err == 0;
	return err;
}

struct cached_dentry *
dentry_cached(struct meta *m, uint64_t parent, const char *name, size_t len)
{
	uint8_t key[8 + NAME_LEN_MAX];
	struct cached_dentry *cd;

	memcpy(key, &parent, 8);
	memcpy(key + 8, name, len);
	HASH_FIND(hh, m->dentries, key, 8 + len, cd);
	return cd;
}

bool
names_is_unstored(struct meta *m, uint64_t parent)
{
	struct cached_inode *ci = inode_cached(m, parent);

	return ci != NULL && !ci->node.stored && !ci->node.frozen;
}

struct directory *
names_find_directory(struct meta *m, uint64_t ino)
{
	struct directory *d;

	HASH_FIND(hh, m->directories, &ino, sizeof(ino), d);
	return d;
}

/* Who goes through a directory for the first time is spared looking for each name: that would be a cache miss of the processor's. */
struct cached_dentry *
names_of_row(struct meta *m, const struct dentry *d)
{
	const struct directory *dir = names_find_directory(m, d->parent);

	return dir == NULL || d->cookie > dir->newest ? NULL : dentry_cached(m, d->parent, d->name, d->name_len);
}

static struct directory *
directory_make(struct meta *m, uint64_t ino)
{
	struct directory *d = names_find_directory(m, ino);

	if (d != NULL || (d = calloc(1, sizeof(*d))) == NULL)
		return d;
	d->ino = ino;
	d->complete = names_is_unstored(m, ino);
	HASH_ADD(hh, m->directories, ino, sizeof(d->ino), d);
	return d;
}

static void
directory_note_cookie(struct directory *d, uint64_t cookie)
{
	if (cookie > d->newest)
		d->newest = cookie;
}

struct cached_dentry *
dentry_insert(struct meta *m, const struct dentry *d, bool stored)
{
	struct directory *dir = directory_make(m, d->parent);
	struct cached_dentry *cd = dir == NULL ? NULL : calloc(1, sizeof(*cd) + 8 + d->name_len);

	if (cd == NULL)
		return NULL;
	cache_init(&cd->node, DB_DENTRY, d->parent, d->cookie, stored);
	cd->directory = dir;
	dir->entries++;
	directory_note_cookie(dir, d->cookie);
	cd->ino = d->ino;
	cd->chain_ino = d->chain_ino;
	cd->type = d->type;
	cd->name_len = d->name_len;
	cd->counted = d->ino != d->chain_ino;
	memcpy(cd->key, &d->parent, 8);
	memcpy(cd->key + 8, d->name, d->name_len);
	HASH_ADD_KEYPTR(hh, m->dentries, cd->key, 8 + (size_t)cd->name_len, cd);
	cache_insert_clean(m, &cd->node);
	return cd;
}

void
dentry_leave(struct meta *m, struct cached_dentry *cd)
{
	struct directory *d = cd->directory;

	ahead_note_gone(m, cd);
	if (!dentry_is_void(cd)) { /* the row stays where it is */
		d->complete = false;
		d->missed = false;
		d->listed = 0;
	}
	if (--d->entries == 0) {
		HASH_DEL(m->directories, d);
		free(d);
	}
}

bool
dentry_is_void(const struct cached_dentry *cd)
{
	return cd->node.deleted || (cd->ino == 0 && cd->chain_ino == 0);
}

void
dentry_show(const struct cached_dentry *cd, struct dentry *out)
{
	out->parent = cd->node.a;
	out->cookie = cd->node.b;
	out->ino = cd->ino;
	out->chain_ino = cd->chain_ino;
	out->type = cd->type;
	out->name_len = cd->name_len;
	memcpy(out->name, cd->key + 8, cd->name_len);
	out->name[cd->name_len] = '\0';
}

struct find {
	const char *name;
	size_t name_len;
	struct dentry found;
	bool ok;
};

static err_t
find_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct find *f = ctx;
	struct dentry d;
	err_t err = record_get_dentry(data, len, a, b, &d);

	(void)mark;
	(void)state;
	if (err == 0 && d.name_len == f->name_len && memcmp(d.name, f->name, f->name_len) == 0) {
		f->found = d;
		f->ok = true;
	}
	return err;
}

/* One name, from its row; without a row, as absent. */
static err_t
read_name(struct meta *m, uint64_t parent, const char *name, size_t len, struct cached_dentry **out)
{
	struct find f = { .name = name, .name_len = len };
	struct cached_dentry *cd;
	int64_t hash;
	err_t err;

	if ((err = rowseal_name_hash(m->rs, parent, name, len, &hash)) != 0)
		return err;
	err = db_find_dentry(m->db, parent, hash, find_row, &f);
	if (err != 0 && err != -ENOENT)
		return err;
	if (!f.ok) {
		f.found = (struct dentry){ .parent = parent, .name_len = (uint8_t)len };
		memcpy(f.found.name, name, len);
	}
	/* The row may be older than a cached entry of the same cookie only if the name is the same: names of a row never
	 * change, so this one is not in memory. */
	if ((cd = dentry_insert(m, &f.found, f.ok)) == NULL)
		return -ENOMEM;
	cd->hash = hash;
	cd->has_hash = true;
	*out = cd;
	return 0;
}

/* Whoever wants a second name will want the others.  What can't be read now is found out name by name. */
static void
read_whole(struct meta *m, struct directory *dir, bool inodes)
{
	uint64_t ino = dir->ino, last = 0;
	unsigned rows = 0;

	dir->large = true;
	if (list_read_directory(m, ino, 0, NAMES_WHOLE_MAX + 1, inodes, &rows, &last) == 0 && rows <= NAMES_WHOLE_MAX) {
		dir->large = false;
		dir->complete = true;
	}
}

/* In a large directory whoever goes through it in the order in which it was made is met halfway. */
static err_t
read_ahead(struct meta *m, struct directory *dir, uint64_t cookie, bool inodes)
{
	bool near = cookie >= dir->ahead && cookie - dir->ahead < AHEAD_NEAR;
	unsigned rows = 0;

	dir->ahead = cookie + 1;
	return near ? list_read_directory(m, dir->ino, dir->ahead, AHEAD_ROWS, inodes, &rows, &dir->ahead) : 0;
}

/* The cached entry for a name, read if need be; *out NULL: there is certainly none.  inodes: those will be wanted, too. */
static err_t
dentry_find(struct meta *m, uint64_t parent, const char *name, bool inodes, struct cached_dentry **out)
{
	size_t len = strlen(name);
	struct directory *dir;
	err_t err;

	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if ((*out = dentry_cached(m, parent, name, len)) != NULL) {
		cache_touch(&(*out)->node);
		return 0;
	}
	dir = names_find_directory(m, parent);
	if (dir == NULL ? names_is_unstored(m, parent) : dir->complete)
		return 0;
	if (dir != NULL && !dir->large && dir->missed) {
		read_whole(m, dir, inodes);
		if ((*out = dentry_cached(m, parent, name, len)) != NULL || dir->complete)
			return 0;
	}
	if ((err = read_name(m, parent, name, len, out)) != 0)
		return err;
	dir = (*out)->directory;
	dir->missed = true;
	if (dir->large && !dentry_is_void(*out) && read_ahead(m, dir, (*out)->node.b, inodes) != 0)
		dir->ahead = 0;
	return 0;
}

err_t
meta_dentry_get(struct meta *m, uint64_t parent, const char *name, struct dentry **out)
{
	struct cached_dentry *cd;
	err_t err = dentry_find(m, parent, name, false, &cd);

	if (err != 0)
		return err;
	if (cd == NULL || dentry_is_void(cd))
		return -ENOENT;
	dentry_show(cd, &m->shown);
	*out = &m->shown;
	return 0;
}

err_t
meta_lookup(struct meta *m, uint64_t parent, const char *name, struct inode **out)
{
	struct cached_dentry *cd;
	err_t err = dentry_find(m, parent, name, true, &cd);

	if (err != 0)
		return err;
	if (cd == NULL || dentry_is_void(cd) || cd->ino == 0)
		return -ENOENT;
	return meta_inode_get(m, cd->ino, out);
}

/* After a change of ino or chain_ino: makes, rewrites or drops the row. */
static err_t
dentry_changed(struct meta *m, struct cached_dentry *cd)
{
	bool pending = cd->ino != cd->chain_ino;

	if (pending != cd->counted) {
		m->pending_dentries += pending ? 1 : (uint64_t)-1;
		m->counters_dirty = true;
		cd->counted = pending;
	}
	if (cd->ino == 0 && cd->chain_ino == 0) {
		cache_delete(m, &cd->node);
		return 0;
	}
	if (cd->node.b == 0) {
		cd->node.b = m->next_cookie++;
		directory_note_cookie(cd->directory, cd->node.b);
		m->counters_dirty = true;
		ahead_note_new(m, cd);
	}
	cd->node.deleted = false;
	return cache_dirty(m, &cd->node);
}

/* *out NULL: there is none and none is wanted. */
static err_t
dentry_for_change(struct meta *m, uint64_t parent, const char *name, uint64_t wanted, struct cached_dentry **out)
{
	struct dentry absent = { .parent = parent };
	err_t err = dentry_find(m, parent, name, false, out);

	if (err != 0)
		return err;
	if (*out != NULL && dentry_is_void(*out) && wanted == 0)
		*out = NULL;
	if (*out != NULL || wanted == 0)
		return 0;
	absent.name_len = (uint8_t)strlen(name);
	memcpy(absent.name, name, absent.name_len);
	*out = dentry_insert(m, &absent, false);
	return *out == NULL ? -ENOMEM : 0;
}

err_t
meta_dentry_set(struct meta *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct cached_dentry *cd;
	err_t err = dentry_for_change(m, parent, name, ino, &cd);

	if (err != 0 || cd == NULL)
		return err;
	cd->ino = ino;
	cd->type = type;
	return dentry_changed(m, cd);
}

err_t
meta_dentry_set_chain(struct meta *m, uint64_t parent, const char *name, uint64_t chain_ino)
{
	struct cached_dentry *cd;
	err_t err = dentry_for_change(m, parent, name, chain_ino, &cd);

	if (err != 0 || cd == NULL)
		return err;
	cd->chain_ino = chain_ino;
	return dentry_changed(m, cd);
}
