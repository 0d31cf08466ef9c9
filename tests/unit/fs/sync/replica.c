/* Devices for tests of merging. */
#include "replica.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "extents.h"
#include "secmem.h"

#define OK(call) assert_int_equal((call), 0)

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
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	OK(secmem_init());
	*w = (struct world){.count = count, .clock = 1000};
	for (size_t k = 0; k < count; k++) {
		struct replica *r = &w->r[k];

		r->world = w;
		r->member = (uint32_t)k;
		snprintf(r->name, sizeof(r->name), "%s", names[k]);
		snprintf(r->dir, sizeof(r->dir), "%s/test_merge.XXXXXX", base);
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

static uint64_t
token_of(const struct extent *x)
{
	uint64_t token;

	memcpy(&token, x->x_id, sizeof(token));
	return token;
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

static uint64_t
mapped_of(const struct chunk *c)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < c->current.count; k++)
		sum += c->current.v[k].len;
	return sum;
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

/* Pushing and pulling */

struct collecting {
	struct replica *r;
	struct changes *c;
	struct change_inode *ci;
};

static err_t
collect_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct collecting *b = ctx;
	struct change_inode *ci = b->ci;
	struct change_chunk *cc;

	(void)i;
	if (!c->pending)
		return 0;
	ci->chunks = realloc(ci->chunks, (ci->chunk_count + 1) * sizeof(*ci->chunks));
	cc = &ci->chunks[ci->chunk_count++];
	*cc = (struct change_chunk){.no = c->no};
	OK(extent_list_copy(&c->current, &cc->extents));
	for (uint32_t k = 0; k < cc->extents.count; k++) {
		struct change_segment cs = {0};
		struct segment s;
		uint32_t index = 0;

		OK(meta_segment_get(b->r->meta, cc->extents.v[k].seg, &s));
		memcpy(cs.name, s.name, sizeof(cs.name));
		memcpy(cs.sha256, s.sha256, sizeof(cs.sha256));
		cs.size = s.size;
		OK(changes_segment_index(b->c, &cs, &index));
		cc->extents.v[k].seg = index;
	}
	return 0;
}

static void
collect_xattrs(struct collecting *b, struct inode *i)
{
	struct xattr_list *l = NULL;

	OK(meta_xattrs_get(b->r->meta, i, &l));
	b->ci->xattrs = calloc(l->count + 1, sizeof(*b->ci->xattrs));
	for (uint32_t k = 0; k < l->count; k++) {
		struct change_xattr *x = &b->ci->xattrs[b->ci->xattr_count];

		if (!l->v[k].pending)
			continue;
		b->ci->xattr_count++;
		x->name = strdup(l->v[k].name);
		x->value = l->v[k].deleted ? NULL : (uint8_t *)strndup((char *)l->v[k].value, l->v[k].len);
		x->len = l->v[k].len;
	}
}

static void
collect_inode(struct collecting *b, uint64_t ino)
{
	struct inode *i = NULL;
	struct change_inode *ci;

	OK(meta_inode_get(b->r->meta, ino, &i));
	if (i->nlink == 0)
		return;
	ci = b->ci = changes_add_inode(b->c);
	*ci = (struct change_inode){.ino = ino, .mode = i->mode, .uid = i->uid, .gid = i->gid, .rdev = i->rdev,
	    .mtime = i->mtime, .ctime = i->ctime, .btime = i->btime, .size = i->size, .origin = i->origin};
	ci->fields = i->pending & PENDING_NEW ? CHANGE_NEW : 0;
	ci->fields |= i->pending & PENDING_MODE ? CHANGE_MODE : 0;
	ci->fields |= i->pending & PENDING_OWNER ? CHANGE_OWNER : 0;
	ci->fields |= i->pending & (PENDING_MTIME | PENDING_CTIME) ? CHANGE_MTIME : 0;
	if (i->target && i->pending & PENDING_NEW)
		ci->target = strdup(i->target);
	if (i->pending & (PENDING_XATTR | PENDING_NEW)) {
		ci->fields |= i->pending & PENDING_XATTR ? CHANGE_XATTR : 0;
		collect_xattrs(b, i);
	}
	if (S_ISREG(i->mode) && i->pending & (PENDING_CONTENT | PENDING_NEW)) {
		ci->fields |= CHANGE_CONTENT;
		ci->keys = calloc(i->key_count, sizeof(*ci->keys));
		memcpy(ci->keys, i->keys, i->key_count * sizeof(*ci->keys));
		ci->key_count = i->key_count;
		OK(meta_chunk_scan(b->r->meta, i, 0, collect_chunk, b));
	}
}

struct changes *
collect(struct replica *r)
{
	struct collecting b = {.r = r};
	struct dentry *dentries = NULL;
	uint64_t *inos = NULL;
	size_t count = 0;

	OK(changes_new(&b.c));
	meta_lock(r->meta);
	OK(meta_pending_inodes(r->meta, &inos, &count));
	for (size_t k = 0; k < count; k++)
		collect_inode(&b, inos[k]);
	OK(meta_pending_dentries(r->meta, &dentries, &count));
	for (size_t k = 0; k < count; k++) {
		struct change_dentry *d = changes_add_dentry(b.c);

		d->parent = dentries[k].parent;
		d->ino = dentries[k].ino;
		d->type = dentries[k].type;
		memcpy(d->name, dentries[k].name, sizeof(d->name));
	}
	meta_unlock(r->meta);
	free(inos);
	free(dentries);
	if (!b.c->inode_count && !b.c->dentry_count) {
		changes_free(b.c);
		return NULL;
	}
	return b.c;
}

void
add_commit(struct world *w, struct replica *author, struct changes *c)
{
	w->chain = realloc(w->chain, (w->chain_count + 1) * sizeof(*w->chain));
	w->chain[w->chain_count] = (struct commit){.author = author};
	OK(changes_encode(c, &w->chain[w->chain_count].body));
	w->chain_count++;
}

static struct merge_context
context_of(struct replica *r)
{
	return (struct merge_context){.meta = r->meta, .lookups = r->lookups, .my_name = r->name, .now = 1700000000};
}

err_t
apply_foreign(struct replica *r, const struct changes *c, struct merge_result *out)
{
	struct merge_context mc = context_of(r);

	return merge_apply_foreign(&mc, c, NULL, NULL, out);
}

static void
apply_next(struct replica *r)
{
	struct commit *commit = &r->world->chain[r->applied];
	struct merge_context mc = context_of(r);
	struct changes *c = NULL;

	OK(changes_decode(commit->body.data, commit->body.len, &c));
	if (commit->author == r) {
		OK(merge_apply_own(&mc, c, NULL, NULL));
		OK(merge_apply_own(&mc, c, NULL, NULL)); /* as after a crash */
	} else {
		struct merge_result result = {0};

		OK(apply_foreign(r, c, &result));
		r->world->conflict_count += result.conflict_count;
		if (result.conflict_count) {
			merge_result_clear(&r->last);
			r->last = result;
		} else {
			merge_result_clear(&result);
		}
	}
	changes_free(c);
	r->applied++;
}

void
pull(struct replica *r)
{
	while (r->applied < r->world->chain_count)
		apply_next(r);
}

void
push_with(struct replica *r, void (*while_away)(void *ctx, struct replica *r), void *ctx)
{
	struct changes *c;

	pull(r);
	c = collect(r);
	if (!c)
		return;
	add_commit(r->world, r, c);
	changes_free(c);
	if (while_away)
		while_away(ctx, r);
	apply_next(r);
}

void
push(struct replica *r)
{
	push_with(r, NULL, NULL);
}

/* Looking at all of it */

struct listing {
	struct dentry *v;
	size_t count;
};

static err_t
list_add(void *ctx, const struct dentry *d)
{
	struct listing *l = ctx;

	l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
	l->v[l->count++] = *d;
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const struct dentry *)a)->name, ((const struct dentry *)b)->name);
}

struct walk
walk_replica(struct replica *r)
{
	struct walk w = {0};

	meta_lock(r->meta);
	for (size_t next = 0; next <= w.count; next++) {
		uint64_t dir = next ? w.v[next - 1].ino : INODE_ROOT;
		struct listing l = {0};

		if (next && w.v[next - 1].type != DT_DIR)
			continue;
		OK(meta_dentry_scan(r->meta, dir, 0, list_add, &l));
		if (l.count)
			qsort(l.v, l.count, sizeof(*l.v), compare_names);
		for (size_t k = 0; k < l.count; k++) {
			struct walk_entry *e;

			w.v = realloc(w.v, (w.count + 1) * sizeof(*w.v));
			e = &w.v[w.count++];
			*e = (struct walk_entry){.parent = dir, .ino = l.v[k].ino, .type = l.v[k].type};
			memcpy(e->name, l.v[k].name, sizeof(e->name));
			snprintf(e->path, sizeof(e->path), "%.700s/%s", next ? w.v[next - 1].path : "", e->name);
			assert_true(w.count < 100000); /* a directory within itself would never end */
		}
		free(l.v);
	}
	meta_unlock(r->meta);
	return w;
}

static uint32_t
count_names(const struct walk *w, uint64_t ino)
{
	uint32_t count = 0;

	for (size_t k = 0; k < w->count; k++)
		count += w->v[k].ino == ino;
	return count;
}

static void
check_directory(const struct walk *w, const struct inode *i)
{
	uint32_t entries = 0, subdirs = 0;

	for (size_t k = 0; k < w->count; k++) {
		entries += w->v[k].parent == i->ino;
		subdirs += w->v[k].parent == i->ino && w->v[k].type == DT_DIR;
	}
	assert_int_equal(i->nlink, 2 + subdirs);
	assert_int_equal(i->entry_count, entries);
}

struct chunk_sum {
	uint64_t mapped;
	bool pending;
};

/* The version that an extent says is the key that it was sealed under. */
static void
check_keys(const struct inode *i, const struct extent_list *l)
{
	for (uint32_t k = 0; k < l->count; k++) {
		uint32_t n = 0;

		while (n < i->key_count && i->keys[n].version != l->v[k].key_version)
			n++;
		assert_int_not_equal(n, i->key_count);
		assert_memory_equal(l->v[k].x_id + sizeof(uint64_t), i->keys[n].wrapped, SEALED_UNDER_LEN);
	}
	for (uint32_t n = 1; n < i->key_count; n++)
		assert_true(i->keys[n].version > i->keys[n - 1].version);
}

static err_t
check_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	check_keys(i, &c->current);
	check_keys(i, &c->chain);
	struct chunk_sum *sum = ctx;

	if (c->pending)
		assert_true(i->pending & (PENDING_CONTENT | PENDING_NEW));
	else
		assert_int_equal(c->chain.count, 0);
	if (i->pending & PENDING_NEW)
		assert_int_equal(c->chain.count, 0);
	sum->mapped += mapped_of(c);
	sum->pending = sum->pending || c->pending;
	return 0;
}

static void
check_inode(struct replica *r, const struct walk *w, const struct walk_entry *e)
{
	struct chunk_sum sum = {0};
	struct inode *i = NULL;

	OK(meta_inode_get(r->meta, e->ino, &i));
	assert_int_equal(e->type, IFTODT(i->mode));
	if (S_ISDIR(i->mode)) {
		assert_int_equal(count_names(w, i->ino), 1);
		assert_int_equal(i->parent, e->parent);
		check_directory(w, i);
	} else {
		assert_int_equal(i->nlink, count_names(w, i->ino));
	}
	if (S_ISREG(i->mode)) {
		OK(meta_chunk_scan(r->meta, i, 0, check_chunk, &sum));
		assert_int_equal(i->mapped, sum.mapped);
	}
}

void
check_replica(struct replica *r)
{
	struct walk w = walk_replica(r);
	struct inode *root = NULL;

	meta_lock(r->meta);
	OK(meta_inode_get(r->meta, INODE_ROOT, &root));
	check_directory(&w, root);
	for (size_t k = 0; k < w.count; k++)
		check_inode(r, &w, &w.v[k]);
	meta_unlock(r->meta);
	free(w.v);
}

struct dumping {
	struct replica *r;
	FILE *out;
};

static err_t
dump_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct dumping *d = ctx;

	(void)i;
	fprintf(d->out, " %llu:[", (unsigned long long)c->no);
	for (uint32_t k = 0; k < c->current.count; k++) {
		const struct extent *x = &c->current.v[k];
		struct segment s;

		OK(meta_segment_get(d->r->meta, x->seg, &s));
		for (size_t n = 0; n < sizeof(s.name); n++)
			fprintf(d->out, n == 0 ? " %02x" : "%02x", s.name[n]);
		fprintf(d->out, " %llu+%u #%llu(%llu+%u key %u)", (unsigned long long)x->off, x->len,
		    (unsigned long long)token_of(x), (unsigned long long)x->x_off, x->x_len, x->key_version);
	}
	fprintf(d->out, " ]");
	return 0;
}

static int
compare_xattr_names(const void *a, const void *b)
{
	return strcmp(((const struct xattr *)a)->name, ((const struct xattr *)b)->name);
}

static void
dump_inode(struct dumping *d, uint64_t ino)
{
	struct xattr_list *l = NULL;
	struct inode *i = NULL;

	OK(meta_inode_get(d->r->meta, ino, &i));
	fprintf(d->out, " ino %llx mode %o uid %u nlink %u size %llu mtime %lld ctime %lld btime %lld", (unsigned long long)ino,
	    i->mode, i->uid, i->nlink, (unsigned long long)i->size, (long long)i->mtime.tv_sec, (long long)i->ctime.tv_sec,
	    (long long)i->btime.tv_sec);
	if (i->target)
		fprintf(d->out, " -> %s", i->target);
	OK(meta_xattrs_get(d->r->meta, i, &l));
	if (l->count)
		qsort(l->v, l->count, sizeof(*l->v), compare_xattr_names);
	for (uint32_t k = 0; k < l->count; k++) {
		if (!l->v[k].deleted)
			fprintf(d->out, " %s=%.*s", l->v[k].name, (int)l->v[k].len, (char *)l->v[k].value);
	}
	if (!S_ISREG(i->mode))
		return;
	fprintf(d->out, " origin %llx keys", (unsigned long long)i->origin);
	for (uint32_t k = 0; k < i->key_count; k++)
		fprintf(d->out, " %u:%02x%02x", i->keys[k].version, i->keys[k].wrapped[0], i->keys[k].wrapped[1]);
	OK(meta_chunk_scan(d->r->meta, i, 0, dump_chunk, d));
}

char *
dump_replica(struct replica *r)
{
	struct walk w = walk_replica(r);
	struct dumping d = {.r = r};
	char *text = NULL;
	size_t len = 0;

	d.out = open_memstream(&text, &len);
	meta_lock(r->meta);
	fprintf(d.out, "/");
	dump_inode(&d, INODE_ROOT);
	for (size_t k = 0; k < w.count; k++) {
		fprintf(d.out, "\n%s", w.v[k].path);
		dump_inode(&d, w.v[k].ino);
	}
	meta_unlock(r->meta);
	fclose(d.out);
	free(w.v);
	return text;
}

static err_t
count_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	(void)a;
	(void)b;
	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	++*(size_t *)ctx;
	return 0;
}

/* Nothing is left of what has no name any more. */
static void
check_no_leftovers(struct replica *r)
{
	struct walk w = walk_replica(r);
	size_t inodes = 0, dentries = 0, named = 1;

	do_forget(r);
	OK(meta_sync(r->meta));
	meta_lock(r->meta);
	OK(db_scan_all(r->db, DB_INODE, 0, 0, UINT32_MAX, count_row, &inodes));
	OK(db_scan_all(r->db, DB_DENTRY, 0, 0, UINT32_MAX, count_row, &dentries));
	meta_unlock(r->meta);
	for (size_t k = 0; k < w.count; k++) {
		size_t first = 0;

		while (w.v[first].ino != w.v[k].ino)
			first++;
		named += first == k;
	}
	assert_int_equal(inodes, named);
	assert_int_equal(dentries, w.count);
	free(w.v);
}

static void
check_tokens(struct replica *r)
{
	struct walk w = walk_replica(r);

	for (uint64_t token = 0; token < r->world->token_count; token++) {
		bool found = r->world->token_dead[token];

		for (size_t k = 0; k < w.count && !found; k++)
			found = w.v[k].type == DT_REG && has_token(r, w.v[k].ino, token);
		if (!found)
			fail_msg("write %llu is lost", (unsigned long long)token);
	}
	free(w.v);
}

static bool
all_said(struct replica *r)
{
	struct changes *c;

	if (r->applied < r->world->chain_count)
		return false;
	c = collect(r);
	changes_free(c);
	return !c;
}

/* Names the first line that is different. */
static void
assert_same_text(char *a, char *b)
{
	char *rest_a = NULL, *rest_b = NULL;
	char *x = strtok_r(a, "\n", &rest_a);
	char *y = strtok_r(b, "\n", &rest_b);

	while (x && y && strcmp(x, y) == 0) {
		x = strtok_r(NULL, "\n", &rest_a);
		y = strtok_r(NULL, "\n", &rest_b);
	}
	if (x || y) {
		print_error("%s\n%s\n", x ? x : "(end)", y ? y : "(end)");
		fail_msg("two devices differ");
	}
}

void
settle_world(struct world *w)
{
	bool done = false;

	for (int round = 0; round < 20 && !done; round++) {
		for (size_t k = 0; k < w->count; k++)
			push(&w->r[k]);
		done = true;
		for (size_t k = 0; k < w->count; k++) {
			pull(&w->r[k]);
			done = done && all_said(&w->r[k]);
		}
	}
	assert_true(done);
	for (size_t k = 0; k < w->count; k++) {
		char *text = dump_replica(&w->r[k]);
		char *first = dump_replica(&w->r[0]);

		check_replica(&w->r[k]);
		assert_same_text(first, text);
		free(first);
		free(text);
	}
	check_tokens(&w->r[0]);
	for (size_t k = 0; k < w->count; k++)
		check_no_leftovers(&w->r[k]);
}
