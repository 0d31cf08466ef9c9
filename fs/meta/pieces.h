/*
 * pieces.h: settled segments by pieces, which is how they come from the store and how the disk gives them up again.  Piece k is
 * [k * length, (k + 1) * length) of the object; the length is 1 MiB, and more in an object of more than 64 MiB, so that a mask of 64
 * bits says which are meant.  Pure.
 */
#ifndef SNUGFS_PIECES_H
#define SNUGFS_PIECES_H

#include <stdint.h>

#define PIECES_LEN_MIN (UINT64_C(1) << 20)
#define PIECES_MAX 64u

/* Length of the pieces of an object of that size, a power of two; the last one may be shorter. */
uint64_t pieces_len(uint64_t size);
unsigned pieces_count(uint64_t size);
/* All of them; 0 of an empty object. */
uint64_t pieces_all(uint64_t size);
/* Those that have bytes of [off, off + len), as far as that lies in the object. */
uint64_t pieces_touching(uint64_t size, uint64_t off, uint64_t len);
/* Pieces from first to before first + count. */
uint64_t pieces_run(unsigned first, unsigned count);
/* The first run of neighbours in mask, at most max long: its length; 0: mask is 0. */
unsigned pieces_first_run(uint64_t mask, unsigned max, unsigned *first_out);
/* Bytes of those pieces. */
uint64_t pieces_bytes(uint64_t size, uint64_t mask);

#endif
