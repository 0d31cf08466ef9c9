/*
 * Copying from one tree into another: content with its holes, attributes, extended attributes, links, special files.
 *
 * What is made is made under a name that nobody looks for, and gets its own when it is whole.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"
#include "history.h"
#include "random.h"

#define COPY_LEN (1u << 20)
#define BATCH 512

/* A file with several names that was copied already. */
struct linked {
	uint64_t from;
	uint64_t to;
	UT_hash_handle hh;
};

struct copying {
	struct history_restore *r;
	struct linked *linked;
	uint8_t *buf; /* COPY_LEN */
};

static void
copying_clear(struct copying *c)
{
	struct linked *l, *next;

	HASH_ITER(hh, c->linked, l, next) {
		HASH_DEL(c->linked, l);
		free(l);
	}
	free(c->buf);
}

static void
let_go(struct vfs *v, uint64_t ino)
{
	vfs_forget(v, ino, 1);
}

/* Contents. */

static err_t
copy_range(struct copying *c, uint64_t from, uint64_t to, uint64_t off, uint64_t end)
{
	err_t err;

	while (off < end) {
		size_t want = end - off < COPY_LEN ? (size_t)(end - off) : COPY_LEN, got = 0;

		if (c->r->watch.go_on != NULL && !c->r->watch.go_on(c->r->watch.ctx, "restoring", c->r->byte_count, 0))
			return -ECANCELED;
		if ((err = vfs_read(c->r->from, from, off, want, c->buf, &got)) != 0)
			return err;
		if (got == 0)
			return -EIO;
		if ((err = vfs_write(c->r->to, to, off, c->buf, got, 0)) != 0)
			return err;
		off += got;
		c->r->byte_count += got;
	}
	return 0;
}

static err_t
copy_content(struct copying *c, const struct stat *st, uint64_t to)
{
	uint64_t size = (uint64_t)st->st_size, off = 0, end = 0;
	struct stat sized = { .st_size = st->st_size };
	err_t err = 0;

	while (off < size) {
		if ((err = vfs_seek(c->r->from, st->st_ino, off, SEEK_DATA, &off)) != 0)
			break;
		if ((err = vfs_seek(c->r->from, st->st_ino, off, SEEK_HOLE, &end)) != 0 ||
		    (err = copy_range(c, st->st_ino, to, off, end)) != 0)
			return err;
		off = end;
	}
	if (err != 0 && err != -ENXIO) /* the rest is a hole */
		return err;
	return vfs_setattr(c->r->to, to, &sized, VFS_SET_SIZE, &sized);
}

/* Attributes. */

static err_t
copy_xattr(struct copying *c, uint64_t from, uint64_t to, const char *name)
{
	size_t len = 0;
	err_t err = vfs_getxattr(c->r->from, from, name, c->buf, COPY_LEN, &len);

	return err != 0 ? err : vfs_setxattr(c->r->to, to, name, c->buf, len, 0);
}

/* What the new one has inherited from its folder it did not have. */
static err_t
drop_inherited(struct vfs *v, uint64_t ino)
{
	static const char *const acls[] = { "system.posix_acl_access", "system.posix_acl_default" };

	for (size_t i = 0; i < ARRAY_LEN(acls); i++) {
		err_t err = vfs_removexattr(v, ino, acls[i]);

		if (err != 0 && err != -ENODATA && err != -EOPNOTSUPP)
			return err;
	}
	return 0;
}

static err_t
copy_xattrs(struct copying *c, uint64_t from, uint64_t to)
{
	CLEANUP(free_ptr) char *list = NULL;
	size_t len = 0;
	err_t err;

	if ((err = drop_inherited(c->r->to, to)) != 0 || (err = vfs_listxattr(c->r->from, from, NULL, 0, &len)) != 0 || len == 0)
		return err;
	list = malloc(len);
	if (list == NULL)
		return -ENOMEM;
	err = vfs_listxattr(c->r->from, from, list, len, &len);
	for (size_t at = 0; err == 0 && at < len; at += strlen(list + at) + 1)
		err = copy_xattr(c, from, to, list + at);
	return err;
}

static err_t
copy_attributes(struct copying *c, const struct stat *st, uint64_t to)
{
	struct stat set = *st;
	unsigned mask = VFS_SET_MODE | VFS_SET_UID | VFS_SET_GID | VFS_SET_ATIME | VFS_SET_MTIME;
	err_t err = copy_xattrs(c, st->st_ino, to);

	return err != 0 ? err : vfs_setattr(c->r->to, to, &set, mask, &set);
}

/* Files. */

static err_t
make_node(struct copying *c, const struct stat *st, uint64_t parent, const char *name, struct stat *made)
{
	const struct vfs_caller who = { st->st_uid, st->st_gid, 0 };
	char target[SYMLINK_LEN_MAX + 1];
	err_t err;

	if (S_ISDIR(st->st_mode))
		return vfs_mkdir(c->r->to, &who, parent, name, st->st_mode & 07777, made);
	if (!S_ISLNK(st->st_mode))
		return vfs_mknod(c->r->to, &who, parent, name, st->st_mode, st->st_rdev, made);
	if ((err = vfs_readlink(c->r->from, st->st_ino, target, sizeof(target))) != 0)
		return err;
	return vfs_symlink(c->r->to, &who, target, parent, name, made);
}

static err_t
note_link(struct copying *c, uint64_t from, uint64_t to)
{
	struct linked *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->from = from;
	l->to = to;
	HASH_ADD(hh, c->linked, from, sizeof(l->from), l);
	if (l->hh.tbl == NULL) {
		free(l);
		return -ENOMEM;
	}
	return 0;
}

/* Removes what was begun. */
static err_t
undo(struct copying *c, uint64_t parent, const char *name, err_t err)
{
	err_t undone = vfs_unlink(c->r->to, parent, name);

	(void)undone; /* it has a name that shows what it is */
	return err;
}

/* Anything but a folder. */
static err_t
copy_file(struct copying *c, const struct stat *st, uint64_t parent, const char *name)
{
	struct linked *l = NULL;
	struct stat made;
	err_t err;

	HASH_FIND(hh, c->linked, &st->st_ino, sizeof(l->from), l);
	if (l != NULL) {
		if ((err = vfs_link(c->r->to, l->to, parent, name, &made)) == 0)
			let_go(c->r->to, made.st_ino);
		return err;
	}
	if ((err = make_node(c, st, parent, name, &made)) != 0)
		return err;
	if (S_ISREG(st->st_mode))
		err = copy_content(c, st, made.st_ino);
	if (err == 0)
		err = copy_attributes(c, st, made.st_ino);
	if (err == 0 && st->st_nlink > 1)
		err = note_link(c, st->st_ino, made.st_ino);
	let_go(c->r->to, made.st_ino);
	if (err != 0)
		return undo(c, parent, name, err);
	c->r->file_count++;
	return 0;
}

/* A name for what is not whole yet. */
static err_t
draw_name(char out[static 48])
{
	uint8_t random[8];
	err_t err = random_bytes(random, sizeof(random));

	if (err == 0)
		snprintf(out, 48, ".snugfs-restoring-%02x%02x%02x%02x%02x%02x%02x%02x", random[0], random[1], random[2], random[3],
		    random[4], random[5], random[6], random[7]);
	return err;
}

static void
tell(struct copying *c, uint64_t parent, const char *name)
{
	if (c->r->changed != NULL)
		c->r->changed(c->r->ctx, parent, name);
}

static err_t remove_made(struct vfs *v, uint64_t parent, const char *name);

/* Gives what was made its name; flags as vfs_rename's. */
static err_t
put_in_place(struct copying *c, uint64_t parent, const char *made, const char *name, unsigned flags)
{
	err_t err = vfs_rename(c->r->to, parent, made, parent, name, flags), removed;

	if (err != 0) {
		removed = remove_made(c->r->to, parent, made);
		(void)removed;
	}
	tell(c, parent, made);
	tell(c, parent, name);
	return err;
}

/* Folders. */

struct entry {
	uint64_t ino;
	uint64_t cookie;
	char name[NAME_LEN_MAX + 1];
};

struct batch {
	struct entry *v; /* BATCH */
	size_t count;
};

static int
take_entry(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct batch *b = ctx;

	if (b->count == BATCH)
		return 1;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	b->v[b->count].ino = attr->st_ino;
	b->v[b->count].cookie = cookie;
	memcpy(b->v[b->count++].name, name, strlen(name) + 1);
	return 0;
}

/* Some entries of a folder, those behind the cookie. */
static err_t
read_batch(struct vfs *v, uint64_t ino, uint64_t after, struct batch *b)
{
	b->count = 0;
	return vfs_readdir(v, ino, after, false, take_entry, b);
}

/* One folder on the way down. */
struct level {
	struct stat st;  /* of the one that is copied */
	uint64_t to;
	bool filling;    /* it was there before */
	uint64_t after;
	struct level *up;
};

static err_t
push_level(struct level **top, const struct stat *st, uint64_t to, bool filling)
{
	struct level *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->st = *st;
	l->to = to;
	l->filling = filling;
	l->up = *top;
	*top = l;
	return 0;
}

static void
levels_clear(struct level **top)
{
	while (*top != NULL) {
		struct level *l = *top;

		*top = l->up;
		free(l);
	}
}

/* What is in the way of an entry; st_ino 0: nothing. */
static err_t
look_there(struct copying *c, const struct level *l, const char *name, struct stat *out)
{
	err_t err;

	*out = (struct stat){ 0 };
	if (!l->filling)
		return 0;
	err = vfs_lookup(c->r->to, l->to, name, out);
	if (err == 0)
		let_go(c->r->to, out->st_ino);
	return err == -ENOENT ? 0 : err;
}

/* Over what is there, or in a folder that nobody sees yet. */
static err_t
copy_file_entry(struct copying *c, const struct level *l, const struct stat *st, const char *name, const struct stat *there)
{
	char made[48];
	err_t err;

	if (!l->filling)
		return copy_file(c, st, l->to, name);
	if (S_ISDIR(there->st_mode))
		return -EISDIR;
	if ((err = draw_name(made)) != 0 || (err = copy_file(c, st, l->to, made)) != 0)
		return err;
	return put_in_place(c, l->to, made, name, 0);
}

static err_t
enter_folder(struct copying *c, struct level **top, const struct stat *st, const char *name, const struct stat *there)
{
	uint64_t parent = (*top)->to;
	bool filling = (*top)->filling;
	struct stat made;
	err_t err;

	if (there->st_ino != 0)
		return S_ISDIR(there->st_mode) ? push_level(top, st, there->st_ino, true) : -ENOTDIR;
	if ((err = make_node(c, st, parent, name, &made)) != 0)
		return err;
	let_go(c->r->to, made.st_ino);
	if (filling)
		tell(c, parent, name);
	return push_level(top, st, made.st_ino, false);
}

/* *down_out: there is a new level to go on with. */
static err_t
copy_entry(struct copying *c, struct level **top, const struct entry *e, bool *down_out)
{
	struct stat st, there;
	err_t err;

	memcpy(c->r->failed, c->r->failed_count == 0 ? e->name : c->r->failed, sizeof(c->r->failed));
	if ((err = vfs_getattr(c->r->from, e->ino, &st)) != 0 || (err = look_there(c, *top, e->name, &there)) != 0)
		return err;
	if (S_ISDIR(st.st_mode)) {
		*down_out = true;
		return enter_folder(c, top, &st, e->name, &there);
	}
	err = copy_file_entry(c, *top, &st, e->name, &there);
	if (err != -EIO)
		return err;
	c->r->failed_count++; /* what can't be read must not keep the rest */
	return 0;
}

static err_t
copy_level(struct copying *c, struct level **top, struct batch *b)
{
	struct level *l = *top;
	bool down = false;
	err_t err;

	do {
		if ((err = read_batch(c->r->from, l->st.st_ino, l->after, b)) != 0)
			return err;
		for (size_t i = 0; i < b->count && !down; i++) {
			if ((err = copy_entry(c, top, &b->v[i], &down)) != 0)
				return err;
			l->after = b->v[i].cookie;
		}
	} while (!down && b->count > 0);
	if (down)
		return 0;
	*top = l->up;
	err = l->filling ? 0 : copy_attributes(c, &l->st, l->to);
	free(l);
	return err;
}

static err_t
copy_tree(struct copying *c, const struct stat *st, uint64_t to, bool filling)
{
	CLEANUP(levels_clear) struct level *top = NULL;
	CLEANUP(free_ptr) struct entry *entries = calloc(BATCH, sizeof(*entries));
	struct batch b = { .v = entries };
	err_t err = entries == NULL ? -ENOMEM : push_level(&top, st, to, filling);

	while (err == 0 && top != NULL)
		err = copy_level(c, &top, &b);
	return err;
}

/* All that was made of it, after a failure. */
static err_t
remove_made(struct vfs *v, uint64_t parent, const char *name)
{
	CLEANUP(free_ptr) struct entry *entries = NULL;
	struct batch b = { 0 };
	struct stat st;
	err_t err = vfs_lookup(v, parent, name, &st);

	if (err != 0)
		return err;
	let_go(v, st.st_ino);
	if (!S_ISDIR(st.st_mode))
		return vfs_unlink(v, parent, name);
	entries = calloc(BATCH, sizeof(*entries));
	if (entries == NULL)
		return -ENOMEM;
	b.v = entries;
	do {
		err = read_batch(v, st.st_ino, 0, &b);
		for (size_t i = 0; err == 0 && i < b.count; i++)
			err = remove_made(v, st.st_ino, b.v[i].name);
	} while (err == 0 && b.count > 0);
	return err != 0 ? err : vfs_rmdir(v, parent, name);
}

/* The whole. */

static err_t
restore_new(struct copying *c, const struct stat *st, unsigned flags)
{
	struct history_restore *r = c->r;
	char name[48];
	struct stat made;
	err_t err = draw_name(name), removed;

	if (err != 0)
		return err;
	if (!S_ISDIR(st->st_mode)) {
		err = copy_file(c, st, r->parent, name);
		return err != 0 ? err : put_in_place(c, r->parent, name, r->name, flags);
	}
	if ((err = make_node(c, st, r->parent, name, &made)) != 0)
		return err;
	let_go(r->to, made.st_ino);
	if ((err = copy_tree(c, st, made.st_ino, false)) == 0)
		return put_in_place(c, r->parent, name, r->name, flags);
	removed = remove_made(r->to, r->parent, name);
	(void)removed;
	tell(c, r->parent, name);
	return err;
}

static err_t
restore_over(struct copying *c, const struct stat *st, const struct stat *there)
{
	if (S_ISDIR(st->st_mode) != S_ISDIR(there->st_mode))
		return S_ISDIR(there->st_mode) ? -EISDIR : -ENOTDIR;
	return S_ISDIR(st->st_mode) ? copy_tree(c, st, there->st_ino, true) : restore_new(c, st, 0);
}

err_t
history_restore(struct history_restore *r)
{
	CLEANUP(copying_clear) struct copying c = { .r = r, .buf = malloc(COPY_LEN) };
	struct stat st, there;
	err_t err;

	if (c.buf == NULL)
		return -ENOMEM;
	if ((err = vfs_getattr(r->from, r->ino, &st)) != 0)
		return err;
	if (r->name == NULL)
		return S_ISDIR(st.st_mode) ? copy_tree(&c, &st, r->parent, true) : -ENOTDIR;
	err = vfs_lookup(r->to, r->parent, r->name, &there);
	if (err == 0)
		let_go(r->to, there.st_ino);
	if (err == 0 && !r->overwrite)
		return -EEXIST;
	if (err == 0)
		return restore_over(&c, &st, &there);
	return err == -ENOENT ? restore_new(&c, &st, RENAME_NOREPLACE) : err;
}
