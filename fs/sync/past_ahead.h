/*
 * past_ahead.h: commits are small and the store is far: who reads one after the other, up or down the chain, finds the next ones
 * here, read meanwhile by a few threads.  What they bring is as doubtful as what the store brings: the caller checks it.
 *
 * For one caller at a time.  Uses chain.h.
 */
#ifndef SNUGFS_PAST_AHEAD_H
#define SNUGFS_PAST_AHEAD_H

#include "chain.h"

struct past_ahead;
/* c is borrowed; head: nothing above it is asked for.  Makes no thread yet. */
MUST_CHECK err_t past_ahead_new(struct chain *c, uint64_t head, struct past_ahead **out);
/* Waits for what is under way. */
void past_ahead_free(struct past_ahead *a);
/* As chain_read_commit; seq is not above the head. */
MUST_CHECK err_t past_ahead_read(struct past_ahead *a, uint64_t seq, struct bytes *out);

#endif
