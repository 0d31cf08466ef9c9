/* The times of schedule.h, put together. */
#include "schedule.h"

#include <errno.h>

/* So far the clocks part by themselves, while one is read after the other. */
#define SLEPT_MS 1000
/* A folder that was not used for so long is asked about SCHEDULE_POLL_MIN_MS apart; for longer, in proportion. */
#define IDLE_DIVISOR 200
#define LOOK_SOON_MS 250
#define LOOK_MS 500

static int64_t
clamp(int64_t value, int64_t min, int64_t max)
{
	return value < min ? min : value > max ? max : value;
}

static int64_t
poll_interval(const struct schedule *s, int64_t now)
{
	return clamp((now - s->active_ms) / IDLE_DIVISOR, SCHEDULE_POLL_MIN_MS, SCHEDULE_POLL_MAX_MS);
}

static void
begin(struct schedule *s, const struct schedule_view *v)
{
	s->begun = true;
	s->asleep_ms = v->now_ms - v->awake_ms;
	s->change = v->change;
	s->use = v->use;
	s->active_ms = s->next_poll_ms = v->now_ms;
	if (v->pending)
		s->first_ms = s->last_ms = v->now_ms;
}

/* The world is another one: what failed may work, and what was waited with for long may go. */
static void
start_afresh(struct schedule *s, int64_t now, bool slept)
{
	s->hurry = s->hurry || slept || s->stuck || s->backoff_ms != 0;
	s->backoff_ms = 0;
	s->not_before_ms = 0;
	s->next_poll_ms = now;
	s->stuck = false;
}

static void
note_use(struct schedule *s, const struct schedule_view *v)
{
	s->use = v->use;
	s->active_ms = v->now_ms;
	if (s->next_poll_ms > v->now_ms + SCHEDULE_POLL_MIN_MS)
		s->next_poll_ms = v->now_ms; /* whoever comes back wants to see what is new */
}

static void
note_change(struct schedule *s, const struct schedule_view *v)
{
	s->change = v->change;
	s->last_ms = s->active_ms = v->now_ms;
	if (s->first_ms == 0 || s->stuck) /* what stayed was tried */
		s->first_ms = v->now_ms;
	s->stuck = s->hurry = false;
}

static bool
push_is_due(const struct schedule *s, int64_t now)
{
	if (s->first_ms == 0)
		return false;
	if (s->hurry)
		return true;
	if (s->stuck)
		return now - s->last_ms >= (s->hopeless ? SCHEDULE_HOPELESS_MS : SCHEDULE_PATIENCE_MS);
	return now - s->last_ms >= SCHEDULE_QUIET_MS || now - s->first_ms >= SCHEDULE_PATIENCE_MS;
}

enum schedule_action
schedule_next(struct schedule *s, const struct schedule_view *v)
{
	int64_t asleep = v->now_ms - v->awake_ms;
	bool slept;

	if (!s->begun)
		begin(s, v);
	if (v->change != s->change)
		note_change(s, v);
	if (v->use != s->use)
		note_use(s, v);
	if (!v->pending)
		s->first_ms = 0;
	else if (s->first_ms == 0) /* also what a pull has left to push, or a push could not take */
		s->first_ms = v->now_ms;
	slept = asleep - s->asleep_ms > SLEPT_MS;
	if (slept || v->network || v->freed)
		start_afresh(s, v->now_ms, slept);
	s->asleep_ms = asleep;
	if (v->kicked)
		return SCHEDULE_PUSH;
	if (v->wanted)
		return SCHEDULE_POLL;
	if (v->held || v->now_ms < s->not_before_ms)
		return SCHEDULE_NOTHING;
	if (push_is_due(s, v->now_ms))
		return SCHEDULE_PUSH;
	return v->now_ms >= s->next_poll_ms ? SCHEDULE_POLL : SCHEDULE_NOTHING;
}

static bool
may_pass(err_t err)
{
	return err == -EAGAIN || err == -ENOSPC || err == -ENOMEM || err == -EACCES || err == -EIO;
}

static void
back_off(struct schedule *s, int64_t now, err_t err, unsigned busy_ms)
{
	s->backoff_ms = clamp(s->backoff_ms * 2, SCHEDULE_BACKOFF_MIN_MS, SCHEDULE_BACKOFF_MAX_MS);
	s->not_before_ms = now + (may_pass(err) ? s->backoff_ms : SCHEDULE_HOPELESS_MS);
	if (s->not_before_ms < now + busy_ms)
		s->not_before_ms = now + busy_ms;
}

void
schedule_ended(struct schedule *s, int64_t now_ms, enum schedule_action action, err_t err, bool news, unsigned busy_ms)
{
	if (err == -ECANCELED)
		return; /* nobody's fault; what was to be done still is */
	if (err != 0) {
		back_off(s, now_ms, err, busy_ms);
		return;
	}
	s->backoff_ms = 0;
	s->not_before_ms = 0;
	if (news) {
		s->active_ms = s->last_ms = now_ms;
		s->stuck = false; /* it may have left something to push */
	}
	s->next_poll_ms = now_ms + poll_interval(s, now_ms);
	if (action != SCHEDULE_PUSH)
		return;
	s->hurry = false;
	s->stuck = true; /* until there is another change; of no account if nothing is left */
	s->hopeless = false;
	s->first_ms = 0;
	s->last_ms = now_ms;
}

void
schedule_left(struct schedule *s)
{
	s->hopeless = true;
}

unsigned
schedule_sleep_ms(const struct schedule *s, const struct schedule_view *v)
{
	return s->first_ms != 0 && !s->stuck && !v->held ? LOOK_SOON_MS : LOOK_MS;
}
