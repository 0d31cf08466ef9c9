/*
 * Taking the lock for rows that are not in memory: the disk is asked before, without it.
 *
 * Reading a row that the kernel has takes less than that.  So only a thread whose reads have lately come from the disk does it: the
 * kernel counts them.
 */
#include "disk.h"
#include "meta_internal.h"

#define WARM_COUNT 64u /* rows, after each time that the disk was asked */

static bool
disk_was_asked(void)
{
	static _Thread_local long seen;
	static _Thread_local unsigned left;
	long blocks = disk_blocks_read();

	if (blocks != seen) {
		seen = blocks;
		left = WARM_COUNT;
	}
	if (left == 0)
		return false;
	left--;
	return true;
}

/* Chunk 0 comes with its inode. */
static bool
is_cold_range(struct meta *m, uint64_t ino, uint64_t from, uint64_t to)
{
	for (uint64_t no = from / CHUNK_LEN; no * CHUNK_LEN < to; no++) {
		uint64_t key[2] = { ino, no };
		struct cached_chunk *cc;

		HASH_FIND(hh, m->chunks, key, sizeof(key), cc);
		if (no > 0 && (cc == NULL || (parts_between(&cc->chunk, from, to) & ~cc->parts.loaded) != 0))
			return true;
	}
	return false;
}

static void
warm_range(struct meta *m, uint64_t ino, uint64_t from, uint64_t to)
{
	from = from < CHUNK_LEN ? CHUNK_LEN : from;
	db_warm(m->db, DB_CHUNK, ino, from / CHUNK_LEN, (to - 1) / CHUNK_LEN);
	db_warm(m->db, DB_CHUNK_PART, ino, from / CHUNK_PART_LEN, (to - 1) / CHUNK_PART_LEN);
}

void
meta_lock_warm(struct meta *m, uint64_t ino, uint64_t off, uint64_t len)
{
	uint64_t to = off + (len < CHUNK_LEN ? len : CHUNK_LEN);
	struct cached_inode *ci;
	bool cold_range;

	meta_lock(m);
	ci = inode_cached(m, ino);
	cold_range = (ci == NULL || ci->node.stored) && is_cold_range(m, ino, off, to);
	if ((ci != NULL && !cold_range) || !disk_was_asked())
		return;
	meta_unlock(m);
	if (ci == NULL)
		db_warm(m->db, DB_INODE, ino, 0, 0);
	if (cold_range)
		warm_range(m, ino, off, to);
	meta_lock(m);
}

void
meta_lock_warm_name(struct meta *m, uint64_t parent, const char *name)
{
	size_t len = strlen(name);
	struct directory *dir;
	int64_t hash = 0;
	bool whole;

	meta_lock(m);
	dir = names_find_directory(m, parent);
	if (len > NAME_LEN_MAX || dentry_cached(m, parent, name, len) != NULL ||
	    (dir == NULL ? names_is_unstored(m, parent) : dir->complete) || !disk_was_asked())
		return;
	whole = dir != NULL && !dir->large && dir->missed;
	meta_unlock(m);
	if (rowseal_name_hash(m->rs, parent, name, len, &hash) == 0)
		db_warm_names(m->db, parent, hash, whole ? NAMES_WHOLE_MAX + 1 : 0);
	meta_lock(m);
}
