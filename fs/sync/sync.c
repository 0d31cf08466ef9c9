/* The interface of sync.h, and the thread that pushes and pulls by itself. */
#include "sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "log.h"

/* How often the store is asked again when it does not answer, within one call. */
#define STORE_TRIES 5u
/* sync_once pushes again what came meanwhile, but not for ever. */
#define PUSH_PASSES 5u

/* The thread's times. */
#define TICK_MS 500
#define QUIET_MS 2000        /* after the last change */
#define PATIENCE_MS 30000    /* after the first */
#define POLL_MIN_MS 2000
#define POLL_MAX_MS 60000
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 300000
/* Status reads the sizes of so many pending files. */
#define STATUS_INODES 10000u

uint64_t
engine_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
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
	s->box_psk = v->secrets->link_secret;
	pthread_mutex_init(&s->round, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &monotonic);
	pthread_cond_init(&s->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if ((err = chain_new(store, &s->chain)) != 0 || (err = report_load(s)) != 0)
		return err;
	chain_set_retry(s->chain, STORE_TRIES, &s->stop);
	content_set_fetch(v->content, sync_fetch_segment, s);
	*out = STEAL(s);
	return 0;
}

void
engine_free(struct sync *s)
{
	if (s == NULL)
		return;
	content_set_fetch(s->v->content, NULL, NULL);
	chain_free(s->chain);
	if (s->owns_store)
		store_free(s->store);
	for (size_t i = 0; i < s->message_count; i++)
		free(s->messages[i]);
	free(s->messages);
	numset_clear(&s->uploaded);
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

static void
round_begin(struct sync *s)
{
	pthread_mutex_lock(&s->round);
	pthread_mutex_lock(&s->lock);
	s->status.busy = true;
	s->status.bytes_done = s->status.bytes_total = 0;
	s->why[0] = '\0';
	pthread_mutex_unlock(&s->lock);
}

static err_t
round_end(struct sync *s, err_t err)
{
	report_end(s, err);
	pthread_mutex_unlock(&s->round);
	return err;
}

/* Pulls, pushes what is pending at most `passes` times, and writes a base when due.  [round] */
static err_t
exchange(struct sync *s, unsigned passes, bool *news_out)
{
	bool news = false, pushed = true;
	err_t err = pull_all(s, &news);

	for (unsigned pass = 0; err == 0 && pushed && pass < passes; pass++)
		err = push_all(s, &pushed);
	if (err == 0)
		err = base_write_if_due(s);
	*news_out = news;
	return err;
}

err_t
sync_once(struct sync *s)
{
	bool news;

	round_begin(s);
	return round_end(s, exchange(s, PUSH_PASSES, &news));
}

err_t
sync_push(struct sync *s)
{
	bool news;

	round_begin(s);
	return round_end(s, exchange(s, 1, &news));
}

err_t
sync_pull(struct sync *s)
{
	bool news;

	round_begin(s);
	return round_end(s, pull_all(s, &news));
}

/* The thread. */

struct pace {
	uint64_t seen;         /* the pending summary's change counter at the last look */
	uint64_t pushed;       /* the same before the last push */
	bool has_pushed;
	int64_t first_ms;      /* first and last change that is not pushed; 0: none */
	int64_t last_ms;
	int64_t next_poll_ms;
	int64_t poll_ms;
	int64_t not_before_ms; /* after an error */
	int64_t backoff_ms;
};

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sleeps a tick, or until somebody wants something.  false: stop. */
static bool
tick(struct sync *s, bool *kicked_out, uint64_t *round_out)
{
	int64_t until = now_ms() + TICK_MS;
	struct timespec deadline = { until / 1000, until % 1000 * 1000000 };

	pthread_mutex_lock(&s->lock);
	while (!s->kicked && !atomic_load(&s->stop))
		if (pthread_cond_timedwait(&s->wake, &s->lock, &deadline) == ETIMEDOUT)
			break;
	*kicked_out = s->kicked;
	s->kicked = false;
	*round_out = ++s->rounds_begun;
	pthread_mutex_unlock(&s->lock);
	return !atomic_load(&s->stop);
}

static void
round_finish(struct sync *s, uint64_t round, err_t err)
{
	pthread_mutex_lock(&s->lock);
	s->rounds_done = round;
	s->round_result = err;
	pthread_cond_broadcast(&s->done);
	pthread_mutex_unlock(&s->lock);
}

/* Looks at what is pending; true if it is time to push it. */
static bool
push_is_due(struct sync *s, struct pace *p, int64_t now)
{
	struct meta_pending_summary sum;

	meta_pending_summary(s->v->meta, &sum);
	if (sum.change != p->seen) {
		p->seen = sum.change;
		p->last_ms = now;
		if (p->first_ms == 0)
			p->first_ms = now;
		p->poll_ms = POLL_MIN_MS; /* somebody is at work here, perhaps elsewhere, too */
	}
	if (sum.inode_count == 0 && sum.dentry_count == 0) {
		p->first_ms = 0;
		return false;
	}
	if (p->has_pushed && sum.change == p->pushed) /* what is left can't go now; look again after a while */
		return now - p->last_ms >= PATIENCE_MS;
	return now - p->last_ms >= QUIET_MS || now - p->first_ms >= PATIENCE_MS;
}

static void
settle_pace(struct pace *p, err_t err, bool news)
{
	int64_t now = now_ms();

	if (err != 0) {
		bool hopeless = err != -EAGAIN && err != -ENOSPC && err != -ENOMEM && err != -EACCES && err != -EIO;

		p->backoff_ms = p->backoff_ms == 0 ? BACKOFF_MIN_MS : p->backoff_ms * 2;
		if (p->backoff_ms > BACKOFF_MAX_MS || hopeless)
			p->backoff_ms = BACKOFF_MAX_MS;
		p->not_before_ms = now + p->backoff_ms;
		return;
	}
	p->backoff_ms = 0;
	p->not_before_ms = 0;
	p->poll_ms = news ? POLL_MIN_MS : p->poll_ms + p->poll_ms / 4;
	if (p->poll_ms > POLL_MAX_MS)
		p->poll_ms = POLL_MAX_MS;
	p->next_poll_ms = now + p->poll_ms;
}

static err_t
thread_round(struct sync *s, struct pace *p, bool push)
{
	struct meta_pending_summary sum;
	bool news = false;
	err_t err;

	meta_pending_summary(s->v->meta, &sum);
	round_begin(s);
	err = push ? exchange(s, PUSH_PASSES, &news) : pull_all(s, &news);
	err = round_end(s, err);
	if (push && err == 0) {
		p->pushed = sum.change;
		p->has_pushed = true;
		p->first_ms = 0;
		p->last_ms = now_ms();
	}
	settle_pace(p, err, news);
	return err;
}

static void *
thread_main(void *arg)
{
	struct sync *s = arg;
	struct pace p = { .poll_ms = POLL_MIN_MS, .last_ms = now_ms() };
	uint64_t round;
	bool kicked;

	while (tick(s, &kicked, &round)) {
		int64_t now = now_ms();
		bool push = push_is_due(s, &p, now) || kicked;
		err_t err = 0;

		if (kicked || (now >= p.not_before_ms && (push || now >= p.next_poll_ms)))
			err = thread_round(s, &p, push);
		round_finish(s, round, err);
	}
	return NULL;
}

err_t
sync_start(struct sync *s)
{
	err_t err = -pthread_create(&s->thread, NULL, thread_main, s);

	if (err != 0)
		return err;
	pthread_mutex_lock(&s->lock);
	s->running = true;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

void
sync_stop(struct sync *s)
{
	bool running;

	pthread_mutex_lock(&s->lock);
	running = s->running;
	s->running = false;
	if (running) {
		atomic_store(&s->stop, true);
		pthread_cond_signal(&s->wake);
		pthread_cond_broadcast(&s->done);
	}
	pthread_mutex_unlock(&s->lock);
	if (!running)
		return;
	store_cancel(s->store, true); /* a transfer may take minutes */
	pthread_join(s->thread, NULL);
	store_cancel(s->store, false);
	atomic_store(&s->stop, false); /* for whoever pushes once more by hand */
}

err_t
sync_drain(struct sync *s)
{
	uint64_t want;
	err_t err;

	pthread_mutex_lock(&s->lock);
	if (!s->running) {
		pthread_mutex_unlock(&s->lock);
		return sync_once(s);
	}
	/* One that is under way may have looked before the caller's last change: the next. */
	want = s->rounds_begun + 1;
	s->kicked = true;
	pthread_cond_signal(&s->wake);
	while (s->running && s->rounds_done < want)
		pthread_cond_wait(&s->done, &s->lock);
	err = s->rounds_done < want ? -ECANCELED : s->round_result;
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Status. */

static uint64_t
pending_bytes(struct meta *m)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	uint64_t bytes = 0;
	size_t count = 0;
	struct inode *i;

	meta_lock(m);
	if (meta_pending_inodes(m, &inos, &count) != 0)
		count = 0;
	for (size_t k = 0; k < count && k < STATUS_INODES; k++)
		if (meta_inode_get(m, inos[k], &i) == 0 && i->pending & (PENDING_CONTENT | PENDING_NEW))
			bytes += i->size;
	meta_unlock(m);
	return bytes;
}

void
sync_get_status(struct sync *s, struct sync_status *out)
{
	struct meta_pending_summary sum;

	pthread_mutex_lock(&s->lock);
	*out = s->status;
	pthread_mutex_unlock(&s->lock);
	meta_pending_summary(s->v->meta, &sum);
	out->pending_inodes = sum.inode_count;
	out->pending_names = sum.dentry_count;
	out->pending_bytes = sum.inode_count == 0 ? 0 : pending_bytes(s->v->meta);
	meta_lock(s->v->meta);
	out->has_head = s->v->has_head;
	out->head_seq = s->v->head_seq;
	meta_unlock(s->v->meta);
}

/* Fetching.  content.h sees to it that one thread at a time asks for a segment. */

err_t
sync_fetch_segment(void *ctx, const struct segment *seg)
{
	struct sync *s = ctx;
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	char name[CHAIN_NAME_MAX];
	uint8_t sha256[32];
	err_t err;

	chain_segment_object_name(seg->name, name);
	err = chain_read_segment(s->chain, seg->name, seg->size, &b);
	if (err == -EBADMSG) /* larger than it ever was: what it was may still be there */
		err = chain_read_segment_range(s->chain, seg->name, 0, seg->size, &b);
	if (err == 0)
		err = hash_sha256(b.data, b.len, sha256);
	if (err != 0) {
		char what[384];

		store_explain(s->store, err, what, sizeof(what));
		log_error("the object %s: %s", name, err == -EBADMSG ? "it is damaged, or not what was stored" : what);
		return err;
	}
	if (b.len == seg->size && memcmp(sha256, seg->sha256, sizeof(sha256)) == 0)
		return segstore_store_whole(s->v->segments, seg, b.data, b.len);
	/* Every frame is authenticated by itself: only what is damaged in it can't be read. */
	log_error("the object %s is damaged, or not what was stored: only what is whole in it can be read", name);
	return segstore_store_damaged(s->v->segments, seg, b.data, b.len);
}
