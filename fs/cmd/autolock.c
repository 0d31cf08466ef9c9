/* The thread sleeps until there may be something to do: a look at what was used, a word of the watch, or new settings. */
#include "autolock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "handles.h"
#include "log.h"
#include "mount_flush.h"
#include "mountstate.h"
#include "suspendwatch.h"

/* Use is looked for so many times in the time after which it locks, but neither more nor less often than this. */
#define LOOKS 8
#define LOOK_MIN_MS 100
#define LOOK_MAX_MS 60000
/* Before sleep there are seconds (logind's InhibitDelayMaxSec, 5 as a rule), and the rest of closing needs some, too. */
#define SLEEP_FLUSH_MS 1000
/* A watch that could not be begun, or has ended. */
#define RETRY_MS 60000

struct autolock {
	struct autolock_params p;
	pthread_t thread;
	int wake_fd;

	pthread_mutex_t lock;
	/* under lock */
	bool stop;
	int64_t after_s;
	bool on_suspend;
	struct watcher watch;
	bool is_starting; /* a watch, which may take long: without the lock */

	/* the thread's */
	uint64_t used;    /* as p.use has it */
	int64_t used_ms;
	int64_t retry_ms;
};

static void
start_watch(struct autolock *a, char **why_out)
{
	struct watcher w = WATCHER_NONE;
	err_t err = suspendwatch_start(&w, why_out);

	if (err != 0 && *why_out == NULL)
		*why_out = strdup(strerror(-err));
	pthread_mutex_lock(&a->lock);
	a->is_starting = false;
	if (a->on_suspend && !a->stop) {
		a->watch = w;
		w = WATCHER_NONE;
	}
	pthread_mutex_unlock(&a->lock);
	watcher_end(&w);
}

/* Begins or ends the watch, as the settings say. */
static void
follow_settings(struct autolock *a, char **why_out)
{
	struct watcher over = WATCHER_NONE;
	struct settings st;
	err_t err = settings_load(a->p.meta, &st);
	bool start;

	if (err != 0) {
		log_warn("whether %s is to lock itself cannot be read: %s", a->p.mountpoint, strerror(-err));
		return;
	}
	pthread_mutex_lock(&a->lock);
	a->after_s = st.lock_after_s;
	a->on_suspend = st.lock_on_suspend;
	start = a->on_suspend && a->watch.fd < 0 && !a->is_starting && !a->stop;
	a->is_starting = a->is_starting || start;
	if (!a->on_suspend) {
		over = a->watch;
		a->watch = WATCHER_NONE;
	}
	pthread_mutex_unlock(&a->lock);
	watcher_end(&over);
	if (start)
		start_watch(a, why_out);
}

void
autolock_apply(struct autolock *a, char **why_out)
{
	const uint64_t one = 1;

	*why_out = NULL;
	follow_settings(a, why_out);
	(void)!write(a->wake_fd, &one, sizeof(one));
}

bool
autolock_watches(struct autolock *a)
{
	bool watches;

	pthread_mutex_lock(&a->lock);
	watches = a->watch.fd >= 0;
	pthread_mutex_unlock(&a->lock);
	return watches;
}

/* Locking. */

/* -EBUSY: somebody uses it. */
static err_t
lock_now(struct autolock *a, bool whatever_is_open)
{
	const char *mountpoint = a->p.mountpoint;
	bool ours = mountstate_get(mountpoint) == MOUNT_OURS;
	/* What is not to be seen there is not to be unmounted; but before sleep the keys go. */
	err_t err = ours ? mountstate_unmount(mountpoint, 0) : whatever_is_open ? 0 : -EBUSY;

	if (err == -EBUSY && whatever_is_open) {
		(void)mount_flush(mountpoint, SLEEP_FLUSH_MS); /* an error reaches whoever wrote */
		err = mountstate_unmount(mountpoint, 1);
	}
	if (err == 0) {
		log_info("%s is locked, %s", mountpoint, whatever_is_open ? "since the computer is about to sleep" :
		    "since nobody has used it");
		pthread_mutex_lock(&a->lock);
		if (!a->stop)
			a->p.end(a->p.ctx);
		pthread_mutex_unlock(&a->lock);
	} else if (err != -EBUSY || whatever_is_open) {
		log_error("%s cannot lock itself: %s", mountpoint, strerror(-err));
	}
	return err;
}

static void
look_at_use(struct autolock *a, int64_t after_ms)
{
	int64_t now = clock_ms(CLOCK_BOOTTIME);
	uint64_t used;

	pthread_mutex_lock(&a->lock);
	used = a->stop ? a->used + 1 : a->p.use(a->p.ctx);
	pthread_mutex_unlock(&a->lock);
	if (used != a->used || after_ms == 0) {
		a->used = used;
		a->used_ms = now;
	} else if (now - a->used_ms >= after_ms && lock_now(a, false) != 0) {
		a->used_ms = now;
	}
}

/* The watch. */

static void
hear_watch(struct autolock *a)
{
	CLEANUP(free_ptr) char *why = NULL;
	char word = 0;
	err_t err;

	pthread_mutex_lock(&a->lock);
	err = a->watch.fd >= 0 ? watcher_hear(&a->watch, &word, &why) : -EAGAIN;
	if (err == -ENOTCONN) {
		log_warn("%s is not told any more when the computer sleeps: the system bus has gone; it is tried again", a->p.mountpoint);
		watcher_end(&a->watch);
		a->retry_ms = clock_ms(CLOCK_BOOTTIME) + RETRY_MS;
	}
	pthread_mutex_unlock(&a->lock);
	if (err == 0 && word == SUSPENDWATCH_SLEEP)
		(void)lock_now(a, true);
}

static void
try_watch_again(struct autolock *a)
{
	bool first = a->retry_ms == 0, missing;
	char *why = NULL;

	pthread_mutex_lock(&a->lock);
	missing = a->on_suspend && a->watch.fd < 0;
	pthread_mutex_unlock(&a->lock);
	if (missing && clock_ms(CLOCK_BOOTTIME) >= a->retry_ms) {
		follow_settings(a, &why);
		a->retry_ms = clock_ms(CLOCK_BOOTTIME) + RETRY_MS;
	}
	if (why != NULL && first)
		log_warn("%s cannot be locked before the computer sleeps: %s", a->p.mountpoint, why);
	free(why);
}

/* The thread. */

/* false: it is to end. */
static bool
wait_for_something(struct autolock *a, int64_t *after_ms_out)
{
	struct pollfd fds[2] = { { .fd = a->wake_fd, .events = POLLIN } };
	int64_t timeout = -1;
	uint64_t drained;
	bool stop;

	pthread_mutex_lock(&a->lock);
	fds[1] = (struct pollfd){ .fd = a->watch.fd, .events = POLLIN };
	if (a->after_s > 0)
		timeout = a->after_s > LOOK_MAX_MS * LOOKS / 1000 ? LOOK_MAX_MS : a->after_s * 1000 / LOOKS;
	if (a->on_suspend && a->watch.fd < 0 && (timeout < 0 || timeout > RETRY_MS))
		timeout = RETRY_MS;
	stop = a->stop;
	pthread_mutex_unlock(&a->lock);
	if (stop)
		return false;
	(void)poll(fds, 2, timeout >= 0 && timeout < LOOK_MIN_MS ? LOOK_MIN_MS : (int)timeout);
	(void)!read(a->wake_fd, &drained, sizeof(drained));
	if (fds[1].revents != 0)
		hear_watch(a);
	pthread_mutex_lock(&a->lock);
	*after_ms_out = a->after_s * 1000;
	stop = a->stop;
	pthread_mutex_unlock(&a->lock);
	return !stop;
}

static void *
run(void *arg)
{
	struct autolock *a = arg;
	int64_t after_ms;

	a->used_ms = clock_ms(CLOCK_BOOTTIME);
	try_watch_again(a);
	while (wait_for_something(a, &after_ms)) {
		look_at_use(a, after_ms);
		try_watch_again(a);
	}
	return NULL;
}

static void
autolock_free(struct autolock *a)
{
	pthread_mutex_destroy(&a->lock);
	handle_close_fd(&a->wake_fd);
	free(a);
}

err_t
autolock_start(const struct autolock_params *p, struct autolock **out)
{
	struct autolock *a = calloc(1, sizeof(*a));
	struct settings st;
	err_t err;

	if (a == NULL)
		return -ENOMEM;
	a->p = *p;
	a->watch = WATCHER_NONE;
	pthread_mutex_init(&a->lock, NULL);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = a->wake_fd >= 0 ? settings_load(p->meta, &st) : -errno;
	if (err == 0) {
		a->after_s = st.lock_after_s;
		a->on_suspend = st.lock_on_suspend;
		err = -pthread_create(&a->thread, NULL, run, a);
	}
	if (err != 0) {
		autolock_free(a);
		return err;
	}
	*out = a;
	return 0;
}

void
autolock_quiesce(struct autolock *a)
{
	const uint64_t one = 1;

	if (a == NULL)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_mutex_unlock(&a->lock);
	(void)!write(a->wake_fd, &one, sizeof(one));
}

void
autolock_stop(struct autolock *a)
{
	if (a == NULL)
		return;
	pthread_join(a->thread, NULL);
	autolock_free(a); /* but for the watch */
}
