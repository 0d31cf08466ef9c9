/*
 * The threads that serve a mount.
 *
 * A wake-up costs more than most messages, and threads that take turns at waiting for messages wake up on cold, far processors.
 * So as a rule one thread reads and serves, message after message, and the others are parked.  Another one is called to read when
 * the message in hand may take long, or waits for the disk while others than its sender are at work, too; when messages are found
 * to be queueing; and by the steward, a thread that looks every TICK_MS while there is traffic whether everybody is stuck.
 *
 * Who asks for one short thing after the other, alone, is served on its own processor: fuse_near.c.
 */
#define FUSE_USE_VERSION 314
#include "fuse_private.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "disk.h"

/*
 * Threads come as they are needed, up to KEPT.  More would not be faster; but if all of them are waiting (for bytes that only
 * the store has) and nothing moved for STUCK_TICKS, RELIEF more are made, so that what needs no store is answered.  Those go away
 * again.
 */
#define THREADS_KEPT 8U
#define THREADS_RELIEF 8U
#define THREADS_MAX 128U
#define WRITE_BACKS_MAX (THREADS_MAX / 2)
#define TICK_MS 2
#define STUCK_TICKS 25U
#define QUIET_TICKS 10U /* without a message: the steward goes to sleep */
#define KICK_MS 10
#define DRAIN_MS 10000

/*
 * Transfers in hand besides those that the processors are busy with: while some are encrypted, others wait for the disk.  With
 * more of them all would wait for the disk at once, and then all for a processor, and each has buffers that were never touched.
 */
#define TRANSFERS_WAITING 2U

/* A thread looks at every so many of its messages whether more are waiting. */
#define PROBE_INTERVAL 16U

/* After so many messages of the same sender nobody else is likely to be kept waiting by its flush. */
#define ALONE_MESSAGES 16U

/* Ends a blocked read of the device.  A handler that does nothing must be there: see kick_threads. */
#define KICK_SIGNAL SIGRTMIN

enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_ENDED };

struct worker {
	struct fuse_loop *loop;
	pthread_t thread;
	enum slot_state state; /* under loop->lock */
	struct fuse_wire *wire;
	bool transfers;      /* is at one; own thread only */
	unsigned probe;      /* messages until the next look at the queue; own thread only */
	struct worker *next; /* in loop->parked */
	sem_t unpark;
};

struct fuse_loop {
	struct fuse_session *se;
	sem_t event;             /* for fuse_loop_serve: posted when a flag below was raised */
	atomic_bool ended;       /* a thread found the connection gone */
	atomic_bool woken;       /* fuse_loop_wake */
	atomic_bool stopping;    /* threads end when no message waits any more */
	_Atomic int64_t drained_ms; /* or, since busy programs send more and more, after the one in hand then; before `stopping` */
	atomic_int error;
	atomic_uint write_back_count; /* threads that wait for the kernel's dirty pages */
	atomic_ullong received;  /* messages; to see whether anything moves */
	atomic_int refresher;    /* fuse_loop_set_refresher */
	struct fuse_wire_counts counts;

	pthread_t steward;
	bool steward_runs;
	sem_t alarm;             /* wakes the steward */
	atomic_bool traffic;     /* the steward is looking */

	unsigned readers_most;
	unsigned transfers_most; /* who has the last one of so many calls no reader */
	pthread_mutex_t lock;
	/* under lock */
	pthread_cond_t slot_freed;
	unsigned running_count;
	unsigned readers;        /* threads that are reading, or have been told to */
	unsigned readers_wanted; /* 1, unless messages queue */
	unsigned transfers;      /* threads that have one in hand */
	pid_t sender;            /* of the last message, and of so many before it */
	unsigned sender_streak;
	struct worker *parked;   /* the last one parked first: the warmest */
	struct worker workers[THREADS_MAX];
};

static _Thread_local struct worker *self;

bool
fuse_loop_is_refresh(pid_t pid)
{
	return pid != 0 && pid == atomic_load(&self->loop->refresher);
}

void
fuse_loop_set_refresher(struct fuse_loop *l, pid_t tid)
{
	atomic_store(&l->refresher, tid);
}

void
fuse_loop_begin_telling(struct fuse_loop *l)
{
	atomic_fetch_add(&l->counts.telling, 1);
}

void
fuse_loop_end_telling(struct fuse_loop *l)
{
	atomic_fetch_sub(&l->counts.telling, 1);
}

static void
raise_flag(struct fuse_loop *l, atomic_bool *flag)
{
	if (!atomic_exchange(flag, true))
		sem_post(&l->event);
}

/* Readers. */

static void *worker_main(void *arg);

/* [lock] A thread that gave up its slot has nothing left to do but to return: joining it does not wait. */
static void
reclaim_slot(struct worker *w)
{
	if (w->state == SLOT_ENDED) {
		pthread_join(w->thread, NULL);
		sem_destroy(&w->unpark);
		fuse_wire_free(w->wire);
	}
	w->wire = NULL;
	w->state = SLOT_FREE;
}

/* [lock] */
static err_t
start_worker(struct fuse_loop *l, struct worker *w)
{
	err_t err = fuse_wire_new(l->se, &l->counts, &w->wire);

	if (err)
		return err;
	w->loop = l;
	w->probe = PROBE_INTERVAL;
	sem_init(&w->unpark, 0, 0);
	err = -pthread_create(&w->thread, NULL, worker_main, w);
	if (err) {
		sem_destroy(&w->unpark);
		fuse_wire_free(w->wire);
		w->wire = NULL;
		return err;
	}
	w->state = SLOT_RUNNING;
	l->running_count++;
	return 0;
}

/* [lock] One more reader: one that is parked, else a new thread if fewer than limit are running.  Is there one? */
static bool
call_reader(struct fuse_loop *l, unsigned limit)
{
	struct worker *w = l->parked;

	if (atomic_load(&l->stopping))
		return false;
	if (w) {
		l->parked = w->next;
		l->readers++;
		sem_post(&w->unpark);
		return true;
	}
	if (l->running_count >= limit)
		return false;
	w = l->workers;
	while (w->state == SLOT_RUNNING)
		w++;
	reclaim_slot(w);
	if (start_worker(l, w))
		return false;
	l->readers++;
	return true;
}

/* [lock] Should the next message not have to wait for this one? */
static bool
keeps_others_waiting(struct fuse_loop *l, enum fuse_wire_cost cost, pid_t sender)
{
	/* Dirty pages come in nobody's name. */
	if (sender != 0) {
		l->sender_streak = sender == l->sender ? l->sender_streak + 1 : 0;
		l->sender = sender;
	}
	if (cost == FUSE_WIRE_FLUSH)
		return l->sender_streak < ALONE_MESSAGES;
	return cost != FUSE_WIRE_SHORT;
}

/* The message in the calling thread's hands waits for the disk: those of others should not. */
static void
replace_reader(void)
{
	struct fuse_loop *l = self->loop;

	pthread_mutex_lock(&l->lock);
	if (l->readers == 0) {
		/* More such waits will come. */
		if (l->readers_wanted < THREADS_KEPT)
			l->readers_wanted++;
		(void)call_reader(l, THREADS_KEPT);
	}
	pthread_mutex_unlock(&l->lock);
}

/* The thread has a message: it does not read any more. */
static void
stop_reading(struct worker *w, enum fuse_wire_cost cost, pid_t sender)
{
	struct fuse_loop *l = w->loop;
	bool probed = --w->probe == 0;
	bool queueing = probed && fuse_wire_has_more();
	bool alone, full;

	if (probed)
		w->probe = PROBE_INTERVAL;
	pthread_mutex_lock(&l->lock);
	l->readers--;
	w->transfers = cost == FUSE_WIRE_TRANSFER;
	l->transfers += w->transfers;
	full = w->transfers && l->transfers >= l->transfers_most;
	if (queueing && l->readers_wanted < l->readers_most)
		l->readers_wanted++;
	else if (probed && !queueing && l->readers_wanted > 1)
		l->readers_wanted--;
	if (keeps_others_waiting(l, cost, sender) && l->readers == 0 && !full)
		(void)call_reader(l, THREADS_KEPT); /* if there is none: the steward sees to it */
	alone = l->sender_streak >= ALONE_MESSAGES;
	while (queueing && !full && l->readers < l->readers_wanted && call_reader(l, THREADS_KEPT))
		;
	pthread_mutex_unlock(&l->lock);
	disk_tell_wait(alone ? NULL : replace_reader);
	fuse_wire_set_crowded(!alone);
	if (alone && cost == FUSE_WIRE_SHORT && sender > 0)
		fuse_wire_follow(sender);
}

/* Parks the thread while others read, or ends it if there are too many.  False: it is to end. */
static bool
await_turn(struct worker *w)
{
	struct fuse_loop *l = w->loop;
	bool enough, surplus;

	pthread_mutex_lock(&l->lock);
	l->transfers -= w->transfers;
	w->transfers = false;
	enough = l->readers >= l->readers_wanted && !atomic_load(&l->stopping);
	surplus = enough && l->running_count > THREADS_KEPT;
	if (!enough) {
		l->readers++;
	} else if (!surplus) {
		w->next = l->parked;
		l->parked = w;
	}
	pthread_mutex_unlock(&l->lock);
	if (surplus)
		return false;
	while (enough && sem_wait(&w->unpark) < 0)
		; /* a signal; whoever posts has counted us among the readers */
	return true;
}

/* [lock] */
static void
unpark_all(struct fuse_loop *l)
{
	for (struct worker *w; (w = l->parked) != NULL;) {
		l->parked = w->next;
		l->readers++;
		sem_post(&w->unpark);
	}
}

/* The thread reads no more, and serves nothing. */
static void
leave_readers(struct fuse_loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->readers--;
	pthread_mutex_unlock(&l->lock);
}

static void
note_traffic(struct fuse_loop *l)
{
	atomic_fetch_add(&l->received, 1);
	if (!atomic_load(&l->traffic) && !atomic_exchange(&l->traffic, true))
		sem_post(&l->alarm);
}

/*
 * A thread that waits for the kernel's dirty pages needs another one that takes them.  And what is queueing when the threads are to end
 * may be what programs wrote long before, which the kernel has handed over: they will hear of no error if nobody takes it.
 */
static bool
is_needed(struct fuse_loop *l)
{
	return !atomic_load(&l->stopping) || atomic_load(&l->write_back_count) > 0 ||
	    (clock_ms(CLOCK_MONOTONIC) < atomic_load(&l->drained_ms) && fuse_wire_has_more());
}

/* Serves one message after the other; a reader from the start. */
static void
serve_messages(struct worker *w, struct fuse_buf *buf)
{
	struct fuse_loop *l = w->loop;

	while (is_needed(l)) {
		int received = fuse_session_receive_buf(l->se, buf);
		enum fuse_wire_cost cost;
		pid_t sender;

		if (received == -EINTR || received == -EAGAIN)
			continue;
		if (received <= 0) {
			if (received < 0)
				atomic_store(&l->error, received);
			raise_flag(l, &l->ended);
			break;
		}
		note_traffic(l);
		cost = fuse_wire_inspect(buf->mem, buf->size, &sender);
		stop_reading(w, cost, sender);
		fuse_session_process_buf(l->se, buf);
		fuse_wire_served();
		if (fuse_session_exited(l->se)) {
			raise_flag(l, &l->ended);
			return;
		}
		if (!await_turn(w))
			return;
	}
	leave_readers(l);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct fuse_loop *l = w->loop;
	struct fuse_buf buf = { .mem = NULL };

	self = w;
	fuse_wire_use(w->wire);
	serve_messages(w, &buf);
	free(buf.mem);

	pthread_mutex_lock(&l->lock);
	w->state = SLOT_ENDED;
	l->running_count--;
	pthread_cond_signal(&l->slot_freed);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

err_t
fuse_loop_write_back(uint64_t ino, uint64_t off)
{
	struct fuse_loop *l = self->loop;
	err_t err = -EAGAIN;

	/* Once threads are ending, nobody may be left who would take the pages. */
	if (atomic_fetch_add(&l->write_back_count, 1) < WRITE_BACKS_MAX && !atomic_load(&l->stopping)) {
		err = fuse_lowlevel_notify_inval_inode(l->se, ino, (off_t)off, 0);
		if (err == -ENOENT)
			err = 0; /* then it holds nothing */
	}
	atomic_fetch_sub(&l->write_back_count, 1);
	return err;
}

void
fuse_loop_forget_listing(uint64_t ino)
{
	/* That fails only if there is nothing, or no mount any more. */
	(void)fuse_lowlevel_notify_inval_inode(self->loop->se, ino, 0, 0);
}

/* The steward. */

/* Nobody is reading, and nothing moved for so many ticks. */
static void
relieve(struct fuse_loop *l, unsigned ticks)
{
	pthread_mutex_lock(&l->lock);
	if (l->readers == 0 && !call_reader(l, THREADS_KEPT) && ticks >= STUCK_TICKS)
		for (unsigned i = 0; i < THREADS_RELIEF; i++)
			(void)call_reader(l, THREADS_MAX);
	pthread_mutex_unlock(&l->lock);
}

static bool
is_anybody_reading(struct fuse_loop *l)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = l->readers > 0;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

/* Until there is none.  Returns the number of messages until then. */
static unsigned long long
watch_traffic(struct fuse_loop *l)
{
	unsigned long long before = atomic_load(&l->received);
	unsigned ticks = 0; /* since the last message */

	while (!atomic_load(&l->stopping)) {
		struct timespec pause = { .tv_nsec = TICK_MS * 1000000L };
		unsigned long long now;

		nanosleep(&pause, NULL);
		now = atomic_load(&l->received);
		ticks = now == before ? ticks + 1 : 0;
		before = now;
		if (ticks == 0)
			continue;
		if (!is_anybody_reading(l))
			relieve(l, ticks);
		else if (ticks >= QUIET_TICKS)
			break;
	}
	return before;
}

static void *
steward_main(void *arg)
{
	struct fuse_loop *l = arg;

	while (!atomic_load(&l->stopping)) {
		unsigned long long seen;

		while (sem_wait(&l->alarm) < 0)
			;
		do {
			seen = watch_traffic(l);
			atomic_store(&l->traffic, false);
			/* Who came in between has not raised the alarm. */
		} while (atomic_load(&l->received) != seen && !atomic_exchange(&l->traffic, true));
	}
	return NULL;
}

/* Serving and ending. */

err_t
fuse_loop_serve(struct fuse_loop *l, enum fuse_loop_end *end_out)
{
	bool reading;

	l->steward_runs = pthread_create(&l->steward, NULL, steward_main, l) == 0;
	pthread_mutex_lock(&l->lock);
	reading = l->steward_runs && call_reader(l, 1);
	pthread_mutex_unlock(&l->lock);
	if (!reading)
		return -EAGAIN;
	for (;;) {
		while (sem_wait(&l->event) < 0)
			;
		if (atomic_load(&l->ended)) {
			*end_out = FUSE_LOOP_UNMOUNTED;
			return 0;
		}
		if (atomic_load(&l->woken)) {
			*end_out = FUSE_LOOP_WOKEN;
			return 0;
		}
	}
}

void
fuse_loop_wake(struct fuse_loop *l)
{
	raise_flag(l, &l->woken);
}

/* [lock] */
static void
kick_threads(struct fuse_loop *l)
{
	for (size_t i = 0; i < THREADS_MAX; i++)
		if (l->workers[i].state == SLOT_RUNNING)
			pthread_kill(l->workers[i].thread, KICK_SIGNAL);
}

static void
on_kick(int number)
{
	(void)number;
}

static void
stop_steward(struct fuse_loop *l)
{
	if (!l->steward_runs)
		return;
	sem_post(&l->alarm);
	pthread_join(l->steward, NULL);
	l->steward_runs = false;
}

void
fuse_loop_stop(struct fuse_loop *l)
{
	struct sigaction kick = { .sa_handler = on_kick }, before;

	sigaction(KICK_SIGNAL, &kick, &before);
	atomic_store(&l->drained_ms, clock_ms(CLOCK_MONOTONIC) + DRAIN_MS);
	atomic_store(&l->stopping, true);
	pthread_mutex_lock(&l->lock);
	unpark_all(l);
	while (l->running_count > 0) {
		const struct timespec until = clock_deadline(KICK_MS);

		/* A thread may be between its look at `stopping` and its read: so until it has noticed. */
		kick_threads(l);
		pthread_cond_clockwait(&l->slot_freed, &l->lock, CLOCK_MONOTONIC, &until);
	}
	for (size_t i = 0; i < THREADS_MAX; i++)
		reclaim_slot(&l->workers[i]);
	pthread_mutex_unlock(&l->lock);
	stop_steward(l);
	sigaction(KICK_SIGNAL, &before, NULL);
}

err_t
fuse_loop_error(struct fuse_loop *l)
{
	return atomic_load(&l->error);
}

err_t
fuse_loop_new(struct fuse_session *se, struct fuse_loop **out)
{
	struct fuse_loop *l = calloc(1, sizeof(*l));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	err_t err;

	if (!l)
		return -ENOMEM;
	l->se = se;
	l->readers_wanted = 1;
	l->readers_most = processors < 2 ? 1 : processors < THREADS_KEPT ? (unsigned)processors : THREADS_KEPT;
	l->transfers_most = l->readers_most + TRANSFERS_WAITING;
	sem_init(&l->event, 0, 0);
	sem_init(&l->alarm, 0, 0);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->slot_freed, NULL);
	err = fuse_wire_install(se);
	if (err) {
		fuse_loop_free(l);
		return err;
	}
	*out = l;
	return 0;
}

void
fuse_loop_free(struct fuse_loop *l)
{
	if (!l)
		return;
	sem_destroy(&l->event);
	sem_destroy(&l->alarm);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->slot_freed);
	free(l);
}

size_t
fuse_loop_counters(struct fuse_loop *l, const char **names, uint64_t *counts, size_t max)
{
	return fuse_wire_counters(&l->counts, names, counts, max);
}

uint64_t
fuse_loop_use(struct fuse_loop *l)
{
	return atomic_load(&l->counts.use);
}
