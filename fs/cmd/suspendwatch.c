/* The first word is that sleep waits. */
#include "suspendwatch.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "systembus.h"

#define READY 'r'
#define READY_TIMEOUT_MS 30000

/* There. */

static void
on_ready(void *ctx)
{
	(void)ctx;
	watcher_say(READY);
}

static void
on_sleep(void *ctx)
{
	(void)ctx;
	watcher_say(SUSPENDWATCH_SLEEP);
}

static err_t
watch(char **why_out)
{
	static const struct systembus_sleep_hooks hooks = { NULL, on_ready, on_sleep };

	return systembus_watch_sleep(STDIN_FILENO, &hooks, why_out);
}

_Noreturn void
suspendwatch_main(void)
{
	watcher_run(SUSPENDWATCH_NAME, watch);
}

/* Here. */

static err_t
await_ready(const struct watcher *w, char **why_out)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	char word = 0;
	err_t err;
	int n;

	do
		n = poll(&p, 1, READY_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -ETIMEDOUT;
	err = watcher_hear(w, &word, why_out);
	return err == 0 && word == READY ? 0 : -ENOTCONN;
}

err_t
suspendwatch_start(struct watcher *out, char **why_out)
{
	struct watcher w = WATCHER_NONE;
	err_t err;

	*why_out = NULL;
	if ((err = watcher_start(SUSPENDWATCH_NAME, &w)) != 0)
		return err;
	if ((err = await_ready(&w, why_out)) != 0) {
		watcher_end(&w);
		return err;
	}
	*out = w;
	return 0;
}
