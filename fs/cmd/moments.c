/*
 * The past by names, for the mount.
 *
 * What needs the store is an errand, run by a thread of its own: it goes on when nobody waits any more, and who comes next for the same
 * waits with the others.
 */
#include "moments.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <utlist.h>

#include "clock.h"
#include "interrupt.h"
#include "log.h"

/* So many commits are looked at for a listing. */
#define LISTED_COMMITS 200u

/* Once somebody was called off: so often it is looked at whether that was meant. */
#define LOOK_MS 100u

struct errand {
	struct moments *l;
	struct hidden_key key;
	bool is_listing; /* has no key */
	/* its thread's, until it is done */
	uint64_t commit;
	struct history_view *view;
	char *names[LISTED_COMMITS];
	size_t name_count;
	/* under the lock */
	unsigned holders;
	bool done;
	err_t err;
	struct errand *prev, *next; /* until it is done */
};

struct moments {
	struct history *history;
	struct uplink *uplink;
	struct hidden_source source;
	atomic_bool ended;

	pthread_mutex_t lock;
	/* under lock */
	pthread_cond_t moved;
	struct errand *errands;
	unsigned running;
};

static bool
go_on(void *ctx, const char *text, uint64_t done, uint64_t total)
{
	struct moments *l = ctx;

	(void)text;
	(void)done;
	(void)total;
	return !atomic_load(&l->ended);
}

static err_t
parse(void *ctx, const char *name, struct hidden_key *out)
{
	struct history_when w;
	err_t err = history_time_parse(name, time(NULL), &w);

	(void)ctx;
	if (err == 0)
		*out = (struct hidden_key){ w.is_commit, w.is_commit ? w.seq : w.time_ns };
	return err;
}

/* Errands. */

static err_t
find_and_get(struct errand *e, struct sync *s, struct past *p)
{
	err_t err = 0;

	if (e->commit == UINT64_MAX && e->key.is_commit && e->key.value > past_head(p))
		return -ENOENT;
	if (e->commit == UINT64_MAX && e->key.is_commit)
		e->commit = e->key.value;
	else if (e->commit == UINT64_MAX)
		err = past_find(p, e->key.value, &e->commit);
	return err != 0 ? err : history_view_get(e->l->history, s, p, e->commit, &e->view);
}

static err_t
list_times(struct errand *e, struct past *p)
{
	uint64_t head = past_head(p);
	char last[HISTORY_TIME_LEN] = "";

	for (uint64_t i = 0; i <= head && i < LISTED_COMMITS; i++) {
		char name[HISTORY_TIME_LEN];
		uint64_t time_ns;
		err_t err = past_time(p, head - i, &time_ns);

		if (err != 0)
			return err;
		history_time_print(time_ns, name);
		if (strcmp(name, last) != 0 && (e->names[e->name_count++] = strdup(name)) == NULL)
			return -ENOMEM;
		memcpy(last, name, sizeof(last));
	}
	return 0;
}

static err_t
with_sync(struct sync *s, void *ctx)
{
	struct errand *e = ctx;
	const struct past_watch watch = { go_on, e->l };
	CLEANUP(past_free_ptr) struct past *p = NULL;
	err_t err = past_open(s, &watch, &p);

	if (err != 0)
		return err;
	err = e->is_listing ? list_times(e, p) : find_and_get(e, s, p);
	if (err != 0 && past_why(p)[0] != '\0')
		log_error("the folder as it was can't be read: %s", past_why(p));
	return err;
}

/* As a reader is told: what is not understood is not there; what can't be had can't be read. */
static err_t
run(struct errand *e)
{
	char why[512];
	err_t err = uplink_with_sync(e->l->uplink, with_sync, e, why, sizeof(why));

	if (err == 0 || err == -ENOENT || err == -EBUSY || err == -ENOMEM || err == -ENOSPC)
		return err;
	return -EIO;
}

static void
errand_free(struct errand *e)
{
	if (e->view != NULL)
		history_view_put(e->l->history, e->view);
	for (size_t i = 0; i < e->name_count; i++)
		free(e->names[i]);
	free(e);
}

static void
errand_put(struct errand *e)
{
	bool last;

	pthread_mutex_lock(&e->l->lock);
	last = --e->holders == 0;
	pthread_mutex_unlock(&e->l->lock);
	if (last)
		errand_free(e);
}

static void *
errand_main(void *arg)
{
	struct errand *e = arg;
	struct moments *l = e->l;
	err_t err = run(e);

	pthread_mutex_lock(&l->lock);
	e->err = err;
	e->done = true;
	DL_DELETE(l->errands, e);
	pthread_cond_broadcast(&l->moved);
	pthread_mutex_unlock(&l->lock);
	errand_put(e);

	pthread_mutex_lock(&l->lock);
	l->running--;
	pthread_cond_broadcast(&l->moved);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* [lock] One with two holders: the caller, and its thread. */
static err_t
start_errand(struct moments *l, const struct hidden_key *key, uint64_t commit, struct errand **out)
{
	struct errand *e = calloc(1, sizeof(*e));
	pthread_t thread;
	err_t err;

	if (e == NULL)
		return -ENOMEM;
	e->l = l;
	e->is_listing = key == NULL;
	if (key != NULL)
		e->key = *key;
	e->commit = commit;
	e->holders = 2;
	err = -pthread_create(&thread, NULL, errand_main, e);
	if (err != 0) {
		free(e);
		return err;
	}
	(void)pthread_detach(thread);
	DL_APPEND(l->errands, e);
	l->running++;
	*out = e;
	return 0;
}

/* [lock] The same, under way. */
static struct errand *
find_errand(const struct moments *l, const struct hidden_key *key)
{
	struct errand *e;

	DL_FOREACH(l->errands, e)
		if (key == NULL ? e->is_listing :
		    !e->is_listing && e->key.is_commit == key->is_commit && e->key.value == key->value)
			return e;
	return NULL;
}

struct waiter {
	struct moments *l;
	bool called; /* under the lock */
};

static void
on_interrupt(void *ctx)
{
	struct waiter *w = ctx;

	pthread_mutex_lock(&w->l->lock);
	w->called = true;
	pthread_cond_broadcast(&w->l->moved);
	pthread_mutex_unlock(&w->l->lock);
}

/* [lock, given up meanwhile] */
static bool
is_called_off(const struct waiter *w)
{
	bool over;

	if (!w->called)
		return false;
	pthread_mutex_unlock(&w->l->lock);
	over = interrupt_is_over();
	pthread_mutex_lock(&w->l->lock);
	return over;
}

/* [lock, given up meanwhile] */
static void
wait_a_little(struct moments *l)
{
	const struct timespec until = clock_deadline(LOOK_MS);

	(void)pthread_cond_clockwait(&l->moved, &l->lock, CLOCK_MONOTONIC, &until);
}

static err_t
errand_await(struct errand *e)
{
	struct waiter w = { .l = e->l };
	err_t err = 0;

	interrupt_listen(on_interrupt, &w);
	pthread_mutex_lock(&w.l->lock);
	while (!e->done && err == 0) {
		if (w.called)
			wait_a_little(w.l);
		else
			pthread_cond_wait(&w.l->moved, &w.l->lock);
		if (!e->done && is_called_off(&w))
			err = -EINTR;
	}
	if (e->done)
		err = e->err;
	pthread_mutex_unlock(&w.l->lock);
	interrupt_listen(NULL, NULL);
	return err;
}

/* key NULL: a listing.  Put *out back if there is one, whatever is returned. */
static err_t
do_errand(struct moments *l, const struct hidden_key *key, uint64_t commit, struct errand **out)
{
	err_t err = 0;

	pthread_mutex_lock(&l->lock);
	*out = find_errand(l, key);
	if (*out != NULL)
		(*out)->holders++;
	else
		err = start_errand(l, key, commit, out);
	pthread_mutex_unlock(&l->lock);
	return err != 0 ? err : errand_await(*out);
}

/* What the mount asks. */

static void
errand_put_ptr(struct errand **e)
{
	if (*e != NULL)
		errand_put(*e);
}

static err_t
enter(void *ctx, const struct hidden_key *key, uint64_t *commit, struct vfs **out, void **token_out)
{
	struct moments *l = ctx;
	CLEANUP(errand_put_ptr) struct errand *e = NULL;
	struct history_view *view;
	err_t err = *commit == UINT64_MAX ? -ENOENT : history_view_find(l->history, *commit, &view);

	if (err != 0) {
		/* It keeps the view open until we have it, too. */
		if ((err = do_errand(l, key, *commit, &e)) != 0 || (err = history_view_find(l->history, e->commit, &view)) != 0)
			return err;
		*commit = e->commit;
	}
	*out = history_view_vfs(view);
	*token_out = view;
	return 0;
}

static void
leave(void *ctx, void *token)
{
	struct moments *l = ctx;

	history_view_put(l->history, token);
}

static err_t
list(void *ctx, int (*fn)(void *fn_ctx, const char *name), void *fn_ctx)
{
	CLEANUP(errand_put_ptr) struct errand *e = NULL;
	err_t err = do_errand(ctx, NULL, UINT64_MAX, &e);

	if (err == -ENOENT)
		return 0; /* nothing was pushed yet */
	for (size_t i = 0; err == 0 && i < e->name_count && fn(fn_ctx, e->names[i]) == 0; i++)
		;
	return err;
}

static void
end(void *ctx)
{
	struct moments *l = ctx;

	atomic_store(&l->ended, true);
}

err_t
moments_new(struct history *h, struct uplink *u, struct moments **out)
{
	struct moments *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->history = h;
	l->uplink = u;
	l->source = (struct hidden_source){ l, parse, enter, leave, list, end };
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->moved, NULL);
	*out = l;
	return 0;
}

void
moments_free(struct moments *l)
{
	if (l == NULL)
		return;
	pthread_mutex_lock(&l->lock);
	while (l->running > 0)
		pthread_cond_wait(&l->moved, &l->lock);
	pthread_mutex_unlock(&l->lock);
	pthread_cond_destroy(&l->moved);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

const struct hidden_source *
moments_source(struct moments *l)
{
	return &l->source;
}
