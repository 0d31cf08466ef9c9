/*
 * Write-behind: freezing what changed, writing it as one durable transaction, and the thread that does so.
 *
 * Generations number the freezes.  A waiter wants the generation that holds its changes: the next freeze if anything is
 * dirty, else the one under way.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#include "log.h"
#include "meta_internal.h"

/* That many changed objects are a commit of their own, however young. */
#define DIRTY_MAX 32768u
/*
 * The WAL is folded into the database after this many rows or commits.  By the committing thread, so that nothing is appended
 * meanwhile and the next commit begins the file anew: a flush of a file that does not grow need not flush the host's journal.
 */
#define CHECKPOINT_ROWS 20000u
#define CHECKPOINT_COMMITS 256u

/* A frozen generation, on its way to the disk. */
struct batch {
	uint64_t gen;
	struct db_row *rows;
	size_t row_count;
	size_t row_cap;
	struct bytes data;       /* the rows' bytes, one after the other */
	struct release_list releases;
};

void
commit_kick_if_full(struct meta *m)
{
	if (m->dirty.count >= DIRTY_MAX && !m->kick) {
		m->kick = true;
		pthread_cond_signal(&m->wake);
	}
}

static void
batch_clear(struct batch *b)
{
	free(b->rows);
	bytes_clear(&b->data);
	free(b->releases.v);
	*b = (struct batch){ 0 };
}

static struct db_row *
batch_row(struct batch *b)
{
	if (b->row_count == b->row_cap) {
		size_t cap = b->row_cap ? b->row_cap * 2 : 64;
		struct db_row *rows = realloc(b->rows, cap * sizeof(rows[0]));

		if (rows == NULL)
			return NULL;
		b->rows = rows;
		b->row_cap = cap;
	}
	b->rows[b->row_count] = (struct db_row){ 0 };
	return &b->rows[b->row_count++];
}

/* Appends the object's bytes to the batch and fills in the row's marks. */
static err_t
encode_node(struct meta *m, struct node *n, struct batch *b, struct db_row *row)
{
	switch (n->table) {
	case DB_INODE: {
		struct cached_inode *ci = CONTAINER(n, struct cached_inode, node);

		row->mark = ci->inode.pending;
		row->state = ci->inode.nlink == 0;
		return record_put_inode(&b->data, &ci->inode);
	}
	case DB_CHUNK: {
		struct cached_chunk *cc = CONTAINER(n, struct cached_chunk, node);

		row->mark = cc->chunk.pending;
		return record_put_chunk(&b->data, &cc->chunk);
	}
	case DB_DENTRY: {
		struct cached_dentry *cd = CONTAINER(n, struct cached_dentry, node);
		err_t err = dentry_hash(m, cd);

		if (err != 0)
			return err;
		row->hash = cd->hash;
		row->mark = cd->dentry.ino != cd->dentry.chain_ino;
		return record_put_dentry(&b->data, &cd->dentry);
	}
	case DB_XATTRS:
		return record_put_xattrs(&b->data, &CONTAINER(n, struct cached_xattrs, node)->list);
	case DB_SEGMENT: {
		struct cached_segment *cs = CONTAINER(n, struct cached_segment, node);

		row->mark = !cs->segment.in_store;
		return record_put_segment(&b->data, &cs->segment);
	}
	case DB_KV:
	case DB_STATEMENT:
	case DB_REDO: {
		struct cached_blob *cb = CONTAINER(n, struct cached_blob, node);

		return bytes_append(&b->data, cb->data.data, cb->data.len);
	}
	}
	return -EINVAL;
}

static err_t
freeze_node(struct meta *m, struct node *n, struct batch *b)
{
	size_t at = b->data.len;
	struct db_row *row = batch_row(b);
	err_t err;

	if (row == NULL)
		return -ENOMEM;
	row->table = n->table;
	row->a = n->a;
	row->b = n->b;
	if (n->deleted) {
		row->data = NULL;
		return 0;
	}
	err = encode_node(m, n, b, row);
	if (err != 0) {
		b->row_count--;
		return err;
	}
	row->len = b->data.len - at;
	row->data = (const uint8_t *)1; /* set by freeze, when data stands still */
	return 0;
}

static err_t
freeze_counters(struct meta *m, struct batch *b)
{
	struct db_row *row;
	err_t err;

	if (!m->counters_dirty)
		return 0;
	row = batch_row(b);
	if (row == NULL)
		return -ENOMEM;
	row->table = DB_KV;
	row->a = DB_KEY_COUNTERS;
	row->len = 24;
	row->data = (const uint8_t *)1;
	if ((err = bytes_append_u64(&b->data, m->next_ino)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->next_cookie)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->next_segment)) != 0)
		return err;
	return 0;
}

/* [lock] Moves all that is dirty into the batch.  On failure nothing has moved. */
static err_t
freeze(struct meta *m, struct batch *b)
{
	struct node *n, *next;
	size_t at = 0;
	err_t err;

	DL_FOREACH (m->dirty.first, n)
		if ((err = freeze_node(m, n, b)) != 0)
			return err;
	if ((err = freeze_counters(m, b)) != 0)
		return err;
	for (size_t i = 0; i < b->row_count; i++) {
		if (b->rows[i].data == NULL)
			continue;
		b->rows[i].data = b->data.data + at;
		at += b->rows[i].len;
	}
	DL_FOREACH_SAFE (m->dirty.first, n, next)
		cache_move(m, n, &m->frozen);
	b->releases = m->releases;
	m->releases = (struct release_list){ 0 };
	m->counters_dirty = false;
	b->gen = ++m->freeze_gen;
	return 0;
}

/* [lock] The batch is on the disk. */
static void
thaw_durable(struct meta *m)
{
	struct node *n, *next;
	struct node *tombstones = NULL;

	DL_FOREACH (m->dirty.first, n)
		if (n->frozen) {
			n->frozen = false;
			n->stored = true;
		}
	DL_FOREACH (m->frozen.first, n)
		n->frozen = false;
	cache_pinset_compact(m);
	DL_FOREACH_SAFE (m->frozen.first, n, next) {
		DL_DELETE(m->frozen.first, n);
		m->frozen.count--;
		if (n->deleted) {
			DL_APPEND(tombstones, n);
			continue;
		}
		n->stored = true;
		cache_insert_clean(m, n);
	}
	DL_FOREACH_SAFE (tombstones, n, next) {
		DL_DELETE(tombstones, n);
		cache_insert_clean(m, n);
		cache_free_node(m, n);
	}
}

/* [lock] The batch is lost: what it held is dirty as before. */
static void
thaw_failed(struct meta *m, struct batch *b)
{
	struct node *n, *next;

	DL_FOREACH (m->dirty.first, n)
		n->frozen = false;
	DL_FOREACH_SAFE (m->frozen.first, n, next)
		cache_move(m, n, &m->dirty);
	m->counters_dirty = true;
	for (size_t i = 0; i < b->releases.count; i++)
		if (meta_release(m, b->releases.v[i].seg, b->releases.v[i].off, b->releases.v[i].len) != 0)
			log_warn("out of memory: some disk space is not given back");
}

/* Adds the redo rows that the hook handed out. */
static err_t
batch_add_redo(struct meta *m, struct batch *b, const struct meta_redo *redo, size_t redo_count, bool drop)
{
	struct db_row *row;

	(void)m;
	for (size_t i = 0; i < redo_count; i++) {
		row = batch_row(b);
		if (row == NULL)
			return -ENOMEM;
		*row = (struct db_row){ .table = DB_REDO, .a = redo[i].seg, .b = redo[i].off, .data = redo[i].data,
			.len = redo[i].len };
	}
	if (drop) {
		row = batch_row(b);
		if (row == NULL)
			return -ENOMEM;
		*row = (struct db_row){ .table = DB_REDO, .a = UINT64_MAX, .b = UINT64_MAX }; /* all of them: db.h */
	}
	return 0;
}

/* One commit, without the lock. */
static err_t
write_batch(struct meta *m, struct batch *b)
{
	struct meta_redo *redo = NULL;
	size_t redo_count = 0;
	bool drop = false;
	err_t err = 0;

	if (m->hooks.before_commit != NULL &&
	    (err = m->hooks.before_commit(m->hooks.ctx, &redo, &redo_count, &drop)) != 0)
		return err;
	err = batch_add_redo(m, b, redo, redo_count, drop);
	if (err == 0)
		err = db_write(m->db, b->rows, b->row_count);
	if (m->hooks.after_commit != NULL)
		m->hooks.after_commit(m->hooks.ctx, err);
	return err;
}

static int
compare_releases(const void *a, const void *b)
{
	const struct release *x = a, *y = b;

	if (x->seg != y->seg)
		return x->seg < y->seg ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

/* Neighbours as one: each costs a system call on the file that holds them. */
static void
give_back(struct meta *m, struct release_list *l)
{
	if (m->hooks.on_release == NULL)
		return;
	qsort(l->v, l->count, sizeof(l->v[0]), compare_releases);
	for (size_t i = 0, next; i < l->count; i = next) {
		struct release r = l->v[i];

		for (next = i + 1; next < l->count && l->v[next].seg == r.seg && l->v[next].off == r.off + r.len &&
		    r.len <= UINT32_MAX - l->v[next].len; next++)
			r.len += l->v[next].len;
		m->hooks.on_release(m->hooks.ctx, r.seg, r.off, r.len);
	}
}

/* [lock, given up meanwhile] Freezes and writes all that is dirty now. */
static void
commit_once(struct meta *m, size_t *rows_out)
{
	struct batch b = { 0 };
	err_t err = m->poison;
	uint64_t gen;

	if (err == 0)
		err = freeze(m, &b);
	if (err != 0) {
		gen = ++m->freeze_gen;
	} else {
		gen = b.gen;
		*rows_out += b.row_count;
		pthread_mutex_unlock(&m->lock);
		err = write_batch(m, &b);
		pthread_mutex_lock(&m->lock);
		if (err == 0) {
			thaw_durable(m);
			m->durable_gen = gen;
		} else {
			thaw_failed(m, &b);
		}
	}
	if (err != 0 && err != m->last_result)
		log_error("changes can't be written to the local disk: %s", strerror(-err));
	m->last_result = err;
	m->attempt_gen = gen;
	pthread_cond_broadcast(&m->done);
	if (err == 0 && b.releases.count != 0) { /* whoever waited for the commit does not wait for this */
		pthread_mutex_unlock(&m->lock);
		give_back(m, &b.releases);
		pthread_mutex_lock(&m->lock);
	}
	batch_clear(&b);
}

static bool
has_changes(const struct meta *m)
{
	return m->dirty.count != 0 || m->releases.count != 0 || m->counters_dirty;
}

static void
deadline_after_ms(struct timespec *ts, unsigned ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_sec++;
		ts->tv_nsec -= 1000000000;
	}
}

static void *
commit_thread(void *arg)
{
	struct meta *m = arg;
	size_t rows = 0;
	unsigned commits = 0;

	pthread_mutex_lock(&m->lock);
	for (;;) {
		struct timespec deadline;

		deadline_after_ms(&deadline, m->interval_ms);
		while (!m->kick && !m->stopping)
			if (pthread_cond_timedwait(&m->wake, &m->lock, &deadline) == ETIMEDOUT)
				break;
		m->kick = false;
		if (has_changes(m)) {
			commit_once(m, &rows);
			commits++;
		}
		if (m->stopping)
			break;
		if (rows >= CHECKPOINT_ROWS || commits >= CHECKPOINT_COMMITS) {
			rows = 0;
			commits = 0;
			pthread_mutex_unlock(&m->lock);
			if (db_checkpoint(m->db) != 0)
				log_warn("the database's log could not be folded in; it will be tried again");
			pthread_mutex_lock(&m->lock);
		}
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

err_t
meta_start(struct meta *m, unsigned interval_ms)
{
	err_t err;

	m->interval_ms = interval_ms;
	m->stopping = false;
	err = -pthread_create(&m->thread, NULL, commit_thread, m);
	m->running = err == 0;
	return err;
}

err_t
meta_stop(struct meta *m)
{
	size_t rows = 0;
	err_t err;

	meta_lock(m);
	m->stopping = true;
	pthread_cond_signal(&m->wake);
	meta_unlock(m);
	if (m->running)
		pthread_join(m->thread, NULL);
	m->running = false;
	meta_lock(m);
	if (has_changes(m)) /* made while the thread was ending, or it failed: once more */
		commit_once(m, &rows);
	err = has_changes(m) ? m->last_result : 0;
	meta_unlock(m);
	return err;
}

err_t
meta_sync(struct meta *m)
{
	uint64_t want;
	size_t rows = 0;
	err_t err;

	pthread_mutex_lock(&m->lock);
	if (m->poison != 0) {
		err = m->poison;
		pthread_mutex_unlock(&m->lock);
		return err;
	}
	if (m->dirty.count != 0 || m->counters_dirty)
		want = m->freeze_gen + 1;
	else
		want = m->freeze_gen; /* all is durable, or on its way */
	while (m->durable_gen < want && m->attempt_gen < want) {
		if (m->running) {
			m->kick = true;
			pthread_cond_signal(&m->wake);
			pthread_cond_wait(&m->done, &m->lock);
		} else {
			commit_once(m, &rows);
		}
	}
	err = m->durable_gen >= want ? 0 : m->last_result;
	pthread_mutex_unlock(&m->lock);
	return err;
}

err_t
meta_health(struct meta *m)
{
	err_t err;

	pthread_mutex_lock(&m->lock);
	err = m->poison != 0 ? m->poison : m->last_result;
	pthread_mutex_unlock(&m->lock);
	return err;
}
