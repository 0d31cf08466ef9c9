/* snugfs device: who may open the vault. */
#include <stddef.h>

#include "commands.h"

const struct command cmd_device = {
	.name = "device",
	.synopsis = "verify ...",
	.summary = "the devices that may open the vault",
	.details = "What the devices of a vault are, and whether they are whom one takes them for.\n",
	.subcommands = (const struct command *const[]){ &cmd_device_verify, NULL },
};
