/*
 * segstore_internal.h: what segstore*.c share, and nobody else.
 *
 * A hot segment's life in this run:
 *
 *     CURRENT (file held, grows) --64 MiB--> FULL (file held) --all durable--> RETIRED (no file held)
 *                                                 |                               |
 *                                                 +---- every byte released ------+--> removed
 *
 * One of an earlier run is only ever punched and, by segstore_sweep or when tidying has emptied it, removed.  One that tidying
 * has built is RETIRED from the beginning.
 */
#ifndef SNUGFS_SEGSTORE_INTERNAL_H
#define SNUGFS_SEGSTORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

/* Running out of memory shows as hh.tbl == NULL. */
#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "deadmap.h"
#include "segfiles.h"
#include "segstore.h"

#define HOT_BLOCK_LEN 4096u /* what hole punching gives back */
#define HOT_BLOCK_COUNT (SEGSTORE_HOT_LEN / HOT_BLOCK_LEN)

#define HOT_OWNERS_MAX 4096u

struct hot {
	uint64_t seg;
	bool earlier; /* of an earlier run: end is not known */
	/* segstore's lock */
	struct segfile *file; /* NULL when not held */
	uint64_t end;         /* appended or being appended */
	uint64_t ahead_end;   /* the disk was asked for room up to there; 0: it was not */
	uint64_t released;    /* bytes */
	struct deadmap dead;  /* released bytes by block */
	bool held;            /* in the batch of the commit under way, which removes it at its end if all of it was released */
	uint64_t *owners;     /* inodes that things were written to it for, some more than once; NULL with `crowded` or `earlier` */
	uint32_t owner_count;
	uint32_t owner_cap;
	bool tidied;          /* as its row says */
	bool crowded;         /* there were too many to keep: the row's range says where they are */
	/* the one that commits; durable_end <= riding_end <= target <= end */
	uint64_t durable_end; /* flushed up to there */
	uint64_t riding_end;  /* durable in the file or in the journal up to there */
	uint64_t target;      /* what the commit under way must make durable */
	bool suspect;         /* a flush failed: the kernel may take its pages for clean although they are not on the disk */
	UT_hash_handle hh;
};

/* Pieces that are in memory alone, for those who use their part. */
struct lent {
	uint64_t off;
	size_t len;
	struct lent *next;
	uint8_t data[];
};

/* What is here of a settled segment (or that it is a hot one). */
struct part {
	uint64_t seg;
	uint64_t size;
	bool hot;
	/* pieces_lock */
	bool whole;      /* the file is the object, checked */
	bool has_file;   /* also make_lock, to be set */
	bool outrun;     /* the row on the disk may speak of more than is here; also make_lock, to be unset */
	bool leaving;    /* pieces are being given up: others wait with writing */
	bool removed;    /* not in the hash any more: freed by the last user */
	unsigned users;  /* who read or write the file just now */
	unsigned writers; /* ... of which so many write */
	uint64_t torn;   /* pieces of which some may have been written before that failed; none without writers */
	uint64_t here;   /* pieces that can be read */
	bool row_whole;  /* `whole` as the row in memory has it ... */
	uint64_t row_here; /* ... and `here` */
	uint64_t fresh;  /* ... that may not be on the disk yet */
	uint64_t ahead;  /* ... that came before anybody wanted them, and that nobody has read yet */
	uint64_t puts;   /* moves on with every piece that is put */
	uint64_t used;   /* when it was last read, in segstore's ticks; 0: not in this run */
	struct lent *lent;    /* none without users; what is in the list stays as it is */
	uint64_t lent_pieces; /* ... that it has */
	UT_hash_handle hh;
};

struct segstore {
	struct meta *meta;
	int dirfd;
	struct segfiles *files;
	uint64_t first_id; /* segments with smaller numbers are of earlier runs */
	time_t opened_at;

	pthread_mutex_t begin_lock; /* held by the one that begins the next hot segment; taken before the meta lock */

	pthread_mutex_t ahead_lock; /* held by the one that makes room ahead, or cuts it off; taken before `lock` */
	/* constant */
	uint64_t ahead_from;
	uint64_t ahead_most;
	bool ahead_anywhere;

	_Atomic uint64_t cuts; /* how often room has gone back to the disk */
	_Atomic uint64_t cuts_before_commit;

	pthread_mutex_t lock; /* the innermost of all; no I/O under it */
	/* under lock */
	struct hot *hots;
	struct hot *current;
	uint64_t run;       /* bytes of long pieces that were appended in a row, about */
	bool ahead_refused; /* once, in this run */
	uint64_t ahead_share; /* how much the disk could spare when it was last asked; 0: nothing, or it was not */
	unsigned generation; /* 0 or 1: appends count in one of two counters, so that a commit can wait for the older ones */
	unsigned in_flight[2];
	pthread_cond_t drained;
	uint64_t created; /* files of hot segments so far */

	/* the one that commits */
	uint64_t created_flushed; /* ... of which the folder is flushed */
	struct hot **batch;       /* the hot segments of the commit under way */
	size_t batch_count;
	struct meta_redo *redo; /* handed out */
	size_t redo_count;
	uint8_t *redo_data;
	bool riding; /* the commit under way stores redo; otherwise the files were flushed */

	pthread_mutex_t save_lock; /* held by the one that saves pieces; taken before any other lock */
	pthread_mutex_t make_lock; /* held by the one that makes the file of a part; before the meta lock and pieces_lock */
	pthread_mutex_t pieces_lock; /* innermost, as `lock`; no I/O under it */
	/* under pieces_lock */
	struct part *parts;
	size_t parts_next; /* when there are so many, some may go */
	uint64_t tick;
	uint64_t brought; /* bytes of pieces that were put, in this run */
	size_t lent_len;  /* bytes of all that is lent */
	pthread_cond_t pieces_moved;
	segstore_ahead_fn *on_ahead;
	void *on_ahead_ctx;

	pthread_mutex_t sweep_lock; /* all below; taken before any other lock */
	uint64_t *earlier; /* ids, ascending, of the hot segments of earlier runs that are left */
	size_t earlier_count;
	bool earlier_known;

	/* segstore_give_back_strays's */
	uint64_t *strays; /* ids of segments that may have bytes which are not known to be here */
	size_t stray_count;
	bool strays_known;
};

/* segstore.c.  Bytes of a file, past the kernel's cache if that is worth while and data and off permit it. */
MUST_CHECK err_t segstore_write_file(struct segstore *ss, struct segfile *f, const uint8_t *data, size_t len, uint64_t off);

/* segstore_ahead.c */
void segstore_init_ahead(struct segstore *ss);
/* Before a long piece is written, [no lock]. */
void segstore_make_ahead(struct segstore *ss, const struct segstore_place *p);
/* Gives back what was made ahead in segments that take no appends; false: there was none.  Not with `lock` or ahead_lock held. */
bool segstore_cut_ahead(struct segstore *ss);
uint64_t segstore_room_of(const struct hot *h); /* [lock] how much that is */
/*
 * The disk was full for what began when ss->cuts was `since`: in the one that takes appends, too, after which the next append begins
 * another.  True also if others gave room back meanwhile; false: to try again is in vain.
 */
bool segstore_give_room(struct segstore *ss, uint64_t since);
/* What an earlier run made ahead in one of its hot segments, and could not give back. */
MUST_CHECK err_t segstore_cut_earlier(struct segstore *ss, uint64_t seg);

/* segstore_commit.c: meta's hooks. */
bool segstore_give_room_for_commit(void *ctx);
err_t segstore_before_commit(void *ctx, size_t room, struct meta_redo **redo_out, size_t *redo_count_out);
void segstore_after_commit(void *ctx, err_t result);

/* segstore_space.c */
void segstore_on_release(void *ctx, uint64_t seg, uint64_t off, uint32_t len);
/* Counts bytes that nothing points at or ever will. [lock]  Sets a range of whole blocks to punch, or 0. */
void segstore_count_dead(struct hot *h, uint64_t off, uint32_t len, uint64_t *punch_off_out, uint64_t *punch_len_out);
/* [lock] Takes h out of the hash if it is full, all of it was released, and no commit holds it. */
bool segstore_take_dead(struct segstore *ss, struct hot *h);
/* One that was taken out: its file and row go. */
void segstore_remove_dead(struct segstore *ss, struct hot *h);
void hot_free(struct segstore *ss, struct hot *h); /* out of the hash already */
/* By their names in the folder, also what is none of ours; until fn returns non-zero, which is handed on. */
MUST_CHECK err_t segstore_each_file(struct segstore *ss, err_t (*fn)(struct segstore *ss, const char *name));
/* [sweep_lock] Finds, once a run, the hot segments of earlier runs, and removes files that have no row. */
MUST_CHECK err_t segstore_find_earlier(struct segstore *ss);
/* The file and the row of a hot segment that nothing points at, durably. */
MUST_CHECK err_t segstore_remove_hot(struct segstore *ss, uint64_t seg);

/*
 * segstore_parts.c.  The part of a segment, with pieces_lock held if that is the result.  An entry is made of the row; as long as it
 * is there it leads, and the row follows.  One that nobody uses and that knows no more than the row may go when another comes.
 * -ENODATA: there is no such segment.
 */
MUST_CHECK err_t segstore_lock_part(struct segstore *ss, uint64_t seg, struct part **out);
struct part *segstore_find_part(struct segstore *ss, uint64_t seg); /* [pieces_lock] NULL: not looked at lately */
void segstore_leave_part(struct segstore *ss, struct part *p);      /* [pieces_lock] One user fewer. */
/* The row as the entry has it, without what is not flushed. */
MUST_CHECK err_t segstore_follow_part(struct segstore *ss, uint64_t seg);
/* segstore_pieces.c.  begin_read: -ENODATA: not all of it is here; else it stays here until end_read. */
MUST_CHECK err_t segstore_begin_read(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, struct part **out);
void segstore_end_read(struct segstore *ss, struct part *p);
/* [between the two] The file has not what it should: it was removed or cut behind our back. */
void segstore_lost(struct segstore *ss, struct part *p, uint64_t off, uint32_t len);
/*
 * segstore_leaving.c.  [pieces_lock, which it lets go meanwhile]  The last writer is done: the space of what is torn is given back, which
 * nobody would know of before the next run.
 */
void segstore_cut_torn(struct segstore *ss, struct part *p);
/* segstore_read of what is in its file.  -ENODATA: not all of it is. */
MUST_CHECK err_t segstore_read_here(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out);
/* segstore_lent.c.  segstore_read, where some is in memory alone.  -ENODATA: not all of it is here even so. */
MUST_CHECK err_t segstore_read_lent(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out);
void segstore_drop_lent(struct segstore *ss, struct part *p); /* [pieces_lock] */
/* The row is gone. */
void segstore_forget_part(struct segstore *ss, uint64_t seg);
void segstore_free_parts(struct segstore *ss);

#endif
