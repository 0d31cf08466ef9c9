/* snugfs gc: gives back what the store holds for nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "gc.h"
#include "handles.h"
#include "human.h"
#include "place.h"
#include "session.h"
#include "tell.h"

#define DAY_S 86400

/* "30d", "12h", "0": a number, and s, m, h, d, w or y; days without one. */
static bool
read_time(const char *text, int64_t *out)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', DAY_S }, { 'w', 7 * DAY_S }, { 'y', 365 * DAY_S }, { '\0', DAY_S } };
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (end == text || text[0] < '0' || text[0] > '9' || errno != 0 || (*end != '\0' && end[1] != '\0'))
		return false;
	for (size_t k = 0; k < ARRAY_LEN(units); k++) {
		if (units[k].unit != *end)
			continue;
		if (n > (unsigned long long)(GC_KEEP_MAX_S / units[k].seconds))
			return false;
		*out = (int64_t)n * units[k].seconds;
		return true;
	}
	return false;
}

static uint64_t
number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static void
print_count(const json_t *o, const char *key, const char *text)
{
	const json_t *c = json_object_get(o, key);
	char bytes[HUMAN_BYTES_LEN];

	if (number(c, "objects") == 0)
		return;
	human_bytes(number(c, "bytes"), bytes);
	printf("  %s: %" PRIu64 " object%s, %s.\n", text, number(c, "objects"), number(c, "objects") == 1 ? "" : "s", bytes);
}

static void
print_sum(const json_t *group, const char *text)
{
	uint64_t objects = 0, bytes = 0;
	const char *key;
	json_t *c;
	char sum[HUMAN_BYTES_LEN], count[HUMAN_COUNT_LEN];

	json_object_foreach((json_t *)(uintptr_t)group, key, c) {
		objects += number(c, "objects");
		bytes += number(c, "bytes");
	}
	human_bytes(bytes, sum);
	human_count(objects, "object", count);
	printf("%s %s, %s.\n", text, count, sum);
}

static void
print_answer(const json_t *a)
{
	bool dry = json_is_true(json_object_get(a, "dry_run"));
	const json_t *freed = json_object_get(a, "freed"), *kept = json_object_get(a, "kept");
	uint64_t keep = number(a, "keep_seconds");

	print_sum(freed, dry ? "Would delete" : "Deleted");
	print_count(freed, "dead", "in no state that is kept");
	print_count(freed, "orphans", "left by pushes that were cut short");
	print_count(freed, "bases", "superseded bases");
	print_count(freed, "boxes", "key boxes that nobody needs any more");
	print_count(freed, "leftovers", "sent by this computer for nothing, or left by a collection that was cut short");
	print_count(a, "moved", dry ? "more than half dead, would be emptied" : "more than half dead, emptied");
	if (keep >= DAY_S)
		printf("History is kept for %" PRIu64 " day%s.\n", keep / DAY_S, keep / DAY_S == 1 ? "" : "s");
	else
		printf("History is kept for %" PRIu64 " hours and %" PRIu64 " minutes.\n", keep / 3600, keep % 3600 / 60);
	print_count(kept, "history", "kept for it");
	print_count(kept, "sparse", "more than half dead, to be emptied when it is over");
	print_count(kept, "waiting", "perhaps of a push that is under way; deleted after a week, or with --now");
	if (json_is_true(json_object_get(a, "gave_way")))
		printf("Other devices were syncing all the time; the rest is left for another time.\n");
	if (json_is_true(json_object_get(a, "crowded")))
		printf("The store has more objects that no commit is known to name than are looked at in one run; the rest is left for "
		    "another time.\n");
}

static int
make_request(const struct options *o, json_t **out)
{
	const char *keep = options_get(o, "keep");
	int64_t keep_s = -1;
	json_t *request;

	if (keep != NULL && !read_time(keep, &keep_s))
		return tell_usage("gc", "\"%s\" is no time to keep history for: say 30d, 12h, 8w, or 0 for none", keep);
	if (keep == NULL && options_get(o, "save") != NULL)
		return tell_usage("gc", "--save goes with --keep");
	if (options_get(o, "dry-run") != NULL && options_get(o, "save") != NULL)
		return tell_usage("gc", "--dry-run changes nothing, and --save does: give one of them");
	request = json_pack("{s:s, s:b, s:b, s:b}", "op", "gc", "now", options_get(o, "now") != NULL, "dry_run",
	    options_get(o, "dry-run") != NULL, "save", options_get(o, "save") != NULL);
	if (request != NULL && keep != NULL)
		(void)json_object_set_new(request, "keep", json_integer(keep_s));
	*out = request;
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	CLEANUP(handle_free_json) json_t *request = NULL;
	int status;

	if ((status = make_request(o, &request)) != 0 || (status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, STEAL(request), &answer)) != 0)
		return status;
	if (o->json)
		return tell_json(answer);
	print_answer(answer);
	return 0;
}

const struct command cmd_gc = {
	.name = "gc",
	.synopsis = "[MOUNTPOINT] [--keep TIME] [--save | --dry-run] [--now] [--json]",
	.summary = "delete from the store what is not needed any more",
	.details = "Deletes what no file has had in it for as long as history is kept, superseded bases, and what was left by\n"
	    "pushes that were cut short; puts together what is more than half dead.  A mounted folder does that by\n"
	    "itself, once a day.\n",
	.accepts = ACCEPT_JSON,
	.options = (const struct option_spec[]){
	    { "keep", "TIME", "keep history for that long (30d, 12h, 8w; 0: none), this time" },
	    { "save", NULL, "and from now on, on this computer" },
	    { "now", NULL, "delete at once what may belong to another computer's push\nthat is under way, which then has to be repeated" },
	    { "dry-run", NULL, "only say what would be done" },
	    { 0 } },
	.place = PLACE_OPTIONAL,
	.run = run,
};
