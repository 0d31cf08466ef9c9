/* The interface of sync.h, but for the thread, which is in sync_thread.c. */
#include "sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"
#include "log.h"
#include "witness.h"

/* How often the store is asked again when it does not answer, within one call. */
#define STORE_TRIES 5u

uint64_t
engine_now_ns(void)
{
	return (uint64_t)clock_ns(CLOCK_REALTIME);
}

static void
engine_free_ptr(struct sync **s)
{
	engine_free(*s);
}

err_t
engine_new(struct vault *v, struct store *store, struct sync **out)
{
	CLEANUP(engine_free_ptr) struct sync *s = calloc(1, sizeof(*s));
	pthread_condattr_t monotonic;
	err_t err;

	if (s == NULL)
		return -ENOMEM;
	s->v = v;
	s->store = store;
	s->box_identity = v->me;
	s->full_bytes = UINT64_MAX;
	s->box_psk = v->secrets->link_secret;
	pthread_mutex_init(&s->round, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &monotonic);
	pthread_cond_init(&s->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if ((err = chain_new(store, &s->chain)) != 0 || (err = witness_new(s, &s->witness)) != 0 || (err = report_load(s)) != 0 ||
	    (err = rekey_new(s, &s->rekey)) != 0)
		return err;
	chain_set_retry(s->chain, STORE_TRIES, &s->stop);
	content_set_fetch(v->content, sync_fetch_segment, s);
	content_set_news(v->content, catchup_wait, s);
	content_set_loss(v->content, report_loss, s);
	*out = STEAL(s);
	return 0;
}

void
engine_free(struct sync *s)
{
	if (s == NULL)
		return;
	content_set_news(s->v->content, NULL, NULL);
	content_set_loss(s->v->content, NULL, NULL);
	content_set_fetch(s->v->content, NULL, NULL);
	chain_free(s->chain);
	witness_free(s->witness);
	rekey_free(s->rekey);
	if (s->owns_store)
		store_free(s->store);
	for (size_t i = 0; i < s->message_count; i++)
		free(s->messages[i]);
	free(s->messages);
	numset_clear(&s->uploaded);
	numset_clear(&s->unsound);
	numset_clear(&s->damaged);
	numset_clear(&s->losses);
	bytes_clear(&s->opening);
	pthread_cond_destroy(&s->done);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->round);
	free(s);
}

err_t
sync_new(struct vault *v, struct store *store, struct sync **out)
{
	struct sync *s;
	err_t err = engine_new(v, store, &s);

	if (err != 0)
		return err;
	s->owns_store = true;
	*out = s;
	return 0;
}

void
sync_set_hooks(struct sync *s, const struct sync_hooks *hooks)
{
	s->hooks = *hooks;
}

void
sync_free(struct sync *s)
{
	if (s != NULL)
		sync_stop(s);
	engine_free(s);
}

/* Rounds. */

/* [round] */
static void
begin_round(struct sync *s, bool asked)
{
	atomic_store(&s->asked, asked);
	pthread_mutex_lock(&s->lock);
	s->status.busy = true;
	s->status.bytes_done = s->status.bytes_total = 0;
	s->why[0] = '\0';
	pthread_mutex_unlock(&s->lock);
}

void
engine_round_begin(struct sync *s, bool asked)
{
	pthread_mutex_lock(&s->round);
	begin_round(s, asked);
}

bool
engine_round_try(struct sync *s)
{
	if (pthread_mutex_trylock(&s->round) != 0)
		return false;
	begin_round(s, true);
	return true;
}

err_t
engine_round_end(struct sync *s, err_t err)
{
	report_end(s, err);
	pthread_mutex_unlock(&s->round);
	return err;
}

err_t
engine_exchange(struct sync *s, unsigned passes, bool *news_out)
{
	bool news = false, pushed = true;
	err_t err = pull_all(s, &news);

	for (unsigned pass = 0; err == 0 && pushed && pass < passes; pass++)
		err = push_all(s, passes > 1, &pushed);
	if (err == 0)
		err = members_withdraw_expired(s);
	if (err == 0)
		err = base_write_if_due(s);
	if (err == 0)
		witness_write(s->witness);
	*news_out = news;
	return err;
}

/* A store that is not to be asked now. */
static err_t
check_online(struct sync *s)
{
	if (atomic_load(&s->hold) != SETTINGS_OFFLINE)
		return 0;
	return report_why(s, -ENETDOWN, "this folder is offline, as was asked for: \"snugfs resume\" ends that");
}

/* Whoever waits for all to be in the store hears what is not. */
static err_t
end_exchange(struct sync *s, err_t err)
{
	err_t left = err == 0 ? report_left(s) : 0;

	err = engine_round_end(s, err);
	return err != 0 ? err : left;
}

/* A round, which is for the caller to end. */
static err_t
exchange(struct sync *s, unsigned passes)
{
	bool news;
	err_t err;

	engine_round_begin(s, true);
	if ((err = check_online(s)) == 0)
		err = engine_exchange(s, passes, &news);
	return err;
}

err_t
sync_once(struct sync *s)
{
	return end_exchange(s, exchange(s, ENGINE_PUSH_PASSES));
}

err_t
sync_all_but_left(struct sync *s)
{
	return engine_round_end(s, exchange(s, ENGINE_PUSH_PASSES));
}

err_t
sync_push(struct sync *s)
{
	return end_exchange(s, exchange(s, 1));
}

err_t
sync_pull(struct sync *s)
{
	bool news;
	err_t err;

	engine_round_begin(s, true);
	if ((err = check_online(s)) == 0)
		err = pull_all(s, &news);
	return engine_round_end(s, err);
}

/* What the user wants. */

bool
sync_is_held(const struct sync *s)
{
	return atomic_load(&s->hold) != SETTINGS_GO || atomic_load(&s->network) != SYNC_NETWORK_FREE;
}

bool
engine_is_interrupted(struct sync *s)
{
	return atomic_load(&s->stop) || atomic_load(&s->hold) == SETTINGS_OFFLINE || (sync_is_held(s) && !atomic_load(&s->asked));
}

void
engine_cancel(struct sync *s, bool cancelled)
{
	store_cancel(s->store, cancelled);
	witness_cancel(s->witness, cancelled);
}

void
sync_apply_settings(struct sync *s, const struct settings *st)
{
	enum settings_hold hold = settings_hold_at(st, time(NULL));

	pthread_mutex_lock(&s->lock);
	s->settings = *st;
	atomic_store(&s->hold, hold);
	pthread_mutex_unlock(&s->lock);
	store_set_rates(s->store, st->up, st->down);
	engine_cancel(s, hold == SETTINGS_OFFLINE || atomic_load(&s->stop));
}

void
sync_set_network(struct sync *s, enum sync_network network)
{
	atomic_store(&s->network, network);
}

/* Status. */

void
sync_get_status(struct sync *s, struct sync_status *out)
{
	struct meta_pending_summary sum;
	struct settings settings;

	pthread_mutex_lock(&s->lock);
	*out = s->status;
	settings = s->settings;
	pthread_mutex_unlock(&s->lock);
	meta_pending_summary(s->v->meta, &sum);
	out->pending_inodes = sum.inode_count;
	out->pending_names = sum.dentry_count;
	out->pending_bytes = sum.bytes;
	if (sum.inode_count == 0 && sum.dentry_count == 0)
		out->pending_since = 0;
	out->hold = settings_hold_at(&settings, time(NULL));
	out->hold_until = out->hold != SETTINGS_GO ? settings.hold_until : 0;
	out->metered = atomic_load(&s->network) == SYNC_NETWORK_METERED;
	out->up_rate = settings.up;
	out->down_rate = settings.down;
	store_get_traffic(s->store, &out->traffic);
	meta_lock(s->v->meta);
	out->has_head = s->v->has_head;
	out->head_seq = s->v->head_seq;
	meta_unlock(s->v->meta);
}

/* Fetching. */

/* What is left of an object that is shorter than it was. */
static err_t
fetch_rest(struct sync *s, const char *object, const struct segment *seg, uint64_t off, size_t len, struct bytes *out)
{
	uint64_t size;
	err_t err = store_size(s->store, object, &size);

	if (err != 0 || size >= seg->size)
		return err != 0 ? err : -EBADMSG;
	log_error("the object %s is damaged: it is shorter than it was", object);
	if (off >= size)
		return 0;
	return chain_read_segment_range(s->chain, seg->name, off, len < size - off ? len : (size_t)(size - off), out);
}

err_t
sync_fetch_segment(void *ctx, const struct segment *seg, uint64_t off, size_t len, struct bytes *out)
{
	struct sync *s = ctx;
	char name[CHAIN_NAME_MAX], what[384];
	err_t err;

	if (atomic_load(&s->hold) == SETTINGS_OFFLINE)
		return -EAGAIN;
	err = chain_read_segment_range(s->chain, seg->name, off, len, out);
	chain_segment_object_name(seg->name, name);
	if (err == -EBADMSG)
		err = fetch_rest(s, name, seg, off, len, out);
	if (err == 0 || err == -ECANCELED)
		return err;
	store_explain(s->store, err, what, sizeof(what));
	log_error("the object %s: %s", name, what);
	return err;
}
