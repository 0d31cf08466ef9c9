/*
 * cut.h: what a disk can hold after a crash in the middle of a tape.
 *
 * Whatever was flushed before the cut is there.  Of the writes that were not, each may be there, be lost or be torn at 512 bytes
 * or 4 KiB; a file may have grown without them.  Of names (and truncations and holes) there are two models:
 *
 * CUT_ORDERED  as with a journal: a prefix of their order in time survives; a flush of a directory makes all before it last, and
 *              so does one of a file that has a new name, a new size or new holes.
 * CUT_HARSH    only a flush of the directory makes a name last; each name for itself may be anything that it was since then,
 *              each truncation and hole may be lost, and where a write to new space was lost there may be junk.
 * CUT_KILL     the process ends, the kernel lives: all is there, of the last write perhaps a part.
 */
#ifndef CRASH_CUT_H
#define CRASH_CUT_H

#include "tape.h"

enum cut_model { CUT_ORDERED, CUT_HARSH, CUT_KILL };

struct disk; /* goes through a tape from its beginning */
struct disk *disk_new(const struct tape *t, enum cut_model model, uint64_t seed);
void disk_free(struct disk *d);
/* To the moment before entry `at`, which is not behind. */
void disk_advance(struct disk *d, size_t at);
/* A moment between two entries.  Half of them are beside something other than a write: there it is decided what is safe. */
size_t choose_cut(const struct tape *t, struct rng *r, size_t from, size_t to);
/* Makes `dir` (emptied) one of the disks that there can be after a cut at this moment. */
void disk_build(struct disk *d, const char *dir);

#endif
