/*
 * settings.h: what the user wants of sync and of locking on this device: a row of meta.db, so that it outlives remounts.  Uses meta.h.
 */
#ifndef SNUGFS_SETTINGS_H
#define SNUGFS_SETTINGS_H

#include "meta.h"

enum settings_hold {
	SETTINGS_GO,
	SETTINGS_PAUSED,  /* nothing is synced by itself; what is read is fetched, what somebody asks for is done */
	SETTINGS_OFFLINE, /* nothing goes over the network */
};

struct settings {
	enum settings_hold hold;
	int64_t hold_until;  /* seconds since 1970; 0: until told otherwise */
	bool has_up, has_down; /* the rates were set; else others may say (the configuration) */
	uint64_t up, down;   /* bytes a second; 0: no limit */
	int64_t lock_after_s;  /* without use; 0: never */
	bool lock_on_suspend;
};

/* Those that nobody has set are zero.  -EPROTO: of a newer version; -EBADMSG. */
MUST_CHECK err_t settings_load(struct meta *m, struct settings *out);
/* Durable when it returns 0. */
MUST_CHECK err_t settings_save(struct meta *m, const struct settings *s);
/* What holds at a time: a pause may be over. */
enum settings_hold settings_hold_at(const struct settings *s, int64_t now_s);

#endif
