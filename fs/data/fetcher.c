/* fetcher.c: transfers of pieces, and those who wait for them. */
#include "fetcher_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "clock.h"
#include "interrupt.h"
#include "log.h"
#include "pieces.h"

/* So long a thread that has nothing to do keeps its memory: the next job comes at once, or nobody reads any more. */
#define KEEP_MS 2000u
/* So many bytes in a millisecond is quick: then a whole window comes within seconds. */
#define QUICK_PER_MS (16u << 10)
/* Once somebody was called off: so often it is looked at whether that was meant. */
#define LOOK_MS 100u

static void
on_ahead_read(void *ctx, uint64_t seg, uint64_t mask)
{
	struct fetcher *f = ctx;
	struct segment row;

	meta_lock(f->meta);

	err_t e = meta_segment_get(f->meta, seg, &row);

	meta_unlock(f->meta);
	if (!e)
		fetcher_note_read(f, &row, mask);
}

err_t
fetcher_new(struct meta *meta, struct segstore *ss, struct fetcher **out)
{
	struct fetcher *f = calloc(1, sizeof(*f));
	pthread_condattr_t monotonic;

	if (!f)
		return -ENOMEM;
	f->meta = meta;
	f->ss = ss;
	f->limit_ms = FETCHER_LIMIT_MS;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->work, &monotonic);
	(void)pthread_cond_init(&f->moved, &monotonic);
	pthread_condattr_destroy(&monotonic);
	segstore_set_on_ahead(ss, on_ahead_read, f);
	*out = f;
	return 0;
}

void
fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	segstore_set_on_ahead(f->ss, NULL, NULL);
	fetcher_set_source(f, NULL, NULL);
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_cond_broadcast(&f->work);
	pthread_mutex_unlock(&f->lock);
	for (unsigned k = 0; k < f->thread_count; k++)
		pthread_join(f->threads[k], NULL);
	pthread_cond_destroy(&f->moved);
	pthread_cond_destroy(&f->work);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Jobs. */

/* [lock] Pieces of a segment that jobs are about. */
static uint64_t
under_way(const struct fetcher *f, uint64_t seg)
{
	uint64_t mask = 0;

	for (const struct job *j = f->jobs; j; j = j->next)
		if (j->row.id == seg)
			mask |= j->mask;
	return mask;
}

/* [lock] What somebody waits for is no longer for later. */
static void
hurry(struct fetcher *f, uint64_t seg, uint64_t mask, enum urgency urgency)
{
	for (struct job *j = f->jobs; j; j = j->next)
		if (j->row.id == seg && j->mask & mask && !j->running && urgency < j->urgency)
			j->urgency = urgency;
}

/* [lock] Who waits for those pieces: they have come, for who reads at least, or not. */
static void
tell_waiters(struct fetcher *f, uint64_t seg, uint64_t mask, err_t e, bool lent)
{
	for (struct waiter *w = f->waiters; w; w = w->next) {
		if (w->seg != seg || !(w->mask & mask))
			continue;
		w->mask &= ~mask;
		if (e || (lent && !w->fetcher))
			w->err = e ? e : -ENOSPC;
	}
	pthread_cond_broadcast(&f->moved);
}

/* [lock] */
static struct job *
next_job(struct fetcher *f)
{
	static const unsigned most[URGENCIES] = {FETCHER_THREADS, FETCHER_AHEAD_THREADS, FETCHER_LATER_THREADS};
	struct job *best = NULL;

	for (struct job *j = f->jobs; j; j = j->next) {
		if (j->running || f->running[j->urgency] >= most[j->urgency])
			continue;
		if (!best || j->urgency < best->urgency)
			best = j;
	}
	return best;
}

/* The object's bytes; where it is shorter than it was, zeros, which will not authenticate. */
static err_t
transfer(struct fetcher *f, struct job *j, fetcher_source_fn *fn, void *ctx, bool ahead, struct bytes *b)
{
	unsigned first = 0;
	size_t len = (size_t)pieces_bytes(j->row.size, j->mask);

	(void)pieces_first_run(j->mask, PIECES_MAX, &first);

	uint64_t off = first * pieces_len(j->row.size);
	uint8_t *rest;

	bytes_reset(b);

	err_t e = fn ? fn(ctx, &j->row, off, len, b) : -ENODATA;

	if (!e && b->len < len) {
		size_t missing = len - b->len;

		e = bytes_extend(b, missing, &rest);
		if (!e)
			memset(rest, 0, missing);
	}
	return e ? e : fetcher_keep(f, j, off, b->data, len, ahead);
}

/* [lock, given up meanwhile] */
static void
run(struct fetcher *f, struct job *j, struct bytes *b)
{
	fetcher_source_fn *fn = f->source;
	void *ctx = f->source_ctx;
	enum urgency urgency = j->urgency;

	int64_t began = clock_ms(CLOCK_MONOTONIC);

	j->running = true;
	f->running[urgency]++;
	pthread_mutex_unlock(&f->lock);

	err_t e = transfer(f, j, fn, ctx, urgency == AHEAD, b);

	pthread_mutex_lock(&f->lock);
	f->running[urgency]--;
	f->stats.transfers++;
	f->stats.failed += e != 0;
	f->stats.bytes += e ? 0 : pieces_bytes(j->row.size, j->mask);
	f->quick = !e && (int64_t)pieces_bytes(j->row.size, j->mask) >= (clock_ms(CLOCK_MONOTONIC) - began) * QUICK_PER_MS;
	DL_DELETE(f->jobs, j);
	f->job_count--;
	tell_waiters(f, j->row.id, j->mask, e, j->lent);
	free(j);
	pthread_cond_broadcast(&f->work); /* one that was too many of its kind may begin */

	fetcher_brought_fn *brought = f->brought;
	void *brought_ctx = f->brought_ctx;

	if (!brought)
		return;
	f->telling++;
	pthread_mutex_unlock(&f->lock);
	brought(brought_ctx);
	pthread_mutex_lock(&f->lock);
	if (--f->telling == 0)
		pthread_cond_broadcast(&f->moved);
}

/* [lock, given up meanwhile] */
static void
await_work(struct fetcher *f, struct bytes *b, const struct timespec *until)
{
	f->idle++;
	if (!b->data)
		pthread_cond_wait(&f->work, &f->lock);
	else if (pthread_cond_timedwait(&f->work, &f->lock, until) == ETIMEDOUT)
		bytes_clear(b);
	f->idle--;
}

static void *
fetch_main(void *arg)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	struct timespec until = {0};
	struct fetcher *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->stopping) {
		struct job *j = next_job(f);

		if (j) {
			run(f, j, &b);
			until = clock_deadline(KEEP_MS);
		} else {
			await_work(f, &b, &until);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* [lock] */
static err_t
call_thread(struct fetcher *f)
{
	if (f->idle) {
		pthread_cond_broadcast(&f->work);
		return 0;
	}
	if (f->thread_count == FETCHER_THREADS)
		return 0;

	int failed = pthread_create(&f->threads[f->thread_count], NULL, fetch_main, f);

	if (!failed)
		f->thread_count++;
	return f->thread_count ? 0 : -failed;
}

/* [lock] */
static err_t
enqueue_one(struct fetcher *f, const struct segment *row, uint64_t mask, enum urgency urgency)
{
	if (f->job_count >= QUEUE_MAX && urgency != NOW)
		return -EBUSY;

	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	*j = (struct job){.row = *row, .mask = mask, .urgency = urgency};

	err_t e = call_thread(f);

	if (e) {
		free(j);
		return e;
	}
	DL_APPEND(f->jobs, j);
	f->job_count++;
	return 0;
}

err_t
fetcher_enqueue(struct fetcher *f, const struct segment *row, uint64_t mask, enum urgency urgency)
{
	uint64_t rest = mask & ~under_way(f, row->id);
	unsigned most = (unsigned)(fetcher_transfer_max(f) / pieces_len(row->size));
	unsigned first, count;
	err_t e = 0;

	hurry(f, row->id, mask, urgency);
	while (!e && (count = pieces_first_run(rest, most ? most : 1, &first))) {
		e = enqueue_one(f, row, pieces_run(first, count), urgency);
		rest &= ~pieces_run(first, count);
	}
	return e;
}

/* The source. */

void
fetcher_set_source(struct fetcher *f, fetcher_source_fn *fn, void *ctx)
{
	struct job *j, *next;

	pthread_mutex_lock(&f->lock);
	f->source = fn;
	f->source_ctx = ctx;
	DL_FOREACH_SAFE (f->jobs, j, next) {
		if (fn || j->running)
			continue;
		tell_waiters(f, j->row.id, j->mask, -ENODATA, false);
		DL_DELETE(f->jobs, j);
		f->job_count--;
		free(j);
	}
	/* With another source, jobs that have not begun are its own; what runs is of the one before. */
	while (f->running[NOW] + f->running[AHEAD] + f->running[LATER] > 0)
		pthread_cond_wait(&f->moved, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

void
fetcher_set_limit(struct fetcher *f, unsigned limit_ms)
{
	pthread_mutex_lock(&f->lock);
	f->limit_ms = limit_ms;
	pthread_mutex_unlock(&f->lock);
}

void
fetcher_set_brought(struct fetcher *f, fetcher_brought_fn *fn, void *ctx)
{
	pthread_mutex_lock(&f->lock);
	f->brought = fn;
	f->brought_ctx = ctx;
	while (!fn && f->telling)
		pthread_cond_wait(&f->moved, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

void
fetcher_hold_ahead(struct fetcher *f, bool hold)
{
	pthread_mutex_lock(&f->lock);
	f->held = hold;
	pthread_mutex_unlock(&f->lock);
}

void
fetcher_stats(struct fetcher *f, struct fetcher_stats *out)
{
	pthread_mutex_lock(&f->lock);
	*out = f->stats;
	pthread_mutex_unlock(&f->lock);
}

/* Waiting. */

static bool
is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static void
on_interrupt(void *ctx)
{
	struct waiter *w = ctx;

	pthread_mutex_lock(&w->fetcher->lock);
	w->called = true;
	pthread_cond_broadcast(&w->fetcher->moved);
	pthread_mutex_unlock(&w->fetcher->lock);
}

/* [lock, given up meanwhile] */
static bool
is_called_off(struct fetcher *f, const struct waiter *w)
{
	if (!w->called)
		return false;
	pthread_mutex_unlock(&f->lock);

	bool over = interrupt_is_over();

	pthread_mutex_lock(&f->lock);
	return over;
}

/* [lock, given up meanwhile] Until the pieces have come, or one of them did not; -EAGAIN: for too long. */
static err_t
await_pieces(struct fetcher *f, struct waiter *w)
{
	struct timespec until = clock_deadline(f->limit_ms);

	for (int timed = 0; w->mask && !w->err && !timed;) {
		struct timespec look = clock_deadline(LOOK_MS);

		if (w->called && is_before(&look, &until))
			(void)pthread_cond_timedwait(&f->moved, &f->lock, &look);
		else
			timed = pthread_cond_timedwait(&f->moved, &f->lock, &until);
		if (w->mask && !w->err && is_called_off(f, w))
			return -EINTR;
	}
	return w->mask && !w->err ? -EAGAIN : w->err;
}

/* [lock, given up meanwhile] Of one who is in the list. */
static err_t
await(struct fetcher *f, struct waiter *w)
{
	err_t e = await_pieces(f, w);

	DL_DELETE(f->waiters, w);
	if (e != -EAGAIN || w->err)
		return e;
	log_error("the store did not send a part of segment %016llx within %u s", (unsigned long long)w->seg,
	    (f->limit_ms + 999) / 1000);
	return -EAGAIN;
}

static err_t
get_row(struct fetcher *f, uint64_t seg, struct segment *out)
{
	meta_lock(f->meta);

	err_t e = meta_segment_get(f->meta, seg, out);

	meta_unlock(f->meta);
	if (!e && (out->kind != SEGMENT_SETTLED || !out->in_store))
		e = -ENODATA;
	return e == -ENOENT ? -ENODATA : e;
}

static err_t
bring(struct fetcher *f, uint64_t seg, uint64_t off, uint64_t len, bool anew)
{
	struct segment row;
	err_t e = get_row(f, seg, &row);

	if (e)
		return e;

	uint64_t wanted = pieces_touching(row.size, off, len), missing = wanted;

	if (!anew)
		e = segstore_missing(f->ss, seg, wanted, &missing);
	if (e || !missing)
		return e;

	struct waiter w = {.seg = seg, .mask = missing, .fetcher = f};

	pthread_mutex_lock(&f->lock);
	if (!f->source)
		e = -ENODATA;
	else
		e = fetcher_enqueue(f, &row, missing, NOW);
	/* Before a job can end: its error must not be missed. */
	if (!e)
		DL_APPEND(f->waiters, &w);
	pthread_mutex_unlock(&f->lock);
	if (e)
		return e;
	fetcher_note_read(f, &row, wanted);
	interrupt_listen(on_interrupt, &w);
	pthread_mutex_lock(&f->lock);
	e = await(f, &w);
	pthread_mutex_unlock(&f->lock);
	interrupt_listen(NULL, NULL);
	return e;
}

err_t
fetcher_bring(struct fetcher *f, uint64_t seg, uint64_t off, uint64_t len, bool anew)
{
	err_t e = bring(f, seg, off, len, anew);

	/* It was coming ahead, and nobody was waiting yet when the disk turned out to be full. */
	return is_full(e) ? bring(f, seg, off, len, anew) : e;
}

err_t
fetcher_bring_later(struct fetcher *f, uint64_t seg, uint64_t mask)
{
	struct segment row;
	uint64_t missing = 0;
	err_t e = get_row(f, seg, &row);

	if (!e)
		e = segstore_missing(f->ss, seg, mask, &missing);
	if (e || !missing)
		return e;

	struct waiter w = {.seg = seg, .mask = missing};

	pthread_mutex_lock(&f->lock);
	e = f->source ? fetcher_enqueue(f, &row, missing, LATER) : -ENODATA;
	if (!e) {
		DL_APPEND(f->waiters, &w);
		e = await(f, &w);
	}
	pthread_mutex_unlock(&f->lock);
	return e;
}
