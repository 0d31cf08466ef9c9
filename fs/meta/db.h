/*
 * db.h: meta.db: sealed rows in SQLite (WAL).  db*.c own SQLite.
 *
 * Two connections: one reads (under the caller's lock: one thread at a time), one writes whole batches (one other thread at
 * a time), so that a reader never waits for a writer.  Every row's data is sealed under K_local (rowseal.h) with its table and
 * key as associated data; keys, name hashes and the pending/state marks are in the clear.
 * Uses rowseal.h, bytes.h, journal.h.
 */
#ifndef SNUGFS_DB_H
#define SNUGFS_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "rowseal.h"

enum db_table {
	DB_INODE = 0,   /* a: ino.  mark: pending bits; state: 0 normal, 1 removed but still here (orphan or zombie) */
	DB_DENTRY = 1,  /* a: parent, b: cookie, hash; mark: pending (0/1) */
	DB_CHUNK = 2,   /* a: ino, b: chunk number (> 0); mark: pending (0/1) */
	DB_XATTRS = 3,  /* a: ino */
	DB_SEGMENT = 4, /* a: id; mark: 1 while not in the store */
	DB_KV = 5,      /* a: a number from enum db_key */
	DB_REDO = 6,    /* a: segment, b: offset: bytes of a hot segment that rode in the journal and are to be written back */
	DB_STATEMENT = 7, /* a: number of the trust statement */
	DB_CHUNK_PART = 8, /* a: ino, b: number of the part, counted from the file's beginning */
};

/* DB_KV keys. */
enum db_key {
	DB_KEY_FORMAT = 0,
	DB_KEY_VAULT_ID = 1,
	DB_KEY_SECRETS = 2,      /* link secret, recovery PSK, epoch keys (vault_secret.c) */
	DB_KEY_HEAD = 3,         /* seq, object hash of the last applied commit; last base */
	DB_KEY_COUNTERS = 4,     /* next inode number, cookie, segment id */
	DB_KEY_REMOTE = 5,       /* URL */
	DB_KEY_STATUS = 6,       /* last sync times, conflicts and messages to show */
	DB_KEY_WITNESS = 31,     /* URL of the witness (witness.h) */
	DB_KEY_VERIFIED = 30,    /* members that a person has verified (verified.h) */
	DB_KEY_CREDENTIALS = 24, /* the keys to the store, if they are kept here (credentials.h, vault_secret.c) */
	DB_KEY_AUTHORS = 8,      /* the last commit of each member */
	DB_KEY_SETTINGS = 20,    /* what the user wants of sync on this device (settings.h) */
	DB_KEY_CACHE = 21,       /* how much of the store is kept here, and what is pinned (cache.h) */
	DB_KEY_GC = 32,          /* what a collector of garbage remembers (gc_state.c) ... */
	DB_KEY_GC_DOOMED = 33,   /* ... and the names of objects that it has to delete */
	DB_KEY_REKEY = 34,       /* what is being sealed anew (rekey.c) */
	DB_KEY_CUT = 35,         /* files that were cut, and have chunks behind their end for a while (content_truncate.c) */
	DB_KEY_JOURNAL = 7,      /* the generation of the journal that this database has nothing of; db_write.c's own */
};

/* One row to write; data NULL: delete.  data is borrowed until db_write returns. */
struct db_row {
	enum db_table table;
	uint64_t a;
	uint64_t b;
	int64_t hash;
	uint32_t mark;
	uint32_t state;
	const uint8_t *data;
	size_t len;
};

struct db;
/*
 * create: -EEXIST if it is there; otherwise -ENOENT if not.  -EBADMSG: not a database of ours or not of this device;
 * -EPROTO: a version that is unknown; -ENOSPC, -EROFS, -EACCES, -EIO.  rs is borrowed; its sessions are loaded from the
 * file, and a new one is started and stored at the first write.
 */
MUST_CHECK err_t db_open(const char *path, bool create, struct rowseal *rs, struct db **out);
void db_close(struct db *db);

/*
 * Reads.  A found row's plaintext is handed to fn, or appended to out.  -ENOENT, -EBADMSG (does not open), -EIO.
 * They show the newest commit, and go on in one transaction until there is another one.  While that is open the WAL can't begin
 * anew: whoever commits ends it, with the reader's lock held.
 */
void db_end_reading(struct db *db);
MUST_CHECK err_t db_get(struct db *db, enum db_table table, uint64_t a, uint64_t b, struct bytes *out);
/*
 * Rows of a table with one key: those of these that are there, keys ascending and each once.  Neighbours cost little more than
 * one.  As db_scan otherwise.
 */
typedef err_t db_row_fn(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data,
    size_t len);
MUST_CHECK err_t db_get_many(struct db *db, enum db_table table, const uint64_t *keys, size_t count, db_row_fn *fn,
    void *ctx);
/* Directory entries of parent with that name hash, any number. */
MUST_CHECK err_t db_find_dentry(struct db *db, uint64_t parent, int64_t hash, db_row_fn *fn, void *ctx);
/* Rows of DB_DENTRY, DB_CHUNK or DB_CHUNK_PART with that a and b >= from, ascending; at most limit. A non-zero return of fn ends it
 * and is handed on.  fn may call db_get but not scan the same table again. */
MUST_CHECK err_t db_scan(struct db *db, enum db_table table, uint64_t a, uint64_t from, unsigned limit, db_row_fn *fn,
    void *ctx);
/* Rows of a table with mark != 0 (DB_INODE, DB_DENTRY, DB_CHUNK, DB_SEGMENT), keys after (a, b), ascending, at most limit. */
MUST_CHECK err_t db_scan_marked(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit,
    db_row_fn *fn, void *ctx);
/* DB_INODE rows with state != 0. */
MUST_CHECK err_t db_scan_removed(struct db *db, db_row_fn *fn, void *ctx);
/* All rows of a table, keys after (a, b), ascending, at most limit. */
MUST_CHECK err_t db_scan_all(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit,
    db_row_fn *fn, void *ctx);

/*
 * Rows that are going to be read: any thread, without the reader's lock, which then does not have to be held while the disk is
 * asked.  DB_INODE (b is 0), and of DB_CHUNK and DB_CHUNK_PART all from b to last_b; or the names of a directory with that hash, and the
 * first `limit` of it.
 */
void db_warm(struct db *db, enum db_table table, uint64_t a, uint64_t b, uint64_t last_b);
void db_warm_names(struct db *db, uint64_t parent, int64_t hash, unsigned limit);
/* For who has just opened it and will look at many rows: the disk begins to read what of the file fits a few MiB.  Any thread. */
void db_read_ahead(struct db *db);

/*
 * Writes all rows in one transaction, durable when it returns 0 (synchronous=FULL on this connection); on failure nothing
 * of it is written.  Not to be called with the reader's lock held.  Sorts rows by table and key first.  What was put into the
 * journal before must be among them (later versions will do): the journal begins anew.
 */
MUST_CHECK err_t db_write(struct db *db, struct db_row *rows, size_t count);
/*
 * The journal (PATH.journal, journal.h): makes a few rows durable with one flush and nothing else.  Reads do not see
 * them before the db_write that also has them, or before the next db_open, which puts into the database what is in the
 * journal only.  db_journal_room: so many bytes of rows fit now (each: DB_JOURNAL_ROW_OVERHEAD and its data); 0: none, as
 * before the first db_write of a process and after any failure until a db_write succeeds.  db_journal_make_room makes it
 * longer than it is, up to a limit; that takes some milliseconds.  db_journal_is_short: it is time for that; said once of each
 * length between two db_writes.  By the writing thread, all of them.
 */
#define DB_JOURNAL_ROW_OVERHEAD 38
size_t db_journal_room(struct db *db);
MUST_CHECK err_t db_journal(struct db *db, const struct db_row *rows, size_t count);
MUST_CHECK err_t db_journal_make_room(struct db *db);
bool db_journal_is_short(struct db *db);
void db_journal_suspend(struct db *db); /* no room until a db_write succeeds */
/* Moves the WAL into the database file if that can be done without waiting for readers (own connection). */
MUST_CHECK err_t db_checkpoint(struct db *db);
/*
 * For when nobody writes: gives back a part of what is unused in the file, if it is much; *more_out: there is more.  When there is
 * none (any more), empties the WAL; *more_out: somebody was reading it.  As db_write and db_checkpoint: one thread at a time.
 */
MUST_CHECK err_t db_shrink(struct db *db, bool *more_out);
/* Counters since open, for people who measure. */
struct db_stats {
	uint64_t reads;
	uint64_t rows_written;
	uint64_t commits;
	uint64_t journaled; /* records */
};
void db_stats(struct db *db, struct db_stats *out);

#endif
