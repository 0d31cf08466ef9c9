/*
 * hash_table.h: uthash as this project uses it.  FNV-1a in place of the default function, whose fall-through cases clang's
 * warnings do not forgive.  When memory runs out an addition ends the process, unless the file that includes this
 * defines HASH_NONFATAL_OOM before and looks at hh.tbl after.  Uses uthash.
 */
#ifndef SNUGFS_HASH_TABLE_H
#define SNUGFS_HASH_TABLE_H

#define HASH_FUNCTION(key, len, hash) HASH_FNV(key, len, hash)
#include <uthash.h>

/*
 * A table grows when a chain has become long, and has more than half as many items as buckets: then chains are shorter than uthash
 * would have them, and each step along one may be a cache miss.  For the chain alone uthash would double a table again and again:
 * where items come and go, one of any number of chains will be long some day, and no table ever shrinks.
 */
static inline unsigned
hash_table_chain_max(const UT_hash_bucket *b)
{
	const UT_hash_table *t = b->hh_head->tbl;

	return t->num_items > t->num_buckets / 2 ? 5U : 1U << 20;
}
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH hash_table_chain_max(_ha_head)

#endif
