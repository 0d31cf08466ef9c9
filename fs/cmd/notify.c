/* A child for each event, and a thread that waits for it, so that no dead one is left lying about. */
#include "notify.h"

#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "log.h"

#define CHILDREN_MAX 8

static atomic_int children;

struct event {
	char *argv[4]; /* malloc'ed */
};

static void
event_free(struct event *e)
{
	for (size_t i = 0; e != NULL && e->argv[i] != NULL; i++)
		free(e->argv[i]);
	free(e);
}

static void
run(const struct event *e)
{
	posix_spawnattr_t attributes;
	sigset_t none;
	pid_t pid;
	int err;

	sigemptyset(&none);
	if (posix_spawnattr_init(&attributes) != 0)
		return;
	/* The masks of this process are none of the program's business. */
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	err = posix_spawn(&pid, e->argv[0], NULL, &attributes, e->argv, environ);
	posix_spawnattr_destroy(&attributes);
	if (err != 0) {
		log_warn("on-event: %s cannot be run: %s", e->argv[0], strerror(err));
		return;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void *
run_and_wait(void *arg)
{
	struct event *e = arg;

	run(e);
	event_free(e);
	atomic_fetch_sub(&children, 1);
	return NULL;
}

static struct event *
event_new(const char *program, const char *kind, const char *text)
{
	const char *words[] = { program, kind, text };
	struct event *e = calloc(1, sizeof(*e));

	for (size_t i = 0; e != NULL && i < ARRAY_LEN(words); i++) {
		if ((e->argv[i] = strdup(words[i])) == NULL) {
			event_free(e);
			return NULL;
		}
	}
	return e;
}

static void
start(const char *program, const char *kind, const char *text)
{
	struct event *e;
	pthread_t thread;

	if (program[0] != '/') {
		log_warn("on-event = %s in the configuration is not the whole path of a program: it is not run", program);
		return;
	}
	if (atomic_fetch_add(&children, 1) >= CHILDREN_MAX) {
		atomic_fetch_sub(&children, 1);
		log_warn("on-event: %s still runs for earlier events, and is not told of this one", program);
		return;
	}
	e = event_new(program, kind, text);
	if (e != NULL && pthread_create(&thread, NULL, run_and_wait, e) == 0) {
		pthread_detach(thread);
		return;
	}
	event_free(e);
	atomic_fetch_sub(&children, 1);
}

void
notify_run(const char *kind, const char *text)
{
	CLEANUP(config_clear) struct config c = { 0 };

	if (config_load(&c) == 0 && c.on_event != NULL && c.on_event[0] != '\0')
		start(c.on_event, kind, text);
}
