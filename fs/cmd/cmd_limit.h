/* cmd_limit.h: how fast it syncs, as commands are given it.  Uses options.h, place.h. */
#ifndef SNUGFS_CMD_LIMIT_H
#define SNUGFS_CMD_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "place.h"

/* Bytes a second; 0: no limit. */
struct cmd_limits {
	bool has_up, has_down;
	uint64_t up, down;
};

/* The values of --up-limit and --down-limit, checked.  Returns an exit status (tell.h). */
int cmd_limit_read(const struct options *o, struct cmd_limits *out);
/* Sets them, in the daemon if the folder is mounted.  The same. */
int cmd_limit_set(const struct options *o, const struct place *p, const struct cmd_limits *l);

#endif
