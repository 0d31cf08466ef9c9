/*
 * verified.h: which members a person has looked at: whose words he has compared on their own screens.  A row of meta.db, for
 * this device alone; it is bound to the member's keys, since the id is their hash.  Uses meta.h, identity.h.
 */
#ifndef SNUGFS_VERIFIED_H
#define SNUGFS_VERIFIED_H

#include "identity.h"
#include "meta.h"

/* false also if the row can't be read.  [meta lock] */
bool verified_has(struct meta *m, const uint8_t id[static IDENTITY_ID_LEN]);
/* Durable when it returns 0.  Not with the meta lock held. */
MUST_CHECK err_t verified_set(struct meta *m, const uint8_t id[static IDENTITY_ID_LEN], bool verified);

#endif
