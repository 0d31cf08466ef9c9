/* snugfs lock: closes folders now, so that their keys are in no memory any more. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "amounts.h"
#include "closing.h"
#include "commands.h"
#include "config.h"
#include "err.h"
#include "handles.h"
#include "mount_flush.h"
#include "mountstate.h"
#include "session.h"
#include "tell.h"

static int
tell_busy(const struct place *p)
{
	char who[64];

	mountstate_who_uses(p->mountpoint, who, sizeof(who));
	return tell_failure("%s is in use%s%s and stays open: close it there and try again, or lock it anyway with --force",
	    p->mountpoint, who[0] != '\0' ? " by " : "", who);
}

/* With files open an unmounted file system lives on until they are closed: its daemon is told to end. */
static err_t
detach(const struct place *p, const struct closing *end)
{
	err_t err;

	(void)mount_flush(p->mountpoint, MOUNT_FLUSH_MS); /* an error reaches whoever wrote */
	err = mountstate_unmount(p->mountpoint, 1);
	return err == 0 ? closing_tell_to_end(end) : err;
}

static int
hear_end(const struct place *p, const struct closing *end)
{
	int status = closing_hear_end(p, end);

	if (status == 0)
		printf("%s is locked.\n", p->mountpoint);
	return status;
}

static int
lock_live(const struct options *o, const struct place *p)
{
	CLEANUP(closing_clear) struct closing end = CLOSING_NONE;
	err_t err;
	int status = closing_begin(p, &end);

	if (status != 0)
		return status;
	err = mountstate_unmount(p->mountpoint, 0);
	if (err == -EBUSY && options_get(o, "force") == NULL)
		return tell_busy(p);
	if (err == -EBUSY)
		err = detach(p, &end);
	if (err != 0 && mountstate_get(p->mountpoint) == MOUNT_NONE)
		err = 0;
	if (err == -EPERM)
		return tell_failure("%s cannot be locked: it was mounted by another user", p->mountpoint);
	if (err != 0)
		return tell_failure("%s cannot be locked: %s", p->mountpoint, tell_reason(err));
	return hear_end(p, &end);
}

/* It may have been unmounted a moment ago, or detached: then its keys are in memory still. */
static int
lock_none(const struct options *o, const struct place *p, bool *open_out)
{
	CLEANUP(closing_clear) struct closing end = CLOSING_NONE;
	int status = closing_begin_unmounted(p, &end);
	err_t err = 0;

	*open_out = end.connection >= 0;
	if (!*open_out)
		return status;
	if (options_get(o, "force") != NULL)
		err = closing_tell_to_end(&end);
	else
		status = closing_await_begin(p, &end);
	if (err != 0)
		return tell_failure("%s cannot be locked: %s", p->mountpoint, tell_reason(err));
	return status != 0 ? status : hear_end(p, &end);
}

static int
lock_place(const struct options *o, const struct place *p)
{
	bool open = false;
	int status = 0;

	switch (mountstate_get(p->mountpoint)) {
	case MOUNT_OURS:
		return lock_live(o, p);
	case MOUNT_STALE:
		if (mountstate_unmount(p->mountpoint, 1) != 0)
			return tell_failure("%s had lost its background process, and cannot be unmounted", p->mountpoint);
		printf("%s had lost its background process; it is locked now.\n", p->mountpoint);
		return 0;
	case MOUNT_NONE:
		status = lock_none(o, p, &open);
		break;
	case MOUNT_OTHER:
		break;
	}
	if (status == 0 && !open)
		printf("%s is not open.\n", p->mountpoint);
	return status;
}

static int
lock_entry(const struct options *o, const struct config_entry *e)
{
	CLEANUP(place_clear) struct place p = { 0 };
	const struct place known = { .mountpoint = e->mountpoint, .vault_dir = e->directory };
	bool open;
	int status;

	switch (mountstate_get(e->mountpoint)) {
	case MOUNT_OURS:
	case MOUNT_STALE:
		status = place_find_remembered(e->mountpoint, &p);
		return status != 0 ? status : lock_place(o, &p);
	case MOUNT_NONE:
		return lock_none(o, &known, &open);
	case MOUNT_OTHER:
		break;
	}
	return 0;
}

/* One that can't be locked is no reason to leave the others open. */
static int
lock_all(const struct options *o)
{
	CLEANUP(config_clear) struct config c = { 0 };
	err_t err = config_load(&c);
	int worst = 0;

	if (err != 0)
		return place_tell_config(err);
	for (size_t i = 0; i < c.count; i++) {
		int status = lock_entry(o, &c.entries[i]);

		worst = status != 0 ? status : worst;
	}
	return worst;
}

/* By itself. */

static int
add_after(const char *text, json_t *request)
{
	int64_t after = 0;

	if (text == NULL)
		return 0;
	if (strcmp(text, "never") != 0 && strcmp(text, "0") != 0 && amount_parse_seconds(text, &after) != 0)
		return tell_usage("lock", "--after %s is no time: say something like 15m or 2h, or never", text);
	return json_object_set_new(request, "after", json_integer(after)) == 0 ? 0 : tell_failure("not enough memory");
}

static int
add_on_suspend(const char *text, json_t *request)
{
	if (text == NULL)
		return 0;
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return tell_usage("lock", "--on-suspend is on or off");
	return json_object_set_new(request, "on_suspend", json_boolean(strcmp(text, "on") == 0)) == 0 ? 0 :
	    tell_failure("not enough memory");
}

static int
print_settings(const struct place *p, const json_t *answer)
{
	json_int_t after = json_integer_value(json_object_get(answer, "after"));
	const char *why = json_string_value(json_object_get(answer, "why"));
	char time[40];

	amount_print_seconds(after, time, sizeof(time));
	if (after > 0)
		printf("%s locks itself after %s without use.\n", p->mountpoint, time);
	else
		printf("%s does not lock itself while it is not used.\n", p->mountpoint);
	if (why != NULL)
		return tell_failure("%s is to be locked before the computer sleeps, but cannot be for now: %s", p->mountpoint, why);
	printf(json_is_true(json_object_get(answer, "on_suspend")) ? "It is locked before the computer sleeps.\n" :
	    "It stays open while the computer sleeps.\n");
	return 0;
}

static int
change_settings(const struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *request = json_pack("{s:s}", "op", "lock-settings");
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status;

	if (options_get(o, "all") != NULL || options_get(o, "force") != NULL)
		return tell_usage("lock", "--after and --on-suspend lock nothing now: neither --all nor --force goes with them");
	if ((status = add_after(options_get(o, "after"), request)) != 0 ||
	    (status = add_on_suspend(options_get(o, "on-suspend"), request)) != 0 || (status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, json_incref(request), &answer)) != 0)
		return status;
	return print_settings(&p, answer);
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	int status;

	if (options_get(o, "after") != NULL || options_get(o, "on-suspend") != NULL)
		return change_settings(o);
	if (options_get(o, "all") != NULL)
		return o->mountpoint == NULL ? lock_all(o) :
		    tell_usage("lock", "either a mount point or --all can be given");
	status = session_find_place(o, &p);
	return status != 0 ? status : lock_place(o, &p);
}

static const struct option_spec lock_options[] = {
	{ "all", NULL, "every folder that is open" },
	{ "force", NULL, "also if a program has files open there, which gets errors from then on" },
	{ "after", "TIME", "lock nothing now, but by itself whenever it was not used for that long: 15m, 2h, never" },
	{ "on-suspend", "on|off", "the same, before the computer sleeps" },
	{ NULL, NULL, NULL },
};

const struct command cmd_lock = {
	.name = "lock",
	.synopsis = "[MOUNTPOINT | --all] [--force] | [MOUNTPOINT] [--after TIME] [--on-suspend on|off]",
	.summary = "close the folder now and forget its keys",
	.details = "Saves what is pending on this computer, unmounts, and ends the background process, whose keys are wiped.\n"
	    "A folder that is not open is no error.\n"
	    "With --after or --on-suspend nothing is closed now: the folder closes itself, from now on and after each mount.\n"
	    "Files that are open count as use, but not when the computer sleeps.\n",
	.options = lock_options,
	.place = PLACE_OPTIONAL,
	.run = run,
};
