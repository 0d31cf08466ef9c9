/* snugfs pause, offline, resume: whether a vault syncs. */
#include <stdio.h>
#include <time.h>

#include "amounts.h"
#include "commands.h"
#include "handles.h"
#include "place.h"
#include "session.h"
#include "tell.h"

static int
hold(struct options *o, const char *kind, int64_t until, bool *metered_out)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status = session_find_place(o, &p);

	if (status != 0)
		return status;
	status = session_call(o, &p, json_pack("{s:s, s:s, s:I}", "op", "hold", "hold", kind, "until", (json_int_t)until), &answer);
	*metered_out = json_is_true(json_object_get(answer, "metered"));
	return status;
}

static int
hold_for(struct options *o, const char *command, const char *kind, const char *sentence)
{
	const char *text = options_get(o, "for");
	int64_t seconds = 0;
	char words[32];
	bool metered;
	int status;

	if (text != NULL && amount_parse_seconds(text, &seconds) != 0)
		return tell_usage(command, "--for %s is no time: write 90s, 15m, 2h or 3d", text);
	status = hold(o, kind, text != NULL ? (int64_t)time(NULL) + seconds : 0, &metered);
	if (status != 0)
		return status;
	if (text != NULL) {
		amount_print_seconds(seconds, words, sizeof(words));
		printf("%s for %s.\n", sentence, words);
	} else {
		printf("%s until \"snugfs resume\", also after a remount.\n", sentence);
	}
	return 0;
}

static int
run_pause(struct options *o)
{
	return hold_for(o, "pause", "paused", "Nothing is synced by itself");
}

static int
run_offline(struct options *o)
{
	return hold_for(o, "offline", "offline", "Nothing goes over the network");
}

static int
run_resume(struct options *o)
{
	bool metered = false;
	int status = hold(o, "none", 0, &metered);

	if (status == 0)
		puts(metered ? "It waits all the same, since the network is metered: \"snugfs sync\" syncs now." :
		    "It syncs by itself again.");
	return status;
}

static const struct option_spec for_option[] = {
	{ "for", "TIME", "90s, 15m, 2h, 3d; else until \"snugfs resume\"" },
	{ 0 },
};

const struct command cmd_pause = {
	.name = "pause",
	.synopsis = "[MOUNTPOINT] [--for TIME]",
	.summary = "do not sync by itself, for a time or until told otherwise",
	.details = "Nothing goes to the store or comes from it by itself, also after a remount; an upload that is under way\n"
	    "stops between two segments.  What is read and is not here is still fetched, and \"snugfs sync\" syncs.\n",
	.options = for_option,
	.place = PLACE_OPTIONAL,
	.run = run_pause,
};

const struct command cmd_offline = {
	.name = "offline",
	.synopsis = "[MOUNTPOINT] [--for TIME]",
	.summary = "do not use the network at all, for a time or until told otherwise",
	.details = "Nothing goes over the network, also after a remount: transfers end at once, and what is read and is not\n"
	    "here is an error.  On a metered network nothing is synced by itself without that.\n",
	.options = for_option,
	.place = PLACE_OPTIONAL,
	.run = run_offline,
};

const struct command cmd_resume = {
	.name = "resume",
	.synopsis = "[MOUNTPOINT]",
	.summary = "end \"pause\" and \"offline\"",
	.details = "Syncs by itself again, and begins at once.\n",
	.place = PLACE_OPTIONAL,
	.run = run_resume,
};
