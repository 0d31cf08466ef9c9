/*
 * tidy.h: keeps the local disk's share small without a store: what is hot is packed and put together once it is quiet, and hot
 * segments that have become sparse are emptied into dense ones.
 *
 * What is written is looked at once, a few seconds after the last change of anything; while changes do not cease, when half a
 * minute's worth of them fills whole segments.  A chunk of a file is rewritten only if it can be compressed, if it is in many
 * small pieces, or to empty a sparse segment; of a chunk of which little is new, only that (settle_choose.c), so that a file
 * that grows or changes all the time is rewritten no more than some eight times over.  Sparse segments are emptied when all of
 * them together waste more than 1/64 of what is live; the more has to be copied for each byte that comes back, the longer it
 * must have been quiet.  What is copied comes back segment by segment: it takes one more at a time.
 * Uses settle.h, segstore.h, meta.h.
 */
#ifndef SNUGFS_TIDY_H
#define SNUGFS_TIDY_H

#include "content.h"
#include "settle.h"

/* What tidying is about.  All borrowed. */
struct tidy_place {
	struct content *content;
	struct meta *meta;
	struct segstore *segments;
	struct keyring *keys;
};

/*
 * One pass over what there is to do, for tests and the thread.  quiet_ms: how long nothing was changed; UINT64_MAX: for ever.
 * pause is called between chunks (may be NULL); its error ends the pass.  *moved_out: bytes of plaintext that were put elsewhere;
 * *done_out: nothing was left that another pass could do.
 */
MUST_CHECK err_t tidy_pass(const struct tidy_place *p, uint64_t quiet_ms, settle_pause_fn *pause, void *pause_ctx,
    uint64_t *moved_out, bool *done_out);

/* The thread.  quiet_ms: after the last change, at least; where a store takes what is new, long enough to leave it to that. */
struct tidy;
MUST_CHECK err_t tidy_start(const struct tidy_place *p, unsigned quiet_ms, struct tidy **out);
/* Ends it.  grace_ms: what is left to do may take that long first. */
void tidy_stop(struct tidy *t, unsigned grace_ms);

#endif
