/*
 * meta_internal.h: the cache behind meta.h: shared by meta*.c and by nobody else.
 *
 * Every cached object begins with a node.  A node's life:
 *
 *     absent --load--> CLEAN --change--> DIRTY --freeze--> FROZEN --durable--> CLEAN --evict--> absent
 *                                          ^                 |  \-- the commit failed --> DIRTY
 *                                          |---- change -----|      (then DIRTY with frozen still set)
 *
 * What a commit puts into the journal only is durable, but stays FROZEN until a commit of the database has it, too.
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
#include "segment_names.h"

struct node {
	enum db_table table;
	uint64_t a; /* the row's key, as db.h says */
	uint64_t b;
	bool dirty;
	bool frozen;
	bool deleted;
	bool stored; /* the database has a row of it (as of the last durable commit) */
	bool used;   /* since it was last looked at for eviction */
	uint32_t weight; /* bytes of memory, as counted in its list */
	struct node *prev; /* in exactly one of meta's lists */
	struct node *next;
};

struct cached_inode {
	struct node node;
	UT_hash_handle hh;
	bool counted; /* in meta->pending_inodes */
	uint64_t counted_bytes; /* in meta->pending_bytes */
	bool was_named; /* has had a name since it was loaded or made */
	uint64_t cookie; /* of a directory: that of its name when it was listed last; 0: it was not */
	struct inode inode;
};

/* An inode that lost its last name while this process runs and is still here. */
struct removed_inode {
	uint64_t ino;
	UT_hash_handle hh;
};

/*
 * What is in memory of a chunk, and what the database has (meta_parts.c).  A chunk in many pieces is kept there as a head and parts, so
 * that whoever writes a block reads, seals and writes little.  A bit for each part.
 */
#define PARTS_ALL UINT32_MAX
struct chunk_parts {
	bool split;             /* in parts, as of the last freeze */
	bool head_changed;      /* since the last freeze */
	bool head_frozen;       /* and not in the database yet */
	uint32_t loaded;        /* in memory: all, unless split */
	uint32_t changed;       /* since the last freeze; these are in memory */
	uint32_t frozen;        /* and not in the database yet */
	uint32_t stored;        /* the database or the journal may have a row of it */
	struct chunk_head head; /* as of the last freeze, if split */
};

struct cached_chunk {
	struct node node;
	struct chunk chunk; /* of what is loaded */
	struct chunk_parts parts;
	UT_hash_handle hh; /* by node.a, node.b */
};

/* What is known of the names in a directory, while some of them are in memory. */
struct directory {
	uint64_t ino;
	size_t entries;  /* in memory */
	bool complete;   /* every row is in memory: what is not, does not exist */
	bool large;      /* too many rows to read all at once */
	bool missed;     /* a name was not in memory, since some have last left it */
	uint64_t listed; /* all rows below this cookie are in memory */
	uint64_t newest; /* no name in memory has a greater cookie */
	uint64_t ahead;  /* reading ahead has come to this cookie */
	UT_hash_handle hh;
};

/* A name; ino and chain_ino 0 without deleted: known to be absent, no row.  node.b is the cookie, 0 as long as there is none. */
struct cached_dentry {
	struct node node;
	UT_hash_handle hh; /* by key: parent, then the name */
	struct directory *directory;
	uint64_t ino;
	uint64_t chain_ino;
	int64_t hash;
	uint8_t type;
	bool has_hash;
	bool counted; /* in meta->pending_dentries */
	uint8_t name_len;
	uint8_t key[];
};

struct cached_xattrs {
	struct node node;
	struct xattr_list list;
	UT_hash_handle hh; /* by node.a */
};

struct cached_segment {
	struct node node;
	struct segment segment;
	UT_hash_handle hh; /* by node.a */
};

/* DB_KV and DB_STATEMENT rows. */
struct cached_blob {
	struct node node;
	struct bytes data;
	UT_hash_handle hh; /* by node.table, node.a: the first bytes of node are not contiguous, so by key */
	uint64_t key;      /* table << 32 | a */
};

/* The pinned rows of one directory or file, by b: what a scan of the database must be merged with.  See meta_pins.c. */
struct pin {
	uint64_t b;
	struct node *node; /* NULL: not any more */
};
struct pinset {
	uint64_t key[2]; /* table, a */
	struct pin *v;
	size_t count;
	size_t sorted; /* that many at the front are in order */
	size_t holes;
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

/* Entries of a directory that were read before anybody asked for them, and who may ask for what.  See meta_ahead.c. */
#define AHEAD_ENTRIES 256u
struct ahead {
	uint64_t dir;  /* 0: none */
	uint64_t from; /* those with cookies in [from, to) are all in v, in order */
	uint64_t to;
	bool end;      /* there are none behind */
	bool used;     /* some were handed out */
	struct cached_dentry *v[AHEAD_ENTRIES];
	size_t count;

	uint64_t listed;   /* the directory that was listed last */
	uint64_t child;    /* the first directory that was handed out of it; 0: none yet */
	uint64_t expected; /* the one that comes after the one before; 0: not known */
	bool chosen;       /* ... after `listed` */
	bool walking;      /* `listed` was expected */

	bool choose;      /* the thread is to find out what is expected */
	bool wanted;      /* ... to read more */
	unsigned credit;  /* less for each time that it was for nothing */
	unsigned left_undone;
	bool running;
	bool failed; /* there can be no thread */
	bool stopping;
	pthread_t thread;
	pthread_cond_t wake;
};

struct node_list {
	struct node *first;
	size_t count;
	size_t weight; /* bytes of memory */
};

struct meta {
	struct db *db;
	struct reserve *reserve; /* may be NULL; set before any thread */
	struct rowseal *rs;
	struct meta_hooks hooks;
	uint32_t member_number;

	pthread_mutex_t lock;
	atomic_uint waiting; /* for the lock */
	/* under lock */
	struct ahead ahead;
	struct cached_inode *inodes;
	struct cached_chunk *chunks;
	struct cached_dentry *dentries;
	struct directory *directories;
	struct dentry shown; /* the name that was handed out last */
	struct cached_xattrs *xattrs;
	struct cached_segment *segments;
	struct segment_names segment_names; /* of those up to `learned` (meta_segments.c) */
	uint64_t learned;                   /* UINT64_MAX: all */
	struct meta_segment_totals totals;  /* of all, or of those up to `learned` */
	bool totals_known;                  /* of all */
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
	uint64_t hot_moves;
	bool shrunk; /* nothing was written to the database since it was made smaller */
	uint64_t pending_inodes; /* this and the next are stored with the counters: nobody counts a million rows at each opening */
	uint64_t pending_dentries;
	uint64_t pending_bytes;  /* as good as it is: a crash may make it wrong until nothing is pending */
	uint64_t change;
	uint64_t stamp; /* of the last change of any chunk: never goes back, so struct chunk's `change` has no ABA */
	err_t poison;

	/* committing: under lock */
	bool committing;      /* somebody is: one at a time */
	uint64_t freeze_gen;  /* freezes so far */
	uint64_t failed_gen;  /* the last freeze whose commit failed */
	uint64_t durable_gen; /* the last freeze that is durable */
	uint64_t stored_gen;  /* the last freeze that is in the database */
	err_t last_result;
	bool counters_journaled;         /* the database has older ones than the journal */
	struct release_list given_back;  /* durably released, and not told to the hook yet */
	size_t rows_stored;              /* since the last checkpoint */
	unsigned commits_stored;
	bool wants_room;                 /* the journal was too short, or is not there yet */
	bool kick;                       /* the thread is to commit */
	bool stopping;
	bool running;
	unsigned interval_ms;
	pthread_t thread;
	pthread_cond_t wake; /* the thread */
	pthread_cond_t done; /* the waiters */
};

/* Cookies of "." and ".." are smaller. */
#define FIRST_COOKIE 16u

/* A growing list of numbers. */
struct number_list {
	uint64_t *v;
	size_t count;
	size_t cap;
};

#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* meta_cache.c */
void cache_init(struct node *n, enum db_table table, uint64_t a, uint64_t b, bool stored);
void cache_insert_clean(struct meta *m, struct node *n); /* a new node */
void cache_touch(struct node *n); /* used: last to be evicted */
MUST_CHECK err_t cache_dirty(struct meta *m, struct node *n);
/* The row goes: a tombstone until that is durable (or at once, if it never was stored). n may be freed. */
void cache_delete(struct meta *m, struct node *n);
void cache_move(struct meta *m, struct node *n, struct node_list *to);
void cache_free_node(struct meta *m, struct node *n); /* out of all lists and hashes */
void cache_evict(struct meta *m);

/* It has become larger. */
void cache_weigh_again(struct meta *m, struct node *n);

/* meta_parts.c */
static inline uint64_t
part_number(uint64_t no, unsigned part)
{
	return no * CHUNK_PARTS + part;
}
/* Into memory: what begins in these parts, and what reaches into them. */
MUST_CHECK err_t parts_load(struct meta *m, struct cached_chunk *cc, uint32_t parts);
/* The parts that [from, to) touches; offsets in the file, cut at the chunk's ends. */
uint32_t parts_between(const struct chunk *c, uint64_t from, uint64_t to);
/* From here on memory is the same as what a commit has just frozen, what the database has; or neither. */
void parts_freeze(struct cached_chunk *cc);
void parts_stored(struct cached_chunk *cc);
void parts_failed(struct cached_chunk *cc);

/* meta_pins.c */
MUST_CHECK err_t pins_add(struct meta *m, struct node *n);
void pins_drop(struct meta *m, const struct node *n);
/* The pinned row of (table, a) with the least b >= from; NULL: none. */
struct node *pins_next(struct meta *m, enum db_table table, uint64_t a, uint64_t from);
/* Drops what is not pinned any more from all sets. */
void pins_compact(struct meta *m);
void pins_free(struct meta *m);

/* meta.c */
MUST_CHECK err_t meta_release_add(struct release_list *l, const struct release *r);

/* meta_commit.c */
void commit_kick_if_full(struct meta *m);

/* meta_inodes.c: what is in memory, tombstones included; or NULL. */
struct cached_inode *inode_cached(struct meta *m, uint64_t ino);
/* Reads those that are not in memory.  Whoever wants one that could not be read learns why when asking for it. */
void inode_read_ahead(struct meta *m, struct number_list *inos);

/* meta_pending.c */
MUST_CHECK err_t pending_add_number(struct number_list *l, uint64_t n);
/* In order, each once; returns how many. */
size_t pending_sort_numbers(struct number_list *l);

/* meta_names.c.  A directory of which two names were asked for is read as a whole, if it has no more rows. */
#define NAMES_WHOLE_MAX 1024u
MUST_CHECK err_t dentry_hash(struct meta *m, struct cached_dentry *cd);
/* The database has no rows of a directory that it has never seen. */
bool names_is_unstored(struct meta *m, uint64_t parent);
struct directory *names_find_directory(struct meta *m, uint64_t ino);
/* The entry of the row that has this cookie, as the row's name finds it; NULL: not in memory. */
struct cached_dentry *names_of_row(struct meta *m, const struct dentry *d);
struct cached_dentry *dentry_cached(struct meta *m, uint64_t parent, const char *name, size_t len);
/* Into the cache, clean; d->cookie 0: not known to any row. */
struct cached_dentry *dentry_insert(struct meta *m, const struct dentry *d, bool stored);
/* Out of its directory, when it is freed. */
void dentry_leave(struct meta *m, struct cached_dentry *cd);
bool dentry_is_void(const struct cached_dentry *cd);
/* All of it but what no name has. */
void dentry_show(const struct cached_dentry *cd, struct dentry *out);

/* meta_list.c: some entries in order, as far as possible with their inodes. */
#define LIST_ROWS 32u
struct list_part {
	uint64_t from; /* all with cookies in [from, to) */
	uint64_t to;
	bool end; /* there are no more */
	struct cached_dentry *v[LIST_ROWS];
	size_t count;
};
MUST_CHECK err_t list_read_part(struct meta *m, uint64_t parent, uint64_t from, bool inodes, struct list_part *out);
/* With inodes, and fewer as soon as somebody waits for the lock. */
MUST_CHECK err_t list_read_politely(struct meta *m, uint64_t parent, uint64_t from, struct list_part *out);
/* With its inode, or without one. */
MUST_CHECK err_t list_emit(struct meta *m, const struct cached_dentry *cd, bool inodes, meta_entry_fn *fn, void *ctx);

/*
 * meta_ahead.c.  An answer begins with what is behind the cookie `after`; gets of that, while fn takes it, what was read ahead, *after
 * moving on with it (*end_out: that was all); and has ended, at the directory's end or behind the cookie `last`, where `rest` has some
 * that were read and not taken.
 */
void ahead_begin(struct meta *m, uint64_t parent, uint64_t after);
MUST_CHECK err_t ahead_emit(struct meta *m, uint64_t parent, uint64_t *after, bool *end_out, meta_entry_fn *fn, void *ctx);
void ahead_go_on(struct meta *m, uint64_t parent, uint64_t last, bool end, const struct list_part *rest);
/* A directory was handed out; a name got its cookie; one goes from memory. */
void ahead_note_child(struct meta *m, const struct cached_dentry *cd, struct inode *i);
void ahead_note_new(struct meta *m, const struct cached_dentry *cd);
void ahead_note_gone(struct meta *m, const struct cached_dentry *cd);
void ahead_init(struct meta *m);
void ahead_clear(struct meta *m);
/* The thread, which begins when there is something to do; stop waits for its end.  Without the lock. */
void ahead_start(struct meta *m);
void ahead_stop(struct meta *m);

/* meta_list.c: reads rows of the directory from a cookie on into the cache, at most limit, and their inodes. */
MUST_CHECK err_t list_read_directory(struct meta *m, uint64_t parent, uint64_t from, unsigned limit, bool inodes,
    unsigned *rows_out, uint64_t *last_out);

#endif
