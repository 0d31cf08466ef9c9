/* Devices for tests of merging, and what people do on them. */
#include "replica.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "extents.h"
#include "secmem.h"

#include "../../tempdir.h"

static void
open_meta(struct replica *r, bool create)
{
	const uint8_t key[32] = {7, (uint8_t)r->member};
	char path[96];

	snprintf(path, sizeof(path), "%s/meta.db", r->dir);
	OK(rowseal_new(key, &r->rs));
	OK(db_open(path, create, r->rs, &r->db));
	OK(meta_new(r->db, r->rs, r->member, &r->meta));
	OK(lookups_new(&r->lookups));
}

static void
close_meta(struct replica *r)
{
	meta_free(r->meta);
	rowseal_free(r->rs);
	lookups_free(r->lookups);
}

static void
make_root(struct replica *r)
{
	struct inode *root = NULL;

	meta_lock(r->meta);
	OK(meta_inode_adopt(r->meta, INODE_ROOT, &root));
	root->mode = S_IFDIR | 0700;
	root->nlink = 2;
	root->parent = INODE_ROOT;
	root->pending = 0;
	meta_inode_dirty(r->meta, root);
	meta_unlock(r->meta);
}

void
world_open(struct world *w, size_t count)
{
	static const char *const names[REPLICAS_MAX] = {"ada", "bob", "cleo"};
	OK(secmem_init());
	*w = (struct world){.count = count, .clock = 1000};
	for (size_t k = 0; k < count; k++) {
		struct replica *r = &w->r[k];

		r->world = w;
		r->member = (uint32_t)k;
		snprintf(r->name, sizeof(r->name), "%s", names[k]);
		snprintf(r->dir, sizeof(r->dir), "%s/test_merge.XXXXXX", tempdir_quick());
		assert_non_null(mkdtemp(r->dir));
		open_meta(r, true);
		make_root(r);
	}
}

void
world_close(struct world *w)
{
	static const char *const files[] = {"meta.db", "meta.db-wal", "meta.db-shm"};
	char path[96];

	for (size_t k = 0; k < w->count; k++) {
		close_meta(&w->r[k]);
		for (size_t f = 0; f < 3; f++) {
			snprintf(path, sizeof(path), "%s/%s", w->r[k].dir, files[f]);
			unlink(path);
		}
		rmdir(w->r[k].dir);
		merge_result_clear(&w->r[k].last);
	}
	for (size_t k = 0; k < w->chain_count; k++)
		bytes_clear(&w->chain[k].body);
	free(w->chain);
	free(w->token_dead);
}

static void
reap(struct replica *r, uint64_t ino)
{
	struct inode *i = NULL;

	if (meta_inode_get(r->meta, ino, &i) == 0 && i->nlink == 0 && i->pending & PENDING_NEW)
		OK(meta_inode_remove(r->meta, i));
}

void
do_forget(struct replica *r)
{
	uint64_t *inos = NULL;
	size_t count = 0;

	lookups_free(r->lookups);
	OK(lookups_new(&r->lookups));
	OK(meta_sync(r->meta));
	meta_lock(r->meta);
	OK(meta_inode_scan_removed(r->meta, &inos, &count));
	for (size_t k = 0; k < count; k++)
		reap(r, inos[k]);
	free(inos);
	meta_unlock(r->meta);
}

void
replica_restart(struct replica *r)
{
	do_forget(r);
	OK(meta_stop(r->meta));
	close_meta(r);
	open_meta(r, false);
}

struct inode *
inode_of(struct replica *r, uint64_t ino)
{
	struct inode *i = NULL;

	meta_lock(r->meta);
	if (meta_inode_get(r->meta, ino, &i) != 0)
		i = NULL;
	meta_unlock(r->meta);
	return i;
}

static void
changed(struct replica *r, struct inode *i, uint32_t bits)
{
	i->ctime = (struct timespec){++r->world->clock, 7};
	i->pending |= bits;
	meta_inode_dirty(r->meta, i);
	meta_note_local_change(r->meta);
}

static void
directory_changed(struct replica *r, uint64_t ino, int entries, int subdirs)
{
	struct inode *i = NULL;

	OK(meta_inode_get(r->meta, ino, &i));
	i->entry_count += (uint64_t)(int64_t)entries;
	i->nlink += (uint32_t)subdirs;
	changed(r, i, PENDING_MTIME);
	i->mtime = i->ctime;
}

static uint64_t
lookup(struct replica *r, uint64_t parent, const char *name)
{
	struct dentry *d = NULL;

	return meta_dentry_get(r->meta, parent, name, &d) == 0 ? d->ino : 0;
}

err_t
do_create(struct replica *r, uint64_t parent, const char *name, uint32_t mode, uint64_t *ino_out)
{
	struct inode *i = NULL;
	err_t e = 0;

	meta_lock(r->meta);
	if (lookup(r, parent, name)) {
		e = -EEXIST;
	} else {
		OK(meta_inode_new(r->meta, &i));
		i->mode = mode;
		i->uid = r->member;
		i->nlink = S_ISDIR(mode) ? 2 : 1;
		i->parent = parent;
		if (S_ISLNK(mode))
			i->target = strdup("somewhere");
		if (S_ISREG(mode)) {
			i->keys = calloc(1, sizeof(*i->keys));
			i->keys[0] = (struct file_key){1, 1, {(uint8_t)i->ino, (uint8_t)r->member}};
			i->key_count = 1;
		}
		OK(meta_dentry_set(r->meta, parent, name, i->ino, (uint8_t)IFTODT(mode)));
		changed(r, i, PENDING_NEW);
		i->mtime = i->btime = i->ctime;
		directory_changed(r, parent, 1, S_ISDIR(mode) ? 1 : 0);
		if (ino_out)
			*ino_out = i->ino;
	}
	meta_unlock(r->meta);
	return e;
}

err_t
do_link(struct replica *r, uint64_t ino, uint64_t parent, const char *name)
{
	struct inode *i = NULL;
	err_t e = 0;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	if (S_ISDIR(i->mode)) {
		e = -EPERM;
	} else if (lookup(r, parent, name)) {
		e = -EEXIST;
	} else {
		OK(meta_dentry_set(r->meta, parent, name, ino, (uint8_t)IFTODT(i->mode)));
		i->nlink++;
		i->parent = parent;
		changed(r, i, PENDING_CTIME);
		directory_changed(r, parent, 1, 0);
	}
	meta_unlock(r->meta);
	return e;
}

uint64_t
token_of(const struct extent *x)
{
	uint64_t token;

	memcpy(&token, x->x_id, sizeof(token));
	return token;
}

uint64_t
mapped_of(const struct chunk *c)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < c->current.count; k++)
		sum += c->current.v[k].len;
	return sum;
}

static void
token_died(void *ctx, const struct extent *x)
{
	struct world *w = ctx;

	w->token_dead[token_of(x)] = true;
}

static err_t
chunk_died(void *ctx, struct inode *i, struct chunk *c)
{
	(void)i;
	for (uint32_t k = 0; k < c->current.count; k++)
		token_died(ctx, &c->current.v[k]);
	return 0;
}

/* As the vfs does it: a name of it is gone already. */
static void
lost_name(struct replica *r, uint64_t ino)
{
	struct inode *i = NULL;

	OK(meta_inode_get(r->meta, ino, &i));
	i->nlink = S_ISDIR(i->mode) ? 0 : i->nlink - 1;
	changed(r, i, S_ISDIR(i->mode) ? 0 : PENDING_CTIME);
	if (i->nlink)
		return;
	if (S_ISREG(i->mode))
		OK(meta_chunk_scan(r->meta, i, 0, chunk_died, r->world));
	if (i->pending & PENDING_NEW && lookups_count(r->lookups, ino) == 0)
		OK(meta_inode_remove(r->meta, i));
}

err_t
do_unlink(struct replica *r, uint64_t parent, const char *name)
{
	struct inode *i = NULL;
	uint64_t ino;
	err_t e = 0;

	meta_lock(r->meta);
	ino = lookup(r, parent, name);
	if (!ino) {
		e = -ENOENT;
	} else {
		OK(meta_inode_get(r->meta, ino, &i));
		if (S_ISDIR(i->mode) && i->entry_count) {
			e = -ENOTEMPTY;
		} else {
			OK(meta_dentry_set(r->meta, parent, name, 0, 0));
			directory_changed(r, parent, -1, S_ISDIR(i->mode) ? -1 : 0);
			lost_name(r, ino);
		}
	}
	meta_unlock(r->meta);
	return e;
}

static bool
is_below(struct replica *r, uint64_t dir, uint64_t top)
{
	struct inode *i = NULL;

	while (dir != top && dir != INODE_ROOT) {
		OK(meta_inode_get(r->meta, dir, &i));
		dir = i->parent;
	}
	return dir == top;
}

static err_t
check_rename(struct replica *r, uint64_t ino, uint64_t new_parent, uint64_t there)
{
	struct inode *i = NULL, *old = NULL;

	OK(meta_inode_get(r->meta, ino, &i));
	if (S_ISDIR(i->mode) && is_below(r, new_parent, ino))
		return -EINVAL;
	if (!there)
		return 0;
	OK(meta_inode_get(r->meta, there, &old));
	if (S_ISDIR(i->mode) != S_ISDIR(old->mode))
		return -EISDIR;
	return S_ISDIR(old->mode) && old->entry_count ? -ENOTEMPTY : 0;
}

err_t
do_rename(struct replica *r, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name)
{
	struct inode *i = NULL;
	uint64_t ino, there;
	int dir;
	err_t e;

	meta_lock(r->meta);
	ino = lookup(r, parent, name);
	there = lookup(r, new_parent, new_name);
	e = !ino ? -ENOENT : check_rename(r, ino, new_parent, there);
	if (!e && ino != there) {
		OK(meta_inode_get(r->meta, ino, &i));
		dir = S_ISDIR(i->mode);
		OK(meta_dentry_set(r->meta, parent, name, 0, 0));
		directory_changed(r, parent, -1, -dir);
		OK(meta_dentry_set(r->meta, new_parent, new_name, ino, (uint8_t)IFTODT(i->mode)));
		directory_changed(r, new_parent, there ? 0 : 1, there ? 0 : dir);
		if (there)
			lost_name(r, there);
		i->parent = new_parent;
		changed(r, i, PENDING_CTIME);
	}
	meta_unlock(r->meta);
	return e;
}

void
do_chmod(struct replica *r, uint64_t ino, uint32_t permissions)
{
	struct inode *i = NULL;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	i->mode = (i->mode & S_IFMT) | permissions;
	changed(r, i, PENDING_MODE);
	meta_unlock(r->meta);
}

void
do_chown(struct replica *r, uint64_t ino, uint32_t uid)
{
	struct inode *i = NULL;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	i->uid = uid;
	changed(r, i, PENDING_OWNER);
	meta_unlock(r->meta);
}

void
do_setxattr(struct replica *r, uint64_t ino, const char *name, const char *value)
{
	struct xattr_list *l = NULL;
	struct inode *i = NULL;
	uint32_t k = 0;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	OK(meta_xattrs_get(r->meta, i, &l));
	while (k < l->count && strcmp(l->v[k].name, name) != 0)
		k++;
	if (k == l->count && value) {
		l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
		l->cap = ++l->count;
		l->v[k] = (struct xattr){.name = strdup(name)};
	}
	if (k < l->count) {
		free(l->v[k].value);
		l->v[k].value = value ? (uint8_t *)strdup(value) : NULL;
		l->v[k].len = value ? (uint32_t)strlen(value) : 0;
		l->v[k].deleted = !value;
		l->v[k].pending = true;
		meta_xattrs_dirty(r->meta, i);
		changed(r, i, PENDING_XATTR);
	}
	meta_unlock(r->meta);
}

static uint64_t
new_token(struct world *w)
{
	w->token_dead = realloc(w->token_dead, (w->token_count + 1) * sizeof(bool));
	w->token_dead[w->token_count] = false;
	return w->token_count++;
}

static struct segment
new_segment(struct replica *r, uint64_t token)
{
	struct segment s = {.id = meta_segment_new_id(r->meta), .kind = SEGMENT_SETTLED, .local = true, .size = 1 << 20};

	memcpy(s.name, &token, sizeof(token));
	memset(s.sha256, (int)(token & 0xff), sizeof(s.sha256));
	OK(meta_segment_put(r->meta, &s));
	return s;
}

static void
start_content_change(struct inode *i)
{
	if (!(i->pending & (PENDING_CONTENT | PENDING_NEW)))
		i->chain_size = i->size;
	i->pending |= PENDING_CONTENT;
}

static void
start_chunk_change(struct inode *i, struct chunk *c)
{
	if (c->pending)
		return;
	c->pending = true;
	if (!(i->pending & PENDING_NEW))
		OK(extent_list_copy(&c->current, &c->chain));
}

static void
replace(struct replica *r, struct inode *i, struct chunk *c, uint64_t off, uint32_t len, const struct extent *x)
{
	struct extent_list before = {0};

	start_chunk_change(i, c);
	i->mapped -= mapped_of(c);
	OK(extent_list_copy(&c->current, &before));
	OK(extent_list_replace(&c->current, off, len, x));
	for (uint32_t k = 0; k < before.count; k++) {
		if (extent_list_lacks(&c->current, &before.v[k]))
			token_died(r->world, &before.v[k]);
	}
	extent_list_clear(&before);
	i->mapped += mapped_of(c);
	meta_chunk_dirty(r->meta, i, c);
	if (!c->current.count && !c->chain.count) {
		c->pending = false;
		meta_chunk_tidy(r->meta, i, c);
	}
}

uint64_t
do_write(struct replica *r, uint64_t ino, uint64_t no, uint32_t off, uint32_t len)
{
	uint64_t token = new_token(r->world);
	struct extent x = {.off = no * CHUNK_LEN + off, .len = len, .x_off = no * CHUNK_LEN + off, .x_len = len,
	    .stored_len = len + 16};
	struct inode *i = NULL;
	struct chunk *c = NULL;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	start_content_change(i);
	if (token % 5 == 0) {
		i->keys = realloc(i->keys, (i->key_count + 1) * sizeof(*i->keys));
		i->keys[i->key_count] = (struct file_key){i->keys[i->key_count - 1].version + 1, 1,
		    {(uint8_t)token, (uint8_t)r->member}};
		i->key_count++;
	}
	x.key_version = i->keys[i->key_count - 1].version;
	x.seg = new_segment(r, token).id;
	memcpy(x.x_id, &token, sizeof(token));
	memcpy(x.x_id + sizeof(token), i->keys[i->key_count - 1].wrapped, SEALED_UNDER_LEN);
	OK(meta_chunk_get(r->meta, i, no, true, &c));
	replace(r, i, c, x.off, len, &x);
	if (i->size < x.off + len)
		i->size = x.off + len;
	changed(r, i, PENDING_CONTENT | PENDING_MTIME);
	i->mtime = i->ctime;
	meta_unlock(r->meta);
	return token;
}

struct cut {
	struct replica *r;
	uint64_t size;
	uint64_t nos[64];
	size_t count;
};

static err_t
collect_no(void *ctx, struct inode *i, struct chunk *c)
{
	struct cut *cut = ctx;

	(void)i;
	assert_true(cut->count < 64);
	cut->nos[cut->count++] = c->no;
	return 0;
}

void
do_truncate(struct replica *r, uint64_t ino, uint64_t size)
{
	struct cut cut = {.r = r, .size = size};
	struct inode *i = NULL;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	start_content_change(i);
	OK(meta_chunk_scan(r->meta, i, 0, collect_no, &cut));
	for (size_t k = 0; k < cut.count; k++) {
		uint64_t start = cut.nos[k] * CHUNK_LEN;
		uint64_t from = size > start ? size : start;
		struct chunk *c = NULL;

		if (size >= start + CHUNK_LEN)
			continue;
		OK(meta_chunk_get(r->meta, i, cut.nos[k], false, &c));
		replace(r, i, c, from, (uint32_t)(start + CHUNK_LEN - from), NULL);
	}
	i->size = size;
	changed(r, i, PENDING_CONTENT | PENDING_MTIME);
	i->mtime = i->ctime;
	meta_unlock(r->meta);
}

/* Paths */

uint64_t
at(struct replica *r, const char *path)
{
	char *copy = strdup(path);
	uint64_t ino = INODE_ROOT;

	meta_lock(r->meta);
	for (char *p = strtok(copy, "/"); p && ino; p = strtok(NULL, "/"))
		ino = lookup(r, ino, p);
	meta_unlock(r->meta);
	free(copy);
	return ino;
}

uint64_t
mk(struct replica *r, const char *path, uint32_t mode)
{
	char *copy = strdup(path);
	char *slash = strrchr(copy, '/');
	uint64_t parent = INODE_ROOT;
	uint64_t ino = 0;

	if (slash) {
		*slash = '\0';
		parent = at(r, copy);
		assert_true(parent != 0);
	}
	OK(do_create(r, parent, slash ? slash + 1 : copy, mode, &ino));
	free(copy);
	return ino;
}

struct token_search {
	uint64_t token;
	bool found;
};

static err_t
search_token(void *ctx, struct inode *i, struct chunk *c)
{
	struct token_search *s = ctx;

	(void)i;
	for (uint32_t k = 0; k < c->current.count; k++)
		s->found = s->found || token_of(&c->current.v[k]) == s->token;
	return 0;
}

bool
has_token(struct replica *r, uint64_t ino, uint64_t token)
{
	struct token_search s = {.token = token};
	struct inode *i = NULL;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, ino, &i));
	OK(meta_chunk_scan(r->meta, i, 0, search_token, &s));
	meta_unlock(r->meta);
	return s.found;
}
