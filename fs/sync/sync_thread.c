/* The thread that pushes and pulls by itself: it looks at the world and does what schedule.c says. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "engine.h"
#include "log.h"
#include "netwatch.h"
#include "schedule.h"

/* Nothing was done for so long; and so often chores are looked for then. */
#define IDLE_MS 60000
#define CHORES_MS 600000
/* Sealing anew is tried again after an error, from the first on at most, and while files are being written after so long at least. */
#define REKEY_RETRY_MS 1000
#define REKEY_RETRY_MAX_MS 300000
#define REKEY_REST_MS 30000

struct background {
	struct sync *s;
	struct schedule schedule;
	struct schedule_view view; /* of the last look */
	int network;           /* netwatch.h */
	int mounts;            /* the same, where the store is a folder; else -1 */
	int64_t quiet_ms;      /* since when nothing was done here */
	int64_t next_idle_ms;  /* when chores are looked for again */
	int64_t next_rekey_ms; /* the same of content under old keys; of a clock that never jumps */
	int64_t rekey_retry_ms; /* after the last error; 0: there was none */
	uint64_t catchups;     /* that the round under way is for, and those before */
};

static int64_t
next_look_ms(const struct background *b)
{
	int64_t next = clock_ms(CLOCK_MONOTONIC) + schedule_sleep_ms(&b->schedule, &b->view);

	return rekey_is_due(b->s) && !b->view.held && b->next_rekey_ms < next ? b->next_rekey_ms : next;
}

/* Sleeps for a while, or until somebody wants something.  false: stop. */
static bool
wait_a_while(struct background *b, uint64_t *round_out)
{
	struct sync *s = b->s;
	int64_t until = next_look_ms(b);
	struct timespec deadline = { until / 1000, until % 1000 * 1000000 };

	pthread_mutex_lock(&s->lock);
	while (!s->kicked && s->catchups_asked == s->catchups_served && !atomic_load(&s->stop))
		if (pthread_cond_timedwait(&s->wake, &s->lock, &deadline) == ETIMEDOUT)
			break;
	b->view.kicked = s->kicked;
	s->kicked = false;
	b->view.wanted = s->catchups_asked != s->catchups_served;
	b->catchups = s->catchups_asked;
	*round_out = ++s->rounds_begun;
	pthread_mutex_unlock(&s->lock);
	return !atomic_load(&s->stop);
}

/* A pause may be over by now. */
static void
follow_hold(struct sync *s)
{
	enum settings_hold hold;
	bool over;

	pthread_mutex_lock(&s->lock);
	hold = settings_hold_at(&s->settings, time(NULL));
	over = hold != (enum settings_hold)atomic_load(&s->hold);
	atomic_store(&s->hold, hold);
	pthread_mutex_unlock(&s->lock);
	if (over)
		engine_cancel(s, hold == SETTINGS_OFFLINE || atomic_load(&s->stop));
}

static void
note_pending(struct sync *s, bool pending)
{
	pthread_mutex_lock(&s->lock);
	if (!pending)
		s->status.pending_since = 0;
	else if (s->status.pending_since == 0)
		s->status.pending_since = time(NULL);
	pthread_mutex_unlock(&s->lock);
}

static void
look(struct background *b)
{
	struct sync *s = b->s;
	bool was_held = b->view.held;
	struct meta_pending_summary sum;

	meta_pending_summary(s->v->meta, &sum);
	b->view.now_ms = clock_ms(CLOCK_BOOTTIME);
	b->view.awake_ms = clock_ms(CLOCK_MONOTONIC);
	b->view.change = sum.change;
	b->view.pending = sum.inode_count > 0 || sum.dentry_count > 0;
	b->view.use = s->hooks.use != NULL ? s->hooks.use(s->hooks.ctx) : 0;
	b->view.network = netwatch_has_news(b->network);
	/* Programs mount things all the time: that is news only where the folder was not there. */
	if (netwatch_has_new_mounts(b->mounts) && b->schedule.backoff_ms != 0)
		b->view.network = true;
	follow_hold(s);
	b->view.held = sync_is_held(s);
	b->view.freed = was_held && !b->view.held;
	if (b->view.kicked)
		b->next_rekey_ms = 0; /* it may have been begun just now */
	note_pending(s, b->view.pending);
}

/* What had to stay here is for who waits to hear, and no reason to ask for news less often. */
static err_t
act(struct background *b, enum schedule_action action)
{
	struct sync *s = b->s;
	bool news = false;
	err_t err, left = 0;

	engine_round_begin(s, b->view.kicked || b->view.wanted);
	if (engine_is_interrupted(s))
		err = -ECANCELED;
	else if (action == SCHEDULE_PUSH)
		/* What comes meanwhile has its own quiet to wait for, unless somebody waits for all. */
		err = engine_exchange(s, b->view.kicked ? ENGINE_PUSH_PASSES : 1, &news);
	else if ((err = pull_poll(s, &news)) == 0)
		err = members_withdraw_expired(s);
	if (err == 0 && action == SCHEDULE_PUSH)
		left = report_left(s);
	err = engine_round_end(s, err);
	schedule_ended(&b->schedule, clock_ms(CLOCK_BOOTTIME), action, err, news, err != 0 ? store_wait_ms(s->store) : 0);
	if (left != 0)
		schedule_left(&b->schedule);
	return err != 0 ? err : left;
}

/* Chores, when nobody has done anything here for a while: what is pending and can't go keeps nobody from them. */
static void
be_idle(struct background *b, uint64_t use, uint64_t change)
{
	int64_t now = b->view.now_ms;

	if (b->view.use != use || b->view.change != change || (b->view.pending && !b->schedule.stuck) || b->quiet_ms == 0)
		b->quiet_ms = now;
	if (b->view.held || now - b->quiet_ms < IDLE_MS || now < b->next_idle_ms)
		return;
	b->next_idle_ms = now + CHORES_MS;
	gc_run_if_due(b->s);
}

/* Some of what is to be sealed anew, when nothing is to be pushed or pulled.  false: it is not its time. */
static bool
rekey(struct background *b)
{
	int64_t now = clock_ms(CLOCK_MONOTONIC), twice = b->rekey_retry_ms * 2;
	unsigned rest_ms = 0;

	if (!rekey_is_due(b->s) || b->view.held || now < b->next_rekey_ms)
		return false;
	if (rekey_some(b->s, &rest_ms) == 0)
		b->rekey_retry_ms = 0;
	else
		b->rekey_retry_ms = twice == 0 ? REKEY_RETRY_MS : twice < REKEY_RETRY_MAX_MS ? twice : REKEY_RETRY_MAX_MS;
	if (rest_ms > 0 && rest_ms < REKEY_REST_MS)
		rest_ms = REKEY_REST_MS;
	b->next_rekey_ms = clock_ms(CLOCK_MONOTONIC) + (b->rekey_retry_ms != 0 ? b->rekey_retry_ms : rest_ms);
	return true;
}

static void
round_finish(struct background *b, uint64_t round, err_t err)
{
	struct sync *s = b->s;

	pthread_mutex_lock(&s->lock);
	s->catchups_served = b->catchups;
	if (b->view.wanted && err == 0)
		s->catchups_known = b->catchups;
	s->rounds_done = round;
	s->round_result = err;
	pthread_cond_broadcast(&s->done);
	pthread_mutex_unlock(&s->lock);
}

static void *
thread_main(void *arg)
{
	struct background b = { .s = arg, .network = netwatch_open(), .mounts = -1 };
	uint64_t round;

	if (strncmp(b.s->store->url, "dir:", 4) == 0)
		b.mounts = netwatch_open_mounts();
	while (wait_a_while(&b, &round)) {
		uint64_t use = b.view.use, change = b.view.change;
		enum schedule_action action;

		look(&b);
		action = schedule_next(&b.schedule, &b.view);
		round_finish(&b, round, action != SCHEDULE_NOTHING ? act(&b, action) : 0);
		if (action == SCHEDULE_NOTHING && !rekey(&b))
			be_idle(&b, use, change);
	}
	if (b.network >= 0)
		(void)close(b.network);
	if (b.mounts >= 0)
		(void)close(b.mounts);
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
	engine_cancel(s, true); /* a transfer may take minutes */
	pthread_join(s->thread, NULL);
	atomic_store(&s->stop, false); /* for whoever pushes once more by hand */
	engine_cancel(s, atomic_load(&s->hold) == SETTINGS_OFFLINE);
}

err_t
sync_drain(struct sync *s)
{
	uint64_t want;
	err_t err;

	pthread_mutex_lock(&s->lock);
	if (!s->running || atomic_load(&s->hold) == SETTINGS_OFFLINE) {
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
