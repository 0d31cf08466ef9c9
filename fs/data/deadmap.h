/*
 * deadmap.h: how many bytes of each block of a hot segment nothing points at any more.  Of most segments that is known of few
 * blocks (what a long write left over of its last one): those are listed; of one that is overwritten all over, each block has a place.
 * Uses nothing.
 */
#ifndef SNUGFS_DEADMAP_H
#define SNUGFS_DEADMAP_H

#include <stdint.h>

struct deadmap_entry {
	uint16_t block;
	uint16_t bytes;
};

/* All zero: nothing is dead. */
struct deadmap {
	struct deadmap_entry *few; /* by block; NULL once there are many */
	uint16_t few_count;
	uint16_t few_cap;
	uint16_t *all; /* of all blocks */
};
void deadmap_clear(struct deadmap *d);
/* Adds bytes to that block, of block_count, and returns what it has then; 0: out of memory, it is not counted. */
uint16_t deadmap_add(struct deadmap *d, uint16_t block, uint16_t bytes, uint32_t block_count);

#endif
