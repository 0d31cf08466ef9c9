/*
 * hash_table.h: uthash as this project uses it.  FNV-1a in place of the default function, whose fall-through cases clang's
 * warnings do not forgive.  When memory runs out an addition ends the process, unless the file that includes this
 * defines HASH_NONFATAL_OOM before and looks at hh.tbl after.  Uses uthash.
 */
#ifndef SNUGFS_HASH_TABLE_H
#define SNUGFS_HASH_TABLE_H

#define HASH_FUNCTION(key, len, hash) HASH_FNV(key, len, hash)
#include <stdint.h>
#include <uthash.h>

/*
 * A table grows when it has more items than buckets, or a chain has become long and it has more than half as many: then chains are
 * shorter than uthash would have them, and each step along one may be a cache miss.  For the chain alone uthash would double a table
 * again and again: where items come and go, one of any number of chains will be long some day, and no table ever shrinks.  It would
 * also give up for ever (noexpand) after two times in a row that did little, which a small table may see by chance.  That is taken
 * back here, in time, because uthash evaluates HASH_BKT_CAPACITY_THRESH before it looks at noexpand.
 */
static inline unsigned
hash_table_chain_max(const UT_hash_bucket *b)
{
	UT_hash_table *t = b->hh_head->tbl;

	t->noexpand = 0;
	if (t->num_items > t->num_buckets)
		return 1U;
	return t->num_items > t->num_buckets / 2 ? 5U : 1U << 20;
}
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH hash_table_chain_max(_ha_head)

/*
 * For numbers that are given one after the other, in place of HASH_FUNCTION: sixteen neighbours stand in buckets side by side, so that
 * who goes through many finds the next bucket in the processor's cache.  Sixteen by sixteen they are spread (by 2^64 divided by the
 * golden ratio: Knuth, The Art of Computer Programming, volume 3, section 6.4), whatever step there is between them.
 */
static inline unsigned
hash_table_number(uint64_t n)
{
	uint64_t spread = (n >> 4) * UINT64_C(0x9e3779b97f4a7c15);

	spread = (spread ^ spread >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return (unsigned)n + (unsigned)(spread >> 32);
}

#endif
