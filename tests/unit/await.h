/*
 * await.h: waiting for what other threads and processes bring about.  Only as long as needed; the limit is for a hang, and says which,
 * instead of the time limit of all tests of the program.  After cmocka.h, and in the thread that runs the test only.
 */
#ifndef SNUGFS_TEST_AWAIT_H
#define SNUGFS_TEST_AWAIT_H

#include <time.h>

#define AWAIT_S 200

static inline void
await_pause(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static inline time_t
await_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* With a body that is done again and again meanwhile. */
#define AWAIT_WHILE(condition)                                                                                                  \
	for (time_t await_end = await_clock() + AWAIT_S; (condition); await_pause())                                            \
		if (await_clock() > await_end)                                                                                  \
			fail_msg("still so after %d s: %s", AWAIT_S, #condition);                                               \
		else

#define AWAIT(condition)                  \
	do {                              \
		AWAIT_WHILE(!(condition)) \
		{                         \
		}                         \
	} while (0)

#endif
