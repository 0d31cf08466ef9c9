/* Looks for the store until it is there; then hands everything on to the sync engine. */
#include "uplink.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amounts.h"
#include "clock.h"
#include "config.h"
#include "credentials.h"
#include "log.h"

#define LOOK_INTERVAL_MS 10000
#define LOOK_AT_FOLDER_MS 1000

struct uplink {
	struct vault *v;
	char *url;

	pthread_mutex_t lock;
	/* under lock */
	pthread_cond_t wake;
	pthread_t thread;
	bool looking;           /* the thread is there to be joined */
	bool stopping;
	bool hooked;
	struct sync_hooks hooks;
	enum sync_network network;
	struct sync *sync;      /* set once */
	err_t problem;          /* why there is no sync yet */
	char problem_text[sizeof(((struct sync_status *)0)->problem_text)];

	pthread_mutex_t attaching; /* one at a time opens the store; before lock */
};

static void
uplink_free_ptr(struct uplink **u)
{
	uplink_free(*u);
}

static struct sync *
current_sync(struct uplink *u)
{
	struct sync *s;

	pthread_mutex_lock(&u->lock);
	s = u->sync;
	pthread_mutex_unlock(&u->lock);
	return s;
}

/* Notes why the store is away; logs it when it is news. */
static void
note_problem(struct uplink *u, err_t err, const char *why)
{
	char text[sizeof(u->problem_text)];
	bool news;

	snprintf(text, sizeof(text), "%s; what you change is kept here and goes there as soon as it is back",
	    why != NULL ? why : strerror(-err));
	pthread_mutex_lock(&u->lock);
	news = strcmp(text, u->problem_text) != 0;
	memcpy(u->problem_text, text, sizeof(text));
	u->problem = err;
	pthread_mutex_unlock(&u->lock);
	if (news)
		log_warn("%s", text);
}

/* A configuration that cannot be read, or says what is no rate, limits nothing. */
static void
add_configured(struct settings *st)
{
	CLEANUP(config_clear) struct config c = { 0 };

	if (config_load(&c) != 0)
		return;
	if (!st->has_up && c.up_limit != NULL && amount_parse_bytes(c.up_limit, &st->up) != 0)
		log_warn("up-limit = %s in the configuration is no rate: it limits nothing", c.up_limit);
	if (!st->has_down && c.down_limit != NULL && amount_parse_bytes(c.down_limit, &st->down) != 0)
		log_warn("down-limit = %s in the configuration is no rate: it limits nothing", c.down_limit);
}

err_t
uplink_settings(struct uplink *u, struct settings *out)
{
	err_t err = settings_load(u->v->meta, out);

	if (err == 0)
		add_configured(out);
	return err;
}

err_t
uplink_apply_settings(struct uplink *u)
{
	struct sync *s = current_sync(u);
	struct settings st;
	err_t err = uplink_settings(u, &st);

	if (err == 0 && s != NULL)
		sync_apply_settings(s, &st);
	return err;
}

void
uplink_set_network(struct uplink *u, enum sync_network network)
{
	pthread_mutex_lock(&u->lock);
	u->network = network;
	if (u->sync != NULL)
		sync_set_network(u->sync, network);
	pthread_mutex_unlock(&u->lock);
}

bool
uplink_is_held(struct uplink *u)
{
	bool held;

	pthread_mutex_lock(&u->lock);
	held = u->sync != NULL ? sync_is_held(u->sync) : u->network != SYNC_NETWORK_FREE;
	pthread_mutex_unlock(&u->lock);
	return held;
}

/* [attaching] The engine is started only once there are hooks: before the mount there is nobody to be told. */
static err_t
start_sync(struct uplink *u, struct sync *s)
{
	struct sync_hooks hooks;
	bool hooked;

	pthread_mutex_lock(&u->lock);
	hooked = u->hooked && !u->stopping;
	hooks = u->hooks;
	sync_set_network(s, u->network);
	pthread_mutex_unlock(&u->lock);
	if (!hooked)
		return 0;
	sync_set_hooks(s, &hooks);
	return sync_start(s);
}

/* With the keys that are kept in the vault, if there are any. */
static err_t
open_with_keys(struct uplink *u, struct store **out, char **why_out)
{
	CLEANUP(secmem_free_ptr) struct credentials *c = NULL;
	struct store_credentials given;
	struct store_options options = { 0 };
	err_t err = credentials_load(u->v, &c);

	if (err != 0 && err != -ENOENT)
		return err;
	if (c != NULL) {
		given = (struct store_credentials){ c->access_key, c->secret_key, c->session_token[0] != '\0' ? c->session_token : NULL };
		options.credentials = &given;
	}
	return store_open_with(u->url, false, &options, out, why_out);
}

/* [attaching] */
static err_t
open_store(struct uplink *u, struct sync **out)
{
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(free_ptr) char *why = NULL;
	struct settings st;
	err_t err = open_with_keys(u, &store, &why);

	if (err == 0)
		err = sync_new(u->v, store, out);
	if (err == 0) {
		store = NULL;
		if ((err = uplink_settings(u, &st)) != 0) {
			sync_free(*out);
			*out = NULL;
		} else {
			sync_apply_settings(*out, &st);
		}
	}
	if (err != 0)
		note_problem(u, err, why);
	return err;
}

static err_t
attach(struct uplink *u)
{
	struct sync *s = NULL;
	err_t err = 0;

	pthread_mutex_lock(&u->attaching);
	if (current_sync(u) == NULL) {
		err = open_store(u, &s);
		if (err == 0 && (err = start_sync(u, s)) != 0) {
			note_problem(u, err, NULL);
			sync_free(s);
			s = NULL;
		}
	}
	if (s != NULL) {
		pthread_mutex_lock(&u->lock);
		u->sync = s;
		sync_set_network(s, u->network); /* it may be another one by now */
		u->problem = 0;
		u->problem_text[0] = '\0';
		pthread_mutex_unlock(&u->lock);
	}
	pthread_mutex_unlock(&u->attaching);
	return err;
}

err_t
uplink_new(struct vault *v, struct uplink **out)
{
	CLEANUP(uplink_free_ptr) struct uplink *u = calloc(1, sizeof(*u));
	pthread_condattr_t monotonic;
	err_t err;

	if (u == NULL)
		return -ENOMEM;
	u->v = v;
	pthread_mutex_init(&u->lock, NULL);
	pthread_mutex_init(&u->attaching, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&u->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	u->url = strdup(v->remote_url);
	if (u->url == NULL)
		return -ENOMEM;
	err = attach(u);
	(void)err; /* noted; uplink_start goes on looking */
	*out = STEAL(u);
	return 0;
}

void
uplink_free(struct uplink *u)
{
	if (u == NULL)
		return;
	uplink_stop(u);
	sync_free(u->sync);
	pthread_cond_destroy(&u->wake);
	pthread_mutex_destroy(&u->attaching);
	pthread_mutex_destroy(&u->lock);
	free(u->url);
	free(u);
}

/* A disk that is plugged in: to look whether it is there costs nothing. */
static bool
is_folder(const struct uplink *u)
{
	return strncmp(u->url, "dir:", 4) == 0;
}

/* false: stop. */
static bool
pause_looking(struct uplink *u)
{
	const struct timespec until = clock_deadline(is_folder(u) ? LOOK_AT_FOLDER_MS : LOOK_INTERVAL_MS);
	bool go_on;

	pthread_mutex_lock(&u->lock);
	while (!u->stopping && pthread_cond_timedwait(&u->wake, &u->lock, &until) != ETIMEDOUT)
		;
	go_on = !u->stopping;
	pthread_mutex_unlock(&u->lock);
	return go_on;
}

static void *
look(void *arg)
{
	struct uplink *u = arg;

	while (pause_looking(u) && attach(u) != 0)
		;
	return NULL;
}

err_t
uplink_start(struct uplink *u, const struct sync_hooks *hooks)
{
	struct sync *s;
	err_t err = 0;

	pthread_mutex_lock(&u->attaching);
	pthread_mutex_lock(&u->lock);
	u->hooks = *hooks;
	u->hooked = true;
	s = u->sync;
	if (s == NULL) {
		err = -pthread_create(&u->thread, NULL, look, u);
		u->looking = err == 0;
	}
	pthread_mutex_unlock(&u->lock);
	if (s != NULL)
		err = start_sync(u, s);
	pthread_mutex_unlock(&u->attaching);
	return err;
}

void
uplink_stop(struct uplink *u)
{
	struct sync *s;
	bool looking;

	pthread_mutex_lock(&u->lock);
	u->stopping = true;
	looking = u->looking;
	u->looking = false;
	pthread_cond_broadcast(&u->wake);
	pthread_mutex_unlock(&u->lock);
	if (looking)
		pthread_join(u->thread, NULL);
	pthread_mutex_lock(&u->attaching); /* a drain may be attaching */
	s = current_sync(u);
	if (s != NULL)
		sync_stop(s);
	pthread_mutex_unlock(&u->attaching);
}

err_t
uplink_fetch(void *ctx, const struct segment *seg, uint64_t off, size_t len, struct bytes *out)
{
	struct uplink *u = ctx;
	struct sync *s = current_sync(u);

	return s != NULL ? sync_fetch_segment(s, seg, off, len, out) : -EAGAIN;
}

err_t
uplink_with_sync(struct uplink *u, err_t (*fn)(struct sync *s, void *ctx), void *ctx, char *why_out, size_t why_len)
{
	struct sync_status st;
	bool stopping;
	err_t err = attach(u);

	why_out[0] = '\0';
	pthread_mutex_lock(&u->lock);
	stopping = u->stopping;
	pthread_mutex_unlock(&u->lock);
	if (stopping)
		return -ECANCELED;
	if (err == 0)
		err = fn(current_sync(u), ctx);
	if (err != 0) {
		uplink_get_status(u, &st);
		snprintf(why_out, why_len, "%s", st.problem_text);
	}
	return err;
}

static err_t
drain(struct sync *s, void *ctx)
{
	(void)ctx;
	return sync_drain(s);
}

err_t
uplink_drain(struct uplink *u, char *why_out, size_t why_len)
{
	return uplink_with_sync(u, drain, NULL, why_out, why_len);
}

void
uplink_get_status(struct uplink *u, struct sync_status *out)
{
	struct meta_pending_summary sum;
	struct sync *s = current_sync(u);

	if (s != NULL) {
		sync_get_status(s, out);
		return;
	}
	*out = (struct sync_status){ 0 };
	meta_pending_summary(u->v->meta, &sum);
	out->pending_inodes = sum.inode_count;
	out->pending_names = sum.dentry_count;
	pthread_mutex_lock(&u->lock);
	out->metered = u->network == SYNC_NETWORK_METERED;
	out->problem = u->problem;
	memcpy(out->problem_text, u->problem_text, sizeof(out->problem_text));
	pthread_mutex_unlock(&u->lock);
}

void
uplink_get_calls(struct uplink *u, uint64_t out[static STORE_CALL_KINDS])
{
	struct sync *s = current_sync(u);

	for (int i = 0; i < STORE_CALL_KINDS; i++)
		out[i] = 0;
	if (s != NULL)
		sync_get_calls(s, out);
}

err_t
uplink_get_messages(struct uplink *u, char ***out, size_t *count_out)
{
	struct sync *s = current_sync(u);

	if (s != NULL)
		return sync_get_messages(s, out, count_out);
	*out = NULL;
	*count_out = 0;
	return 0;
}
