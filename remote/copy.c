/* copy.c: two lists, compared; what is missing is copied by some threads. */
#include "copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "retry.h"

#define OBJECT_MAX (512u << 20)
#define THREADS 8

/* By the first letter of a name; what begins otherwise is none of a vault's. */
#define ORDER "vksbc"

struct item {
	char *name;
	uint64_t size;
};

struct items {
	struct item *v;
	size_t count;
	size_t cap;
};

struct copying {
	struct store *from, *to;
	const struct copy_hooks *hooks;
	struct items all;   /* in order */
	struct items there; /* by name */
	pthread_mutex_t lock;
	/* under lock */
	size_t next;
	size_t end;         /* of those that may be copied at the same time */
	uint64_t done, total;
	err_t err;
	struct store *failed;
};

static void clear_items(struct items *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->v[i].name);
	free(l->v);
}

static err_t add_item(void *ctx, const char *name, uint64_t size)
{
	struct items *l = ctx;

	if (!strchr(ORDER, name[0]) || (name[1] != '\0' && name[1] != '/'))
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		struct item *v = reallocarray(l->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count].name = strdup(name);
	l->v[l->count].size = size;
	return l->v[l->count++].name ? 0 : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static int in_order(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	const char *x_at = strchr(ORDER, x->name[0]), *y_at = strchr(ORDER, y->name[0]);

	return x_at != y_at ? (x_at < y_at ? -1 : 1) : strcmp(x->name, y->name);
}

static bool is_there(const struct copying *c, const struct item *i)
{
	const struct item *found = c->there.count > 0 ? bsearch(i, c->there.v, c->there.count, sizeof(*i), by_name) : NULL;

	return found && found->size == i->size;
}

static struct retry begin_tries(const struct copying *c)
{
	return (struct retry){.policy = {.tries = 5, .first_ms = 200, .last_ms = 5000, .stop = c->hooks->stop}};
}

static err_t fetch(struct copying *c, const char *name, struct bytes *out)
{
	struct retry r = begin_tries(c);
	err_t err = c->hooks->local ? c->hooks->local(c->hooks->ctx, name, out) : -ENOENT;

	if (err != -ENOENT)
		return err;
	do {
		err = store_get(c->from, name, OBJECT_MAX, out);
	} while (retry_again(&r, c->from, &err));
	return err;
}

/* The same bytes under that name in both? -EEXIST: no. */
static err_t compare(struct copying *c, const char *name)
{
	CLEANUP(bytes_clear) struct bytes old = {0};
	CLEANUP(bytes_clear) struct bytes new = {0};
	struct retry r = begin_tries(c);
	err_t err = fetch(c, name, &old);

	c->failed = c->from;
	if (err)
		return err == -ENOENT ? -EEXIST : err;
	c->failed = c->to;
	do {
		err = store_get(c->to, name, OBJECT_MAX, &new);
	} while (retry_again(&r, c->to, &err));
	if (err)
		return err;
	return old.len == new.len && memcmp(old.data, new.data, old.len) == 0 ? 0 : -EEXIST;
}

/* A commit is never written over, whoever has made it. */
static err_t write_commit(struct copying *c, const char *name, const struct bytes *b)
{
	struct retry r = begin_tries(c);
	err_t err;

	do {
		err = store_create_if_absent(c->to, name, b->data, b->len);
	} while (retry_again(&r, c->to, &err));
	if (err == -ENOTSUP)
		return store_put(c->to, name, b->data, b->len);
	return err == -EEXIST ? compare(c, name) : err;
}

static err_t copy_one(struct copying *c, const struct item *i, struct store **failed_out)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	struct retry r = begin_tries(c);
	err_t err = fetch(c, i->name, &b);

	*failed_out = c->from;
	if (err)
		return err == -ENOENT && i->name[0] == 's' ? 0 : err; /* a segment that was collected meanwhile */
	*failed_out = c->to;
	if (i->name[0] == 'c')
		return write_commit(c, i->name, &b);
	do {
		err = store_put(c->to, i->name, b.data, b.len);
	} while (retry_again(&r, c->to, &err));
	return err;
}

static const struct item *take_next(struct copying *c)
{
	const struct item *i = NULL;

	pthread_mutex_lock(&c->lock);
	if (c->err == 0 && c->hooks->stop && atomic_load(c->hooks->stop))
		c->err = -ECANCELED;
	if (c->err == 0 && c->next < c->end)
		i = &c->all.v[c->next++];
	pthread_mutex_unlock(&c->lock);
	return i;
}

static void *work(void *arg)
{
	struct copying *c = arg;
	const struct item *i;

	while ((i = take_next(c)) != NULL) {
		struct store *failed = NULL;
		err_t err = is_there(c, i) ? 0 : copy_one(c, i, &failed);

		pthread_mutex_lock(&c->lock);
		c->done += i->size;
		if (err && c->err == 0) {
			c->err = err;
			c->failed = failed;
		}
		if (c->hooks->progress)
			c->hooks->progress(c->hooks->ctx, c->done, c->total);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

/* All of one kind at the same time; but commits one after the other, so that there is never a gap behind the first. */
static void copy_range(struct copying *c, size_t end, unsigned threads)
{
	pthread_t ids[THREADS];
	unsigned running = 0;

	c->end = end;
	while (running + 1 < threads && pthread_create(&ids[running], NULL, work, c) == 0)
		running++;
	(void)work(c);
	while (running > 0)
		pthread_join(ids[--running], NULL);
}

static void copy_all(struct copying *c)
{
	while (c->err == 0 && c->next < c->all.count) {
		char kind = c->all.v[c->next].name[0];
		size_t end = c->next;

		while (end < c->all.count && c->all.v[end].name[0] == kind)
			end++;
		copy_range(c, end, kind == 'c' ? 1 : THREADS);
	}
}

static err_t list_both(struct copying *c)
{
	struct retry r = begin_tries(c);
	err_t err;

	do {
		clear_items(&c->all);
		c->all = (struct items){0};
		c->failed = c->from;
		err = store_list(c->from, "", add_item, &c->all);
	} while (retry_again(&r, c->from, &err));
	if (err)
		return err;
	r = begin_tries(c);
	do {
		clear_items(&c->there);
		c->there = (struct items){0};
		c->failed = c->to;
		err = store_list(c->to, "", add_item, &c->there);
	} while (retry_again(&r, c->to, &err));
	if (err)
		return err;
	if (c->all.count > 0)
		qsort(c->all.v, c->all.count, sizeof(c->all.v[0]), in_order);
	if (c->there.count > 0)
		qsort(c->there.v, c->there.count, sizeof(c->there.v[0]), by_name);
	for (size_t i = 0; i < c->all.count; i++)
		c->total += c->all.v[i].size;
	return 0;
}

/* Where both have a chain, the new store's must be the beginning of the old one's. */
static err_t check_chains(struct copying *c)
{
	const char *last = NULL;

	for (size_t i = 0; i < c->there.count; i++)
		if (c->there.v[i].name[0] == 'c')
			last = c->there.v[i].name;
	return last ? compare(c, last) : 0;
}

err_t copy_objects(struct store *from, struct store *to, const struct copy_hooks *hooks, struct copy_result *out)
{
	struct copying c = {.from = from, .to = to, .hooks = hooks, .lock = PTHREAD_MUTEX_INITIALIZER};
	err_t err = list_both(&c);

	if (err == 0)
		err = check_chains(&c);
	if (err == 0) {
		c.failed = NULL;
		copy_all(&c);
		err = c.err;
	}
	*out = (struct copy_result){.objects = c.all.count, .bytes = c.total, .failed = err ? c.failed : NULL};
	clear_items(&c.all);
	clear_items(&c.there);
	return err;
}
