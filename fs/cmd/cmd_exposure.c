/* snugfs exposure: what whoever runs the store sees, and what he could do with it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "control.h"
#include "create.h"
#include "handles.h"
#include "human.h"
#include "mountstate.h"
#include "objname.h"
#include "op_exposure.h"
#include "progress.h"
#include "remote_open.h"
#include "session.h"
#include "tell.h"

static const char *const sees[] = {
	"the names above: numbers and random digits; no name of a file, folder or device is in them",
	"sizes in steps: each object is padded, by at most 12 in 100 of a large one",
	"when an object is written, as above, and if it keeps a log when it is read, listed or deleted",
	"for each such request the network address, and how many bytes of which object",
	"how many commits there are, so how often something changed; not what, nor by which device",
};
static const char *const could[] = {
	"delete or withhold objects: noticed; \"snugfs verify\" says which files it concerns; what is local stays",
	"change, cut, exchange or add objects: noticed before a wrong byte is read, and only that file is concerned",
	"put back an older state: noticed by each device that has seen a newer one, and with a witness by a new one, too",
	"show different devices different states: noticed as soon as they see a common one, or compare safety words",
	"guess from times and sizes when and how much somebody works; not read anything, and let nobody in",
};

#define TIME_LEN 40

static uint64_t
number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* "": it is not known. */
static void
time_text(const json_t *o, const char *key, char out[static TIME_LEN])
{
	time_t when = (time_t)number(o, key);
	struct tm tm;

	out[0] = '\0';
	if (when != 0 && localtime_r(&when, &tm) != NULL)
		strftime(out, TIME_LEN, "%Y-%m-%d %H:%M", &tm);
}

static void
print_kind(enum objname_kind kind, const json_t *k)
{
	char all[HUMAN_BYTES_LEN], smallest[HUMAN_BYTES_LEN], largest[HUMAN_BYTES_LEN], first[TIME_LEN], last[TIME_LEN];
	uint64_t count = number(k, "count");

	if (count == 0)
		return;
	human_bytes(number(k, "bytes"), all);
	human_bytes(number(k, "smallest"), smallest);
	human_bytes(number(k, "largest"), largest);
	printf("  %8" PRIu64 "  %-24s  %s", count, objname_plural(kind), all);
	if (count > 1)
		printf(", each %s to %s", smallest, largest);
	if (kind == OBJNAME_COMMIT || kind == OBJNAME_BASE)
		printf(", number %" PRIu64 " to %" PRIu64, number(k, "first"), number(k, "last"));
	time_text(k, "first_time", first);
	time_text(k, "last_time", last);
	if (first[0] != '\0')
		printf(strcmp(first, last) == 0 ? ", written %s" : ", written %s to %s", first, last);
	putchar('\n');
}

/* "00 0  01 12  …", six in a line. */
static void
print_times(const json_t *a)
{
	static const char *const days[] = { "Su", "Mo", "Tu", "We", "Th", "Fr", "Sa" };
	const json_t *hours = json_object_get(a, "by_hour"), *weekdays = json_object_get(a, "by_weekday"), *count;
	json_int_t timed = 0;
	size_t n;

	json_array_foreach(hours, n, count)
		timed += json_integer_value(count);
	if (timed == 0)
		return;
	printf("\nHow many of them were written in which hour of the day, and on which day of the week (as this computer counts):");
	for (size_t i = 0; i < 24; i++)
		printf("%s  %02zu h %5lld", i % 6 == 0 ? "\n" : "", i, (long long)json_integer_value(json_array_get(hours, i)));
	for (size_t i = 0; i < ARRAY_LEN(days); i++)
		printf("%s  %s %6lld", i == 0 ? "\n" : "", days[i], (long long)json_integer_value(json_array_get(weekdays, i)));
	putchar('\n');
}

static void
print_text(const json_t *a)
{
	uint64_t objects = number(a, "objects");
	char all[HUMAN_BYTES_LEN];

	human_bytes(number(a, "bytes"), all);
	printf("Whoever runs %s sees %" PRIu64 " object%s, %s:\n", json_string_value(json_object_get(a, "store")), objects,
	    objects == 1 ? "" : "s", all);
	for (int k = 0; k < OBJNAME_KIND_COUNT; k++)
		print_kind((enum objname_kind)k, json_object_get(json_object_get(a, "kinds"), objname_word((enum objname_kind)k)));
	if (number(a, "off_step") > 0)
		printf("  %" PRIu64 " of them have sizes that snugfs never gives: run \"snugfs verify\".\n", number(a, "off_step"));
	print_times(a);
	printf("\nThat is all there is to see:\n");
	for (size_t i = 0; i < ARRAY_LEN(sees); i++)
		printf("  - %s.\n", sees[i]);
	printf("\nThe store could:\n");
	for (size_t i = 0; i < ARRAY_LEN(could); i++)
		printf("  - %s.\n", could[i]);
}

static bool
show(void *ctx, uint64_t count)
{
	progress_show(ctx, EXPOSURE_PROGRESS_TEXT, count, 0, PROGRESS_COUNT);
	return true;
}

/* With keys that somebody types, that are in a file or in the usual places. */
static int
look_from_here(const struct options *o, const char *url, json_t **answer_out)
{
	CLEANUP(remote_keys_clear) struct remote_keys keys = { 0 };
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	struct progress bar = { 0 };
	const char *text;
	int status;

	if ((status = remote_keys_read(o, "exposure", &keys)) != 0 || (status = remote_open(url, false, &keys, &store)) != 0)
		return status;
	answer = exposure_describe(store, show, &bar);
	progress_end(&bar);
	if (answer == NULL)
		return tell_failure("not enough memory");
	if (!control_is_ok(answer, &text))
		return tell_failure("%s", text);
	*answer_out = STEAL(answer);
	return 0;
}

/* By the daemon, if there is one: it may have keys to the store that are nowhere else. */
static int
look(const struct options *o, json_t **answer_out)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *url = NULL;
	bool keys = options_get(o, "credentials-file") != NULL || options_get(o, "ask-credentials") != NULL;
	int status;

	if (o->remote != NULL) {
		status = create_remote_url(o, &url);
		return status != 0 ? status : look_from_here(o, url, answer_out);
	}
	if ((status = session_find_place(o, &p)) != 0)
		return status;
	if (!keys && mountstate_get(p.mountpoint) == MOUNT_OURS)
		return session_call(o, &p, json_pack("{s:s}", "op", "exposure"), answer_out);
	if (p.remote == NULL)
		return tell_failure("%s has no store, so nobody sees anything of it", p.mountpoint);
	return look_from_here(o, p.remote, answer_out);
}

static int
run(struct options *o)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status = look(o, &answer);

	if (status != 0)
		return status;
	if (!o->json) {
		print_text(answer);
		return 0;
	}
	return tell_json(answer);
}

const struct command cmd_exposure = {
	.name = "exposure",
	.synopsis = "[MOUNTPOINT] | --remote URL [--credentials-file FILE | --ask-credentials] [--json]",
	.summary = "show what whoever runs the store sees, and what he could do with it",
	.details = "Lists the store as its owner can, without any key of the vault: how many objects of which kind and size there\n"
	    "are, when they were written, what that tells, and what could be done with it.\n",
	.accepts = ACCEPT_JSON | ACCEPT_REMOTE,
	.options = remote_keys_options,
	.place = PLACE_OPTIONAL,
	.run = run,
};
