/*
 * past_internal.h: what past.c and past_build.c share, and nobody else sees.
 */
#ifndef SNUGFS_PAST_INTERNAL_H
#define SNUGFS_PAST_INTERNAL_H

#include "envelope.h"
#include "past.h"
#include "past_ahead.h"

/* What is known of a commit without reading it again. */
struct past_link {
	uint8_t hash[32];
	struct bytes object; /* empty unless it was small enough to be kept: most walks go the same way twice */
	bool read;
	uint64_t time_ns; /* if it was read, and how long it was */
	uint64_t len;
};

struct past {
	struct sync *s;
	struct past_watch watch;
	struct trust *trust; /* as of the head */
	uint64_t head;
	struct past_link *links; /* of the head, the one before it, … */
	size_t link_count;
	size_t link_cap;
	size_t kept; /* bytes of objects */
	struct past_ahead *ahead;
	uint64_t *bad_bases;
	size_t bad_base_count;
	char why[512];
};

__attribute__((format(printf, 3, 4))) err_t past_explain(struct past *p, err_t err, const char *fmt, ...);
err_t past_explain_store(struct past *p, err_t err);
MUST_CHECK err_t past_step(struct past *p, const char *text, uint64_t done, uint64_t total);
MUST_CHECK err_t past_open_object(struct past *p, enum envelope_kind kind, uint64_t seq, const struct bytes *object,
    struct envelope_opened *out);

#endif
