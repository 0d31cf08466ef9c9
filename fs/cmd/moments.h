/*
 * moments.h: what the hidden folder .snugfs of a mount shows: the views of history.h, found by the names of moments.
 * Uses history.h, uplink.h, hidden.h,
 * interrupt.h.
 */
#ifndef SNUGFS_MOMENTS_H
#define SNUGFS_MOMENTS_H

#include "hidden.h"
#include "history.h"
#include "uplink.h"

struct moments;
/* All borrowed. */
MUST_CHECK err_t moments_new(struct history *h, struct uplink *u, struct moments **out);
/* Waits for what is under way for nobody. */
void moments_free(struct moments *l);
/* Valid as long as l. */
const struct hidden_source *moments_source(struct moments *l);

#endif
