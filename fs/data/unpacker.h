/*
 * unpacker.h: opens whole sealed extents from memory, wherever their bytes came from; for whoever checks a segment that is
 * not among the local ones.  Uses frame.h, compress.h, secmem.h, inode.h.
 */
#ifndef SNUGFS_UNPACKER_H
#define SNUGFS_UNPACKER_H

#include "err.h"
#include "inode.h"
#include "secmem.h"

/*
 * sealed: x->stored_len bytes.  plain_out gets x->x_len bytes, which begin at x->x_off of the file.  -EBADMSG: damaged, or not
 * this extent; then what is in plain_out means nothing.
 */
MUST_CHECK err_t unpacker_open(uint64_t origin, const struct key32 *key, const struct extent *x, const uint8_t *sealed,
    uint8_t *plain_out);

#endif
