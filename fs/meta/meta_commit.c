/*
 * Write-behind: writing what was frozen as one durable step, the thread that does so now and then, and those who wait.
 *
 * Whoever wants a commit does it himself unless one is under way: handing it to a thread and being woken by it would cost as
 * much as the flush.  Generations number the freezes.  A waiter wants the generation that holds its changes: the next freeze
 * if anything is dirty, else the one under way.
 */
#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "meta_batch.h"
#include "reserve.h"

/*
 * That many changed objects, or so many bytes of them (a chunk in many pieces is large), are a commit of their own, however
 * young; whoever changes more waits until there is room.  What is on its way takes about the same once more as rows.
 */
#define DIRTY_MAX 16384u
#define PILE_MAX (3 * DIRTY_MAX)
#define DIRTY_WEIGHT_MAX (32u << 20)
#define PILE_WEIGHT_MAX (40u << 20)
/* The WAL is folded into the database after this many rows or commits; by the thread, and nobody waits for it. */
#define CHECKPOINT_ROWS 20000u
#define CHECKPOINT_COMMITS 256u
/* The database is made smaller after so many of the thread's intervals without a change. */
#define IDLE_ROUNDS 2u
/* ... in so many steps, and the rest after the next interval. */
#define SHRINK_STEPS 64u
/* So often giving space back, which may take a second, is left for the journal's sake. */
#define GIVE_BACK_CALLS 32u

static void
kick_if_full(struct meta *m, size_t count, size_t weight)
{
	if ((count >= DIRTY_MAX || weight >= DIRTY_WEIGHT_MAX) && !m->kick) {
		m->kick = true;
		pthread_cond_signal(&m->wake);
	}
}

void
commit_kick_if_full(struct meta *m)
{
	kick_if_full(m, m->dirty.count, m->dirty.weight);
}

/* Where commits fail, waiting would not help: then it is the disk's error that people get to see. */
void
meta_throttle(struct meta *m)
{
	pthread_mutex_lock(&m->lock);
	while ((m->dirty.count >= PILE_MAX || m->dirty.weight >= PILE_WEIGHT_MAX) && m->running && m->last_result == 0 &&
	    m->poison == 0)
		pthread_cond_wait(&m->done, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

/* Adds the redo rows that the hook handed out. */
static err_t
batch_add_redo(struct batch *b, const struct meta_redo *redo, size_t redo_count)
{
	for (size_t i = 0; i < redo_count; i++) {
		struct db_row *row = batch_row(b);

		if (row == NULL)
			return -ENOMEM;
		*row = (struct db_row){ .table = DB_REDO, .a = redo[i].seg, .b = redo[i].off, .data = redo[i].data,
			.len = redo[i].len };
	}
	return 0;
}

/* One commit, without the lock. */
static err_t
write_batch(struct meta *m, struct batch *b)
{
	struct meta_redo *redo = NULL;
	size_t redo_count = 0;
	err_t err = 0;

	if (m->hooks.before_commit != NULL &&
	    (err = m->hooks.before_commit(m->hooks.ctx, b->room, &redo, &redo_count)) != 0)
		return err;
	err = batch_add_redo(b, redo, redo_count);
	if (err == 0)
		err = b->to_journal ? db_journal(m->db, b->rows, b->row_count) : db_write(m->db, b->rows, b->row_count);
	if (m->hooks.after_commit != NULL)
		m->hooks.after_commit(m->hooks.ctx, err);
	return err;
}

/* [lock, given up meanwhile; committing] Freezes and writes all that is dirty now. */
static err_t
write_changes(struct meta *m, struct batch *b, bool to_journal)
{
	err_t err = m->poison;

	if (err == 0)
		err = batch_freeze(m, b, to_journal);
	if (err != 0) {
		b->gen = ++m->freeze_gen;
		return err;
	}
	pthread_mutex_unlock(&m->lock);
	err = write_batch(m, b);
	pthread_mutex_lock(&m->lock);
	if (err != 0)
		batch_failed(m, b);
	else if (!b->to_journal)
		batch_stored(m, b);
	else
		batch_journaled(m, b);
	if (err != 0 || !b->to_journal)
		return err;
	/* Whoever finds it full waits for a commit of the database. */
	m->wants_room |= db_journal_is_short(m->db);
	/* What only the journal has stays in memory until the database has it, too. */
	kick_if_full(m, m->dirty.count + m->frozen.count, m->dirty.weight + m->frozen.weight);
	return 0;
}

static bool
spend_reserve(struct meta *m)
{
	bool spent;

	if (m->reserve == NULL)
		return false;
	pthread_mutex_unlock(&m->lock);
	spent = reserve_spend(m->reserve);
	pthread_mutex_lock(&m->lock);
	return spent;
}

/* [lock, given up meanwhile] */
static bool
give_room(struct meta *m)
{
	bool given;

	if (m->hooks.give_room == NULL)
		return false;
	pthread_mutex_unlock(&m->lock);
	given = m->hooks.give_room(m->hooks.ctx);
	pthread_mutex_lock(&m->lock);
	return given;
}

/* [lock, given up meanwhile; committing] On a full disk, once more with what was kept for later, then with what was kept back. */
static err_t
write_changes_at_last(struct meta *m, struct batch *b, bool to_journal)
{
	err_t err = write_changes(m, b, to_journal);

	if (err == -ENOSPC && give_room(m)) {
		batch_clear(b);
		err = write_changes(m, b, false);
	}
	if (err == -ENOSPC && spend_reserve(m)) {
		batch_clear(b);
		err = write_changes(m, b, false);
	}
	return err;
}

/* [lock, given up meanwhile] */
static void
commit_begin(struct meta *m)
{
	while (m->committing)
		pthread_cond_wait(&m->done, &m->lock);
	m->committing = true;
}

static void
commit_end(struct meta *m)
{
	m->committing = false;
	pthread_cond_broadcast(&m->done);
}

/* [lock, given up meanwhile; committing] */
static void
commit_once(struct meta *m, bool to_journal)
{
	struct batch b = { 0 };
	err_t err = write_changes_at_last(m, &b, to_journal);

	if (err != 0 && err != m->last_result)
		log_error("changes can't be written to the local disk: %s", strerror(-err));
	m->last_result = err;
	if (err != 0)
		m->failed_gen = b.gen;
	else
		m->durable_gen = b.gen;
	if (err == 0 && !b.to_journal) {
		m->stored_gen = b.gen;
		m->shrunk = false;
		m->rows_stored += b.row_count;
		m->commits_stored++;
	}
	batch_clear(&b);
}

static bool
has_changes(const struct meta *m)
{
	return m->dirty.count != 0 || m->frozen.count != 0 || m->releases.count != 0 || m->counters_dirty ||
	    m->counters_journaled;
}

/* Chores: what nobody waits for. */

static int
compare_releases(const void *a, const void *b)
{
	const struct release *x = a, *y = b;

	if (x->seg != y->seg)
		return x->seg < y->seg ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

/* [lock, given up meanwhile] */
static void
make_room(struct meta *m)
{
	err_t err;

	if (!m->wants_room || !meta_has_room(m)) {
		m->wants_room = false;
		return;
	}
	commit_begin(m);
	m->wants_room = false;
	pthread_mutex_unlock(&m->lock);
	err = db_journal_make_room(m->db);
	pthread_mutex_lock(&m->lock);
	commit_end(m);
	if (err != 0)
		log_warn("no room for the journal, so that fsync takes longer: %s", strerror(-err));
}

/* [lock, given up meanwhile] Neighbours as one: each costs a system call on the file that holds them. */
static void
give_back(struct meta *m)
{
	struct release_list l = m->given_back;

	m->given_back = (struct release_list){ 0 };
	pthread_mutex_unlock(&m->lock);
	if (l.count != 0)
		qsort(l.v, l.count, sizeof(l.v[0]), compare_releases);
	for (size_t i = 0, next, calls = 0; i < l.count && m->hooks.on_release != NULL; i = next) {
		struct release r = l.v[i];

		for (next = i + 1; next < l.count && l.v[next].seg == r.seg && l.v[next].off == r.off + r.len &&
		    r.len <= UINT32_MAX - l.v[next].len; next++)
			r.len += l.v[next].len;
		m->hooks.on_release(m->hooks.ctx, r.seg, r.off, r.len);
		if (++calls % GIVE_BACK_CALLS == 0) {
			pthread_mutex_lock(&m->lock);
			make_room(m);
			pthread_mutex_unlock(&m->lock);
		}
	}
	free(l.v);
	pthread_mutex_lock(&m->lock);
}

/* [lock, given up meanwhile] */
static void
checkpoint(struct meta *m)
{
	m->rows_stored = 0;
	m->commits_stored = 0;
	pthread_mutex_unlock(&m->lock);
	if (db_checkpoint(m->db) != 0)
		log_warn("the database's log could not be folded in; it will be tried again");
	pthread_mutex_lock(&m->lock);
	db_end_reading(m->db); /* begun meanwhile, it would keep the log from beginning anew */
}

/* [lock, given up meanwhile] When nothing has changed for a while: what the database does not need any more. */
static void
shrink(struct meta *m)
{
	bool more = true;
	err_t err = 0;

	for (unsigned k = 0; k < SHRINK_STEPS && more && err == 0 && !has_changes(m) && !m->stopping; k++) {
		commit_begin(m);
		db_end_reading(m->db); /* what is being read can't be emptied */
		pthread_mutex_unlock(&m->lock);
		err = db_shrink(m->db, &more);
		pthread_mutex_lock(&m->lock);
		db_end_reading(m->db);
		commit_end(m);
	}
	if (err != 0)
		log_warn("the database could not be made smaller: %s", strerror(-err));
	m->shrunk = err == 0 && !more;
}

static void
do_chores(struct meta *m)
{
	make_room(m); /* first: somebody may call fsync again at once */
	if (m->given_back.count != 0)
		give_back(m);
	if (m->reserve != NULL) {
		pthread_mutex_unlock(&m->lock);
		reserve_fill(m->reserve);
		pthread_mutex_lock(&m->lock);
	}
	if (m->rows_stored >= CHECKPOINT_ROWS || m->commits_stored >= CHECKPOINT_COMMITS)
		checkpoint(m);
}

void
meta_set_reserve(struct meta *m, struct reserve *r)
{
	m->reserve = r;
}

bool
meta_has_room(const struct meta *m)
{
	return m->reserve == NULL || !reserve_is_spent(m->reserve);
}

void
meta_put_reserve_back(struct meta *m)
{
	if (m->reserve != NULL)
		reserve_fill(m->reserve);
}

/* The thread. */

static void *
commit_thread(void *arg)
{
	struct meta *m = arg;
	unsigned idle = 0;
	bool kicked;

	db_read_ahead(m->db);
	pthread_mutex_lock(&m->lock);
	while (!m->stopping) {
		const struct timespec deadline = clock_deadline(m->interval_ms);

		while (!m->kick && !m->wants_room && !m->stopping)
			if (pthread_cond_timedwait(&m->wake, &m->lock, &deadline) == ETIMEDOUT)
				m->kick = true;
		kicked = m->kick;
		m->kick = false; /* whoever fills it up meanwhile kicks again */
		if (kicked && has_changes(m)) {
			commit_begin(m);
			commit_once(m, false);
			commit_end(m);
			idle = 0;
		}
		do_chores(m);
		if (++idle >= IDLE_ROUNDS && !m->shrunk)
			shrink(m);
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
	ahead_start(m);
	err = -pthread_create(&m->thread, NULL, commit_thread, m);
	m->running = err == 0;
	return err;
}

err_t
meta_stop(struct meta *m)
{
	err_t err;

	ahead_stop(m);
	meta_lock(m);
	m->stopping = true;
	pthread_cond_signal(&m->wake);
	meta_unlock(m);
	if (m->running)
		pthread_join(m->thread, NULL);
	m->running = false;
	meta_lock(m);
	if (has_changes(m)) { /* made while the thread was ending, or it failed: once more */
		commit_begin(m);
		commit_once(m, false);
		commit_end(m);
	}
	if (m->given_back.count != 0)
		give_back(m);
	err = has_changes(m) ? m->last_result : 0;
	meta_unlock(m);
	return err;
}

void
meta_give_back(struct meta *m)
{
	pthread_mutex_lock(&m->lock);
	if (m->given_back.count != 0)
		give_back(m);
	pthread_mutex_unlock(&m->lock);
}

/* Waiting. */

/* The generation that somebody waits for is *done, or a commit of it failed. */
static err_t
wait_for(struct meta *m, const uint64_t *done, bool to_journal)
{
	uint64_t want;
	err_t err;

	pthread_mutex_lock(&m->lock);
	if (m->poison != 0) {
		err = m->poison;
		pthread_mutex_unlock(&m->lock);
		return err;
	}
	want = m->freeze_gen;
	if (m->dirty.count != 0 || m->counters_dirty)
		want++; /* otherwise all is durable, or on its way */
	while (*done < want && m->failed_gen < want) {
		if (m->committing) {
			pthread_cond_wait(&m->done, &m->lock);
			continue;
		}
		commit_begin(m);
		commit_once(m, to_journal);
		commit_end(m);
		if (!m->running)
			do_chores(m);
		else if (m->wants_room)
			pthread_cond_signal(&m->wake);
	}
	err = *done >= want ? 0 : m->last_result;
	pthread_mutex_unlock(&m->lock);
	return err;
}

err_t
meta_flush(struct meta *m)
{
	return wait_for(m, &m->durable_gen, true);
}

err_t
meta_sync(struct meta *m)
{
	return wait_for(m, &m->stored_gen, false);
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
