/* snugfs witness: a second store that keeps the first one honest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "handles.h"
#include "place.h"
#include "session.h"
#include "store.h"
#include "tell.h"

static int
run_show(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const char *url, *problem;
	int status = session_find_place(o, &p);

	if (status == 0)
		status = session_call(o, &p, json_pack("{s:s}", "op", "witness"), &answer);
	if (status != 0)
		return status;
	if (o->json)
		return tell_json(answer);
	url = json_string_value(json_object_get(answer, "url"));
	problem = json_string_value(json_object_get(answer, "problem"));
	if (url == NULL)
		printf("There is no witness: \"snugfs witness set URL\" makes a second store one.\n");
	else
		printf("witness  %s\n", url);
	if (problem != NULL)
		printf("problem  %s\n", problem);
	return 0;
}

static int
run_set(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	CLEANUP(free_ptr) char *url = NULL;
	bool off = strcmp(o->args[0], "off") == 0;
	char *why = NULL;
	err_t err;
	int status;

	if (!off && (err = store_url_normalize(o->args[0], &url, &why)) != 0)
		return tell_why(why, "the witness's address", err);
	if ((status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, json_pack("{s:s, s:s?}", "op", "set-witness", "url", url), &answer)) != 0)
		return status;
	if (off)
		printf("There is no witness any more.\n");
	else
		printf("%s is the witness of this device now; set it on the others, too.\n", url);
	return 0;
}

static const struct command witness_show = {
	.name = "witness show",
	.synopsis = "[MOUNTPOINT] [--json]",
	.summary = "which store is the witness, and whether it works",
	.details = "Shows the witness of this device.\n",
	.accepts = ACCEPT_JSON,
	.place = PLACE_OPTIONAL,
	.run = run_show,
};

static const struct command witness_set_command = {
	.name = "witness set",
	.synopsis = "[MOUNTPOINT] URL|off",
	.summary = "make a second store the witness, or do without",
	.details = "After its commits, this device says in that store how far the vault's history has come, and it reads there\n"
	    "what the others have said.  Set it on each device; whoever runs that store learns how many there are.\n",
	.place = PLACE_OPTIONAL,
	.args_are = "the address of a store, or \"off\"",
	.args_min = 1,
	.args_max = 1,
	.run = run_set,
};

const struct command cmd_witness = {
	.name = "witness",
	.synopsis = "show|set ...",
	.summary = "a second store, so that the first cannot go back in time alone",
	.details = "A store that loses or replaces commits is noticed by each device that has seen them; with a witness in\n"
	    "another provider's hands also by one that has not.\n",
	.subcommands = (const struct command *const[]){ &witness_show, &witness_set_command, NULL },
};
