/*
 * lock.h: mutexes that are held for a moment by many.  Who finds one held looks a few times before going to sleep: a sleep and a
 * wake-up cost a hundred times what is done under it, and two threads that take turns at that are slower than one alone.
 */
#ifndef SNUGFS_LOCK_H
#define SNUGFS_LOCK_H

#include <pthread.h>

static inline void
lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	/* None of these can fail on Linux. */
	(void)pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	(void)pthread_mutex_init(lock, &attr);
	(void)pthread_mutexattr_destroy(&attr);
}

#endif
