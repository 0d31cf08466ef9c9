/*
 * settle_internal.h: what settle*.c share, and nobody else.
 *
 *   settle.c         the work, chunk by chunk        settle_choose.c  which extents of a chunk are worth it
 *   settle_whole.c   long extents, as they are       settle_ahead.c   several chunks at a time
 *   settle_close.c   the end of a segment
 */
#ifndef SNUGFS_SETTLE_INTERNAL_H
#define SNUGFS_SETTLE_INTERNAL_H

#include <pthread.h>

#include "extents.h"
#include "packer.h"
#include "settle.h"

/* A chunk that is in the segment under way: what it is to become, if it still is what it was. */
struct settled {
	uint64_t ino;
	uint64_t no;
	struct extent_list before;
	struct extent_list after;
	struct file_key key; /* what is new in `after` is sealed under */
	uint64_t len; /* plaintext bytes in the segment */
	struct settled *next;
};

/* An extent is worth keeping as it is sealed if it is so long; there are but so many of these in a chunk. */
#define WHOLE_MIN (CHUNK_LEN / WHOLES_MAX)
#define WHOLES_MAX 8u

/* An extent of FRAME_RAW that is mapped whole, was read, and found to be authentic. */
struct whole {
	struct extent x;
	struct file_key key; /* that it is sealed under */
	const uint8_t *data; /* x.stored_len sealed bytes */
};

/* A chunk that is being read and sealed. */
struct chunk_work {
	struct packer packer;
	struct whole wholes[WHOLES_MAX];
	uint32_t whole_count;
	struct bytes whole_memory;
	uint64_t ino;
	uint64_t no;
	bool done; /* [lock] and then it is nobody's but of who settles */
	/* out */
	struct settled *settled; /* what is new in it is in packer.sealed, or one of wholes; NULL: nothing to do */
	err_t result;
};

/* For the store more than one: what waits for the disk is not waited for by what could be sealed. */
#define SETTLE_THREADS 2u
#define SETTLE_WORKS (SETTLE_THREADS + 1)

/* Chunks under way.  Who settles puts them in and takes them out in the same order, and alone changes first and count. */
struct settle_ahead {
	struct chunk_work works[SETTLE_WORKS];
	pthread_t threads[SETTLE_THREADS];
	unsigned thread_count;
	pthread_mutex_t lock; /* innermost; under it: */
	pthread_cond_t given; /* or ending */
	pthread_cond_t done;
	unsigned first; /* the oldest one that is under way */
	unsigned count; /* under way */
	unsigned begun; /* of these, from the first on */
	bool ending;
};

/* Segments on their way to the disk at a time; what is in them is in memory. */
#define CLOSINGS 2u
/* Where the chunks of one were in more extents than that, what is remembered of them is not to be in memory twice. */
#define EXTENTS_FEW (64u << 10)

/* A segment that is complete, on its way to the disk.  Nobody else touches it until its thread has ended. */
struct closing {
	struct settle *settle;
	struct segstore_build *build;
	struct settled *settled;
	uint64_t len;       /* plaintext bytes in it */
	uint64_t turn;      /* so many were closed before it */
	pthread_t thread;
	bool in_thread;
	/* out */
	struct segment row;
	struct bytes object;
	uint64_t installed; /* plaintext bytes that chunks came to point at */
	err_t result;
};

/* Of segments on their way, one after the other. */
struct settle_turns {
	pthread_mutex_t lock; /* innermost; under it: */
	pthread_cond_t moved;
	uint64_t over;
	bool failed; /* one of them: nobody is told of those behind it */
};

struct settle {
	struct content *c;
	struct meta *m;
	struct segstore *ss;
	struct keyring *keys;
	bool local;                    /* for this computer, from the sources; else for the store */
	struct settle_source *sources; /* borrowed; by seg */
	size_t source_count;
	settle_pause_fn *pause;
	void *pause_ctx;
	settle_full_fn *full;
	void *full_ctx;
	struct segstore_build *build; /* NULL: none under way */
	struct settled *settled;      /* in it */
	size_t settled_count;
	size_t settled_extents; /* of its chunks, before and after */
	size_t settled_after;   /* only after */
	uint64_t settled_len;
	struct closing *closing[CLOSINGS]; /* on their way, the oldest first */
	unsigned closing_count;
	uint64_t closed;              /* segments so far, these among them */
	struct settle_turns turns;
	struct bytes memory;          /* room for the next one */
	uint64_t stopped_ino;         /* where a pause has ended settle_inode; 0: nowhere */
	uint64_t stopped_no;
	err_t stopped_result;         /* of what came before that */
	err_t broken;                 /* what was under way is not whole: nothing is added any more */
	struct settle_ahead ahead;
};

/* What was found out about a chunk under the locks. */
struct selection {
	uint64_t origin;
	struct file_key *keys;
	uint32_t key_count;
	bool *chosen; /* by index in the list */
	bool any;
};
void settle_selection_clear(struct selection *l);
const struct file_key *settle_find_key(const struct selection *l, uint32_t version); /* NULL: there is none */

/* Which extents are to be sealed anew. [meta lock] */
MUST_CHECK err_t settle_choose(struct settle *s, const struct inode *i, const struct chunk *ch, bool only_hot,
    struct selection *out);
/* Reads the first len bytes of a mapped range to its place in w->packer.plain. [file lock] */
typedef err_t settle_read_fn(struct settle *s, struct chunk_work *w, const struct selection *l, const struct extent *x,
    uint32_t len);
/* Of what was chosen in a chunk of this computer's, leaves where it is what would be no better elsewhere. [file lock] */
MUST_CHECK err_t settle_leave_good(struct settle *s, struct chunk_work *w, const struct extent_list *list, struct selection *l,
    settle_read_fn *read);
/* Does the list have an extent in a source? */
bool settle_is_source(const struct settle *s, const struct extent_list *list);
/* Counts in the sources what of the list was not chosen. */
void settle_count_left(struct settle *s, const struct extent_list *list, const struct selection *l);
/* What these extents' sources still hold can't be told. */
void settle_note_unsure(struct settle *s, const struct extent_list *list);

/* The same of all sources. */
void settle_note_all_unsure(struct settle *s);

/*
 * Reads an extent to its place in w->packer.plain, and adds it to w->wholes.  An error, -EINVAL if it is none of those that are worth
 * it: then it is to be read in the usual way. [file lock]
 */
MUST_CHECK err_t settle_read_whole(struct settle *s, struct chunk_work *w, const struct selection *l, const struct extent *x);
/* By its id, which no other has; NULL: it is none of w->wholes. */
const struct whole *settle_find_whole(const struct chunk_work *w, const struct extent *x);
/* Are they all, and would they be sealed under the same key again? */
bool settle_are_whole(const struct chunk_work *w, const struct selection *l, const struct writing_key *key,
    const struct extent *v, uint32_t count);

/*
 * Reads a chunk (w->ino, w->no) and seals what is to be sealed anew, changing nothing: by any thread, for the store by several at
 * once.  -EAGAIN: it was written to meanwhile.
 */
MUST_CHECK err_t settle_prepare(struct settle *s, struct chunk_work *w);

MUST_CHECK err_t settle_ahead_init(struct settle_ahead *a);
bool settle_ahead_is_full(const struct settle *s);
/* One more, unless it is full; by a thread, if there is one and others are under way or to come (not alone). */
void settle_ahead_put(struct settle *s, uint64_t ino, uint64_t no, bool alone);
/* Waits for the oldest one, which stays until it is dropped; NULL: there is none. */
struct chunk_work *settle_ahead_get(struct settle *s);
void settle_ahead_drop(struct settle *s);
/* Waits for all that are under way, drops them, and ends the threads. */
void settle_ahead_end(struct settle *s);

/* The segment under way, if there is one, is complete: full ones are brought to an end while the next one is filled. */
MUST_CHECK err_t settle_close(struct settle *s, bool full);
/* Waits for what is on its way; an error of it is only logged. */
void settle_close_end(struct settle *s);
void settle_free_chunk(struct settled *d);

#endif
