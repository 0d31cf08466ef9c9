/* snugfs remote show, test: what the store of a vault is, and what a store can do.  "remote set" is in cmd_remote_set.c. */
#include <stdio.h>
#include <time.h>

#include "commands.h"
#include "handles.h"
#include "human.h"
#include "place.h"
#include "probe.h"
#include "remote_open.h"
#include "session.h"
#include "tell.h"

/* show */

static const char *
text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void
print_answer(const json_t *answer)
{
	const json_t *head = json_object_get(answer, "head");
	time_t contact = (time_t)json_integer_value(json_object_get(answer, "last_contact"));
	const char *keys = text_of(answer, "credentials");
	struct tm local;
	char when[40];

	printf("%s\n", text_of(answer, "url"));
	printf("  kind      %s\n", text_of(answer, "kind"));
	if (keys != NULL)
		printf("  keys      %s\n", keys);
	if (json_is_object(head))
		printf("  head      commit %lld, %s\n", (long long)json_integer_value(json_object_get(head, "number")),
		    text_of(head, "sha256"));
	else
		printf("  head      nothing was pushed yet\n");
	if (contact != 0 && localtime_r(&contact, &local) != NULL) {
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
		printf("  contact   %s\n", when);
	}
}

static int
run_show(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status;

	if ((status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, json_pack("{s:s}", "op", "remote"), &answer)) != 0)
		return status;
	(void)json_object_del(answer, "ok");
	if (o->json)
		return tell_json(answer);
	print_answer(answer);
	return 0;
}

/* test */

static const char *const verdicts[] = { [PROBE_SKIPPED] = "skipped", [PROBE_GOOD] = "good", [PROBE_BAD] = "bad" };

static json_t *
describe(const struct probe_report *r)
{
	json_t *items = json_object();

	for (int k = 0; k < PROBE_ITEM_COUNT; k++)
		(void)json_object_set_new(items, probe_item_name((enum probe_item)k), json_pack("{s:s, s:s}", "verdict",
		    verdicts[r->findings[k].verdict], "text", r->findings[k].sentence));
	return json_pack("{s:o, s:I, s:I, s:I, s:I}", "findings", items, "skew", (json_int_t)r->skew_s, "round_trip_us",
	    (json_int_t)r->round_trip_us, "up_per_s", (json_int_t)r->up_bytes_per_s, "down_per_s",
	    (json_int_t)r->down_bytes_per_s);
}

static void
print_report(const struct probe_report *r)
{
	for (int k = 0; k < PROBE_ITEM_COUNT; k++)
		if (r->findings[k].verdict != PROBE_SKIPPED)
			printf("%-4s  %s.\n", r->findings[k].verdict == PROBE_GOOD ? "ok" : "BAD", r->findings[k].sentence);
}

static int
print_findings(const struct options *o, const struct probe_report *r)
{
	int status = 0;

	if (o->json) {
		CLEANUP(handle_free_json) json_t *out = describe(r);

		status = tell_json(out);
	} else {
		print_report(r);
	}
	for (int k = 0; k < PROBE_ITEM_COUNT; k++)
		if (r->findings[k].verdict == PROBE_BAD)
			status = EXIT_TOLD;
	return status;
}

static int
run_test(struct options *o)
{
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(remote_keys_clear) struct remote_keys keys = { 0 };
	struct probe_report report;
	int status;
	err_t err;

	if ((status = remote_keys_read(o, "remote test", &keys)) != 0 ||
	    (status = remote_open(o->args[0], false, &keys, &store)) != 0)
		return status;
	if ((err = probe_run(store, &report)) != 0)
		return tell_failure("the store could not be tried: %s", tell_reason(err));
	return print_findings(o, &report);
}

static const struct command remote_show = {
	.name = "remote show",
	.synopsis = "[MOUNTPOINT] [--json]",
	.summary = "the store of a vault: its URL, its head, the last contact",
	.details = "Says what the vault's store is, which commit is the last that is known here, and when it last answered.\n",
	.accepts = ACCEPT_JSON,
	.place = PLACE_OPTIONAL,
	.run = run_show,
};

static const struct command remote_test = {
	.name = "remote test",
	.synopsis = "URL [--credentials-file FILE | --ask-credentials] [--json]",
	.summary = "try what a store can do, without a vault",
	.details = "Tries the store in earnest, with some objects that are removed again, and says in a sentence each: can it be\n"
	    "reached, are the keys right, may they read, write, list and delete, does it create objects only if they are\n"
	    "absent, how far its clock is off, how long an answer takes, how fast it is.  Ends with 1 if something is bad.\n",
	.accepts = ACCEPT_JSON,
	.options = remote_keys_options,
	.place = PLACE_NONE,
	.args_are = "the URL of a store",
	.args_min = 1,
	.args_max = 1,
	.run = run_test,
};

const struct command cmd_remote = {
	.name = "remote",
	.synopsis = "show | set | test",
	.summary = "show, change or try the store",
	.details = "The store of a vault.\n",
	.subcommands = (const struct command *const[]){ &remote_show, &cmd_remote_set, &remote_test, NULL },
};
