/* snugfs sync: push and pull now, through the daemon if the folder is mounted, else here. */
#include <stdio.h>

#include "commands.h"
#include "drain.h"
#include "place.h"
#include "session.h"

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	int status = session_find_place(o, &p);

	if (status == 0)
		status = drain_place(o, &p);
	if (status == 0)
		printf("The store has everything.\n");
	return status;
}

const struct command cmd_sync = {
	.name = "sync",
	.synopsis = "[MOUNTPOINT]",
	.summary = "push and pull now; returns when the store has everything",
	.details = "Exchanges changes with the store, whether MOUNTPOINT (or the only vault, if there is only one) is\n"
	    "mounted or not, and returns when the store has everything.  A mounted folder syncs by itself, too.\n",
	.place = PLACE_OPTIONAL,
	.run = run,
};
