/*
 * db_sql.h: a statement for everything that is done to a table (db_schema.c makes them).  For db_read.c and db_write.c only.
 */
#ifndef SNUGFS_DB_SQL_H
#define SNUGFS_DB_SQL_H

#include "db.h"

#define TABLE_COUNT 9

/*
 * Parameters of puts and deletes: ?1 a, ?2 b, ?3 hash, ?4 mark, ?5 state, ?6 row; of reads: ?1 and ?2 as each says, ?3 limit.
 * Columns of scans: a, b, mark, state, row.
 */
struct table_sql {
	const char *get;
	const char *scan;
	const char *marked;
	const char *all;
	const char *put;
	const char *del;
};

#define ONE_KEY(t, k, mark, state) \
	.get = "SELECT row FROM " t " WHERE " k " = ?1", \
	.all = "SELECT " k ", 0, " mark ", " state ", row FROM " t " WHERE " k " > ?1 ORDER BY " k " LIMIT ?3", \
	.del = "DELETE FROM " t " WHERE " k " = ?1"
#define ONE_KEY_MARKED(t, k, state) \
	.marked = "SELECT " k ", 0, mark, " state ", row FROM " t " INDEXED BY " t "_marked WHERE mark != 0 AND " k " > ?1" \
	    " ORDER BY " k " LIMIT ?3"
#define ONE_KEY_PUT(t, k) \
	.put = "INSERT INTO " t "(" k ", row) VALUES(?1, ?6) ON CONFLICT DO UPDATE SET row = ?6"
#define TWO_KEYS(t, k, l, mark) \
	.get = "SELECT row FROM " t " WHERE " k " = ?1 AND " l " = ?2", \
	.all = "SELECT " k ", " l ", " mark ", 0, row FROM " t " WHERE (" k ", " l ") > (?1, ?2) ORDER BY " k ", " l \
	    " LIMIT ?3", \
	.del = "DELETE FROM " t " WHERE " k " = ?1 AND " l " = ?2"
#define TWO_KEYS_MARKED(t, k, l) \
	.scan = "SELECT " k ", " l ", mark, 0, row FROM " t " WHERE " k " = ?1 AND " l " >= ?2 ORDER BY " l " LIMIT ?3", \
	.marked = "SELECT " k ", " l ", mark, 0, row FROM " t " INDEXED BY " t "_marked WHERE mark != 0" \
	    " AND (" k ", " l ") > (?1, ?2) ORDER BY " k ", " l " LIMIT ?3"

static const struct table_sql SQL[TABLE_COUNT] = {
	[DB_INODE] = {
		ONE_KEY("inode", "ino", "mark", "state"),
		ONE_KEY_MARKED("inode", "ino", "state"),
		.put = "INSERT INTO inode(ino, mark, state, row) VALUES(?1, ?4, ?5, ?6)"
		    " ON CONFLICT DO UPDATE SET mark = ?4, state = ?5, row = ?6",
	},
	[DB_DENTRY] = {
		TWO_KEYS("dentry", "parent", "cookie", "mark"),
		TWO_KEYS_MARKED("dentry", "parent", "cookie"),
		.put = "INSERT INTO dentry(parent, cookie, hash, mark, row) VALUES(?1, ?2, ?3, ?4, ?6)"
		    " ON CONFLICT DO UPDATE SET hash = ?3, mark = ?4, row = ?6",
	},
	[DB_CHUNK] = {
		TWO_KEYS("chunk", "ino", "no", "mark"),
		TWO_KEYS_MARKED("chunk", "ino", "no"),
		.put = "INSERT INTO chunk(ino, no, mark, row) VALUES(?1, ?2, ?4, ?6)"
		    " ON CONFLICT DO UPDATE SET mark = ?4, row = ?6",
	},
	[DB_XATTRS] = {ONE_KEY("xattrs", "ino", "0", "0"), ONE_KEY_PUT("xattrs", "ino")},
	[DB_SEGMENT] = {
		ONE_KEY("segment", "id", "mark", "0"),
		ONE_KEY_MARKED("segment", "id", "0"),
		.put = "INSERT INTO segment(id, mark, row) VALUES(?1, ?4, ?6)"
		    " ON CONFLICT DO UPDATE SET mark = ?4, row = ?6",
	},
	[DB_KV] = {ONE_KEY("kv", "key", "0", "0"), ONE_KEY_PUT("kv", "key")},
	[DB_REDO] = {
		TWO_KEYS("redo", "seg", "off", "0"),
		.put = "INSERT INTO redo(seg, off, row) VALUES(?1, ?2, ?6) ON CONFLICT DO UPDATE SET row = ?6",
	},
	[DB_CHUNK_PART] = {
		TWO_KEYS("chunk_part", "ino", "no", "0"),
		.scan = "SELECT ino, no, 0, 0, row FROM chunk_part WHERE ino = ?1 AND no >= ?2 ORDER BY no LIMIT ?3",
		.put = "INSERT INTO chunk_part(ino, no, row) VALUES(?1, ?2, ?6) ON CONFLICT DO UPDATE SET row = ?6",
	},
	[DB_STATEMENT] = {ONE_KEY("statement", "number", "0", "0"), ONE_KEY_PUT("statement", "number")},
};

static const char FIND_DENTRY[] =
    "SELECT parent, cookie, mark, 0, row FROM dentry INDEXED BY dentry_hash WHERE parent = ?1 AND hash = ?2 LIMIT ?3";
static const char REMOVED[] =
    "SELECT ino, 0, mark, state, row FROM inode INDEXED BY inode_removed WHERE state != 0 AND ino > ?1 LIMIT ?3";

#endif
