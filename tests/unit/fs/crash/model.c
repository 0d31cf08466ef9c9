/* model.c: a tree of nodes in an array. */
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_NAME \
	"a-long-name-------------------------------------------------------------------------------------------------------------" \
	"--------------------------------------------------------------------------------------------------------------------"

static const char *const NAMES[MODEL_NAMES] = {
	"a", "b", "c", "d", "letter.txt", "photo.jpg", "caf\xc3\xa9", ".hidden", "with space", "x", "y", (LONG_NAME),
};

const char *
model_name(int name)
{
	return NAMES[name];
}

const char *
model_xattr_name(int k)
{
	static const char *const XATTRS[MODEL_XATTRS] = {"user.one", "user.two", "trusted.three"};

	return XATTRS[k];
}

static void
node_init(struct model_node *n)
{
	*n = (struct model_node){.used = true, .parent = MODEL_NONE};
	for (int k = 0; k < MODEL_NAMES; k++)
		n->entries[k] = MODEL_NONE;
}

static void
node_clear(struct model_node *n)
{
	free(n->data);
	for (int k = 0; k < MODEL_XATTRS; k++)
		free(n->xattrs[k].value);
	*n = (struct model_node){0};
}

void
model_init(struct model *m)
{
	*m = (struct model){0};
	node_init(&m->nodes[0]);
	m->nodes[0].names = 1;
	m->nodes[0].parent = 0;
	m->nodes[0].st.st_ino = INODE_ROOT;
	m->nodes[0].st.st_mode = S_IFDIR;
	model_rehash(&m->nodes[0]);
}

void
model_clear(struct model *m)
{
	for (int k = 0; k < MODEL_NODES; k++)
		node_clear(&m->nodes[k]);
}

int
model_new_node(struct model *m)
{
	for (int k = 0; k < MODEL_NODES; k++) {
		if (m->nodes[k].used)
			continue;
		node_init(&m->nodes[k]);
		return k;
	}
	return MODEL_NONE;
}

void
model_link(struct model *m, int dir, int name, int node)
{
	m->nodes[dir].entries[name] = node;
	m->nodes[node].names++;
	m->nodes[node].parent = dir;
}

void
model_unlink(struct model *m, int dir, int name)
{
	struct model_node *n = &m->nodes[m->nodes[dir].entries[name]];

	m->nodes[dir].entries[name] = MODEL_NONE;
	if (--n->names == 0)
		node_clear(n);
}

bool
model_is_empty(const struct model *m, int dir)
{
	for (int k = 0; k < MODEL_NAMES; k++)
		if (m->nodes[dir].entries[k] != MODEL_NONE)
			return false;
	return true;
}

bool
model_is_below(const struct model *m, int node, int top)
{
	while (node != top && node != 0)
		node = m->nodes[node].parent;
	return node == top;
}

void
model_truncate(struct model_node *n, size_t size)
{
	uint8_t *data = realloc(n->data, size + 1);

	MUST(data);
	n->data = data;
	if (size > n->size)
		memset(data + n->size, 0, size - n->size);
	n->size = size;
}

void
model_write(struct model_node *n, uint64_t off, const uint8_t *data, size_t len)
{
	if (off + len > n->size)
		model_truncate(n, (size_t)off + len);
	if (data)
		memcpy(n->data + off, data, len);
	else
		memset(n->data + off, 0, len);
}

void
model_set_xattr(struct model_node *n, int k, const uint8_t *value, size_t len)
{
	struct model_xattr *x = &n->xattrs[k];

	free(x->value);
	*x = (struct model_xattr){0};
	if (!value)
		return;
	x->value = malloc(len + 1);
	MUST(x->value);
	memcpy(x->value, value, len);
	x->len = len;
}

/* The number of a tree. */

static uint64_t
hash_xattr(const char *name, const void *value, size_t len)
{
	return mix_bytes(mix_bytes(1, name, strlen(name)), value, len);
}

/* A folder's size is each device's own count. */
static uint64_t
hash_stat(const struct stat *st, enum tree_view view)
{
	uint64_t h = mix(2, st->st_ino);

	h = mix(mix(mix(mix(h, st->st_mode), st->st_nlink), st->st_uid), st->st_gid);
	h = mix(mix(h, st->st_rdev), view == TREE_ALL || !S_ISDIR(st->st_mode) ? (uint64_t)st->st_size : 0);
	h = mix(mix(h, (uint64_t)st->st_mtim.tv_sec), (uint64_t)st->st_mtim.tv_nsec);
	if (view == TREE_SHARED)
		return h;
	h = mix(h, (uint64_t)st->st_blocks);
	h = mix(mix(h, (uint64_t)st->st_atim.tv_sec), (uint64_t)st->st_atim.tv_nsec);
	return mix(mix(h, (uint64_t)st->st_ctim.tv_sec), (uint64_t)st->st_ctim.tv_nsec);
}

/* An entry at a path that is `above` so far. */
static uint64_t
hash_path(uint64_t above, const char *name)
{
	return mix_bytes(above, name, strlen(name));
}

static uint64_t
hash_entry(uint64_t path, const struct stat *st, uint64_t content, enum tree_view view)
{
	return mix(mix(path, hash_stat(st, view)), content);
}

void
model_rehash(struct model_node *n)
{
	uint64_t xattrs = 0;

	n->hash = S_ISREG(n->st.st_mode) ? mix_bytes(3, n->data ? (const void *)n->data : "", n->size) :
	    S_ISLNK(n->st.st_mode) ? mix_bytes(4, n->target, strlen(n->target)) : 0;
	for (int k = 0; k < MODEL_XATTRS; k++)
		if (n->xattrs[k].value)
			xattrs += hash_xattr(model_xattr_name(k), n->xattrs[k].value, n->xattrs[k].len);
	n->hash = mix(n->hash, xattrs);
}

static bool
is_same(const struct model_node *n, const struct stat *st)
{
	if (S_ISREG(st->st_mode) && (uint64_t)st->st_size != n->size)
		return false;
	if (!S_ISDIR(st->st_mode) && st->st_nlink != n->names)
		return false;
	return (st->st_mode & S_IFMT) == (n->st.st_mode & S_IFMT) && st->st_ino == n->st.st_ino;
}

err_t
model_refresh(struct model_node *n, struct vfs *v)
{
	struct stat st;
	err_t e = vfs_getattr(v, n->st.st_ino, &st);

	if (e)
		return e;
	if (!is_same(n, &st)) {
		fprintf(stderr, "the engine's attributes of inode %llu are not what was done to it\n",
		    (unsigned long long)n->st.st_ino);
		abort();
	}
	n->st = st;
	model_rehash(n);
	return 0;
}

static uint64_t
hash_below(const struct model *m, int dir, uint64_t path)
{
	uint64_t sum = 0;

	for (int k = 0; k < MODEL_NAMES; k++) {
		int node = m->nodes[dir].entries[k];

		if (node == MODEL_NONE)
			continue;

		uint64_t at = hash_path(path, NAMES[k]);

		sum += hash_entry(at, &m->nodes[node].st, m->nodes[node].hash, TREE_ALL);
		if (S_ISDIR(m->nodes[node].st.st_mode))
			sum += hash_below(m, node, at);
	}
	return sum;
}

uint64_t
model_hash(const struct model *m)
{
	return hash_entry(0, &m->nodes[0].st, m->nodes[0].hash, TREE_ALL) + hash_below(m, 0, 0);
}

/* The engine's tree. */

#define LISTED_MAX 256

struct listed {
	char name[NAME_LEN_MAX + 1];
	uint64_t ino;
};
struct listing {
	struct listed v[LISTED_MAX];
	size_t count;
};

static int
see(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct listing *l = ctx;

	(void)cookie;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (l->count == ARRAY_LEN(l->v))
		return 1;
	snprintf(l->v[l->count].name, sizeof(l->v[l->count].name), "%s", name);
	l->v[l->count++].ino = attr->st_ino;
	return 0;
}

static err_t
hash_content(struct vfs *v, const struct stat *st, uint64_t *hash_out)
{
	uint8_t *data = malloc((size_t)st->st_size + 1);
	size_t done = 0, got = 1;
	err_t e = data ? 0 : -ENOMEM;

	while (!e && got && done < (size_t)st->st_size) {
		e = vfs_read(v, st->st_ino, done, (size_t)st->st_size - done, data + done, &got);
		done += e ? 0 : got;
	}
	if (!e)
		*hash_out = mix_bytes(3, data, done);
	free(data);
	return e;
}

static err_t
hash_xattrs(struct vfs *v, uint64_t ino, uint64_t *sum_out)
{
	static _Thread_local uint8_t value[65536];
	char list[1024];
	size_t len, value_len;
	err_t e = vfs_listxattr(v, ino, list, sizeof(list), &len);

	*sum_out = 0;
	for (const char *at = list; !e && at < list + len; at += strlen(at) + 1) {
		e = vfs_getxattr(v, ino, at, value, sizeof(value), &value_len);
		if (!e)
			*sum_out += hash_xattr(at, value, value_len);
	}
	return e;
}

static err_t
hash_node(struct vfs *v, const struct stat *st, uint64_t *hash_out)
{
	char target[SYMLINK_LEN_MAX + 1];
	uint64_t content = 0, xattrs = 0;
	err_t e = 0;

	if (S_ISREG(st->st_mode)) {
		e = hash_content(v, st, &content);
	} else if (S_ISLNK(st->st_mode)) {
		e = vfs_readlink(v, st->st_ino, target, sizeof(target));
		content = e ? 0 : mix_bytes(4, target, strlen(target));
	}
	if (!e)
		e = hash_xattrs(v, st->st_ino, &xattrs);
	if (!e)
		*hash_out = mix(content, xattrs);
	return e;
}

/* Adds the entry at `path`, and what is below it. */
static err_t
walk(struct vfs *v, uint64_t ino, uint64_t path, enum tree_view view, uint64_t *sum)
{
	struct listing l = {.count = 0};
	struct stat st;
	uint64_t content;
	err_t e = vfs_getattr(v, ino, &st);

	if (!e)
		e = hash_node(v, &st, &content);
	if (e)
		return e;
	*sum += hash_entry(path, &st, content, view);
	if (S_ISDIR(st.st_mode))
		e = vfs_readdir(v, ino, 0, false, see, &l);
	for (size_t k = 0; k < l.count && !e; k++) {
		struct stat named;

		/* By name and by number must lead to the same. */
		e = vfs_lookup(v, ino, l.v[k].name, &named);
		if (!e)
			vfs_forget(v, named.st_ino, 1);
		if (!e && named.st_ino != l.v[k].ino)
			e = -EBADMSG;
		if (!e)
			e = walk(v, l.v[k].ino, hash_path(path, l.v[k].name), view, sum);
	}
	return e;
}

err_t
tree_hash(struct vfs *v, enum tree_view view, uint64_t *hash_out)
{
	uint64_t sum = 0;
	err_t e = walk(v, INODE_ROOT, 0, view, &sum);

	if (!e)
		*hash_out = sum;
	return e;
}
