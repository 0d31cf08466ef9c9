/* ceiling_tree.h: the nodes and names of the ceiling, in memory.  Knows no FUSE.  Errors are positive, as FUSE wants them. */
#ifndef BENCH_CEILING_TREE_H
#define BENCH_CEILING_TREE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <uthash.h>

#define PAGE_LEN 4096U

struct node {
	atomic_uint_fast64_t lookups; /* that the kernel has not forgotten yet */
	pthread_rwlock_t lock;        /* attr, pages */
	struct stat attr;
	uint8_t **pages; /* NULL for a hole */
	size_t page_count;
	char *target;          /* of a symlink */
	struct entry *entries; /* of a directory, by name and in order of `serial`; names_lock, like all below */
	struct entry *resume;  /* where the last listing stopped: the first entry after resume_after */
	uint64_t resume_after;
};

struct entry {
	UT_hash_handle hh;
	uint64_t serial; /* the position in a listing; only grows */
	struct node *node;
	char name[];
};

/* Lock order: names_lock, then a node's. */
extern pthread_rwlock_t names_lock;

struct timespec now(void);

/* A new node's st_ino is its address.  target is a symlink's, else NULL.  NULL if there is no memory. */
struct node *node_new(mode_t mode, dev_t rdev, uid_t uid, gid_t gid, const char *target);
void node_init(struct node *n, mode_t mode, dev_t rdev, uid_t uid, gid_t gid);
void node_free(struct node *n);
/* With names_lock for writing: frees what has neither a name nor a user. */
void node_reap(struct node *n);
/* A copy of the attributes, for an answer. */
struct stat node_attr(struct node *n);
/* Changes the link count and its time; a directory's content changed if mtime. */
void node_touch(struct node *n, int links, bool mtime);

/* With the node's lock for writing: what lies behind the new end is gone and reads as zeros should the file grow again. */
void node_resize(struct node *n, off_t size);
/* With the node's lock for writing. */
int node_write(struct node *n, const char *data, size_t len, off_t off);
/* With the node's lock: the page itself, or zeros. */
const uint8_t *node_page(const struct node *n, size_t page);

/* All with names_lock, for writing but for name_find and name_after. */
struct entry *name_find(const struct node *dir, const char *name);
int name_add(struct node *dir, const char *name, struct node *n);
void name_remove(struct node *dir, struct entry *e);
/* The kernel has checked what can be checked without knowing what is in a directory. */
int name_move(struct node *from, const char *name, struct node *to, const char *newname, bool replace);
/* The first entry after a position.  Listings go on where the last one stopped; others are searched for. */
struct entry *name_after(struct node *dir, uint64_t position);

#endif
