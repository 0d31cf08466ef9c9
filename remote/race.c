/* race.c: the contenders and the judge. */
#include "race.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "padme.h"
#include "random.h"

/* Opens for all at once, or never. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool open;      /* under lock */
	bool cancelled; /* under lock: go home */
};

struct contender {
	struct store *store;
	const char *name;
	struct gate *gate;
	pthread_t thread;
	uint8_t object[PADME_FLOOR]; /* random: an object like any other */
	err_t err;
};

static void move_gate(struct gate *g, bool cancelled)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	g->cancelled = cancelled;
	pthread_cond_broadcast(&g->moved);
	pthread_mutex_unlock(&g->lock);
}

/* false: there is no race. */
static bool pass_gate(struct gate *g)
{
	bool pass;

	pthread_mutex_lock(&g->lock);
	while (!g->open)
		pthread_cond_wait(&g->moved, &g->lock);
	pass = !g->cancelled;
	pthread_mutex_unlock(&g->lock);
	return pass;
}

static void *contend(void *arg)
{
	struct contender *me = arg;

	if (pass_gate(me->gate))
		me->err = store_create_if_absent(me->store, me->name, me->object, sizeof(me->object));
	return NULL;
}

static err_t run_all(struct contender *all, unsigned count)
{
	struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
	unsigned started = 0;

	while (started < count) {
		all[started].gate = &gate;
		if (pthread_create(&all[started].thread, NULL, contend, &all[started]) != 0)
			break;
		started++;
	}
	move_gate(&gate, started < count);
	for (unsigned i = 0; i < started; i++)
		pthread_join(all[i].thread, NULL);
	return started == count ? 0 : -ENOMEM;
}

static const struct contender *find_winner(const struct contender *all, unsigned count, unsigned *won_out)
{
	const struct contender *winner = NULL;

	*won_out = 0;
	for (unsigned i = 0; i < count; i++) {
		if (all[i].err == 0) {
			winner = &all[i];
			++*won_out;
		}
	}
	return winner;
}

/* Does the object hold what the winner wrote?  If it is gone, or another's, something else was going on. */
static err_t compare(struct store *s, const struct contender *winner)
{
	CLEANUP(bytes_clear) struct bytes there = {0};
	err_t err = store_get(s, winner->name, sizeof(winner->object), &there);

	if (err)
		return err == -ENOENT || err == -EBADMSG ? -ENOTSUP : err;
	return there.len == sizeof(winner->object) && memcmp(there.data, winner->object, there.len) == 0 ? 0 : -ENOTSUP;
}

static err_t judge(struct store *s, const struct contender *all, unsigned count)
{
	const struct contender *late = &all[0];
	const struct contender *winner;
	unsigned won;
	err_t err;

	winner = find_winner(all, count, &won);
	if (won > 1)
		return -ENOTSUP;
	for (unsigned i = 0; i < count; i++) {
		if (all[i].err != 0 && all[i].err != -EEXIST && all[i].err != -EAGAIN)
			return all[i].err;
	}
	for (unsigned i = 0; i < count; i++) {
		if (all[i].err == -EAGAIN)
			return -EAGAIN;
	}
	if (!winner)
		return -EAGAIN;
	err = store_create_if_absent(s, late->name, late->object, sizeof(late->object));
	if (err != -EEXIST)
		return err == 0 ? -ENOTSUP : err;
	return compare(s, winner);
}

err_t race_run(struct store *s, const char *name, unsigned contenders)
{
	struct contender all[RACE_MAX];
	err_t removed;
	err_t err = 0;

	if (contenders < 2 || contenders > RACE_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < contenders && err == 0; i++) {
		all[i] = (struct contender){.store = s, .name = name};
		err = random_bytes(all[i].object, sizeof(all[i].object));
	}
	if (err == 0)
		err = run_all(all, contenders);
	if (err)
		return err;
	err = judge(s, all, contenders);
	removed = store_remove(s, name);
	(void)removed; /* if it is still there, gc will find it */
	return err;
}
