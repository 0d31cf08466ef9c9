/* What counts as metered, for which stores, and what becomes of a watch that says nothing, ends or can't be begun. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "log.h"
#include "metered.h"
#include "netwatch.h"
#include "store.h"
#include "systembus.h"
#include "watcher.h"

#define WATCHER_FD 1000
#define NEWS_FD 1001

/*
 * The world, a character for each wait of the thread: a digit is the watcher's word, 'e' its end, 's' something that is no word yet,
 * 'n' news of the network, 'o' other messages of that kind, 't' nothing until the wait's time is over.  Then it waits for its own end.
 */
static const char *script;
static sem_t at_end;
static int64_t now_ms;
static bool has_news;
static const char *hears; /* in script */

static char states[64]; /* what sync was told: F, M, A */
static int waits_ms[64]; /* how long it would have waited, by wait */
static size_t wait_count;
static err_t start_error;
static unsigned starts, ends;
static const char *configured;
static unsigned warnings, infos;

static void
begin(const char *events)
{
	script = events;
	sem_init(&at_end, 0, 0);
	now_ms = 1000;
	states[0] = '\0';
	wait_count = 0;
	start_error = 0;
	starts = ends = warnings = infos = 0;
	configured = NULL;
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	char event = *script;
	int at = event == 'n' || event == 'o' ? 2 : 1;

	assert_int_equal(count, 3);
	if (event == '\0') {
		sem_post(&at_end);
		return __real_poll(fds, 1, -1);
	}
	hears = script++;
	waits_ms[wait_count++] = timeout_ms;
	fds[0].revents = fds[1].revents = fds[2].revents = 0;
	if (event == 't') {
		assert_true(timeout_ms >= 0);
		now_ms += timeout_ms;
		return 0;
	}
	assert_int_equal(fds[at].fd, at == 2 ? NEWS_FD : WATCHER_FD);
	has_news = event == 'n';
	fds[at].revents = POLLIN;
	return 1;
}

int64_t __wrap_clock_ms(clockid_t clock);
int64_t
__wrap_clock_ms(clockid_t clock)
{
	(void)clock;
	return now_ms;
}

void
uplink_set_network(struct uplink *u, enum sync_network network)
{
	size_t len = strlen(states);

	(void)u;
	states[len] = network == SYNC_NETWORK_FREE ? 'F' : network == SYNC_NETWORK_METERED ? 'M' : 'A';
	states[len + 1] = '\0';
}

err_t
watcher_start(const char *name, struct watcher *out)
{
	assert_string_equal(name, METERED_WATCH_NAME);
	starts++;
	if (start_error != 0)
		return start_error;
	*out = (struct watcher){ WATCHER_FD, 1 };
	return 0;
}

err_t
watcher_hear(const struct watcher *w, char *word_out, char **why_out)
{
	assert_int_equal(w->fd, WATCHER_FD);
	if (*hears == 's')
		return -EAGAIN;
	if (*hears == 'e') {
		*why_out = strdup("gone");
		return -ENOTCONN;
	}
	*word_out = *hears;
	return 0;
}

void
watcher_end(struct watcher *w)
{
	ends += w->fd >= 0;
	*w = WATCHER_NONE;
}

_Noreturn void
watcher_run(const char *name, err_t (*watch)(char **why_out))
{
	(void)name;
	(void)watch;
	abort();
}

void
watcher_say(char word)
{
	(void)word;
}

err_t
systembus_watch_network(int end_fd, const struct systembus_network_hooks *hooks, char **why_out)
{
	(void)end_fd;
	(void)hooks;
	(void)why_out;
	return -ENOTSUP;
}

int
netwatch_open(void)
{
	return NEWS_FD;
}

bool
netwatch_has_news(int fd)
{
	assert_int_equal(fd, NEWS_FD);
	return has_news;
}

bool
store_uses_network(const char *url)
{
	return strcmp(url, "far") == 0;
}

err_t
config_load(struct config *out)
{
	*out = (struct config){ .metered = configured != NULL ? strdup(configured) : NULL };
	return 0;
}

void
config_clear(struct config *c)
{
	free(c->metered);
}

void
log_warn(const char *fmt, ...)
{
	(void)fmt;
	warnings++;
}

void
log_info(const char *fmt, ...)
{
	(void)fmt;
	infos++;
}

/* Runs the thread through these events; it is to have begun as many watches, and to have told sync this. */
static void
expect(const char *events, unsigned watches, const char *told)
{
	struct metered *m = NULL;

	script = events;
	assert_int_equal(metered_new(NULL, "far", "/folder", &m), 0);
	assert_string_equal(states, "A");
	states[0] = '\0';
	metered_start(m);
	sem_wait(&at_end);
	assert_int_equal(starts, watches);
	metered_free(m);
	assert_string_equal(states, told);
	assert_int_equal(ends, start_error == 0 ? watches : 0);
}

static void
yes_and_probably_are_metered_and_nothing_else_is(void **state)
{
	(void)state;
	begin("");
	expect("0123456789", 1, "FMFMFFFFFF");
	assert_int_equal(infos, 4);
}

static void
sync_waits_some_seconds_for_an_answer_that_may_still_come_later(void **state)
{
	(void)state;
	begin("");
	expect("st1", 1, "FM");
	assert_int_equal(waits_ms[0], 10000);
	assert_int_equal(waits_ms[2], -1);
	begin("");
	expect("2s", 1, "F");
	assert_int_equal(waits_ms[1], -1);
}

static void
a_watch_that_ends_before_it_says_anything_is_begun_again_when_the_network_is_another_one(void **state)
{
	(void)state;
	begin("");
	expect("eton1", 2, "FM");
	assert_int_equal(waits_ms[2], -1);
	assert_int_equal(warnings + infos, 1);
}

static void
a_watch_that_ends_later_is_begun_again_by_itself(void **state)
{
	(void)state;
	begin("");
	expect("2etot1", 2, "FFM");
	assert_int_equal(waits_ms[3], 60000);
}

/* Who has said so may only be starting anew; or the session ends, and the watch is the first to go. */
static void
what_was_metered_is_so_until_a_new_watch_says_something_else(void **state)
{
	(void)state;
	begin("");
	expect("1et12", 2, "MMF");
	assert_int_equal(waits_ms[2], 10000);
	assert_int_equal(infos, 2);
	begin("");
	expect("1ett", 2, "MF");
	assert_int_equal(waits_ms[3], 10000);
	begin("");
	expect("1ete", 2, "MF");
}

static void
between_two_networks_sync_waits_until_it_is_known_what_the_next_is_like(void **state)
{
	(void)state;
	begin("");
	expect("101", 1, "MAM");
	assert_int_equal(infos, 1);
	begin("");
	expect("10t", 1, "MAF");
	assert_int_equal(waits_ms[2], 10000);
	assert_int_equal(infos, 2);
	begin("");
	expect("20tn1", 1, "FAFAM");
	begin("");
	expect("2no", 1, "F");
}

static void
where_it_never_is_known_it_is_not_waited_for_again(void **state)
{
	(void)state;
	begin("");
	expect("0n0no", 1, "FF");
}

static void
where_no_process_can_be_started_it_is_not_metered(void **state)
{
	(void)state;
	begin("");
	start_error = -ENOSYS;
	expect("tn", 2, "FF");
	assert_int_equal(warnings + infos, 0);
}

static void
what_waits_still_waits_while_the_folder_is_unmounted(void **state)
{
	(void)state;
	begin("");
	expect("1", 1, "M");
	assert_int_equal(infos, 1);
}

static void
it_is_asked_for_stores_across_a_network_unless_that_is_not_wanted(void **state)
{
	static const struct {
		const char *url, *setting;
		bool asked;
		unsigned warnings;
	} cases[] = {
		{ "far", NULL, true, 0 }, { "far", "pause", true, 0 }, { "far", "sync", false, 0 }, { "far", "yes", true, 1 },
		{ "far", "", true, 1 }, { "near", NULL, false, 0 }, { "near", "pause", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct metered *m = NULL;

		begin("");
		configured = cases[i].setting;
		assert_int_equal(metered_new(NULL, cases[i].url, "/folder", &m), 0);
		assert_int_equal(m != NULL, cases[i].asked);
		assert_string_equal(states, cases[i].asked ? "A" : "");
		assert_int_equal(warnings, cases[i].warnings);
		metered_free(m);
	}
	metered_start(NULL);
	metered_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yes_and_probably_are_metered_and_nothing_else_is),
		cmocka_unit_test(sync_waits_some_seconds_for_an_answer_that_may_still_come_later),
		cmocka_unit_test(a_watch_that_ends_before_it_says_anything_is_begun_again_when_the_network_is_another_one),
		cmocka_unit_test(a_watch_that_ends_later_is_begun_again_by_itself),
		cmocka_unit_test(what_was_metered_is_so_until_a_new_watch_says_something_else),
		cmocka_unit_test(between_two_networks_sync_waits_until_it_is_known_what_the_next_is_like),
		cmocka_unit_test(where_it_never_is_known_it_is_not_waited_for_again),
		cmocka_unit_test(where_no_process_can_be_started_it_is_not_metered),
		cmocka_unit_test(what_waits_still_waits_while_the_folder_is_unmounted),
		cmocka_unit_test(it_is_asked_for_stores_across_a_network_unless_that_is_not_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
