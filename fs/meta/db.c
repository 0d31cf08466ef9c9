/*
 * db.c: meta.db as a whole: opened, recovered from its journal, closed.  What is read is db_read.c's, what is written db_write.c's;
 * those and db_conn.c, db_schema.c and db_touch.c alone know SQLite.
 */
#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db_private.h"
#include "db_touch.h"
#include "disk.h"
#include "journal.h"

/* In the row DB_KEY_FORMAT: opens with the right device's keys only. */
static const char PROBE[] = "snugfs meta.db 1";

void
db_warm(struct db *db, enum db_table table, uint64_t a, uint64_t b, uint64_t last_b)
{
	if (db_is_key(a, last_b))
		db_touch_read(db->touch, table, a, b, last_b);
}

void
db_warm_names(struct db *db, uint64_t parent, int64_t hash, unsigned limit)
{
	if (db_is_key(parent, 0))
		db_touch_read_names(db->touch, parent, hash, limit);
}

/*
 * SQLite asks for one page after the other, each when it needs it: of a file that is in no cache, the first walk through some ten
 * thousand names would wait for the disk hundreds of times.
 */
#define AHEAD_MAX (16u << 20)

void
db_read_ahead(struct db *db)
{
	if (db->ahead_fd >= 0)
		disk_read_ahead(db->ahead_fd, AHEAD_MAX);
}

/* The journal. */

size_t
db_journal_room(struct db *db)
{
	return journal_room(db->journal);
}

err_t
db_journal(struct db *db, const struct db_row *rows, size_t count)
{
	err_t e = count > 0 ? journal_append(db->journal, rows, count) : 0;

	if (!e)
		atomic_fetch_add_explicit(&db->journaled, 1, memory_order_relaxed);
	return e;
}

void
db_journal_suspend(struct db *db)
{
	journal_suspend(db->journal);
}

err_t
db_journal_make_room(struct db *db)
{
	return journal_make_room(db->journal);
}

bool
db_journal_is_short(struct db *db)
{
	return journal_is_short(db->journal);
}

void
db_stats(struct db *db, struct db_stats *out)
{
	out->reads = atomic_load_explicit(&db->reads, memory_order_relaxed);
	out->rows_written = atomic_load_explicit(&db->rows_written, memory_order_relaxed);
	out->commits = atomic_load_explicit(&db->commits, memory_order_relaxed);
	out->journaled = atomic_load_explicit(&db->journaled, memory_order_relaxed);
}

/* Opening and closing. */

/* The writer goes last: whoever closes last moves the WAL into the file and removes it. */
void
db_close(struct db *db)
{
	if (!db)
		return;
	db_touch_free(db->touch);
	db_reader_free(db->r);
	db_disconnect(db->checkpointer);
	db_writer_free(db->w);
	journal_free(db->journal);
	/* Last: with any descriptor of the file all locks of the process on it go (fcntl(2)), and SQLite's are such. */
	if (db->ahead_fd >= 0)
		(void)close(db->ahead_fd);
	free(db);
}

static err_t
check_probe(struct db *db)
{
	CLEANUP(bytes_clear) struct bytes probe = {0};
	err_t e = db_get(db, DB_KV, DB_KEY_FORMAT, 0, &probe);

	if (e)
		return e == -ENOENT ? -EBADMSG : e;
	return probe.len == sizeof(PROBE) && memcmp(probe.data, PROBE, sizeof(PROBE)) == 0 ? 0 : -EPROTO;
}

static err_t
put_probe(struct db *db)
{
	struct db_row row = {.table = DB_KV, .a = DB_KEY_FORMAT, .data = (const uint8_t *)PROBE, .len = sizeof(PROBE)};

	return db_write(db, &row, 1);
}

static err_t
load_generation(struct db *db, uint64_t *out)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t e = db_get(db, DB_KV, DB_KEY_JOURNAL, 0, &b);

	if (!e && b.len != 8)
		e = -EBADMSG;
	if (!e)
		*out = get_u64(b.data);
	return e == -ENOENT ? 0 : e;
}

/* Of a journal that was read whole. */
static err_t
put_back(struct db *db, struct db_row *rows, size_t count)
{
	err_t e = db_write(db, rows, count);

	if (e != -ENOSPC)
		return e;
	db_end_reading(db);
	journal_give_room_back(db->journal);
	return db_write_in_slices(db, rows, count);
}

/* What is in the journal only comes into the database; redo rows, too: segstore_apply_redo finds them there. */
static err_t
recover(struct db *db, const char *path)
{
	CLEANUP(free_ptr) struct db_row *rows = NULL;
	CLEANUP(free_ptr) char *name = NULL;
	uint64_t generation = 0;
	size_t count = 0;

	if (asprintf(&name, "%s.journal", path) < 0)
		return -ENOMEM;

	err_t e = journal_new(name, db->rs, &db->journal);

	if (!e)
		e = load_generation(db, &generation);
	if (!e)
		e = journal_read(db->journal, generation, &rows, &count);
	if (!e)
		e = put_back(db, rows, count);
	if (!e)
		journal_discard(db->journal);
	db_end_reading(db);
	return e;
}

static err_t
open_all(struct db *db, const char *path, bool create)
{
	err_t e = disk_open_read(AT_FDCWD, path, &db->ahead_fd);

	if (e)
		db->ahead_fd = -1; /* it only is slower then */
	e = db_writer_new(path, create, &db->w);
	if (!e)
		e = db_reader_new(path, &db->r);
	if (!e)
		e = db_touch_new(path, &db->touch);
	if (!e)
		e = db_load_sessions(db);
	if (!e && !create)
		e = check_probe(db);
	if (!e)
		e = recover(db, path);
	if (!e && create)
		e = put_probe(db);
	return e;
}

err_t
db_open(const char *path, bool create, struct rowseal *rs, struct db **out)
{
	struct db *db = calloc(1, sizeof(*db));
	err_t e = db ? 0 : -ENOMEM;

	if (!e && create)
		e = db_make_file(path);
	if (e) {
		free(db);
		return e;
	}
	db->rs = rs;
	db->ahead_fd = -1;
	e = open_all(db, path, create);
	if (e) {
		db_close(db);
		if (create)
			db_remove_files(path);
		return e;
	}
	*out = db;
	return 0;
}
