/* cmd_cache.h: the size of the cache, as commands are given it.  Uses options.h, place.h. */
#ifndef SNUGFS_CMD_CACHE_H
#define SNUGFS_CMD_CACHE_H

#include <stdint.h>

#include "options.h"
#include "place.h"

/* The value of that option of a command, checked.  Returns an exit status (tell.h). */
int cmd_cache_size(const struct options *o, const char *option, uint64_t *size_out, bool *given_out);
/* Sets it, in the daemon if the folder is mounted.  The same. */
int cmd_cache_set(const struct options *o, const struct place *p, uint64_t size);

#endif
