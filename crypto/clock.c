/* clock.c: the computer's clocks as one number. */
#include "clock.h"

#define NS_PER_S 1000000000
#define NS_PER_MS 1000000

int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_ms(clockid_t clock)
{
	return clock_ns(clock) / NS_PER_MS;
}

struct timespec clock_deadline(unsigned ms)
{
	int64_t then = clock_ns(CLOCK_MONOTONIC) + (int64_t)ms * NS_PER_MS;

	return (struct timespec){ .tv_sec = (time_t)(then / NS_PER_S), .tv_nsec = (long)(then % NS_PER_S) };
}
