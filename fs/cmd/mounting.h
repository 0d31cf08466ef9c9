/*
 * mounting.h: what mount and up share: the checks before a mount, unlocking, and the daemon.
 * Functions return exit statuses (tell.h).  Uses place.h, prompt.h, daemon.h, mount_check.h, cmd_cache.h, cmd_limit.h.
 */
#ifndef SNUGFS_MOUNTING_H
#define SNUGFS_MOUNTING_H

#include "cmd_limit.h"
#include "options.h"
#include "place.h"
#include "prompt.h"

/* What "snugfs cache" and "snugfs limit" set, set on the way: those rows of their options table, and their values. */
#define MOUNTING_OPTIONS \
	{ "cache-size", "SIZE", "keep at most that much on this computer of what the store has,\ntoo (10G, 500M; none: no limit); " \
	    "remembered; see \"snugfs cache\"" }, \
	{ "up-limit", "RATE", "send at most so many bytes a second to the store (500K, 2M;\nnone: no limit); remembered; see \"snugfs limit\"" }, \
	{ "down-limit", "RATE", "the same for what comes from it" }
struct mounting_settings {
	bool has_cache_size;
	uint64_t cache_size;
	struct cmd_limits limits;
};
int mounting_read_settings(const struct options *o, struct mounting_settings *out);
/* In the daemon of a folder that is mounted. */
int mounting_change_settings(const struct options *o, const struct place *p, const struct mounting_settings *s);

/* Whatever can be known to be wrong before anybody is asked for anything; takes off a mount that died. */
int mounting_check(const struct options *o, const struct place *p);
/* Unlocks a vault that exists; empty if it needs no unlocking.  Call it before there are threads. */
int mounting_unlock(const struct options *o, const struct place *p, struct secret *out);
/*
 * Mounts and serves until it is over.  announce: say on stdout what was done once the folder is usable.
 * remote: for a vault that has none yet, normalized, or NULL.  With the settings that o has.
 */
int mounting_serve(const struct options *o, const struct place *p, const struct secret *passphrase, const char *remote,
    bool announce);

#endif
