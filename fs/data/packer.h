/*
 * packer.h: seals plaintext anew, compressed where that saves at least a tenth.  Buffers for one chunk at a time.
 * Uses content.h (keys), compress.h, frame.h.
 */
#ifndef SNUGFS_PACKER_H
#define SNUGFS_PACKER_H

#include "bytes.h"
#include "content.h"

struct packer {
	uint8_t *plain;      /* CHUNK_LEN: the chunk's plaintext, each byte at its offset in the chunk */
	uint8_t *packed;     /* frames that shrank, compressed, each where its plaintext stands */
	struct bytes sealed; /* sealed extents, one after the other */
	/* Behind frames that did not shrink, so many of a run are passed over, twice as many each time: they are mostly like them. */
	uint32_t passing;
	uint32_t next_passing;
	uint64_t passing_file; /* which that is about */
};

MUST_CHECK err_t packer_init(struct packer *p); /* after a failure, too, packer_clear */
void packer_clear(struct packer *p);
/* Would the plaintext at `at`, going by its first frame, be packed? */
bool packer_would_shrink(struct packer *p, size_t at, uint32_t len);
/*
 * Seals the plaintext of [off, off + len), which lies in one chunk, as one extent, appended to p->sealed.  *out: the extent, but
 * for its segment; seg_off is its place in p->sealed.  at_hand: it is there already, sealed in FRAME_RAW under the same key for the
 * same origin; then -EALREADY unless it is packed now.
 */
MUST_CHECK err_t packer_seal(struct packer *p, const struct writing_key *key, uint64_t off, uint32_t len,
    bool at_hand, struct extent *out);

#endif
