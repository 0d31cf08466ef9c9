/* past_ahead.c: a few places, each for one commit, and the threads that fill them. */
#include "past_ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define THREADS 8u
#define PLACES (2 * THREADS)
/* So much at most is read ahead, judged by what came last. */
#define AHEAD_LEN_MAX (16u << 20)

enum place_state { PLACE_FREE, PLACE_WANTED, PLACE_READING, PLACE_HERE };

struct place {
	enum place_state state;
	bool unwanted; /* READING: free when it has come */
	uint64_t seq;
	struct bytes object;
};

struct past_ahead {
	struct chain *chain;
	uint64_t head;
	uint64_t last; /* that was asked for; UINT64_MAX: none */

	pthread_mutex_t lock;
	/* under lock */
	pthread_cond_t work;  /* the threads */
	pthread_cond_t moved; /* the caller */
	struct place places[PLACES];
	bool stopping;
	pthread_t threads[THREADS];
	unsigned thread_count;
};

err_t
past_ahead_new(struct chain *c, uint64_t head, struct past_ahead **out)
{
	struct past_ahead *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->chain = c;
	a->head = head;
	a->last = UINT64_MAX;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->work, NULL);
	pthread_cond_init(&a->moved, NULL);
	*out = a;
	return 0;
}

void
past_ahead_free(struct past_ahead *a)
{
	if (a == NULL)
		return;
	pthread_mutex_lock(&a->lock);
	a->stopping = true;
	pthread_cond_broadcast(&a->work);
	pthread_mutex_unlock(&a->lock);
	for (unsigned i = 0; i < a->thread_count; i++)
		pthread_join(a->threads[i], NULL);
	for (unsigned i = 0; i < PLACES; i++)
		bytes_clear(&a->places[i].object);
	pthread_cond_destroy(&a->moved);
	pthread_cond_destroy(&a->work);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* The threads. */

/* [lock] */
static struct place *
find_wanted(struct past_ahead *a)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (a->places[i].state == PLACE_WANTED)
			return &a->places[i];
	return NULL;
}

/* [lock] */
static void
set_free(struct place *p)
{
	bytes_clear(&p->object);
	*p = (struct place){ 0 };
}

/* [lock, given up meanwhile]  An error is not kept: whoever wants the commit reads it himself, and sees what becomes of that. */
static void
fill(struct past_ahead *a, struct place *p)
{
	struct bytes object = { 0 };
	err_t err;

	p->state = PLACE_READING;
	pthread_mutex_unlock(&a->lock);
	err = chain_read_commit(a->chain, p->seq, &object);
	pthread_mutex_lock(&a->lock);
	if (err != 0 || p->unwanted) {
		bytes_clear(&object);
		set_free(p);
	} else {
		p->object = object;
		p->state = PLACE_HERE;
	}
	pthread_cond_signal(&a->moved);
}

static void *
work(void *arg)
{
	struct past_ahead *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->stopping) {
		struct place *p = find_wanted(a);

		if (p != NULL)
			fill(a, p);
		else
			pthread_cond_wait(&a->work, &a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* The caller. */

/* [lock] */
static struct place *
find(struct past_ahead *a, uint64_t seq)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (a->places[i].state != PLACE_FREE && !a->places[i].unwanted && a->places[i].seq == seq)
			return &a->places[i];
	return NULL;
}

/* [lock] What was read in another direction, or left behind, makes room. */
static struct place *
find_room(struct past_ahead *a, uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < PLACES; i++) {
		struct place *p = &a->places[i];

		if (p->state != PLACE_FREE && p->seq >= first && p->seq <= last)
			continue;
		if (p->state == PLACE_READING)
			p->unwanted = true;
		else
			set_free(p);
		if (p->state == PLACE_FREE)
			return p;
	}
	return NULL;
}

/* [lock] Commits first to last are what comes next. */
static void
want(struct past_ahead *a, uint64_t first, uint64_t last, bool up)
{
	for (uint64_t n = 0; n <= last - first; n++) {
		uint64_t seq = up ? first + n : last - n;
		struct place *p = find(a, seq) != NULL ? NULL : find_room(a, first, last);

		if (p == NULL)
			continue;
		*p = (struct place){ .state = PLACE_WANTED, .seq = seq };
		if (a->thread_count < THREADS && pthread_create(&a->threads[a->thread_count], NULL, work, a) == 0)
			a->thread_count++;
		pthread_cond_signal(&a->work);
	}
}

/* [lock] Nobody may be there to fill a place that is only wanted: then the caller reads it. */
static bool
take(struct past_ahead *a, uint64_t seq, struct bytes *out)
{
	struct place *p;

	while ((p = find(a, seq)) != NULL && p->state == PLACE_READING)
		pthread_cond_wait(&a->moved, &a->lock);
	if (p == NULL)
		return false;
	if (p->state == PLACE_WANTED) {
		set_free(p);
		return false;
	}
	bytes_clear(out);
	*out = p->object;
	*p = (struct place){ 0 };
	return true;
}

/* Who goes from one to the next is going on like that. */
static void
look_ahead(struct past_ahead *a, uint64_t seq, size_t len)
{
	uint64_t count = AHEAD_LEN_MAX / (len + 1) < THREADS ? AHEAD_LEN_MAX / (len + 1) : THREADS;
	bool up = a->last != UINT64_MAX && seq == a->last + 1;
	bool down = a->last != UINT64_MAX && a->last == seq + 1;

	a->last = seq;
	pthread_mutex_lock(&a->lock);
	if (up && count > 0 && seq < a->head)
		want(a, seq + 1, a->head - seq < count ? a->head : seq + count, true);
	else if (down && count > 0 && seq > 0)
		want(a, seq < count ? 0 : seq - count, seq - 1, false);
	pthread_mutex_unlock(&a->lock);
}

err_t
past_ahead_read(struct past_ahead *a, uint64_t seq, struct bytes *out)
{
	bool taken;
	err_t err = 0;

	pthread_mutex_lock(&a->lock);
	taken = take(a, seq, out);
	pthread_mutex_unlock(&a->lock);
	if (!taken)
		err = chain_read_commit(a->chain, seq, out);
	if (err == 0)
		look_ahead(a, seq, out->len);
	return err;
}
