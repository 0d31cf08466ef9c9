/* snugfs restore: a file or folder as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "handles.h"
#include "human.h"
#include "paths.h"
#include "place.h"
#include "session.h"
#include "tell.h"

static void
print_answer(const json_t *answer, const char *mountpoint)
{
	json_int_t failed = json_integer_value(json_object_get(answer, "failed"));
	char files[HUMAN_COUNT_LEN], bytes[HUMAN_BYTES_LEN];

	human_count((uint64_t)json_integer_value(json_object_get(answer, "files")), "file", files);
	human_bytes((uint64_t)json_integer_value(json_object_get(answer, "bytes")), bytes);
	printf("%s/%s is as it was at %s: %s, %s.\n", mountpoint, json_string_value(json_object_get(answer, "path")),
	    json_string_value(json_object_get(answer, "at")), files, bytes);
	if (failed > 0)
		fflush(stdout);
}

static int
tell_left_out(const json_t *answer)
{
	json_int_t failed = json_integer_value(json_object_get(answer, "failed"));

	char files[HUMAN_COUNT_LEN];

	human_count((uint64_t)failed, "file", files);
	return failed == 0 ? 0 : tell_failure("%s could not be read as they were then, and were left out; the first is \"%s\"; "
	    "the log says why", files, json_string_value(json_object_get(answer, "first_failed")));
}

static int
add_target(const struct options *o, const struct place *p, json_t *request)
{
	CLEANUP(place_clear) struct place other = { 0 };
	CLEANUP(free_ptr) char *inside = NULL;
	CLEANUP(free_ptr) char *hex = NULL;
	const char *to = options_get(o, "to");
	int status;

	if (to == NULL)
		return 0;
	if ((status = place_find_containing(to, &other, &inside)) != 0)
		return status;
	if (strcmp(other.vault_dir, p->vault_dir) != 0)
		return tell_failure("%s is not in %s: restore into the same folder, then copy it from there", to, p->mountpoint);
	if ((hex = paths_hex(inside)) == NULL || json_object_set_new(request, "to", json_string(hex)) != 0)
		return tell_failure("not enough memory");
	return 0;
}

static int
make_request(const struct options *o, const struct place *p, const char *inside, json_t **out)
{
	CLEANUP(handle_free_json) json_t *request = NULL;
	CLEANUP(free_ptr) char *hex = paths_hex(inside);
	const char *at = options_get(o, "at");
	int status;

	if (hex == NULL)
		return tell_failure("not enough memory");
	request = json_pack("{s:s, s:s, s:b}", "op", "restore", "path", hex, "overwrite", options_get(o, "overwrite") != NULL);
	if (request == NULL || (at != NULL && json_object_set_new(request, "at", json_string(at)) != 0))
		return tell_failure("the time is not readable: write it like \"2026-11-20 14:30\"");
	if ((status = add_target(o, p, request)) == 0)
		*out = STEAL(request);
	return status;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *inside = NULL;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	json_t *request = NULL;
	int status, left_out;

	if ((status = place_find_containing(o->args[0], &p, &inside)) != 0 || (status = make_request(o, &p, inside, &request)) != 0 ||
	    (status = session_call(o, &p, request, &answer)) != 0)
		return status;
	if (o->json)
		status = tell_json(answer);
	else
		print_answer(answer, p.mountpoint);
	left_out = tell_left_out(answer);
	return status != 0 ? status : left_out;
}

static const struct option_spec own[] = {
	{ "at", "TIME", "as it was then: \"2026-11-20 14:30\", \"yesterday\", \"3 hours ago\", \"2d\", \"commit 12\"" },
	{ "to", "PATH", "put it there, in the same folder" },
	{ "overwrite", NULL, "in place of what is there now" },
	{ NULL, NULL, NULL },
};

const struct command cmd_restore = {
	.name = "restore",
	.synopsis = "PATH [--at TIME] [--to PATH] [--overwrite] [--json]",
	.summary = "bring a file or folder back as it was",
	.details = "Brings back what PATH was at TIME, a folder with all that was in it; without --at, what it was before it was\n"
	    "deleted.  If something is there now, that stays, and what is brought back is put beside it as\n"
	    "\"name (as of 2026-11-20 14:30:05).ext\".\n",
	.accepts = ACCEPT_JSON,
	.options = own,
	.place = PLACE_NONE,
	.args_are = "the path of a file or folder",
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
