/* limit.c: token buckets, and threads that wait for their tokens. */
#include "clock.h"
#include "limit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS UINT64_C(1000000000)
/* A bucket holds what passes in that time: small enough for nobody to notice the bursts. */
#define DEPTH_NS (SECOND_NS / 4)
/* Nobody is given more at once than passes in that time, so that several share. */
#define PORTION_NS (SECOND_NS / 16)
#define SPEED_SECONDS (ARRAY_LEN(((struct limit_bucket *)0)->passed) - 1)

struct limit {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a rate, or cancelled */
	/* under lock */
	struct limit_bucket buckets[2];
	bool cancelled;
};

/* ---- one bucket ---- */

/* Of a second at most; LIMIT_RATE_MAX keeps the product small enough. */
static uint64_t bytes_in(uint64_t rate, uint64_t ns)
{
	return rate * (ns < SECOND_NS ? ns : SECOND_NS) / SECOND_NS;
}

static uint64_t time_for(uint64_t rate, uint64_t bytes)
{
	return (bytes * SECOND_NS + rate - 1) / rate;
}

static void fill(struct limit_bucket *b, uint64_t now_ns)
{
	uint64_t depth = bytes_in(b->rate, DEPTH_NS);
	uint64_t gain = bytes_in(b->rate, now_ns - b->filled_ns);

	if (b->tokens + gain >= depth) {
		b->tokens = depth;
		b->filled_ns = now_ns;
		return;
	}
	b->tokens += gain;
	b->filled_ns += time_for(b->rate, gain); /* what is left of a byte counts next time */
}

void limit_bucket_set(struct limit_bucket *b, uint64_t now_ns, uint64_t rate)
{
	b->rate = rate != 0 && rate < LIMIT_RATE_MIN ? LIMIT_RATE_MIN : rate > LIMIT_RATE_MAX ? LIMIT_RATE_MAX : rate;
	b->tokens = 0;
	b->filled_ns = now_ns;
}

static void age(struct limit_bucket *b, uint64_t now_ns)
{
	uint64_t second = now_ns / SECOND_NS;

	for (size_t n = 0; b->second < second && n < ARRAY_LEN(b->passed); n++, b->second++) {
		memmove(b->passed + 1, b->passed, sizeof(b->passed) - sizeof(b->passed[0]));
		b->passed[0] = 0;
	}
	b->second = second;
}

static size_t pass(struct limit_bucket *b, uint64_t now_ns, size_t len)
{
	age(b, now_ns);
	b->passed[0] += len;
	b->total += len;
	return len;
}

size_t limit_bucket_take(struct limit_bucket *b, uint64_t now_ns, size_t wanted, uint64_t *wait_ns_out)
{
	uint64_t portion = bytes_in(b->rate, PORTION_NS);

	if (b->rate == 0)
		return pass(b, now_ns, wanted);
	fill(b, now_ns);
	if (portion > wanted)
		portion = wanted;
	if (b->tokens < portion) {
		*wait_ns_out = time_for(b->rate, portion - b->tokens);
		return 0;
	}
	b->tokens -= portion;
	return pass(b, now_ns, (size_t)portion);
}

/* Of the whole seconds before this one. */
uint64_t limit_bucket_speed(struct limit_bucket *b, uint64_t now_ns)
{
	uint64_t sum = 0;

	age(b, now_ns);
	for (size_t n = 1; n <= SPEED_SECONDS; n++)
		sum += b->passed[n];
	return sum / SPEED_SECONDS;
}

/* ---- for threads ---- */

static uint64_t now_ns(void)
{
	return (uint64_t)clock_ns(CLOCK_MONOTONIC);
}

err_t limit_new(struct limit **out)
{
	struct limit *l = calloc(1, sizeof(*l));
	pthread_condattr_t monotonic;

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*out = l;
	return 0;
}

void limit_free(struct limit *l)
{
	if (!l)
		return;
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void limit_set(struct limit *l, enum limit_direction d, uint64_t rate)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	limit_bucket_set(&l->buckets[d], now_ns(), rate);
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

uint64_t limit_rate(struct limit *l, enum limit_direction d)
{
	uint64_t rate;

	if (!l)
		return 0;
	pthread_mutex_lock(&l->lock);
	rate = l->buckets[d].rate;
	pthread_mutex_unlock(&l->lock);
	return rate;
}

static void wait_ns(struct limit *l, uint64_t ns)
{
	uint64_t until = now_ns() + ns;
	const struct timespec deadline = {(time_t)(until / SECOND_NS), (long)(until % SECOND_NS)};

	(void)pthread_cond_timedwait(&l->changed, &l->lock, &deadline);
}

size_t limit_take(struct limit *l, enum limit_direction d, size_t wanted)
{
	size_t taken = 0;
	uint64_t wait = 0;

	if (!l)
		return wanted;
	pthread_mutex_lock(&l->lock);
	while (!l->cancelled && (taken = limit_bucket_take(&l->buckets[d], now_ns(), wanted, &wait)) == 0)
		wait_ns(l, wait);
	pthread_mutex_unlock(&l->lock);
	return taken;
}

void limit_cancel(struct limit *l, bool cancelled)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->cancelled = cancelled;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

uint64_t limit_total(struct limit *l, enum limit_direction d)
{
	uint64_t total;

	if (!l)
		return 0;
	pthread_mutex_lock(&l->lock);
	total = l->buckets[d].total;
	pthread_mutex_unlock(&l->lock);
	return total;
}

uint64_t limit_speed(struct limit *l, enum limit_direction d)
{
	uint64_t speed;

	if (!l)
		return 0;
	pthread_mutex_lock(&l->lock);
	speed = limit_bucket_speed(&l->buckets[d], now_ns());
	pthread_mutex_unlock(&l->lock);
	return speed;
}
