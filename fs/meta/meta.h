/*
 * meta.h: the vault's metadata: a cache of inodes, names and chunks over meta.db, with one consistent write-behind.
 *
 * Every change is made to objects in memory under the lock and is visible at once.  A commit freezes the set of changed
 * objects (under the lock, without I/O), then, without the lock, makes the data that they point at durable and writes the
 * frozen rows in one durable transaction.  So what is on disk is always a prefix of history, and no operation ever waits for
 * a flush that it did not ask for.  Changed objects stay in memory until their commit is through; others are evicted.
 *
 * A commit for an fsync writes to the journal instead (db.h), data and rows with one flush; the next commit of the database,
 * by the timer or when the journal is full, has the same rows, as they are by then.
 *
 * INVARIANT: a committed row never points at bytes that are not yet durable (before_commit runs between freeze and write).
 * INVARIANT: bytes that a committed row points at are released (on_release) only after a later commit, without them, is durable.
 *
 * LOCKING: meta_lock is one mutex; functions marked [L] need it held.  Objects handed out are borrowed until it is
 * released.  It is never held during encryption, segment I/O, a flush, the network or a FUSE reply.  A cold row is
 * read from the database, and opened, under it; where many readers come from, the disk has been asked before (meta_lock_warm).  Order: content's file lock, then meta_lock, then segstore's own.
 * Uses inode.h, db.h, records.h, extents.h, uthash.
 */
#ifndef SNUGFS_META_H
#define SNUGFS_META_H

#include "db.h"
#include "inode.h"

struct meta;
struct reserve;

/* A byte range of a hot segment that must ride in the journal (segstore.h). */
struct meta_redo {
	uint64_t seg;
	uint64_t off;
	const uint8_t *data;
	size_t len;
};

struct meta_hooks {
	void *ctx;
	/*
	 * Called by whoever commits (one at a time) between freeze and write, without the lock: make durable all that was
	 * appended before now, or hand back rows to store (*redo_out; valid until after_commit), which take up to `room` bytes
	 * with DB_JOURNAL_ROW_OVERHEAD each; room 0: none.
	 */
	err_t (*before_commit)(void *ctx, size_t room, struct meta_redo **redo_out, size_t *redo_count_out);
	/* The commit is durable, or failed: then what before_commit promised is void. */
	void (*after_commit)(void *ctx, err_t result);
	/* Those bytes of a segment are needed no more (not the lock; a commit may be under way). */
	void (*on_release)(void *ctx, uint64_t seg, uint64_t off, uint32_t len);
	/* The disk is full: gives back what was only kept for later.  false: there was nothing. */
	bool (*give_room)(void *ctx);
};

/* Opens (or makes) DIR/meta.db.  Errors as db_open.  db is owned from success on. */
MUST_CHECK err_t meta_new(struct db *db, struct rowseal *rs, uint32_t member_number, struct meta **out);
void meta_set_hooks(struct meta *m, const struct meta_hooks *hooks);
/* Room to be spent by a commit on a full disk; borrowed.  Before meta_start. */
void meta_set_reserve(struct meta *m, struct reserve *r);
/* Is there room for more than commits?  If not, contents must not be written. */
bool meta_has_room(const struct meta *m);
/* Some was made: the reserve is put back, if it is enough. */
void meta_put_reserve_back(struct meta *m);
/*
 * Starts and stops the thread that commits every interval_ms while there are changes, gives space back, and does the
 * database's chores.  stop commits once more.  Without the thread whoever commits does all that.
 */
MUST_CHECK err_t meta_start(struct meta *m, unsigned interval_ms);
MUST_CHECK err_t meta_stop(struct meta *m);
void meta_free(struct meta *m);

void meta_lock(struct meta *m);
void meta_unlock(struct meta *m);
/*
 * The same for who is going to look at an inode and what it has in [off, off + len), of which 1 MiB counts, or at a name: what is not in
 * memory is read from the disk before, by itself, so that nobody waits for that.  len 0: only at the inode.
 */
void meta_lock_warm(struct meta *m, uint64_t ino, uint64_t off, uint64_t len);
void meta_lock_warm_name(struct meta *m, uint64_t parent, const char *name);
/* For those who change much: waits while so many changes wait for the disk that memory would not hold more.  Not with any lock. */
void meta_throttle(struct meta *m);

/*
 * Returns when everything that was changed before the call is durable (all of it, not just one file: that is what makes
 * the disk a prefix).  Calls that wait at once share one commit.  Not with the lock held.  An error of the disk
 * (-ENOSPC, -EIO, …) comes to every waiter; the changes stay in memory and are tried again.
 */
MUST_CHECK err_t meta_flush(struct meta *m);
/* The same, and it is in the database, for those who go on with what they find there. */
MUST_CHECK err_t meta_sync(struct meta *m);
/* Gives back, here and now, the space that was released by what is in the database.  Not with the lock held. */
void meta_give_back(struct meta *m);
/* A change failed half-way in memory: never commit again, fail meta_sync with err; the disk keeps the prefix before it. */
void meta_poison(struct meta *m, err_t err);
/* The last commit's result: 0 or why nothing reaches the disk. */
err_t meta_health(struct meta *m);

/* Inodes. [L] */
MUST_CHECK err_t meta_inode_get(struct meta *m, uint64_t ino, struct inode **out); /* -ENOENT */
/* A new one with a fresh number, all zero but ino, origin and PENDING_NEW. */
MUST_CHECK err_t meta_inode_new(struct meta *m, struct inode **out);
/* That number, as it would be now. */
uint64_t meta_inode_next(const struct meta *m);
/* One that another device made (or the root).  -EEXIST. */
MUST_CHECK err_t meta_inode_adopt(struct meta *m, uint64_t ino, struct inode **out);
/* Must be called after every change of an inode or its chunk0. */
void meta_inode_dirty(struct meta *m, struct inode *i);
/* Its row, chunks and xattrs go; the bytes of its hot extents are released (shared ones in settled segments are not). */
MUST_CHECK err_t meta_inode_remove(struct meta *m, struct inode *i);
/* It lost its last name since this was opened, and is still here.  In memory: for every FORGET. */
bool meta_inode_is_removed(struct meta *m, uint64_t ino);
MUST_CHECK err_t meta_inode_scan_removed(struct meta *m, uint64_t **inos_out, size_t *count_out); /* nlink 0; malloc'ed */

/* Names. [L]  A dentry is found whether its ino is 0 or not.  Borrowed until unlock or the next dentry call. */
MUST_CHECK err_t meta_dentry_get(struct meta *m, uint64_t parent, const char *name, struct dentry **out); /* -ENOENT */
/* Sets what the name leads to here (0: nothing) and leaves chain_ino; makes or drops the row as needed. */
MUST_CHECK err_t meta_dentry_set(struct meta *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type);
/* The same for what the chain has under the name. */
MUST_CHECK err_t meta_dentry_set_chain(struct meta *m, uint64_t parent, const char *name, uint64_t chain_ino);
/* Entries with ino != 0 and cookie > after, ascending, until fn returns non-zero (handed on).  fn must not change names. */
typedef err_t meta_dentry_fn(void *ctx, const struct dentry *d);
MUST_CHECK err_t meta_dentry_scan(struct meta *m, uint64_t parent, uint64_t after, meta_dentry_fn *fn, void *ctx);
/* All rows of a directory, also those with ino == 0. */
MUST_CHECK err_t meta_dentry_scan_all(struct meta *m, uint64_t parent, uint64_t after, meta_dentry_fn *fn, void *ctx);
/* Numbers of at most max inodes from first to last, ascending, that the last durable commit knows. */
MUST_CHECK err_t meta_inode_numbers(struct meta *m, uint64_t first, uint64_t last, uint64_t *out, size_t max,
    size_t *count_out);
/*
 * What a name leads to here.  Whoever looks for names one after the other is met halfway: rows of neighbours, and their inodes,
 * are read together.  -ENOENT.
 */
MUST_CHECK err_t meta_lookup(struct meta *m, uint64_t parent, const char *name, struct inode **out);
/* As meta_dentry_scan; what was read stays in the cache.  inodes: each with its inode (NULL: it can't be read). */
typedef err_t meta_entry_fn(void *ctx, const struct dentry *d, struct inode *i);
MUST_CHECK err_t meta_list(struct meta *m, uint64_t parent, uint64_t after, bool inodes, meta_entry_fn *fn, void *ctx);
/* A path from the root for messages: "a/b/c", or "(a removed file)", or "(a file that has several names)" of which none is known
 * without a long search; always terminates. */
void meta_path(struct meta *m, uint64_t ino, char *out, size_t out_len);

/* Chunks. [L]  no 0 is the inode's own.  create: an empty one if there is none. */
MUST_CHECK err_t meta_chunk_get(struct meta *m, struct inode *i, uint64_t no, bool create, struct chunk **out);
void meta_chunk_dirty(struct meta *m, struct inode *i, struct chunk *c); /* also moves c->change on */
/*
 * The same for those who only look at [from, to), or replace what is there: c may lack what is elsewhere.  A chunk that is not
 * pending, but is to be changed, is whole.  What was changed that way is made known by meta_chunk_dirty_between, with what was
 * mapped there before, all of it.
 */
MUST_CHECK err_t meta_chunk_get_for_reading(struct meta *m, struct inode *i, uint64_t no, uint64_t from, uint64_t to,
    struct chunk **out); /* -ENOENT */
MUST_CHECK err_t meta_chunk_get_for_writing(struct meta *m, struct inode *i, uint64_t no, uint64_t from, uint64_t to,
    struct chunk **out);
void meta_chunk_dirty_between(struct meta *m, struct inode *i, struct chunk *c, uint64_t from, uint64_t to);
/* An empty chunk that is not pending has no row: drops c if it is so.  c is dead afterwards. */
void meta_chunk_tidy(struct meta *m, struct inode *i, struct chunk *c);
/* Numbers of existing chunks >= from, ascending, until fn returns non-zero. fn may change that chunk. */
typedef err_t meta_chunk_fn(void *ctx, struct inode *i, struct chunk *c);
MUST_CHECK err_t meta_chunk_scan(struct meta *m, struct inode *i, uint64_t from, meta_chunk_fn *fn, void *ctx);

/*
 * All chunks of a file so, some at a time, with the lock let go in between, so that neither it nor memory is taken for a whole map.
 * Not with it held, which fn is called with.  Chunks come in ascending order, each once and as it is then; what changes behind fn's
 * back is seen or not.  0, too, for what is no regular file; -ENOENT: there is no such inode, or not any more.
 */
MUST_CHECK err_t meta_chunk_scan_file(struct meta *m, uint64_t ino, meta_chunk_fn *fn, void *ctx);
/* The first of the same numbers, at most so many, without a look at what the chunks map; malloc'ed. */
MUST_CHECK err_t meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out,
    size_t *count_out);

/* Extended attributes. [L]  Borrowed; after a change call meta_xattrs_dirty (sets has_xattrs; an empty list is gone then). */
MUST_CHECK err_t meta_xattrs_get(struct meta *m, struct inode *i, struct xattr_list **out);
void meta_xattrs_dirty(struct meta *m, struct inode *i);

/* Bytes of a hot segment that nothing current points at any more: released once the change is durable. [L] */
MUST_CHECK err_t meta_release(struct meta *m, uint64_t seg, uint64_t off, uint32_t len);
/*
 * The same for all bytes in hot segments that a chunk's list `before` maps and `after`, which takes its place, does not; on error for
 * none. [L]
 */
MUST_CHECK err_t meta_release_gone(struct meta *m, const struct extent_list *before, const struct extent_list *after);

/* Segments. [L]  There may be millions: only rows that were asked for are in memory, and not for ever. */
MUST_CHECK err_t meta_segment_get(struct meta *m, uint64_t id, struct segment *out);
/* The same for who looks at very many once: others do not leave memory for them. */
MUST_CHECK err_t meta_segment_look(struct meta *m, uint64_t id, struct segment *out);
MUST_CHECK err_t meta_segment_put(struct meta *m, const struct segment *s);
MUST_CHECK err_t meta_segment_remove(struct meta *m, uint64_t id);
/* -ENOENT.  The first one reads all rows, unless meta_segments_learn has. */
MUST_CHECK err_t meta_segment_find(struct meta *m, const uint8_t name[static 16], struct segment *out);
uint64_t meta_segment_new_id(struct meta *m);
/*
 * ino is going to have extents in that hot segment: keeps the row's range of inodes true.  To be called together with each
 * change that maps bytes of a hot segment in an inode that perhaps did not.  -ENOENT: no such segment.
 */
MUST_CHECK err_t meta_segment_widen(struct meta *m, uint64_t id, uint64_t ino);
/* Moves on when bytes of a hot segment come to be mapped by another inode than the one they were written for. */
uint64_t meta_segment_moves(struct meta *m);
void meta_segment_note_move(struct meta *m);
/*
 * Some of the segments behind *after (0: from the beginning), in no particular order; moves it on, to UINT64_MAX at the end.  unsent:
 * only those that the store has not, which are far fewer: hot ones are among them.  Until fn returns non-zero, which is handed on;
 * fn must not change any.  What comes, changes or goes while the lock is released in between is seen or not.
 */
typedef err_t meta_segment_fn(void *ctx, const struct segment *s);
MUST_CHECK err_t meta_segment_scan_some(struct meta *m, bool unsent, uint64_t *after, meta_segment_fn *fn, void *ctx);
/* All of them so; not with the lock held, which fn is called with. */
MUST_CHECK err_t meta_segment_scan(struct meta *m, bool unsent, meta_segment_fn *fn, void *ctx);
/* For who is going to ask for sums, or for names, too: the lock is not held for long then.  Not with the lock held. */
MUST_CHECK err_t meta_segments_learn(struct meta *m, bool names);
/* Sums of bytes of settled segments, as the rows have it.  Where an earlier version did not store them the first call reads all rows. [L] */
struct meta_segment_totals {
	uint64_t size;
	uint64_t here;   /* of these, on this computer */
	uint64_t cached; /* ... of what the store has */
};
MUST_CHECK err_t meta_segments_total(struct meta *m, struct meta_segment_totals *out);
/* Rows that are in memory just now, for tests. [L] */
size_t meta_segments_in_memory(struct meta *m);

/* What is pending. [L]  Malloc'ed arrays; a snapshot of the moment. */
MUST_CHECK err_t meta_pending_inodes(struct meta *m, uint64_t **inos_out, size_t *count_out);
MUST_CHECK err_t meta_pending_dentries(struct meta *m, struct dentry **out, size_t *count_out);
MUST_CHECK err_t meta_pending_chunks(struct meta *m, struct inode *i, uint64_t **nos_out, size_t *count_out);
/* Cheap: changes with every local change that needs pushing; 0 pending_count: nothing to push. */
struct meta_pending_summary {
	uint64_t inode_count;
	uint64_t dentry_count;
	uint64_t bytes; /* about so many, of files whose content is pending; no less than is to be sent */
	uint64_t change; /* moves on with every local change */
};
void meta_pending_summary(struct meta *m, struct meta_pending_summary *out);
void meta_note_local_change(struct meta *m); /* [L] the vfs calls it after each change that is to be pushed */

/* Small values (db_key). [L] get appends; -ENOENT. */
MUST_CHECK err_t meta_kv_get(struct meta *m, enum db_key key, struct bytes *out);
MUST_CHECK err_t meta_kv_put(struct meta *m, enum db_key key, const uint8_t *data, size_t len);
/* Trust statements by number. [L] */
MUST_CHECK err_t meta_statement_put(struct meta *m, uint64_t number, const uint8_t *data, size_t len);

#endif
