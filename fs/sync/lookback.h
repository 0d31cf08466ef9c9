/*
 * lookback.h: the hash of a commit that lies behind the head, proven: the chain is followed back, each object by the hash that
 * the one after it signed.  Uses sync.h.
 */
#ifndef SNUGFS_LOOKBACK_H
#define SNUGFS_LOOKBACK_H

#include "sync.h"

/*
 * SHA-256 of the object of commit seq.  For the head itself the store is not asked.  -ENOENT: the head is not there yet;
 * -ESTALE: a commit on the way is lost, or not the one that this device has seen; the store's errors.
 */
MUST_CHECK err_t lookback_hash(struct sync *s, uint64_t seq, uint8_t hash_out[static 32]);

#endif
