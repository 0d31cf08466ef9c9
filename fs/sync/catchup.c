/*
 * catchup.c: who reads what the store has no more waits until what others have said meanwhile is known here.  A collector puts
 * elsewhere what is still needed, others write anew, and only after the commit that says so is anything deleted.
 *
 * It is the thread that pulls, since a pull tells the kernel what has changed, and that may take until a read is answered: so
 * whoever waits for a file goes on as soon as a commit has changed it, before the kernel hears of it.
 */
#include <utlist.h>

#include "clock.h"
#include "engine.h"

/* So long a read waits at most. */
#define LIMIT_MS 10000

/* Somebody who waits; on his stack. */
struct catchup {
	uint64_t ino;
	uint64_t number; /* as they came */
	bool told;
	struct catchup *prev;
	struct catchup *next;
};

static bool
is_about(const struct changes *c, uint64_t ino)
{
	for (uint32_t k = 0; k < c->inode_count; k++)
		if (c->inodes[k].ino == ino)
			return true;
	return false;
}

void
catchup_tell(struct sync *s, const struct changes *c)
{
	pthread_mutex_lock(&s->lock);
	for (struct catchup *w = s->catchups; w != NULL; w = w->next)
		w->told = w->told || is_about(c, w->ino);
	if (s->catchups != NULL)
		pthread_cond_broadcast(&s->done);
	pthread_mutex_unlock(&s->lock);
}

/* [lock, given up meanwhile] */
static void
await(struct sync *s, struct catchup *w)
{
	const struct timespec until = clock_deadline(LIMIT_MS);
	int timed = 0;

	w->number = ++s->catchups_asked;
	DL_APPEND(s->catchups, w);
	pthread_cond_signal(&s->wake);
	while (s->running && !w->told && s->catchups_served < w->number && timed == 0)
		timed = pthread_cond_timedwait(&s->done, &s->lock, &until);
	DL_DELETE(s->catchups, w);
}

/* Where no thread pulls: unless somebody is at it just now, perhaps the caller's caller. */
static bool
pull_here(struct sync *s)
{
	bool news = false;

	if (!engine_round_try(s))
		return false;
	return engine_round_end(s, pull_poll(s, &news)) == 0;
}

bool
catchup_wait(void *ctx, uint64_t ino)
{
	struct sync *s = ctx;
	struct catchup w = { .ino = ino };
	bool running, known;

	if (atomic_load(&s->hold) == SETTINGS_OFFLINE)
		return false;
	pthread_mutex_lock(&s->lock);
	running = s->running;
	if (running)
		await(s, &w);
	/* A commit that speaks of the file need not be the last that does. */
	known = running && s->catchups_known >= w.number;
	pthread_mutex_unlock(&s->lock);
	return running ? known : pull_here(s);
}
