/*
 * segstore.h: the local segment files, DIR/segments/<16 hex of the number>.
 *
 * A hot segment grows by appends of sealed extents up to 64 MiB, then the next is begun.  A settled segment is built whole
 * under a number and then never changes.  segstore_append and _read may be called from any thread; appends reserve their
 * place under a short lock and write outside it.
 *
 * Durability: a commit makes all completed appends durable, either by flushing the files or, if it goes to the journal and
 * there are fewer than SEGSTORE_REDO_MAX new bytes, by handing those out to ride there (one flush instead of two).  A commit
 * of the database flushes the files.  At opening segstore_apply_redo writes back what was in the journal.
 *
 * While long pieces are appended one after the other, an open segment has room ahead of them (segstore_ahead.c).
 *
 * Space: what meta releases is given back with hole punching, block by block; a full hot segment of which all bytes were
 * released goes altogether.  Hot segments of earlier runs are never appended to; segstore_sweep removes them.
 * Uses disk.h, segfiles.h, meta.h (numbers, rows).
 */
#ifndef SNUGFS_SEGSTORE_H
#define SNUGFS_SEGSTORE_H

#include "bytes.h"
#include "err.h"
#include "meta.h"

#define SEGSTORE_HOT_LEN (64u << 20)
#define SEGSTORE_REDO_MAX (256u << 10) /* bytes that may ride in one commit */
#define SEGSTORE_BLOCK_LEN 4096u
#define SEGSTORE_DIRECT_MIN (256u << 10) /* what is shorter always goes through the kernel's cache */

struct segstore;
/* dir: the vault directory's "segments" (made if absent). meta borrowed; its hooks are set to this segstore. */
MUST_CHECK err_t segstore_open(const char *dir, struct meta *meta, struct segstore **out);
void segstore_free(struct segstore *ss); /* after meta_stop */
/* Before anything else is appended or read: writes the DB_REDO rows back to their files and flushes them. */
MUST_CHECK err_t segstore_apply_redo(struct segstore *ss, struct db *db);

/* Appends to the open hot segment.  -ENOSPC, -EIO, ….  Not with the meta lock held. */
MUST_CHECK err_t segstore_append(struct segstore *ss, const uint8_t *data, uint32_t len, uint64_t *seg_out,
    uint64_t *off_out);
/*
 * The same in two steps, so that what several threads seal at once stands in the order in which it came.  A place that was reserved
 * is filled, or given up, soon: commits wait for that.  It is past the kernel's cache if it is long enough: filling that
 * costs as much as encrypting.
 */
struct segstore_place {
	uint64_t seg;
	uint64_t off;
	uint32_t len;
	/* its own */
	bool blocks;
	struct hot *hot;
	struct segfile *file;
	unsigned generation;
};
MUST_CHECK err_t segstore_reserve(struct segstore *ss, uint32_t len, struct segstore_place *out);
/* data begins at a multiple of SEGSTORE_BLOCK_LEN and has room up to the next one behind its end, which is zeroed. */
MUST_CHECK err_t segstore_fill(struct segstore *ss, const struct segstore_place *p, uint8_t *data);
void segstore_give_up(struct segstore *ss, const struct segstore_place *p);
/* Is it a hot segment?  Only such bytes may be handed to meta_release. [meta lock] */
bool segstore_is_hot(struct segstore *ss, uint64_t seg);
/*
 * Bytes of that hot segment are mapped by that inode now.  To be called with the change that maps them. [meta lock]
 * Out of memory: -ENOMEM, and then they must not be mapped.
 */
MUST_CHECK err_t segstore_note_owner(struct segstore *ss, uint64_t seg, uint64_t ino);
/*
 * Removes what a crash or a restart left behind: hot segments of earlier runs that no inode points at any more, and files
 * that have no row.  Looks at pending inodes only, since nothing else has hot extents; gives up quietly when there is a local
 * change meanwhile, so that whoever carries extents from one inode to another must call meta_note_local_change.  Not with any
 * lock held; may commit.
 */
MUST_CHECK err_t segstore_sweep(struct segstore *ss);
/* Just len bytes.  -ENODATA: not all of them are here (a settled segment may be in the store). */
MUST_CHECK err_t segstore_read(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out);
/*
 * The same, past the kernel's cache if it is long enough.  buf begins at a multiple of SEGSTORE_BLOCK_LEN and has room for
 * len + 2 * SEGSTORE_BLOCK_LEN; *at_out is where in it the bytes begin.
 */
MUST_CHECK err_t segstore_read_blocks(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *buf,
    uint8_t **at_out);

/*
 * Tidying: what is hot is looked at when it is quiet, and so is what has become sparse (tidy.h).
 *
 * A hot segment that takes appends is `open`; only others may be emptied.
 */
struct hot_segment {
	uint64_t seg;
	bool open;
	bool earlier;        /* of an earlier run */
	bool tidied;
	bool full;           /* of small things, as its row says */
	uint64_t live;       /* bytes that extents map; of an earlier run perhaps a little wrong */
	uint64_t allocated;  /* bytes on the disk, without ... */
	uint64_t ahead;      /* ... room that was made ahead of appends */
	uint64_t first_ino;  /* only inodes in that range have extents in it; 0: none has */
	uint64_t last_ino;
	uint64_t *owners;    /* if not NULL: these alone (or others, after moves), some perhaps more than once; malloc'ed */
	uint32_t owner_count;
};
void hot_segments_free(struct hot_segment *v, size_t count);
/* All of them, by number. Not with any lock held. */
MUST_CHECK err_t segstore_list_hot(struct segstore *ss, struct hot_segment **out, size_t *count_out);
/* Bytes that were written in this run and not tidied yet; and how many of them are in segments that are not open. */
void segstore_untidied(struct segstore *ss, uint64_t *bytes_out, uint64_t *closed_bytes_out);
/* The next append begins a new segment.  Bytes on their way to the one that was open may be mapped later still. */
void segstore_roll(struct segstore *ss);
/* It was looked at; live: what is in it (UINT64_MAX: as counted).  Not with any lock held. */
MUST_CHECK err_t segstore_set_tidied(struct segstore *ss, uint64_t seg, uint64_t live);
/* Removes one of an earlier run that no row points at, neither in memory nor on the disk. */
MUST_CHECK err_t segstore_remove_emptied(struct segstore *ss, uint64_t seg);
/* Notes in the rows what is counted, for the next run. */
MUST_CHECK err_t segstore_save_counts(struct segstore *ss);

/* A new settled segment: begin, any number of adds, finish (random padding to the padding step, SHA-256, name, flush,
 * meta row with in_store false), or abandon. */
struct segstore_build;
MUST_CHECK err_t segstore_build_begin(struct segstore *ss, struct segstore_build **out);
/* The same for a hot segment that is tidy from the beginning: no padding, no name. owners are those whose extents it holds. */
MUST_CHECK err_t segstore_build_begin_hot(struct segstore *ss, struct segstore_build **out);
/* It holds as many things as go into one. */
void segstore_build_set_full(struct segstore_build *b);
MUST_CHECK err_t segstore_build_finish_hot(struct segstore_build *b, const uint64_t *owners, size_t owner_count,
    struct segment *out); /* frees b either way */
/* After a failure it can only be abandoned. */
MUST_CHECK err_t segstore_build_add(struct segstore_build *b, const uint8_t *data, uint32_t len, uint64_t *off_out);
uint64_t segstore_build_id(const struct segstore_build *b);
uint64_t segstore_build_len(const struct segstore_build *b);
MUST_CHECK err_t segstore_build_finish(struct segstore_build *b, struct segment *out); /* frees b either way */
/*
 * Before anything is added: up to `most` bytes are gathered in memory before the first is written.  *memory: room for that, which
 * is taken if there is any; what is in it is dropped.
 */
void segstore_build_keep(struct segstore_build *b, size_t most, struct bytes *memory);
/* Also hands out what was gathered, if it is the whole object.  object_out: empty. */
MUST_CHECK err_t segstore_build_finish_kept(struct segstore_build *b, struct segment *out, struct bytes *object_out);
void segstore_build_abandon(struct segstore_build *b);

/* The whole local file of a settled segment, for uploading, appended to out. */
MUST_CHECK err_t segstore_read_whole(struct segstore *ss, const struct segment *s, struct bytes *out);
/*
 * Removes the local file and the row's mark (if there is a row), at once: a row on the disk still says that it is here.  For what
 * nothing points at, on the disk neither; all else leaves with segstore_drop_pieces.  Whoever reads it at this moment still can.
 */
MUST_CHECK err_t segstore_drop(struct segstore *ss, uint64_t seg);
/*
 * Pieces (pieces.h) of settled segments that the store has, too: they come when they are read, and are given up when the disk is to
 * have room.
 */
/* Those of mask that are not here; of a hot segment none is missing.  -ENODATA: there is no such segment. */
MUST_CHECK err_t segstore_missing(struct segstore *ss, uint64_t seg, uint64_t mask, uint64_t *missing_out);
/*
 * Stores pieces that came from the store, whole ones from off on; they can be read at once.  ahead: nobody has asked for them yet.
 * Nothing happens if the segment is whole and was checked.  -EINVAL: not whole pieces; the disk's errors.
 */
MUST_CHECK err_t segstore_put_pieces(struct segstore *ss, uint64_t seg, uint64_t off, const uint8_t *data, size_t len,
    bool ahead);
/*
 * For pieces that the disk has no room for: somebody holds the segment, and reads them from memory until nobody uses it any more.
 * They are not here: neither missing() nor the counts know of them.  -ENOSPC: nobody holds it, or too much is lent; -EINVAL as above.
 */
MUST_CHECK err_t segstore_lend_pieces(struct segstore *ss, uint64_t seg, uint64_t off, const uint8_t *data, size_t len);
/* Who is told when the first bytes are read of pieces that came ahead; with a file's lock held, perhaps. */
typedef void segstore_ahead_fn(void *ctx, uint64_t seg, uint64_t mask);
void segstore_set_on_ahead(struct segstore *ss, segstore_ahead_fn *fn, void *ctx);
/* Flushes pieces that came since the last time, so that the next run has them; checks segments that are whole by now.  Who calls while
 * another does waits for him.  Not with any lock held. */
MUST_CHECK err_t segstore_save_pieces(struct segstore *ss);
/* Bytes that segstore_put_pieces has added in this run. */
uint64_t segstore_brought(struct segstore *ss);

struct segstore_leaving {
	uint64_t seg;
	uint64_t mask;  /* out: those that were here */
	bool done;      /* out: they are gone; false: somebody reads the segment, nothing was here, or the store has it not */
	uint64_t size;  /* out, if done */
	bool strays;    /* mask is not looked at: what the file has besides the pieces that are here goes */
	struct part *part; /* its own */
};
/*
 * Gives up pieces: nobody finds them from then on, no durable row speaks of them, then their space goes.  What the store has not, or
 * somebody holds, stays.  Commits.  An error is that of the commit: then nothing is done.  Not with any lock held.
 */
MUST_CHECK err_t segstore_drop_pieces(struct segstore *ss, struct segstore_leaving *v, size_t count);
/*
 * What came shortly before a crash, or was about to go, is on the disk still, and no row speaks of it: neither is it read, nor counted.
 * Gives that space back.  The first call of a run looks at all files, the next ones only at what somebody used then.  Commits if there
 * is any.  Not by two at a time, nor with any lock held.
 */
MUST_CHECK err_t segstore_give_back_strays(struct segstore *ss);
/* What is here of a segment, and what comes, stays until it is let go.  -ENODATA: there is no such segment.  Not with any lock held. */
MUST_CHECK err_t segstore_hold(struct segstore *ss, uint64_t seg, struct part **out);
void segstore_let_go(struct segstore *ss, struct part *p);

/* What is here of settled segments of which something is. */
struct segstore_kept {
	uint64_t seg;
	uint64_t size;
	bool in_store;
	uint64_t here;
	uint64_t used; /* the larger the later; 0: not read in this run, or very long ago */
};
struct segstore_kept_list {
	struct segstore_kept *v;
	size_t count;
	size_t cap;
};
void segstore_kept_clear(struct segstore_kept_list *l);
MUST_CHECK err_t segstore_list_kept(struct segstore *ss, struct segstore_kept_list *out);
/* Sums of what is here, without a look at each segment. */
MUST_CHECK err_t segstore_count_kept(struct segstore *ss, struct meta_segment_totals *out);
/* Segments that more than their rows is known of just now, for tests. */
size_t segstore_parts_in_memory(struct segstore *ss);

/* Room on the disk that was made ahead of appends: in a full one it is given back. */
uint64_t segstore_ahead_len(struct segstore *ss);
/*
 * For opening on a full disk: what a process that was killed has left of it in dir goes back to the disk, and nothing that is read
 * changes.  Nobody may write there meanwhile.  true: there is room now that was not there before.
 */
bool segstore_give_back_left(const char *dir);
/* For tests, right after opening: after so many bytes in long pieces at most so many are made ahead, on whatever disk. */
void segstore_set_ahead(struct segstore *ss, uint64_t from, uint64_t most);
/* Bytes on the local disk used by segments, without such room. */
MUST_CHECK err_t segstore_usage(struct segstore *ss, uint64_t *bytes_out);

#endif
