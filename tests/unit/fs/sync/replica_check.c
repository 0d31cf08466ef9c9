/* Devices for tests of merging: whether all is sound, and the same everywhere. */
#include "replica.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
		char above[701]; /* a path that is longer is shown by its beginning */

		if (next && w.v[next - 1].type != DT_DIR)
			continue;
		snprintf(above, sizeof(above), "%.700s", next ? w.v[next - 1].path : "");
		OK(meta_dentry_scan(r->meta, dir, 0, list_add, &l));
		if (l.count)
			qsort(l.v, l.count, sizeof(*l.v), compare_names);
		for (size_t k = 0; k < l.count; k++) {
			struct walk_entry *e;

			w.v = realloc(w.v, (w.count + 1) * sizeof(*w.v));
			e = &w.v[w.count++];
			*e = (struct walk_entry){.parent = dir, .ino = l.v[k].ino, .type = l.v[k].type};
			memcpy(e->name, l.v[k].name, sizeof(e->name));
			snprintf(e->path, sizeof(e->path), "%s/%s", above, e->name);
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
