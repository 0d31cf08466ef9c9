/*
 * autolock.h: a daemon that locks its folder by itself: after a time in which nobody used it, and before the computer sleeps, as far as
 * the vault's settings say so.  A thread of its own.
 *
 * Idle is no operation of the kernel and no command for so long, by the clock that goes on while the computer sleeps.  Open files,
 * mapped ones and current folders are use: the kernel does not let go of the mount then, and it is tried again after as long.
 * Before sleep it is locked whatever is open, since keys would stay in memory else: what was written is saved first.
 * Uses settings.h, suspendwatch.h, mountstate.h.
 */
#ifndef SNUGFS_AUTOLOCK_H
#define SNUGFS_AUTOLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "settings.h"

struct autolock;

struct autolock_params {
	const char *mountpoint; /* borrowed, as is meta */
	struct meta *meta;
	void *ctx;
	uint64_t (*use)(void *ctx); /* another number each time that the folder was used in between */
	void (*end)(void *ctx);     /* it is unmounted: the daemon is to end */
};
MUST_CHECK err_t autolock_start(const struct autolock_params *p, struct autolock **out);
/* Neither use nor end is called any more.  NULL is fine, here and below. */
void autolock_quiesce(struct autolock *a);
/* After the mount is gone, for which the thread may be waiting.  Who watches for sleep sees the end of the process. */
void autolock_stop(struct autolock *a);

/* The settings have changed.  *why_out (malloc'ed, or NULL): the computer's sleep was to be watched, and can't be. */
void autolock_apply(struct autolock *a, char **why_out);
/* Is it told before the computer sleeps? */
bool autolock_watches(struct autolock *a);

#endif
