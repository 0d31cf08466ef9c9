/* The watcher's words are the digits of enum systembus_metered. */
#include "metered.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "handles.h"
#include "log.h"
#include "netwatch.h"
#include "store.h"
#include "systembus.h"
#include "watcher.h"

/* For so long sync waits to hear what the network is like. */
#define ANSWER_MS 10000
/*
 * A watch that has ended is begun again when an address or a route comes, since NetworkManager may have, but not sooner than this; and
 * just then if it was metered: until then it is, since whoever said so may only be starting anew, or all is about to end ...
 */
#define REST_MS 10000
/* ... and at last after this, if it had once been told anything. */
#define RETRY_MS 60000

struct metered {
	struct uplink *uplink;
	const char *mountpoint;
	int wake_fd;
	bool started;
	pthread_t thread;
	atomic_bool stop;

	/* the thread's */
	struct watcher watch;
	bool metered;     /* as it was last told */
	int word;         /* what the watch has said last: of enum systembus_metered; -1: nothing */
	bool was_known;   /* it has said something else than that it is not known */
	int64_t until_ms; /* until then sync waits for the next word; 0: it does not wait */
};

/* There. */

static void
on_metered(void *ctx, uint32_t how)
{
	(void)ctx;
	watcher_say((char)('0' + (how <= 9 ? how : SYSTEMBUS_METERED_UNKNOWN)));
}

static err_t
watch(char **why_out)
{
	static const struct systembus_network_hooks hooks = { NULL, on_metered };

	return systembus_watch_network(STDIN_FILENO, &hooks, why_out);
}

_Noreturn void
metered_watch_main(void)
{
	watcher_run(METERED_WATCH_NAME, watch);
}

/* Here. */

/* A configuration that cannot be read says nothing. */
static bool
is_to_pause(void)
{
	CLEANUP(config_clear) struct config c = { 0 };

	if (config_load(&c) != 0 || c.metered == NULL || strcmp(c.metered, "pause") == 0)
		return true;
	if (strcmp(c.metered, "sync") == 0)
		return false;
	log_warn("metered = %s in the configuration is neither pause nor sync: it is taken for pause", c.metered);
	return true;
}

static void
note(struct metered *m, bool metered)
{
	m->until_ms = 0;
	uplink_set_network(m->uplink, metered ? SYNC_NETWORK_METERED : SYNC_NETWORK_FREE);
	if (metered && !m->metered)
		log_info("%s waits: the network is metered; \"snugfs sync\" syncs now", m->mountpoint);
	else if (!metered && m->metered)
		log_info("%s: the network is not known to be metered any more", m->mountpoint);
	m->metered = metered;
}

static void
wait_for_word(struct metered *m)
{
	m->until_ms = clock_ms(CLOCK_MONOTONIC) + ANSWER_MS;
	uplink_set_network(m->uplink, SYNC_NETWORK_ASKED);
}

/* Waits for one of these (-1: not for that), for a time (-1: as long as it takes), or for the end: then false. */
static bool
wait_for(struct metered *m, int watch_fd, int news_fd, int timeout_ms, bool *watch_out, bool *news_out)
{
	struct pollfd fds[] = { { .fd = m->wake_fd, .events = POLLIN }, { .fd = watch_fd, .events = POLLIN },
		{ .fd = news_fd, .events = POLLIN } };
	int n;

	do
		n = poll(fds, ARRAY_LEN(fds), timeout_ms);
	while (n < 0 && errno == EINTR);
	*watch_out = fds[1].revents != 0;
	*news_out = fds[2].revents != 0 && netwatch_has_news(news_fd);
	return !atomic_load(&m->stop);
}

/* false: it has ended. */
static bool
hear(struct metered *m)
{
	CLEANUP(free_ptr) char *why = NULL; /* nobody has asked for this: where it can't be had, it is not missed */
	char word = 0;
	err_t err = watcher_hear(&m->watch, &word, &why);

	if (err != 0)
		return err == -EAGAIN;
	m->word = word - '0';
	/* Between two networks, or while NetworkManager is started anew, nothing is known, and it may be metered a moment later. */
	if (m->word == SYSTEMBUS_METERED_UNKNOWN && m->was_known)
		wait_for_word(m);
	else
		note(m, m->word == SYSTEMBUS_METERED_YES || m->word == SYSTEMBUS_METERED_GUESS_YES);
	m->was_known = m->was_known || m->word != SYSTEMBUS_METERED_UNKNOWN;
	return true;
}

static int
left_ms(int64_t until)
{
	int64_t left = until - clock_ms(CLOCK_MONOTONIC);

	return left > 0 ? (int)left : 0;
}

/* From the beginning of a watch to its end; was anything told? */
static bool
follow(struct metered *m)
{
	CLEANUP(handle_close_fd) int news_fd = netwatch_open();
	bool ready, news;

	m->word = -1;
	m->was_known = false;
	m->until_ms = clock_ms(CLOCK_MONOTONIC) + ANSWER_MS;
	while (wait_for(m, m->watch.fd, news_fd, m->until_ms != 0 ? left_ms(m->until_ms) : -1, &ready, &news)) {
		if (ready && !hear(m))
			break;
		/* The kernel knows of a network before NetworkManager says what it is like. */
		if (news && m->until_ms == 0 && m->word == SYSTEMBUS_METERED_UNKNOWN && m->was_known)
			wait_for_word(m);
		if (m->until_ms != 0 && left_ms(m->until_ms) == 0)
			note(m, false);
	}
	return m->word >= 0;
}

/* Until a watch may come to something.  false: the end. */
static bool
rest(struct metered *m, bool was_told)
{
	CLEANUP(handle_close_fd) int news_fd = netwatch_open();
	bool metered = was_told && m->metered, ready, news;
	int64_t until;

	/* But not at the end: what waits until now does not go while the folder is unmounted. */
	if (!metered && !atomic_load(&m->stop))
		note(m, false);
	until = clock_ms(CLOCK_MONOTONIC) + REST_MS;
	while (left_ms(until) > 0)
		if (!wait_for(m, -1, -1, left_ms(until), &ready, &news))
			return false;
	if (metered)
		return true;
	until = clock_ms(CLOCK_MONOTONIC) + RETRY_MS;
	while (wait_for(m, -1, news_fd, was_told ? left_ms(until) : -1, &ready, &news))
		if (news || (was_told && left_ms(until) == 0))
			return true;
	return false;
}

static void *
run(void *arg)
{
	struct metered *m = arg;
	bool told;

	do {
		told = watcher_start(METERED_WATCH_NAME, &m->watch) == 0 && follow(m);
		watcher_end(&m->watch);
	} while (rest(m, told));
	return NULL;
}

err_t
metered_new(struct uplink *u, const char *url, const char *mountpoint, struct metered **out)
{
	struct metered *m;

	*out = NULL;
	if (!store_uses_network(url) || !is_to_pause())
		return 0;
	if ((m = calloc(1, sizeof(*m))) == NULL)
		return -ENOMEM;
	*m = (struct metered){ .uplink = u, .mountpoint = mountpoint, .watch = WATCHER_NONE, .word = -1 };
	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->wake_fd >= 0)
		uplink_set_network(u, SYNC_NETWORK_ASKED);
	*out = m;
	return 0;
}

void
metered_start(struct metered *m)
{
	if (m == NULL || m->wake_fd < 0)
		return;
	m->started = pthread_create(&m->thread, NULL, run, m) == 0;
	if (!m->started)
		uplink_set_network(m->uplink, SYNC_NETWORK_FREE);
}

void
metered_free(struct metered *m)
{
	const uint64_t one = 1;

	if (m == NULL)
		return;
	if (m->started) {
		atomic_store(&m->stop, true);
		(void)!write(m->wake_fd, &one, sizeof(one));
		pthread_join(m->thread, NULL);
	}
	handle_close_fd(&m->wake_fd);
	free(m);
}
