/* snugfs rekey: what exists goes under keys that removed devices do not have. */
#include "cmd_rekey.h"

#include <stdio.h>

#include "commands.h"
#include "handles.h"
#include "human.h"
#include "session.h"
#include "tell.h"

#define DAY_S 86400

static void
print_done(const json_t *a)
{
	json_int_t bytes = json_integer_value(json_object_get(a, "bytes"));
	json_int_t damaged = json_integer_value(json_object_get(a, "damaged"));
	json_int_t days = (json_integer_value(json_object_get(a, "keep_seconds")) + DAY_S - 1) / DAY_S;
	char text[HUMAN_BYTES_LEN];

	human_bytes((uint64_t)bytes, text);
	if (bytes == 0 && damaged == 0)
		printf("All content is under keys that only today's devices have; there was nothing to do.\n");
	else
		printf("Sealed %s anew: all content is under keys now that only today's devices have.\n", text);
	if (damaged > 0)
		printf("%lld damaged parts of files are left as they were: \"snugfs verify\" says which.\n", (long long)damaged);
	if (bytes > 0)
		printf("What was in the store before stays there as long as history needs it, which is kept for %lld days:\n"
		       "\"snugfs gc --keep 0\" deletes it now, and with it all history.\n", (long long)days);
}

int
cmd_rekey_print(const json_t *a)
{
	const char *problem = json_string_value(json_object_get(a, "problem"));

	if (problem != NULL && !json_is_true(json_object_get(a, "ok")))
		return tell_failure("%s: say \"snugfs rekey\" again", problem);
	if (problem != NULL)
		return tell_failure("what exists is not all under new keys yet: %s; it goes on by itself while the folder is mounted, and "
		    "\"snugfs rekey\" waits for it", problem);
	if (json_is_true(json_object_get(a, "done")))
		print_done(a);
	else
		printf("What exists is sealed anew in the background, while the folder is mounted: \"snugfs status\" says how far it is,\n"
		       "\"snugfs rekey\" waits for it.\n");
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	bool stop = options_get(o, "stop") != NULL, background = options_get(o, "background") != NULL;
	int status;

	if (stop && background)
		return tell_usage("rekey", "--stop ends it, and --background begins it: give one of them");
	if ((status = session_find_place(o, &p)) != 0 || (status = session_call(o, &p, json_pack("{s:s, s:b, s:b}", "op", "rekey",
	        "stop", stop, "background", background), &answer)) != 0)
		return status;
	if (!stop)
		return cmd_rekey_print(answer);
	printf("What is still under old keys stays so.\n");
	return 0;
}

const struct command cmd_rekey = {
	.name = "rekey",
	.synopsis = "[MOUNTPOINT] [--background | --stop]",
	.summary = "put what exists under keys that removed devices do not have",
	.details = "A device that was removed still knows the keys of what was there before.  This reads all content, seals it anew\n"
	    "under fresh keys, and sends it to the store; nobody sees a change.  If it is interrupted, it goes on by itself while the\n"
	    "folder is mounted.\n",
	.options = (const struct option_spec[]){
	    { "background", NULL, "do not wait" },
	    { "stop", NULL, "do not go on with what was begun" },
	    { 0 } },
	.place = PLACE_OPTIONAL,
	.run = run,
};
