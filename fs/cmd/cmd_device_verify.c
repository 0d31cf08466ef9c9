/* snugfs device verify: words that two people, or one with two screens, compare. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "handles.h"
#include "place.h"
#include "safetywords.h"
#include "session.h"
#include "tell.h"

static const char *
text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void
print_all(const json_t *answer)
{
	const json_t *device;
	size_t i;

	printf("The words of this vault up to commit %" PRId64 ":\n\n  %s\n\n", (int64_t)json_integer_value(
	    json_object_get(answer, "commit")), text(answer, "words"));
	printf("On a device that shows the same number, \"snugfs device verify\" shows the same words; on one that shows\n"
	       "another number, compare with --at and the smaller of the two.  If the words differ, the store shows the devices\n"
	       "different histories.\n\nThe words of each device:\n\n");
	json_array_foreach(json_object_get(answer, "devices"), i, device)
		printf("  %s  %s%s%s\n", text(device, "words"), text(device, "name"),
		    json_is_true(json_object_get(device, "this")) ? " (this one)" : "",
		    json_is_true(json_object_get(device, "verified")) ? " (verified)" : "");
}

static const json_t *
find_device(const json_t *answer, const char *name, size_t *count_out)
{
	const json_t *device, *found = NULL;
	size_t i;

	*count_out = 0;
	json_array_foreach(json_object_get(answer, "devices"), i, device) {
		if (strcmp(text(device, "name"), name) != 0 && strcmp(text(device, "id"), name) != 0)
			continue;
		found = device;
		(*count_out)++;
	}
	return found;
}

/* What the other screen shows: typed in, or a yes to what is shown here. */
static int
compare(const struct options *o, const json_t *device, bool *same_out)
{
	const char *typed = options_get(o, "words");
	char line[64] = "";

	if (typed != NULL) {
		*same_out = safetywords_match(typed, text(device, "words"));
		return 0;
	}
	printf("Run \"snugfs device verify\" on %s.  Does it show these words for itself?\n\n  %s\n\nyes or no: ",
	    text(device, "name"), text(device, "words"));
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return tell_failure("nothing was answered; nothing was noted");
	line[strcspn(line, "\r\n")] = '\0';
	if (strcmp(line, "yes") != 0 && strcmp(line, "no") != 0)
		return tell_failure("that is neither yes nor no; nothing was noted");
	*same_out = strcmp(line, "yes") == 0;
	return 0;
}

static int
verify(const struct options *o, const struct place *p, const json_t *answer, const char *name)
{
	CLEANUP(handle_free_json) json_t *noted = NULL;
	size_t count;
	const json_t *device = find_device(answer, name, &count);
	bool same = false;
	int status;

	if (count == 0)
		return tell_failure("there is no device called \"%s\"; \"snugfs device verify\" lists them", name);
	if (count > 1)
		return tell_failure("several devices are called \"%s\"; give the id of one, as \"snugfs status --json\" has it", name);
	if (json_is_true(json_object_get(device, "this")))
		return tell_failure("\"%s\" is this device; its words are compared on another one", name);
	if ((status = compare(o, device, &same)) != 0 ||
	    (status = session_call(o, p, json_pack("{s:s, s:s, s:b}", "op", "verify-device", "id", text(device, "id"), "verified",
	        same), &noted)) != 0)
		return status;
	if (!same)
		return tell_failure("these are not the words of \"%s\": a device of somebody else may be in its place; if you are "
		    "sure that you compared the right ones, remove it", name);
	printf("\"%s\" is verified.\n", name);
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const char *at = options_get(o, "at");
	json_t *request = json_pack("{s:s}", "op", "words");
	char *end = NULL;
	int status;

	if (at != NULL)
		(void)json_object_set_new(request, "at", json_integer((json_int_t)strtoull(at, &end, 10)));
	if (at != NULL && (*at < '0' || *at > '9' || *end != '\0')) {
		json_decref(request);
		return tell_usage("device verify", "--at takes the number of a commit, not \"%s\"", at);
	}
	if ((status = session_find_place(o, &p)) != 0) {
		json_decref(request);
		return status;
	}
	if ((status = session_call(o, &p, request, &answer)) != 0)
		return status;
	if (o->arg_count == 1)
		return verify(o, &p, answer, o->args[0]);
	if (o->json)
		return tell_json(answer);
	print_all(answer);
	return 0;
}

const struct command cmd_device_verify = {
	.name = "device verify",
	.synopsis = "[MOUNTPOINT] [NAME] [--words WORDS] [--at COMMIT] [--json]",
	.summary = "show the words that two devices compare, or compare a device's",
	.details = "Without NAME, shows the words of the vault's history up to the newest commit, and those of each device.\n"
	    "Two devices that show the same words for the same commit have the same history.  With NAME, asks whether\n"
	    "that device shows the same words for itself, and notes that it is verified.\n",
	.accepts = ACCEPT_JSON,
	.options = (const struct option_spec[]){
	    { "at", "COMMIT", "the words up to an earlier commit" },
	    { "words", "WORDS", "the words that NAME shows, instead of being asked" },
	    { 0 } },
	.place = PLACE_OPTIONAL,
	.args_are = "the name of a device",
	.args_max = 1,
	.run = run,
};
