/*
 * model.h: what the tree should be, kept apart from the engine, and one number for all of a tree: names, attributes, times,
 * link targets, extended attributes and every byte.  Two trees are taken for equal if their numbers are.
 */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <sys/stat.h>

#include "image.h"
#include "vfs.h"

#define MODEL_NAMES 12 /* names that a directory can have */
#define MODEL_NODES 48
#define MODEL_XATTRS 3
#define MODEL_FILE_MAX (3400u << 10)  /* but what work_scatter makes long */
#define MODEL_NONE (-1)

struct model_xattr {
	uint8_t *value; /* NULL: not set */
	size_t len;
};

struct model_node {
	bool used;
	struct stat st; /* as the engine said last; size and type are checked against the model's */
	unsigned names;
	int parent; /* directories */
	uint8_t *data;
	size_t size;
	char target[32];
	struct model_xattr xattrs[MODEL_XATTRS];
	int entries[MODEL_NAMES]; /* directories: node by name */
	uint64_t hash;            /* of content, target and xattrs */
};

struct model {
	struct model_node nodes[MODEL_NODES]; /* 0: the root */
};

const char *model_name(int name);
const char *model_xattr_name(int k);

void model_init(struct model *m);
void model_clear(struct model *m);
int model_new_node(struct model *m); /* MODEL_NONE: full */
void model_link(struct model *m, int dir, int name, int node);
/* Frees the node with its last name. */
void model_unlink(struct model *m, int dir, int name);
bool model_is_empty(const struct model *m, int dir);
bool model_is_below(const struct model *m, int node, int top);
void model_write(struct model_node *n, uint64_t off, const uint8_t *data, size_t len); /* NULL: zeros */
void model_truncate(struct model_node *n, size_t size);
void model_set_xattr(struct model_node *n, int k, const uint8_t *value, size_t len); /* NULL: removes */
/* Takes the engine's word for times and the like. */
MUST_CHECK err_t model_refresh(struct model_node *n, struct vfs *v);
void model_rehash(struct model_node *n);
uint64_t model_hash(const struct model *m);

/* The same number of what the engine shows, or of that part of it which all devices share.  An error of any read is the result. */
enum tree_view { TREE_ALL, TREE_SHARED };
MUST_CHECK err_t tree_hash(struct vfs *v, enum tree_view view, uint64_t *hash_out);

#endif
