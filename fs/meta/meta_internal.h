/*
 * meta_internal.h: the cache behind meta.h: shared by meta*.c and by nobody else.
 *
 * Every cached object begins with a node.  A node's life:
 *
 *     absent --load--> CLEAN --change--> DIRTY --freeze--> FROZEN --durable--> CLEAN --evict--> absent
 *                                          ^                 |  \-- the commit failed --> DIRTY
 *                                          |---- change -----|      (then DIRTY with frozen still set)
 *
 * DIRTY and FROZEN nodes are pinned: memory is newer than the database.  `deleted` nodes are tombstones: pinned, too, and
 * freed once the deletion is durable.  CLEAN nodes are in the LRU list.  All fields are under meta->lock.
 */
#ifndef SNUGFS_META_INTERNAL_H
#define SNUGFS_META_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "extents.h"
#include "hash_table.h"
#include "meta.h"
#include "records.h"

struct node {
	enum db_table table;
	uint64_t a; /* the row's key, as db.h says */
	uint64_t b;
	bool dirty;
	bool frozen;
	bool deleted;
	bool stored; /* the database has a row of it (as of the last durable commit) */
	struct node *prev; /* in exactly one of meta's lists */
	struct node *next;
};

struct cached_inode {
	struct node node;
	struct inode inode;
	bool counted; /* in meta->pending_inodes */
	bool was_named; /* has had a name since it was loaded or made */
	UT_hash_handle hh;
};

/* An inode that lost its last name while this process runs and is still here. */
struct removed_inode {
	uint64_t ino;
	UT_hash_handle hh;
};

struct cached_chunk {
	struct node node;
	struct chunk chunk;
	UT_hash_handle hh; /* by node.a, node.b */
};

struct cached_dentry {
	struct node node;
	struct dentry dentry; /* ino and chain_ino 0 without deleted: known to be absent, no row */
	int64_t hash;
	bool has_hash;
	bool counted; /* in meta->pending_dentries */
	UT_hash_handle hh; /* by key */
	size_t key_len;
	uint8_t key[]; /* parent, then the name */
};

struct cached_xattrs {
	struct node node;
	struct xattr_list list;
	UT_hash_handle hh; /* by node.a */
};

struct cached_segment {
	struct node node;
	struct segment segment;
	UT_hash_handle hh;      /* by node.a */
	UT_hash_handle by_name; /* settled ones, once all are loaded */
	bool named;
};

/* DB_KV and DB_STATEMENT rows. */
struct cached_blob {
	struct node node;
	struct bytes data;
	UT_hash_handle hh; /* by node.table, node.a: the first bytes of node are not contiguous, so by key */
	uint64_t key;      /* table << 32 | a */
};

/* The pinned rows of one directory or file, ordered by b: what a scan of the database must be merged with. */
struct pinset {
	uint64_t key[2]; /* table, a */
	struct node **v;
	size_t count;
	size_t cap;
	UT_hash_handle hh;
};

struct release {
	uint64_t seg;
	uint64_t off;
	uint32_t len;
};
struct release_list {
	struct release *v;
	size_t count;
	size_t cap;
};

struct node_list {
	struct node *first;
	size_t count;
};

struct meta {
	struct db *db;
	struct rowseal *rs;
	struct meta_hooks hooks;
	uint32_t member_number;

	pthread_mutex_t lock;
	/* under lock */
	struct cached_inode *inodes;
	struct cached_chunk *chunks;
	struct cached_dentry *dentries;
	struct cached_xattrs *xattrs;
	struct cached_segment *segments;
	struct cached_segment *segments_by_name;
	bool segments_loaded;
	struct cached_blob *blobs;
	struct removed_inode *removed;
	struct pinset *pinsets;
	struct node_list clean;
	struct node_list dirty;
	struct node_list frozen; /* frozen and not dirty again */
	struct release_list releases;
	uint64_t next_ino; /* counter below INODE_MEMBER_SHIFT */
	uint64_t next_cookie;
	uint64_t next_segment;
	bool counters_dirty;
	uint64_t pending_inodes;
	uint64_t pending_dentries;
	uint64_t change;
	uint64_t stamp; /* of the last change of any chunk: never goes back, so struct chunk's `change` has no ABA */
	err_t poison;

	/* committing: under lock */
	uint64_t freeze_gen;  /* freezes so far */
	uint64_t attempt_gen; /* the last freeze whose commit ended, well or not */
	uint64_t durable_gen; /* the last freeze that is durable */
	err_t last_result;
	bool kick;
	bool stopping;
	bool running;
	unsigned interval_ms;
	pthread_t thread;
	pthread_cond_t wake; /* the committing thread */
	pthread_cond_t done; /* the waiters */
};

#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* meta_cache.c */
void cache_init(struct node *n, enum db_table table, uint64_t a, uint64_t b, bool stored);
void cache_insert_clean(struct meta *m, struct node *n); /* a new node */
void cache_touch(struct meta *m, struct node *n);        /* used: last to be evicted */
MUST_CHECK err_t cache_dirty(struct meta *m, struct node *n);
/* The row goes: a tombstone until that is durable (or at once, if it never was stored). n may be freed. */
void cache_delete(struct meta *m, struct node *n);
void cache_move(struct meta *m, struct node *n, struct node_list *to);
void cache_free_node(struct meta *m, struct node *n); /* out of all lists and hashes */
void cache_evict(struct meta *m);
/* The pinned rows of (table, a); NULL if none. */
struct pinset *cache_pinset(struct meta *m, enum db_table table, uint64_t a);
/* Index of the first with b >= from. */
size_t cache_pinset_find(const struct pinset *p, uint64_t from);
/* Drops what is not pinned any more from all sets. */
void cache_pinset_compact(struct meta *m);
MUST_CHECK err_t cache_pinset_add(struct meta *m, struct node *n);

/* meta_commit.c */
void commit_kick_if_full(struct meta *m);

/* meta_inodes.c: what is in memory, tombstones included; or NULL. */
struct cached_inode *inode_cached(struct meta *m, uint64_t ino);

/* meta_pending.c: a growing list of numbers; the second is a db_row_fn that adds a row's first key. */
struct number_list {
	uint64_t *v;
	size_t count;
	size_t cap;
};
MUST_CHECK err_t pending_add_number(struct number_list *l, uint64_t n);
MUST_CHECK err_t pending_add_key(void *list, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data,
    size_t len);

/* meta_names.c */
MUST_CHECK err_t dentry_hash(struct meta *m, struct cached_dentry *cd);

#endif
