/* retry.c: the pauses. */
#include "retry.h"

#include <errno.h>
#include <time.h>

#include "clock.h"
#include "random.h"

#define SLICE_MS 50          /* how long a stop may go unnoticed */
#define DOUBLINGS_MAX 16
#define WISH_MAX_MS 60000    /* of the store */

/* 1 to most_ms. */
static unsigned draw(unsigned most_ms)
{
	uint32_t drawn = 0;

	if (most_ms == 0 || random_bytes(&drawn, sizeof(drawn)) != 0)
		return most_ms;
	return 1 + drawn % most_ms;
}

static unsigned next_pause_ms(const struct retry *r, struct store *s)
{
	unsigned doublings = r->tried - 1 < DOUBLINGS_MAX ? r->tried - 1 : DOUBLINGS_MAX;
	uint64_t most_ms = (uint64_t)r->policy.first_ms << doublings;
	unsigned wish_ms = store_wait_ms(s);
	unsigned pause_ms = draw(most_ms < r->policy.last_ms ? (unsigned)most_ms : r->policy.last_ms);

	if (wish_ms > WISH_MAX_MS)
		wish_ms = WISH_MAX_MS;
	/* On top of the wish, because others have been told the same. */
	return wish_ms + pause_ms;
}

/* false: stopped. */
static bool pause_for(unsigned left_ms, const atomic_bool *stop)
{
	while (left_ms > 0 && !(stop && atomic_load(stop))) {
		unsigned slice_ms = left_ms < SLICE_MS ? left_ms : SLICE_MS;
		struct timespec slice = {.tv_nsec = (long)slice_ms * 1000000};

		(void)nanosleep(&slice, NULL);
		left_ms -= slice_ms;
	}
	return !(stop && atomic_load(stop));
}

bool retry_again(struct retry *r, struct store *s, err_t *err)
{
	unsigned pause_ms;

	if (*err != -EAGAIN)
		return false;
	if (r->tried++ == 0)
		r->begun_ms = (uint64_t)clock_ms(CLOCK_MONOTONIC);
	if (r->tried >= r->policy.tries)
		return false;
	pause_ms = next_pause_ms(r, s);
	if (r->policy.deadline_ms > 0 && (uint64_t)clock_ms(CLOCK_MONOTONIC) + pause_ms > r->begun_ms + r->policy.deadline_ms)
		return false;
	if (pause_for(pause_ms, r->policy.stop))
		return true;
	*err = -ECANCELED;
	return false;
}
