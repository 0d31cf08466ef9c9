/* snugfs verify: is all that the store should have there, and as it was? */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "handles.h"
#include "human.h"
#include "place.h"
#include "session.h"
#include "tell.h"

/* So that scripts can tell damage from a check that could not be made. */
#define EXIT_DAMAGED 1
#define EXIT_UNCHECKED 3

static uint64_t
number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static void
print_finding(const json_t *f)
{
	const char *kind = json_string_value(json_object_get(f, "kind"));
	const char *object = json_string_value(json_object_get(f, "object"));
	const char *path = json_string_value(json_object_get(f, "path"));
	const char *text = json_string_value(json_object_get(f, "text"));

	if (path != NULL)
		printf("%s: \"%s\" (object %s): %s.\n", kind, path, object, text);
	else
		printf("%s: object %s: %s.\n", kind, object, text);
}

static uint64_t
damage(const json_t *answer)
{
	const json_t *counts = json_object_get(answer, "counts");

	return number(counts, "missing") + number(counts, "changed") + number(counts, "foreign");
}

static void
print_answer(const json_t *answer, unsigned percent)
{
	const json_t *findings = json_object_get(answer, "findings");
	uint64_t bad = damage(answer);
	char bytes[HUMAN_BYTES_LEN], objects[HUMAN_COUNT_LEN];

	for (size_t i = 0; i < json_array_size(findings); i++)
		print_finding(json_array_get(findings, i));
	if (number(answer, "unlisted") > 0)
		printf("… and %" PRIu64 " more like these.\n", number(answer, "unlisted"));
	human_bytes(number(answer, "bytes_read"), bytes);
	human_count(number(answer, "objects_read"), "object", objects);
	printf("Read %s, %s%s.\n", objects, bytes,
	    percent < 100 ? ", a sample of the segments" : "");
	if (bad == 0)
		printf("All that the vault needs is there and unchanged.\n");
	else
		printf("%" PRIu64 " object%s missing, changed or foreign; %" PRIu64 " put back; %" PRIu64 " file%s damaged in the "
		    "store.\n", bad, bad == 1 ? " is" : "s are", number(answer, "repaired"), number(answer, "files_damaged"),
		    number(answer, "files_damaged") == 1 ? " is" : "s are");
}

static int
read_percent(const struct options *o, unsigned *out)
{
	const char *text = options_get(o, "sample");
	unsigned long n;
	char *end;

	*out = 100;
	if (text == NULL)
		return 0;
	n = strtoul(text, &end, 10);
	if (*end == '%')
		end++;
	if (end == text || *end != '\0' || text[0] == '-' || n < 1 || n > 100)
		return tell_usage("verify", "a sample is a percentage from 1%% to 100%%, not \"%s\"", text);
	*out = (unsigned)n;
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	unsigned percent;
	int status;

	if ((status = read_percent(o, &percent)) != 0)
		return status;
	status = session_find_place(o, &p);
	if (status == 0)
		status = session_call(o, &p, json_pack("{s:s, s:i, s:b}", "op", "verify", "percent", (int)percent, "repair",
		    options_get(o, "repair") != NULL), &answer);
	if (status != 0)
		return status == EXIT_TOLD ? EXIT_UNCHECKED : status;
	if (o->json)
		status = tell_json(answer);
	else
		print_answer(answer, percent);
	if (status != 0)
		return EXIT_UNCHECKED;
	return damage(answer) == 0 ? 0 : EXIT_DAMAGED;
}

const struct command cmd_verify = {
	.name = "verify",
	.synopsis = "[MOUNTPOINT] [--sample PERCENT] [--repair] [--json]",
	.summary = "read the store and say what is missing, changed or foreign",
	.details = "Reads what the vault has in its store and compares it with what the chain of commits says, to the last\n"
	    "byte.  Exits with 0 if all is well, 1 if something is missing, changed or foreign, 3 if that could not be\n"
	    "found out.\n",
	.accepts = ACCEPT_JSON,
	.options = (const struct option_spec[]){
	    { "sample", "PERCENT", "read so much of the segments, chosen at random; of the\nothers only that they are there, and their sizes" },
	    { "repair", NULL, "put back what this device still has" },
	    { 0 } },
	.place = PLACE_OPTIONAL,
	.run = run,
};
