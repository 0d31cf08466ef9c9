/*
 * snugfs status: asks the daemon of each folder; what is not mounted is described by what the configuration knows.
 *
 * The keys of --json are fixed; snugfs(1) has them all.  Without a mount point: {"vaults": [...]}.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "control.h"
#include "err.h"
#include "handles.h"
#include "human.h"
#include "mountstate.h"
#include "place.h"
#include "progress.h"
#include "session.h"
#include "status_text.h"
#include "tell.h"

/* Paths are in it, which need not be UTF-8. */
__attribute__((format(printf, 1, 0))) static json_t *
sentence_list(const char *fmt, va_list ap)
{
	char text[4096];

	vsnprintf(text, sizeof(text), fmt, ap);
	return human_path(text);
}

__attribute__((format(printf, 1, 2))) static json_t *
sentence(const char *fmt, ...)
{
	json_t *text;
	va_list ap;

	va_start(ap, fmt);
	text = sentence_list(fmt, ap);
	va_end(ap);
	return text;
}

/* What the daemon may say better. */
static json_t *
unknown(const struct place *p)
{
	return json_pack("{s:o, s:o, s:b, s:o, s:n, s:b, s:{s:i, s:i}, s:{s:i, s:i}, s:{s:n, s:n}, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:[], "
	    "s:[], s:n}", "mountpoint", human_path(p->mountpoint), "vault", human_path(p->vault_dir), "mounted", 0,
	    "remote", p->remote != NULL ? human_path(p->remote) : json_null(), "pending", "busy", 0,
	    "progress", "done", 0, "total", 0, "speed", "up", 0, "down", 0, "limits", "up", "down", "cache", "time_left", "rekey", "hold", "metered",
	    "lock", "last_push", "last_pull", "last_contact", "devices", "messages", "problem");
}

__attribute__((format(printf, 2, 3))) static void
set_text(json_t *status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)json_object_set_new(status, "problem", json_pack("{s:o}", "text", sentence_list(fmt, ap)));
	va_end(ap);
}

static void
ask_daemon(json_t *status, const struct place *p, bool counters)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const char *text;
	err_t err = control_call(p->vault_dir, json_pack("{s:s, s:b}", "op", "status", "counters", counters), &answer);

	(void)json_object_set_new(status, "mounted", json_true());
	if (err == -EACCES)
		set_text(status, "it is mounted by another user, who alone can ask how it is doing");
	else if (err != 0)
		set_text(status, "its background process does not answer (%s): see the system's log", tell_reason(err));
	else if (!control_take_version(answer))
		set_text(status, CONTROL_OTHER_VERSION, p->mountpoint);
	else if (!control_is_ok(answer, &text))
		set_text(status, "%s", text);
	else {
		(void)json_object_del(answer, "ok");
		(void)json_object_update(status, answer);
	}
}

static bool
is_pending(const json_t *status)
{
	const json_t *pending = json_object_get(status, "pending");

	return json_integer_value(json_object_get(pending, "files")) != 0 ||
	    json_integer_value(json_object_get(pending, "names")) != 0;
}

static json_t *
next_step(const json_t *status, const struct place *p)
{
	if (!p->exists)
		return sentence("snugfs up %s", p->mountpoint);
	if (!json_is_true(json_object_get(status, "mounted")))
		return sentence("snugfs mount %s", p->mountpoint);
	if (json_is_object(json_object_get(status, "hold")))
		return sentence("to go on syncing: snugfs resume %s", p->mountpoint);
	if (json_is_true(json_object_get(json_object_get(status, "problem"), "removed")))
		return sentence("\"snugfs export-pending FOLDER %s\"; to sync again, join anew with an invitation", p->mountpoint);
	if (!json_is_null(json_object_get(status, "problem")))
		return sentence("see the problem; then: snugfs sync %s", p->mountpoint);
	if (json_is_null(json_object_get(status, "remote")))
		return sentence("to sync: snugfs unmount %s, then: snugfs up %s --remote URL", p->mountpoint, p->mountpoint);
	if (json_is_true(json_object_get(status, "metered")) && is_pending(status))
		return sentence("nothing: it goes to the store when the network is not metered; to send it now: snugfs sync %s", p->mountpoint);
	return json_string(is_pending(status) ? "nothing: it goes to the store by itself" : "nothing");
}

static json_t *
describe(const struct place *p, bool counters)
{
	json_t *status = unknown(p);

	if (status == NULL)
		return NULL;
	switch (mountstate_get(p->mountpoint)) {
	case MOUNT_OURS:
		ask_daemon(status, p, counters);
		break;
	case MOUNT_STALE:
		set_text(status, "its background process ended unexpectedly: mounting again puts that in order");
		break;
	case MOUNT_OTHER:
		set_text(status, "another file system is mounted there");
		break;
	case MOUNT_NONE:
		if (!p->exists)
			set_text(status, "the folder of its vault, %s, holds no vault", p->vault_dir);
		break;
	}
	(void)json_object_set_new(status, "next", next_step(status, p));
	return status;
}

static int
show_one(const struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *status = NULL;
	int told = place_find_existing(o, &p);

	if (told != 0)
		return told;
	status = describe(&p, o->counters);
	if (o->json)
		return tell_json(status);
	if (status == NULL)
		return tell_failure("not enough memory");
	status_text_print(status);
	return 0;
}

/* Of one that cannot even be looked at that is told; the others are shown. */
static json_t *
describe_all(const struct config *c, int *told_out)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->count; i++) {
		CLEANUP(place_clear) struct place p = { 0 };
		int told = place_find_remembered(c->entries[i].mountpoint, &p);

		if (told == 0)
			(void)json_array_append_new(list, describe(&p, false));
		else
			*told_out = told;
	}
	return list;
}

static int
show_all(const struct options *o)
{
	CLEANUP(config_clear) struct config c = { 0 };
	CLEANUP(handle_free_json) json_t *all = NULL;
	json_t *list, *status;
	size_t i;
	err_t err = config_load(&c);
	int told = 0;

	if (err != 0)
		return place_tell_config(err);
	list = describe_all(&c, &told);
	all = json_pack("{s:o}", "vaults", list);
	if (o->json)
		return tell_json(all) != 0 ? EXIT_TOLD : told;
	if (c.count == 0)
		printf("There is no vault yet.  To make one: snugfs up ~/Private\n");
	json_array_foreach(json_object_get(all, "vaults"), i, status) {
		if (i > 0)
			printf("\n");
		status_text_print(status);
	}
	return told;
}

static int
show(const struct options *o)
{
	return o->mountpoint != NULL ? show_one(o) : show_all(o);
}

/* Where nothing can be overwritten: a line for each change. */
static int
print_change(const struct options *o, char last[static STATUS_LINE_LEN])
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *status = NULL;
	char line[STATUS_LINE_LEN];
	int told = session_find_place(o, &p);

	if (told != 0)
		return told;
	if ((status = describe(&p, false)) == NULL)
		return tell_failure("not enough memory");
	status_text_line(status, line);
	if (strcmp(line, last) == 0)
		return 0;
	memcpy(last, line, STATUS_LINE_LEN);
	puts(line);
	return 0;
}

/* Until it is interrupted, or nobody reads any more. */
static int
watch(const struct options *o)
{
	const struct timespec interval = { 1, 0 };
	char last[STATUS_LINE_LEN] = "";
	int told = 0;

	while (told == 0) {
		if (progress_is_screen(STDOUT_FILENO)) {
			printf("\033[H\033[2J");
			told = show(o);
		} else {
			told = print_change(o, last);
		}
		if (fflush(stdout) != 0)
			return told != 0 ? told : tell_failure("standard output cannot be written to: %s", tell_reason(-errno));
		(void)nanosleep(&interval, NULL);
	}
	return told;
}

static int
dismiss(const struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int told = session_find_place(o, &p);

	return told != 0 ? told : session_call(o, &p, json_pack("{s:s}", "op", "dismiss"), &answer);
}

static int
run(struct options *o)
{
	if (options_get(o, "dismiss") != NULL)
		return dismiss(o);
	if (options_get(o, "watch") == NULL)
		return show(o);
	return o->json ? tell_usage("status", "--watch and --json exclude each other: ask again and again for JSON") : watch(o);
}

const struct command cmd_status = {
	.name = "status",
	.synopsis = "[MOUNTPOINT] [--watch | --dismiss] [--json] [--counters]",
	.summary = "mounted?  what is not in the store yet, last sync, devices, problems, next step",
	.details = "Describes the vault of MOUNTPOINT, or all that are known here.\n"
	    "\n"
	    "  --json                    for programs; snugfs(1) says what is in it\n"
	    "  --counters                the kernel's messages to the mount and the requests to the store so far, by kind\n",
	.accepts = ACCEPT_JSON | ACCEPT_COUNTERS,
	.options = (const struct option_spec[]){
		{ "watch", NULL, "go on showing it, until interrupted; not on a terminal: a line for each change" },
		{ "dismiss", NULL, "the messages were read: do not show them again" },
		{ 0 },
	},
	.place = PLACE_OPTIONAL,
	.run = run,
};
