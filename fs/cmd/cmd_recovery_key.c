/* snugfs recovery-key check: is what was written down the right key? */
#include "commands.h"
#include "prompt.h"
#include "recovery_check.h"
#include "secmem.h"

static int
run(struct options *o)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	int status = prompt_recovery_key(o, key.b);

	return status != 0 ? status : recovery_check(o, key.b, false);
}

static const struct command cmd_check = {
	.name = "recovery-key check",
	.synopsis = "[MOUNTPOINT]",
	.summary = "type the recovery key in, learn whether it is the right one",
	.details = "Asks for the recovery key (or for enough of its shares) and compares it with the one of the vault of MOUNTPOINT (of the only vault, if\n"
	    "there is only one).  A wrong character is pointed at.  Nothing is changed.\n",
	.place = PLACE_OPTIONAL,
	.run = run,
};

static const struct command *const subcommands[] = { &cmd_check, &cmd_recovery_new, &cmd_recovery_remove, &cmd_recovery_split, NULL };

const struct command cmd_recovery_key = {
	.name = "recovery-key",
	.synopsis = "check | new | remove | split",
	.summary = "the key on paper: check, replace or remove it, split it into shares",
	.details = "The recovery key opens the vault on a new computer when all others are lost.\n",
	.subcommands = subcommands,
};
