/*
 * rekey.h: seals anew what is under keys that a removed member knows.
 *
 * Every member in force until then has the keys of the epochs before the removal, and with them those of all files.  So each file
 * gets a fresh version of its key, wrapped under the epoch of now; what the newest state has of it is read, sealed under that, put
 * into new segments, and named by a commit that says of itself that it is no edit (merge_moved.c).  Then a base is written, and
 * the old segments are dead: a collector (gc.h) removes them when no history within its time needs them.
 *
 * STATE: an epoch.  What an extent in the chain's newest state has a key of an earlier one for is still to be done; so it goes on
 * after any interruption, and several devices may be at it.
 *
 * MEMORY: some 100 bytes for each segment, and the maps of what one commit takes.  Uses sync.h.
 */
#ifndef SNUGFS_REKEY_H
#define SNUGFS_REKEY_H

#include "sync.h"

/* To be done from now on: by sync_start's thread, by rekey_run, and by whoever opens the vault later.  The epoch is the current one. */
MUST_CHECK err_t rekey_begin(struct sync *s);
/* Not any more.  What has been done stays done. */
MUST_CHECK err_t rekey_stop(struct sync *s);

struct rekey_options {
	void *ctx;
	/* Now and then, with bytes in segments; total 0: being counted.  false: end with -ECANCELED.  May be NULL. */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
};
struct rekey_report {
	uint64_t bytes;   /* in segments, sealed anew by this call */
	uint64_t damaged; /* chunks that could not be read, and stay as they are */
	char why[512];    /* after a failure: a sentence without a full stop, or "" */
};
/*
 * Until all is done, pushing what is pending before; what has not been begun is nothing to do.  -ECANCELED, -ENETDOWN; else as
 * sync_once: then only `why` counts.  What was done until then stays done, and the rest to be done.
 */
MUST_CHECK err_t rekey_run(struct sync *s, const struct rekey_options *o, struct rekey_report *out);

#endif
