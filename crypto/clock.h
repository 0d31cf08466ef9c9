/*
 * clock.h: the computer's clocks as one number, and points in time to wait for.  It has no state; any thread.
 * CLOCK_MONOTONIC stands still while the computer sleeps, CLOCK_BOOTTIME does not, CLOCK_REALTIME can be set.
 * Uses nothing.
 */
#ifndef SNUGFS_CLOCK_H
#define SNUGFS_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t clock_ns(clockid_t clock);
int64_t clock_ms(clockid_t clock);
/* So many milliseconds from now, by CLOCK_MONOTONIC: for pthread_cond_timedwait with a condition that goes by that clock. */
struct timespec clock_deadline(unsigned ms);

#endif
