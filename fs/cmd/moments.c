/* The past by names, for the mount. */
#include "moments.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

/* So many commits are looked at for a listing. */
#define LISTED_COMMITS 200u

struct moments {
	struct history *history;
	struct uplink *uplink;
	struct hidden_source source;
	atomic_bool ended;
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

/* What runs with the sync engine. */
struct errand {
	struct moments *l;
	const struct hidden_key *key;
	uint64_t *commit;
	struct history_view *view;
	int (*fn)(void *ctx, const char *name);
	void *fn_ctx;
	err_t (*run)(struct errand *e, struct sync *s, struct past *p);
};

static err_t
with_sync(struct sync *s, void *ctx)
{
	struct errand *e = ctx;
	const struct past_watch watch = { go_on, e->l };
	CLEANUP(past_free_ptr) struct past *p = NULL;
	err_t err = past_open(s, &watch, &p);

	if (err != 0)
		return err;
	err = e->run(e, s, p);
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

static err_t
find_and_get(struct errand *e, struct sync *s, struct past *p)
{
	err_t err = 0;

	if (*e->commit == UINT64_MAX && e->key->is_commit && e->key->value > past_head(p))
		return -ENOENT;
	if (*e->commit == UINT64_MAX && e->key->is_commit)
		*e->commit = e->key->value;
	else if (*e->commit == UINT64_MAX)
		err = past_find(p, e->key->value, e->commit);
	return err != 0 ? err : history_view_get(e->l->history, s, p, *e->commit, &e->view);
}

static err_t
enter(void *ctx, const struct hidden_key *key, uint64_t *commit, struct vfs **out, void **token_out)
{
	struct moments *l = ctx;
	struct errand e = { .l = l, .key = key, .commit = commit, .run = find_and_get };
	err_t err = *commit == UINT64_MAX ? -ENOENT : history_view_find(l->history, *commit, &e.view);

	if (err != 0 && (err = run(&e)) != 0)
		return err;
	*out = history_view_vfs(e.view);
	*token_out = e.view;
	return 0;
}

static void
leave(void *ctx, void *token)
{
	struct moments *l = ctx;

	history_view_put(l->history, token);
}

static err_t
list_times(struct errand *e, struct sync *s, struct past *p)
{
	uint64_t head = past_head(p);
	char last[HISTORY_TIME_LEN] = "";

	(void)s;
	for (uint64_t i = 0; i <= head && i < LISTED_COMMITS; i++) {
		char name[HISTORY_TIME_LEN];
		uint64_t time_ns;
		err_t err = past_time(p, head - i, &time_ns);

		if (err != 0)
			return err;
		history_time_print(time_ns, name);
		if (strcmp(name, last) != 0 && e->fn(e->fn_ctx, name) != 0)
			break;
		memcpy(last, name, sizeof(last));
	}
	return 0;
}

static err_t
list(void *ctx, int (*fn)(void *fn_ctx, const char *name), void *fn_ctx)
{
	struct errand e = { .l = ctx, .fn = fn, .fn_ctx = fn_ctx, .run = list_times };
	err_t err = run(&e);

	return err == -ENOENT ? 0 : err; /* nothing was pushed yet */
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
	*out = l;
	return 0;
}

void
moments_free(struct moments *l)
{
	free(l);
}

const struct hidden_source *
moments_source(struct moments *l)
{
	return &l->source;
}
