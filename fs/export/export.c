/* The walk through a vault's tree, and what archiver.h wants to know of each entry. */
#include "export.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "export_source.h"
#include "numset.h"

#define READ_LEN (1u << 20)
#define NAMES_AT_ONCE 256u
/* Fetched segments are forgotten when they have grown to that. */
#define CACHE_LEN (512u << 20)

/* A folder on the way down. */
struct level {
	uint64_t ino;
	uint64_t after;   /* entries up to this cookie are out */
	size_t path_len;
	bool out;         /* itself */
};

struct name {
	uint64_t ino;
	uint64_t cookie;
	uint8_t type;
	char text[NAME_LEN_MAX + 1];
};

struct export {
	struct vault *v;
	struct archiver *a;
	bool check;
	bool pending;          /* what is pending, and no more, of a vault that is in use */
	struct numset *wanted; /* then: those inodes */
	const struct export_hooks *hooks;
	struct export_report report;
	struct level *levels;
	size_t depth, cap;
	struct name *names; /* NAMES_AT_ONCE */
	size_t name_count;
	char *path;         /* of what is being written */
	size_t path_cap;
	struct numset *linked; /* inode to a malloc'ed path, of files with several names */
	char **links;
	size_t link_count, link_cap;
	uint8_t *buf;
};

static void
export_clear(struct export *x)
{
	for (size_t i = 0; i < x->link_count; i++)
		free(x->links[i]);
	free(x->links);
	numset_clear(&x->linked);
	numset_clear(&x->wanted);
	free(x->levels);
	free(x->names);
	free(x->path);
	if (x->buf != NULL)
		explicit_bzero(x->buf, READ_LEN);
	free(x->buf);
}

/* Contents. */

struct settled {
	uint64_t *v;
	size_t count, cap;
};

static err_t
list_settled(void *ctx, const struct segment *row)
{
	struct settled *l = ctx;

	if (row->kind != SEGMENT_SETTLED)
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		uint64_t *v = reallocarray(l->v, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = row->id;
	return 0;
}

/* Whatever was fetched can be fetched again; of a vault that is in use nothing may go here. */
static err_t
forget_segments(struct export *x)
{
	struct vault *v = x->v;
	struct settled l = { 0 };
	uint64_t used = 0;
	err_t err = x->pending ? 0 : segstore_usage(v->segments, &used);

	if (err != 0 || used < CACHE_LEN)
		return err;
	err = meta_segment_scan(v->meta, false, list_settled, &l);
	for (size_t i = 0; err == 0 && i < l.count; i++)
		err = segstore_drop(v->segments, l.v[i]);
	free(l.v);
	return err;
}

static err_t
is_wanted(struct export *x)
{
	return x->hooks->progress(x->hooks->ctx, x->report.entries, x->report.bytes) ? 0 : -ECANCELED;
}

/* Reads a range, and writes it if `write`.  *read_err_out: it can't be read; else an error is the target's. */
static err_t
copy_range(struct export *x, uint64_t ino, const struct archiver_range *r, bool write, err_t *read_err_out)
{
	uint64_t done = 0;
	err_t err = 0;

	while (err == 0 && done < r->len) {
		size_t want = r->len - done < READ_LEN ? (size_t)(r->len - done) : READ_LEN, got = 0;

		*read_err_out = content_read(x->v->content, ino, r->off + done, want, x->buf, &got);
		if (*read_err_out == 0 && got != want)
			*read_err_out = -EIO;
		if (*read_err_out != 0)
			return 0;
		if (write && (err = archiver_write(x->a, r->off + done, x->buf, got)) != 0)
			return err;
		done += got;
		x->report.bytes += write ? got : 0;
		if ((err = is_wanted(x)) == 0)
			err = forget_segments(x);
	}
	return err;
}

static err_t
copy_content(struct export *x, const struct export_source *s, bool write, err_t *read_err_out)
{
	err_t err = 0;

	*read_err_out = 0;
	for (size_t i = 0; err == 0 && *read_err_out == 0 && i < s->range_count; i++)
		err = copy_range(x, s->i.ino, &s->ranges[i], write, read_err_out);
	return err;
}

/* Entries. */

static const char *
why_unreadable(const struct export *x)
{
	return x->pending ? "it is damaged here, or parts of it are only in the store and can't be had" :
	    "it is damaged in the store, or can't be had";
}

static void
tell_failed(struct export *x, const char *why)
{
	x->report.failed++;
	x->hooks->failed(x->hooks->ctx, x->path, why);
}

static bool
is_sparse(const struct export_source *s)
{
	return s->i.size > 0 && !(s->range_count == 1 && s->ranges[0].off == 0 && s->ranges[0].len == s->i.size);
}

static const struct archiver_range nothing; /* a file that is one hole */

static err_t
write_entry(struct export *x, const struct export_source *s, const char *link)
{
	const struct archiver_entry e = { .path = x->path, .link = link, .target = s->target, .mode = s->i.mode, .uid = s->i.uid,
		.gid = s->i.gid, .rdev = s->i.rdev, .size = s->i.size, .mtime = s->i.mtime,
		.xattrs = s->xattrs, .xattr_count = s->xattr_count,
		.data = !is_sparse(s) ? NULL : s->range_count > 0 ? s->ranges : &nothing,
		.data_count = s->range_count };
	err_t err = archiver_begin(x->a, &e);
	err_t read_err = 0;

	if (err == -ENOTSUP) {
		x->hooks->failed(x->hooks->ctx, x->path, "a tar file has no sockets");
		return 0;
	}
	if (err == 0 && link == NULL && S_ISREG(s->i.mode))
		err = copy_content(x, s, true, &read_err);
	if (err != 0)
		return err;
	if (read_err != 0) {
		tell_failed(x, x->check ? "it could be read at first, and then no longer; what is missing is zeros" :
		    why_unreadable(x));
		return archiver_give_up(x->a);
	}
	x->report.entries++;
	x->report.files += !S_ISDIR(s->i.mode);
	return archiver_end(x->a);
}

/* The path under which a file with several names is out; NULL: not yet. */
static const char *
known_link(struct export *x, uint64_t ino)
{
	size_t at;

	return numset_get(x->linked, ino, &at) == 0 ? x->links[at] : NULL;
}

static err_t
remember_link(struct export *x, uint64_t ino)
{
	err_t err;

	if (x->link_count == x->link_cap) {
		size_t cap = x->link_cap ? x->link_cap * 2 : 64;
		char **v = reallocarray(x->links, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		x->links = v;
		x->link_cap = cap;
	}
	x->links[x->link_count] = strdup(x->path);
	if (x->links[x->link_count] == NULL)
		return -ENOMEM;
	if ((err = numset_put(&x->linked, ino, x->link_count)) == 0)
		x->link_count++;
	else
		free(x->links[x->link_count]);
	return err;
}

static err_t
export_one(struct export *x, uint64_t ino)
{
	CLEANUP(export_source_clear) struct export_source s = { 0 };
	uint64_t failed = x->report.failed;
	const char *link;
	err_t err, read_err = 0;

	err = export_source_copy(x->v->meta, ino, &s);
	if (err != 0)
		return err == -ENOENT && x->pending ? 0 : err; /* removed meanwhile */
	link = S_ISDIR(s.i.mode) || s.i.nlink < 2 ? NULL : known_link(x, ino);
	if (x->check && link == NULL && S_ISREG(s.i.mode) && (err = copy_content(x, &s, false, &read_err)) != 0)
		return err;
	if (read_err != 0) {
		tell_failed(x, why_unreadable(x));
		return 0;
	}
	if ((err = write_entry(x, &s, link)) != 0)
		return err;
	if (!S_ISDIR(s.i.mode) && s.i.nlink > 1 && link == NULL && failed == x->report.failed)
		err = remember_link(x, ino);
	return err != 0 ? err : is_wanted(x);
}

/* The walk. */

static err_t
set_name(struct export *x, size_t at, const char *name)
{
	size_t len = strlen(name);

	if (at + len + 2 > x->path_cap) {
		size_t cap = (at + len + 2) * 2;
		char *path = realloc(x->path, cap);

		if (path == NULL)
			return -ENOMEM;
		x->path = path;
		x->path_cap = cap;
	}
	if (at > 0)
		x->path[at++] = '/';
	memcpy(x->path + at, name, len + 1);
	return 0;
}

static err_t
push_level(struct export *x, uint64_t ino, size_t path_len, bool out)
{
	if (x->depth == x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 32;
		struct level *v = reallocarray(x->levels, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		x->levels = v;
		x->cap = cap;
	}
	x->levels[x->depth++] = (struct level){ ino, 0, path_len, out };
	return 0;
}

static err_t
take_name(void *ctx, const struct dentry *d)
{
	struct export *x = ctx;
	struct name *n = &x->names[x->name_count++];

	n->ino = d->ino;
	n->cookie = d->cookie;
	n->type = d->type;
	memcpy(n->text, d->name, (size_t)d->name_len + 1);
	return x->name_count == NAMES_AT_ONCE ? -ECANCELED : 0;
}

/* Folders are written when something in them is. */
static err_t
write_above(struct export *x)
{
	err_t err = 0;

	for (size_t k = 0; err == 0 && k < x->depth; k++) {
		struct level *l = &x->levels[k];

		if (l->out)
			continue;
		x->path[l->path_len] = '\0';
		err = export_one(x, l->ino);
		x->path[l->path_len] = '/';
		l->out = true;
	}
	return err;
}

static err_t
export_wanted(struct export *x, uint64_t ino, bool *out)
{
	err_t err;

	*out = !x->pending || numset_has(x->wanted, ino);
	if (!*out)
		return 0;
	return (err = write_above(x)) != 0 ? err : export_one(x, ino);
}

/* Some entries of the innermost folder; down into the first folder among them. */
static err_t
walk_on(struct export *x)
{
	size_t depth = x->depth;
	const struct level at = x->levels[depth - 1];
	err_t err;

	x->name_count = 0;
	meta_lock(x->v->meta);
	err = meta_dentry_scan(x->v->meta, at.ino, at.after, take_name, x);
	meta_unlock(x->v->meta);
	if (err != 0 && err != -ECANCELED)
		return err;
	if (x->name_count == 0) {
		x->depth--;
		return 0;
	}
	for (size_t k = 0; k < x->name_count; k++) {
		const struct name *n = &x->names[k];
		bool out;

		if ((err = set_name(x, at.path_len, n->text)) != 0 || (err = export_wanted(x, n->ino, &out)) != 0)
			return err;
		x->levels[depth - 1].after = n->cookie;
		if (n->type == DT_DIR)
			return push_level(x, n->ino, strlen(x->path), out);
	}
	return 0;
}

static err_t
run(struct export *x)
{
	err_t err;

	x->names = calloc(NAMES_AT_ONCE, sizeof(*x->names));
	x->buf = malloc(READ_LEN);
	if (x->names == NULL || x->buf == NULL)
		return -ENOMEM;
	/* The folder that pending things go into is the user's, and stays as it is. */
	if ((err = set_name(x, 0, ".")) != 0 || (!x->pending && (err = export_one(x, INODE_ROOT)) != 0) ||
	    (err = push_level(x, INODE_ROOT, 0, true)) != 0)
		return err;
	while (err == 0 && x->depth > 0)
		err = walk_on(x);
	return err != 0 ? err : archiver_finish(x->a);
}

err_t
export_tree(struct vault *v, struct archiver *a, bool check, const struct export_hooks *hooks, struct export_report *out)
{
	struct export x = { .v = v, .a = a, .check = check, .hooks = hooks };
	err_t err = run(&x);

	*out = x.report;
	export_clear(&x);
	return err;
}

/* What is pending. */

/* A folder in which something came or went is pending, too, but not for what it is itself. [meta lock] */
static err_t
want_inode(struct export *x, uint64_t ino)
{
	struct inode *i;
	err_t err = meta_inode_get(x->v->meta, ino, &i);

	if (err != 0)
		return err;
	if (S_ISDIR(i->mode) && (i->pending & ~(unsigned)(PENDING_MTIME | PENDING_CTIME)) == 0)
		return 0;
	return numset_add(&x->wanted, ino);
}

/* [meta lock] */
static err_t
want_pending(struct export *x)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	CLEANUP(free_ptr) struct dentry *names = NULL;
	size_t ino_count = 0, name_count = 0;
	err_t err;

	if ((err = meta_pending_inodes(x->v->meta, &inos, &ino_count)) != 0 ||
	    (err = meta_pending_dentries(x->v->meta, &names, &name_count)) != 0)
		return err;
	for (size_t k = 0; err == 0 && k < ino_count; k++)
		err = want_inode(x, inos[k]);
	for (size_t k = 0; err == 0 && k < name_count; k++)
		err = names[k].ino != 0 ? numset_add(&x->wanted, names[k].ino) : 0;
	return err;
}

err_t
export_pending(struct vault *v, struct archiver *a, const struct export_hooks *hooks, struct export_report *out)
{
	struct export x = { .v = v, .a = a, .pending = true, .hooks = hooks };
	err_t err;

	meta_lock(v->meta);
	err = want_pending(&x);
	meta_unlock(v->meta);
	if (err == 0)
		err = run(&x);
	*out = x.report;
	export_clear(&x);
	return err;
}
