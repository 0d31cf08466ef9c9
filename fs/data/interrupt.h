/*
 * interrupt.h: how somebody who waits on behalf of another learns that nobody wants the answer any more.
 *
 * Whoever serves a request that may be called off (the mount) says so for his thread; whoever waits in that thread (the fetcher)
 * listens while he does.  Uses nothing.
 */
#ifndef SNUGFS_INTERRUPT_H
#define SNUGFS_INTERRUPT_H

#include <stdbool.h>

/* There was a call; by any thread, under a lock of the one who calls.  It may be a false alarm: interrupt_is_over says. */
typedef void interrupt_fn(void *ctx);

/* A request that may be called off. */
struct interrupt_source {
	/* fn: is told of the first call, at once if that was before.  NULL: no more; returns when it is not running. */
	void (*listen)(void *ctx, interrupt_fn *fn, void *fn_ctx);
	/* Nobody waits for the answer.  Once there was a call this may become true at any time, without another. */
	bool (*is_over)(void *ctx);
	void *ctx;
};

/* What the calling thread works for; borrowed; NULL: nothing that can be called off. */
void interrupt_use(const struct interrupt_source *s);

/* Of the calling thread's source; nothing happens if it has none.  listen: with no lock held that fn takes. */
void interrupt_listen(interrupt_fn *fn, void *ctx);
bool interrupt_is_over(void);

#endif
