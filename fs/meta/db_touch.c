/* db_touch.c: connections that read what somebody else wants. */
#include "db_touch.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db_private.h"

#define CONNECTIONS 2
/* What it reads is for the kernel's cache: its own need not be large. */
static const char PRAGMAS[] = "PRAGMA cache_size = -512; PRAGMA query_only = ON;";

enum statement { READ_INODE, READ_CHUNK, READ_PART, READ_HASH, READ_NAMES, STATEMENTS };
static const char *const SQL[STATEMENTS] = {
	[READ_INODE] = "SELECT row FROM inode WHERE ino = ?1",
	[READ_CHUNK] = "SELECT row FROM chunk WHERE ino = ?1 AND no BETWEEN ?2 AND ?3",
	[READ_PART] = "SELECT row FROM chunk_part WHERE ino = ?1 AND no BETWEEN ?2 AND ?3",
	[READ_HASH] = "SELECT row FROM dentry INDEXED BY dentry_hash WHERE parent = ?1 AND hash = ?2",
	[READ_NAMES] = "SELECT row FROM dentry WHERE parent = ?1 ORDER BY cookie LIMIT ?2",
};

struct connection {
	pthread_mutex_t lock; /* all below; held while it reads */
	bool failed;
	sqlite3 *conn;
	sqlite3_stmt *statements[STATEMENTS];
};

struct db_touch {
	char *path;
	struct connection all[CONNECTIONS];
};

err_t
db_touch_new(const char *path, struct db_touch **out)
{
	struct db_touch *t = calloc(1, sizeof(*t));

	if (!t || !(t->path = strdup(path))) {
		free(t);
		return -ENOMEM;
	}
	for (int k = 0; k < CONNECTIONS; k++)
		(void)pthread_mutex_init(&t->all[k].lock, NULL);
	*out = t;
	return 0;
}

static void
close_connection(struct connection *c)
{
	db_disconnect(c->conn);
	c->conn = NULL;
	memset(c->statements, 0, sizeof(c->statements));
}

void
db_touch_free(struct db_touch *t)
{
	if (!t)
		return;
	for (int k = 0; k < CONNECTIONS; k++) {
		close_connection(&t->all[k]);
		pthread_mutex_destroy(&t->all[k].lock);
	}
	free(t->path);
	free(t);
}

/* [lock] One that can't be had is not tried again: it would only have made somebody wait less. */
static bool
is_open(struct db_touch *t, struct connection *c)
{
	void *conn = NULL;

	if (c->conn || c->failed)
		return !c->failed;

	err_t e = db_connect(t->path, 0, &conn);

	c->conn = conn;
	if (!e)
		e = db_exec(conn, PRAGMAS);
	for (int k = 0; k < STATEMENTS && !e; k++)
		e = db_prepare(conn, SQL[k], &c->statements[k]);
	c->failed = e != 0;
	if (c->failed)
		close_connection(c);
	return !c->failed;
}

/* One that nobody uses, or the last. */
static struct connection *
take(struct db_touch *t)
{
	int k = 0;

	while (k < CONNECTIONS - 1 && pthread_mutex_trylock(&t->all[k].lock) != 0)
		k++;
	if (k == CONNECTIONS - 1)
		pthread_mutex_lock(&t->all[k].lock);
	return &t->all[k];
}

/* [lock] */
static void
read_rows(struct connection *c, enum statement which, uint64_t p1, int64_t p2, uint64_t p3)
{
	const sqlite3_int64 given[] = { (int64_t)p1, p2, (int64_t)p3 };
	sqlite3_stmt *s = c->statements[which];
	int rc = SQLITE_OK;

	for (int k = 0; rc == SQLITE_OK && k < sqlite3_bind_parameter_count(s); k++)
		rc = sqlite3_bind_int64(s, k + 1, given[k]);
	/* A long row has more pages than its first. */
	while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		(void)sqlite3_column_blob(s, 0);
	sqlite3_reset(s);
}

static enum statement
statement_of(enum db_table table)
{
	return table == DB_INODE ? READ_INODE : table == DB_CHUNK ? READ_CHUNK : READ_PART;
}

void
db_touch_read(struct db_touch *t, enum db_table table, uint64_t a, uint64_t b, uint64_t last_b)
{
	struct connection *c = take(t);

	if (is_open(t, c))
		read_rows(c, statement_of(table), a, (int64_t)b, last_b);
	pthread_mutex_unlock(&c->lock);
}

void
db_touch_read_names(struct db_touch *t, uint64_t parent, int64_t hash, unsigned limit)
{
	struct connection *c = take(t);

	if (is_open(t, c)) {
		read_rows(c, READ_HASH, parent, hash, 0);
		if (limit > 0)
			read_rows(c, READ_NAMES, parent, limit, 0);
	}
	pthread_mutex_unlock(&c->lock);
}
