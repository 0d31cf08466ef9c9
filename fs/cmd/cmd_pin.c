/* snugfs pin, unpin, free: what is to be on this computer, and what is to go. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "handles.h"
#include "human.h"
#include "paths.h"
#include "session.h"
#include "tell.h"

#define PATHS_MAX 1000

/* One path, in whichever vault it is. */
static int
ask(const struct options *o, const char *op, const char *path, json_t **answer_out)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *inside = NULL;
	CLEANUP(free_ptr) char *hex = NULL;
	int status = place_find_containing(path, &p, &inside);

	if (status != 0)
		return status;
	if ((hex = paths_hex(inside)) == NULL)
		return tell_failure("not enough memory");
	return session_call(o, &p, json_pack("{s:s, s:s}", "op", op, "path", hex), answer_out);
}

/* Goes on with the next one after a failure. */
static int
for_each(struct options *o, const char *op, void (*say)(const char *path, const json_t *answer))
{
	int status = 0;

	for (unsigned i = 0; i < o->arg_count; i++) {
		CLEANUP(handle_free_json) json_t *answer = NULL;
		int failed = ask(o, op, o->args[i], &answer);

		if (failed == 0)
			say(o->args[i], answer);
		else
			status = failed;
	}
	return status;
}

static void
say_pinned(const char *path, const json_t *answer)
{
	printf("%s stays on this computer; what of it is not here yet is fetched in the background%s.\n", path,
	    json_is_true(json_object_get(answer, "held")) ? ", when this folder syncs by itself again" : "");
}

static void
say_unpinned(const char *path, const json_t *answer)
{
	(void)answer;
	printf("%s may be given up when room is needed.\n", path);
}

static void
say_kept(const json_t *answer, const char *key, const char *why)
{
	uint64_t bytes = (uint64_t)json_integer_value(json_object_get(answer, key));
	char text[HUMAN_BYTES_LEN];

	if (bytes == 0)
		return;
	human_bytes(bytes, text);
	printf("  %s stay%s: %s\n", text, bytes == 1 ? "s" : "", why);
}

static void
say_freed(const char *path, const json_t *answer)
{
	char text[HUMAN_BYTES_LEN];

	human_bytes((uint64_t)json_integer_value(json_object_get(answer, "freed")), text);
	printf("%s: %s given up; reading it fetches it again\n", path, text);
	say_kept(answer, "unsynced", "the store has not got them yet; \"snugfs sync\" sends them");
	say_kept(answer, "pinned", "pinned; \"snugfs unpin\" lets them go");
	say_kept(answer, "busy", "being read at this moment; try again");
}

static int
run_pin(struct options *o)
{
	return for_each(o, "pin", say_pinned);
}

static int
run_unpin(struct options *o)
{
	return for_each(o, "unpin", say_unpinned);
}

static int
run_free(struct options *o)
{
	return for_each(o, "free", say_freed);
}

const struct command cmd_pin = {
	.name = "pin",
	.synopsis = "PATH...",
	.summary = "keep files and folders on this computer, and fetch what of them is not here",
	.details = "What is pinned is never given up for room, and what of it only the store has is fetched in the\n"
	    "background; of a folder that goes for all that is in it, now and later.  Pins are this device's own.\n",
	.place = PLACE_NONE,
	.args_are = "paths of files and folders",
	.args_min = 1,
	.args_max = PATHS_MAX,
	.run = run_pin,
};

const struct command cmd_unpin = {
	.name = "unpin",
	.synopsis = "PATH...",
	.summary = "let what was pinned be given up again",
	.details = "Takes back \"snugfs pin\".  Nothing is given up before there is need; see \"snugfs free\".\n",
	.place = PLACE_NONE,
	.args_are = "paths of files and folders",
	.args_min = 1,
	.args_max = PATHS_MAX,
	.run = run_unpin,
};

const struct command cmd_free = {
	.name = "free",
	.synopsis = "PATH...",
	.summary = "give up what is here of files and folders, and is in the store, too",
	.details = "Makes room on the disk now.  The files stay visible; reading them fetches them again.  Says what stays\n"
	    "here, and why.\n",
	.place = PLACE_NONE,
	.args_are = "paths of files and folders",
	.args_min = 1,
	.args_max = PATHS_MAX,
	.run = run_free,
};
