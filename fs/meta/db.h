/*
 * db.h: meta.db: sealed rows in SQLite (WAL).  This file owns SQLite.
 *
 * Two connections: one reads (under the caller's lock: one thread at a time), one writes whole batches (one other thread),
 * so that a reader never waits for a writer.  Every row's data is sealed under K_local (rowseal.h) with its table and key
 * as associated data; keys, name hashes and the pending/state marks are in the clear.
 * Uses rowseal.h, bytes.h.
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
	DB_REDO = 6,    /* a: segment, b: offset: bytes of a hot segment that ride in the database until it is flushed */
	DB_STATEMENT = 7, /* a: number of the trust statement */
};

/* DB_KV keys. */
enum db_key {
	DB_KEY_FORMAT = 0,
	DB_KEY_VAULT_ID = 1,
	DB_KEY_SECRETS = 2,      /* link secret, recovery PSK, epoch keys */
	DB_KEY_HEAD = 3,         /* seq, object hash of the last applied commit; last base */
	DB_KEY_COUNTERS = 4,     /* next inode number, cookie, segment id */
	DB_KEY_REMOTE = 5,       /* URL */
	DB_KEY_STATUS = 6,       /* last sync times, conflicts and messages to show */
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

/* Reads.  A found row's plaintext is handed to fn, or appended to out.  -ENOENT, -EBADMSG (does not open), -EIO. */
typedef err_t db_row_fn(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data,
    size_t len);
MUST_CHECK err_t db_get(struct db *db, enum db_table table, uint64_t a, uint64_t b, struct bytes *out);
/* Directory entries of parent with that name hash, any number. */
MUST_CHECK err_t db_find_dentry(struct db *db, uint64_t parent, int64_t hash, db_row_fn *fn, void *ctx);
/* Rows of DB_DENTRY or DB_CHUNK with that a and b >= from, ascending; at most limit. A non-zero return of fn ends it
 * and is handed on.  fn may call db_get but not scan the same table again. */
MUST_CHECK err_t db_scan(struct db *db, enum db_table table, uint64_t a, uint64_t from, unsigned limit, db_row_fn *fn,
    void *ctx);
/* Rows of a table with mark != 0 (DB_INODE, DB_DENTRY, DB_CHUNK, DB_SEGMENT), keys after (a, b), ascending, at most limit. */
MUST_CHECK err_t db_scan_marked(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit,
    db_row_fn *fn, void *ctx);
/* How many rows of a table are marked. */
MUST_CHECK err_t db_count_marked(struct db *db, enum db_table table, uint64_t *count_out);
/* DB_INODE rows with state != 0. */
MUST_CHECK err_t db_scan_removed(struct db *db, db_row_fn *fn, void *ctx);
/* All rows of a table, keys after (a, b), ascending, at most limit. */
MUST_CHECK err_t db_scan_all(struct db *db, enum db_table table, uint64_t after_a, uint64_t after_b, unsigned limit,
    db_row_fn *fn, void *ctx);

/*
 * Writes all rows in one transaction, durable when it returns 0 (synchronous=FULL on this connection); on failure nothing
 * of it is written.  Not to be called with the reader's lock held.  Sorts rows by table and key first.  A row of DB_REDO
 * with a and b UINT64_MAX and data NULL deletes all of that table, before anything else is written.
 */
MUST_CHECK err_t db_write(struct db *db, struct db_row *rows, size_t count);
/* Moves the WAL into the database file if that can be done without waiting for readers (own connection). */
MUST_CHECK err_t db_checkpoint(struct db *db);
/* Counters since open, for people who measure. */
struct db_stats {
	uint64_t reads;
	uint64_t rows_written;
	uint64_t commits;
};
void db_stats(struct db *db, struct db_stats *out);

#endif
