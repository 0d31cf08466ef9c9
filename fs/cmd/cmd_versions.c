/* snugfs versions: what became of a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "handles.h"
#include "paths.h"
#include "place.h"
#include "session.h"
#include "tell.h"

/* "content, attributes", as a person would say it. */
static void
print_changes(const json_t *v)
{
	const json_t *changes = json_object_get(v, "changes"), *change;
	const char *name = json_string_value(json_object_get(v, "name")), *comma = "";
	bool created = false;
	size_t i;

	json_array_foreach(changes, i, change) {
		const char *word = json_string_value(change);

		created |= strcmp(word, "created") == 0;
		if (strcmp(word, "named") == 0 && !created) {
			printf("%scalled \"%s\" from here on", comma, name);
		} else if (strcmp(word, "named") != 0 && !(created && strcmp(word, "content") == 0)) {
			printf("%s%s", comma, word);
		} else {
			continue;
		}
		comma = ", ";
	}
}

static void
print_version(const json_t *v, bool with_name)
{
	const json_t *size = json_object_get(v, "size");
	char bytes[32] = "-";

	if (size != NULL)
		snprintf(bytes, sizeof(bytes), "%" JSON_INTEGER_FORMAT, json_integer_value(size));
	printf("%s  commit %-6" JSON_INTEGER_FORMAT "  %14s  %-16s  ", json_string_value(json_object_get(v, "at")),
	    json_integer_value(json_object_get(v, "commit")), bytes, json_string_value(json_object_get(v, "device")));
	if (with_name)
		printf("%s", json_string_value(json_object_get(v, "name")));
	else
		print_changes(v);
	printf("\n");
}

static void
print_versions(const json_t *answer, bool names)
{
	const json_t *list = json_object_get(answer, "versions"), *v;
	size_t i;

	if (json_is_true(json_object_get(answer, "pending")))
		printf("It has been changed here since the last of these, which is not in the store yet.\n");
	json_array_foreach(list, i, v)
		print_version(v, names);
	if (json_is_true(json_object_get(answer, "more")))
		printf("There are older ones, too: these are the newest %zu.\n", json_array_size(list));
	if (json_array_size(list) == 0)
		printf(names ? "Nothing that was in it is gone.\n" : "The store has no version of it yet.\n");
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *inside = NULL;
	CLEANUP(free_ptr) char *hex = NULL;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	bool deleted = options_get(o, "deleted") != NULL;
	int status = place_find_containing(o->args[0], &p, &inside);

	if (status != 0)
		return status;
	if ((hex = paths_hex(inside)) == NULL)
		return tell_failure("not enough memory");
	status = session_call(o, &p, json_pack("{s:s, s:s, s:b}", "op", "versions", "path", hex, "deleted", deleted), &answer);
	if (status != 0)
		return status;
	if (o->json)
		return tell_json(answer);
	print_versions(answer, deleted);
	return 0;
}

static const struct option_spec own[] = {
	{ "deleted", NULL, "PATH is a folder: list what was deleted from it" },
	{ NULL, NULL, NULL },
};

const struct command cmd_versions = {
	.name = "versions",
	.synopsis = "PATH [--deleted] [--json]",
	.summary = "what became of a file, newest first",
	.details = "Lists the versions of a file or folder that the store has, also of one that was deleted or renamed since: when\n"
	    "and where it was changed, its size then, and what was changed.  \"snugfs restore\" brings one back.\n",
	.accepts = ACCEPT_JSON,
	.options = own,
	.place = PLACE_NONE,
	.args_are = "the path of a file",
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
