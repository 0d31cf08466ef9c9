/*
 * steps.h: what is cut off files, and what merges leave of files, goes in steps if it is much.  Here one chunk is much, if the test wants
 * that; and what a step has changed is durable before the next, so that cuts of the power can come between any two.
 */
#ifndef CRASH_STEPS_H
#define CRASH_STEPS_H

#include "tape.h"
#include "vault.h"

/* Vaults that are opened from now on go in such steps (false: no longer). */
void steps_are_short(bool short_ones);
/* While steps are short, the clock that files take their times from stands still, so that all of a change has one; but here it goes on. */
void steps_tick(void);
/* From now on nobody notes in the database which files are being cut (false: as usual): for those who want to see a test fail. */
void steps_are_not_noted(bool lost);

/* Parts of the tape in which a file was being cut, in order. */
struct steps_span {
	size_t from;
	size_t to;
};
struct steps_spans {
	struct steps_span *v;
	size_t count;
	size_t cap;
	size_t entries; /* in all of them */
};
/* What is written between steps is noted there (NULL: no longer), if it is this vault's. */
void steps_watch(struct steps_spans *spans);
/* The first place from `at` on that is in one; `at` itself if there is none. */
size_t steps_next(const struct steps_spans *spans, size_t at);
void steps_spans_clear(struct steps_spans *spans);

/*
 * After mounting nothing is left of steps: no file is being cut, each has as much mapped as it says, nothing of it is mapped behind its
 * end, and no chunk is there without its file.  NULL, or what is wrong.
 */
const char *steps_left(struct vault *v);

#endif
