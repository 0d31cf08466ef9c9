/*
 * witness.h: a second store in which each device says, after its own commits, how far the chain has come, so that whoever runs
 * the first one cannot put an older state before a device that has not seen the newer one.
 *
 * The object w/<32 hex> is an envelope of kind 6 by its device; the name is an HMAC of the member's id.  What goes wrong with
 * the witness never keeps anything from being synced; a statement that contradicts the chain does.  Uses sync.h.
 */
#ifndef SNUGFS_WITNESS_H
#define SNUGFS_WITNESS_H

#include "sync.h"

struct witness;
/* s is borrowed. */
MUST_CHECK err_t witness_new(struct sync *s, struct witness **out);
void witness_free(struct witness *w);

/* As store_cancel, for its store; from any thread. */
void witness_cancel(struct witness *w, bool cancelled);

/*
 * [round] Before commits are pulled: reads what the devices in force have said, if that has not been done for some minutes;
 * afterwards: holds it against what was pulled.  -ESTALE: the store has lost or replaced commits (the status says which).
 */
void witness_read(struct witness *w);
MUST_CHECK err_t witness_judge(struct witness *w);
/* [round] After commits of this device: says so. */
void witness_write(struct witness *w);

/* Which store is asked from now on, and whether that works; NULL: none.  *why_out: a sentence on failure, malloc'ed. */
MUST_CHECK err_t witness_set(struct sync *s, const char *url, char **why_out);
struct witness_status {
	char url[512];       /* "": none */
	char problem[512];   /* a sentence; "": none */
	uint64_t written;    /* the commit that this device told last */
	bool has_written;
	uint32_t heard;      /* how many devices were heard at the last look */
};
void witness_get_status(struct sync *s, struct witness_status *out);

#endif
