/*
 * settle_ahead.c: chunks on their way into the segment under way: read and sealed by a few threads, a few chunks ahead of the one that
 * adds them, in order.
 */
#include "settle_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

err_t
settle_ahead_init(struct settle_ahead *a)
{
	err_t e = -pthread_mutex_init(&a->lock, NULL);

	if (!e)
		e = -pthread_cond_init(&a->given, NULL);
	if (!e)
		e = -pthread_cond_init(&a->done, NULL);
	return e ? e : packer_init(&a->works[0].packer);
}

static void
work_clear(struct chunk_work *w)
{
	packer_clear(&w->packer);
	bytes_clear(&w->whole_memory);
}

/* [lock] */
static struct chunk_work *
nth_work(struct settle_ahead *a, unsigned n)
{
	return &a->works[(a->first + n) % SETTLE_WORKS];
}

static void
run(struct settle *s, struct chunk_work *w)
{
	w->result = w->packer.plain ? 0 : packer_init(&w->packer);
	if (!w->result)
		w->result = settle_prepare(s, w);
}

static void *
thread_main(void *arg)
{
	struct settle *s = arg;
	struct settle_ahead *a = &s->ahead;

	pthread_mutex_lock(&a->lock);
	while (!a->ending) {
		if (a->begun == a->count) {
			pthread_cond_wait(&a->given, &a->lock);
			continue;
		}

		struct chunk_work *w = nth_work(a, a->begun++);

		pthread_mutex_unlock(&a->lock);
		run(s, w);
		pthread_mutex_lock(&a->lock);
		w->done = true;
		pthread_cond_signal(&a->done);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static bool
have_thread(struct settle *s)
{
	struct settle_ahead *a = &s->ahead;

	if (a->thread_count < SETTLE_THREADS && pthread_create(&a->threads[a->thread_count], NULL, thread_main, s) == 0)
		a->thread_count++;
	return a->thread_count > 0;
}

bool
settle_ahead_is_full(const struct settle *s)
{
	return s->ahead.count == SETTLE_WORKS;
}

void
settle_ahead_put(struct settle *s, uint64_t ino, uint64_t no, bool alone)
{
	struct settle_ahead *a = &s->ahead;
	bool here = (alone && !a->count) || s->local || !have_thread(s);

	assert(a->count < SETTLE_WORKS);
	pthread_mutex_lock(&a->lock);

	struct chunk_work *w = nth_work(a, a->count);

	w->ino = ino;
	w->no = no;
	w->done = here;
	a->count++;
	a->begun += here;
	pthread_cond_signal(&a->given);
	pthread_mutex_unlock(&a->lock);
	if (here)
		run(s, w);
}

struct chunk_work *
settle_ahead_get(struct settle *s)
{
	struct settle_ahead *a = &s->ahead;

	if (!a->count)
		return NULL;
	pthread_mutex_lock(&a->lock);

	struct chunk_work *w = nth_work(a, 0);

	while (!w->done)
		pthread_cond_wait(&a->done, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return w;
}

void
settle_ahead_drop(struct settle *s)
{
	struct settle_ahead *a = &s->ahead;
	struct chunk_work *w = nth_work(a, 0);

	if (w->settled)
		settle_free_chunk(STEAL(w->settled));
	pthread_mutex_lock(&a->lock);
	a->first = (a->first + 1) % SETTLE_WORKS;
	a->count--;
	a->begun--;
	pthread_mutex_unlock(&a->lock);
}

void
settle_ahead_end(struct settle *s)
{
	struct settle_ahead *a = &s->ahead;

	while (settle_ahead_get(s))
		settle_ahead_drop(s);
	pthread_mutex_lock(&a->lock);
	a->ending = true;
	pthread_cond_broadcast(&a->given);
	pthread_mutex_unlock(&a->lock);
	while (a->thread_count)
		pthread_join(a->threads[--a->thread_count], NULL);
	for (size_t k = 0; k < ARRAY_LEN(a->works); k++)
		work_clear(&a->works[k]);
	pthread_cond_destroy(&a->given);
	pthread_cond_destroy(&a->done);
	pthread_mutex_destroy(&a->lock);
}
