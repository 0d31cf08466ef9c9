/*
 * hash_table.h: uthash as this project uses it.  FNV-1a in place of the default function, whose fall-through cases clang's
 * warnings do not forgive.  When memory runs out an addition ends the process, unless the file that includes this
 * defines HASH_NONFATAL_OOM before and looks at hh.tbl after.  Uses uthash.
 */
#ifndef SNUGFS_HASH_TABLE_H
#define SNUGFS_HASH_TABLE_H

#define HASH_FUNCTION(key, len, hash) HASH_FNV(key, len, hash)
#include <uthash.h>

/* Shorter chains than uthash would have: each step along one may be a cache miss. */
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 5U

#endif
