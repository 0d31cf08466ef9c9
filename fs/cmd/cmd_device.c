/* snugfs device: who is in, and changing that. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd_rekey.h"
#include "commands.h"
#include "handles.h"
#include "session.h"
#include "tell.h"

#define WHEN_LEN 32

static void
when(const json_t *seconds, char out[static WHEN_LEN])
{
	time_t t = (time_t)json_integer_value(seconds);
	struct tm tm;

	if (!json_is_integer(seconds) || localtime_r(&t, &tm) == NULL || strftime(out, WHEN_LEN, "%Y-%m-%d %H:%M", &tm) == 0)
		snprintf(out, WHEN_LEN, "-");
}

static const char *
text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "-";
}

/* list */

static void
print_device(const json_t *d)
{
	char added[WHEN_LEN], last[WHEN_LEN];
	const json_t *verified = json_object_get(d, "verified");

	when(json_object_get(d, "added"), added);
	when(json_object_get(d, "last_commit"), last);
	printf("%-24s  %.8s  since %s by %s", text_of(d, "name"), text_of(d, "id"), added, text_of(d, "added_by"));
	if (json_is_true(json_object_get(d, "invited")))
		printf(" (invited)");
	if (strcmp(text_of(d, "kind"), "computer") == 0)
		printf(", last change %s", last);
	if (json_is_boolean(verified) && !json_is_true(json_object_get(d, "this")))
		printf(", %s", json_is_true(verified) ? "verified" : "not verified");
	printf("%s\n", json_is_true(json_object_get(d, "this")) ? ", this computer" : "");
}

static void
print_invitation(const json_t *i)
{
	char expires[WHEN_LEN];
	bool over = json_integer_value(json_object_get(i, "expires")) < (json_int_t)time(NULL);

	when(json_object_get(i, "expires"), expires);
	printf("%-24s  %.8s  invitation by %s, %s %s\n", text_of(i, "name"), text_of(i, "id"), text_of(i, "invited_by"),
	    over ? "expired" : "open until", expires);
}

static int
run_list(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const json_t *devices, *invitations;
	int status;

	if ((status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, json_pack("{s:s}", "op", "device-list"), &answer)) != 0)
		return status;
	if (o->json)
		return tell_json(answer);
	devices = json_object_get(answer, "devices");
	invitations = json_object_get(answer, "invitations");
	for (size_t i = 0; i < json_array_size(devices); i++)
		print_device(json_array_get(devices, i));
	for (size_t i = 0; i < json_array_size(invitations); i++)
		print_invitation(json_array_get(invitations, i));
	return 0;
}

static const struct command cmd_list = {
	.name = "device list",
	.synopsis = "[MOUNTPOINT] [--json]",
	.summary = "who can open the vault, and who is invited",
	.details = "Lists the devices of the vault, and the invitations that are open, each with its name and id, since when it is in and\n"
	    "who let it in, and when it last changed something.\n",
	.accepts = ACCEPT_JSON,
	.place = PLACE_OPTIONAL,
	.run = run_list,
};

/* rename */

static int
run_rename(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status;

	if ((status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, json_pack("{s:s, s:s, s:s}", "op", "device-rename", "who", o->args[0], "name", o->args[1]),
	         &answer)) != 0)
		return status;
	printf("\"%s\" is called \"%s\" now.\n", text_of(answer, "name"), o->args[1]);
	return 0;
}

static const struct command cmd_rename = {
	.name = "device rename",
	.synopsis = "[MOUNTPOINT] NAME|ID NEW-NAME",
	.summary = "give a device another name",
	.details = "All devices see the new name with their next sync.\n",
	.place = PLACE_OPTIONAL,
	.args_are = "a device and its new name",
	.args_min = 2,
	.args_max = 2,
	.run = run_rename,
};

/* remove */

static const struct option_spec remove_options[] = {
	{ "yes", NULL, "do not ask" },
	{ "rekey", NULL, "put what exists under new keys, too: see \"snugfs rekey\"" },
	{ NULL, NULL, NULL },
};

static int
confirm(const char *who, const char *mountpoint)
{
	char line[16];

	if (!isatty(STDIN_FILENO))
		return tell_failure("\"%s\" was not removed: there is no terminal to ask on; say --yes if you are sure", who);
	printf("Remove \"%s\" from the vault of %s?  It will read nothing that is written from now on. [y/N] ", who, mountpoint);
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL || (line[0] != 'y' && line[0] != 'Y'))
		return tell_failure("nothing was changed");
	return 0;
}

/* What the device could do with the store, and how that is ended. */
static void
print_store(const json_t *answer)
{
	const char *remote = text_of(answer, "remote"), *key = json_string_value(json_object_get(answer, "access_key"));

	if (strncmp(remote, "s3:", 3) != 0)
		printf("It may still reach %s: take that from it, or it can fetch the ciphertext and delete objects.\n", remote);
	else
		printf("It may still know the access key%s%s of %s, or another one that it was given.  Replace these with the\n"
		       "provider, and tell \"snugfs remote set\" on the other computers; until then it can fetch the ciphertext and delete objects.\n",
		    key != NULL ? " " : "", key != NULL ? key : "", remote);
}

/* What removal does not do. */
static int
print_rest(const json_t *answer)
{
	const json_t *rekey = json_object_get(answer, "rekey");
	const char *name = text_of(answer, "name");

	printf("\"%s\" is removed: what is written from now on is closed to it.\n"
	       "It may still have all that it has synced until now: names, the contents that it has kept or read, and the keys to\n"
	       "the contents that it has not, which it can use as long as it can fetch them from the store.\n", name);
	print_store(answer);
	if (json_is_object(rekey))
		return cmd_rekey_print(rekey);
	printf("To put what exists under keys that it does not have: \"snugfs rekey\".\n");
	return 0;
}

static int
run_remove(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status;

	if ((status = session_find_place(o, &p)) != 0 ||
	    (options_get(o, "yes") == NULL && (status = confirm(o->args[0], p.mountpoint)) != 0) ||
	    (status = session_call(o, &p, json_pack("{s:s, s:s, s:b}", "op", "device-remove", "who", o->args[0], "rekey",
	         options_get(o, "rekey") != NULL), &answer)) != 0)
		return status;
	if (strcmp(text_of(answer, "kind"), "invitation") != 0)
		return print_rest(answer);
	printf("The invitation \"%s\" is withdrawn.\n", text_of(answer, "name"));
	return json_is_object(json_object_get(answer, "rekey")) ? cmd_rekey_print(json_object_get(answer, "rekey")) : 0;
}

static const struct command cmd_remove = {
	.name = "device remove",
	.synopsis = "[MOUNTPOINT] NAME|ID [--yes] [--rekey]",
	.summary = "close the vault to a device, or withdraw an invitation",
	.details = "From now on everything is written under keys that the device does not have, also what is written to files that it\n"
	    "could read.  What it has synced until now it may keep.\n",
	.options = remove_options,
	.place = PLACE_OPTIONAL,
	.args_are = "a device",
	.args_min = 1,
	.args_max = 1,
	.run = run_remove,
};

static const struct command *const subcommands[] = { &cmd_list, &cmd_device_invite, &cmd_rename, &cmd_remove, &cmd_device_verify,
	NULL };

const struct command cmd_device = {
	.name = "device",
	.synopsis = "list|invite|rename|remove|verify ...",
	.summary = "who can open the vault: list, invite, rename, remove, verify",
	.details = "A device is a computer that can open the vault.\n",
	.subcommands = subcommands,
};
