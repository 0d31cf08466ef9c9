/*
 * gc_internal.h: what gc*.c share.
 *
 *   gc.c       the run, dropping and deleting    gc_live.c  what is pointed into
 *   gc_state.c what is remembered                gc_list.c  what the store shows, bases, orphans
 *   gc_move.c  sparse segments
 */
#ifndef SNUGFS_GC_INTERNAL_H
#define SNUGFS_GC_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "engine.h"
#include "gc.h"
#include "walk.h"

/* An object under s/ that no row here knows, or a key box that no statement names. */
struct gc_stranger {
	uint8_t name[SEGMENT_NAME_LEN]; /* its random part */
	uint64_t since; /* when it was first seen */
	uint64_t size;
	bool earlier;   /* seen by an earlier run */
	bool listed;
	bool box;
	uint32_t epoch; /* of a box */
	uint64_t seq;   /* of a box: the next commit's number when it was first seen */
	bool part;      /* of a base that stays */
	bool doomed;
	UT_hash_handle hh;
};

/* Bytes of a segment that extents here point at; those that several point at may count more than once. */
struct gc_use {
	uint64_t seg;
	uint64_t live;
};
struct gc_uses {
	struct gc_use *v; /* by seg: of all that there were when counting began */
	size_t count;
	size_t cap;
};

struct gc_names {
	uint8_t (*v)[SEGMENT_NAME_LEN];
	size_t count;
	size_t cap;
};
struct gc_ids {
	uint64_t *v;
	size_t count;
	size_t cap;
};

struct gc {
	struct sync *s;
	const struct gc_options *o;
	struct gc_report *r;
	int64_t keep_s;
	uint64_t now_s;  /* to decide with: early rather than late */
	uint64_t note_s; /* to remember: late rather than early */
	uint64_t run_s;  /* when this run is */
	/* remembered */
	int64_t saved_keep_s;
	uint64_t last_s;
	bool unread;     /* what commits up to this one name is not known: the device began with a base */
	uint64_t unread_seq;
	uint8_t unread_hash[32];
	struct gc_stranger *strangers; /* at most GC_STRANGERS_MAX */
	/* of this run */
	bool crowded;    /* there are more strangers */
	struct gc_uses uses;
	struct gc_ids dead;   /* to be dropped */
	struct gc_ids sparse; /* to be emptied */
	struct gc_names orphans;
};

/* gc_state.c */
MUST_CHECK err_t gc_state_load(struct gc *g);
MUST_CHECK err_t gc_state_save(struct gc *g);
void gc_clear(struct gc *g);
struct gc_stranger *gc_stranger_find(struct gc *g, const uint8_t name[static SEGMENT_NAME_LEN]);
/* *out: NULL if there are so many already that this one is for another run. */
MUST_CHECK err_t gc_stranger_add(struct gc *g, const uint8_t name[static SEGMENT_NAME_LEN], struct gc_stranger **out);
void gc_stranger_remove(struct gc *g, struct gc_stranger *t);
/* Makes room for one more element of len bytes. */
MUST_CHECK err_t gc_grow(void **v, size_t count, size_t *cap, size_t len);
MUST_CHECK err_t gc_names_add(struct gc_names *n, const uint8_t name[static SEGMENT_NAME_LEN]);
MUST_CHECK err_t gc_ids_add(struct gc_ids *n, uint64_t id);
/* Names of objects that this device has to delete. [meta lock] */
MUST_CHECK err_t gc_doomed_get(struct meta *m, struct gc_names *out);
MUST_CHECK err_t gc_doomed_put(struct meta *m, const struct gc_names *n);

/* gc_live.c.  Counts, and says of each segment since when it is dead or sparse. [round] */
MUST_CHECK err_t gc_mark(struct gc *g);
/* All chunks of all files. [round] */
MUST_CHECK err_t gc_each_chunk(struct gc *g, walk_fn *fn, void *ctx);
bool gc_is_over(const struct gc *g, uint64_t since);
/* What to note of something that is so: when that was noted first (0: now), unless that is still to come; 0 if it is not so. */
uint64_t gc_since(const struct gc *g, bool is, uint64_t noted);
/*
 * A push that is under way elsewhere has uploaded objects that no commit names yet: to drop them costs it another upload.  The first
 * push of much, by a slow line, may take days.
 */
#define GC_ORPHAN_GRACE_S (7u * 86400u)

/* gc_list.c */
MUST_CHECK err_t gc_list_objects(struct gc *g);
MUST_CHECK err_t gc_bases(struct gc *g);
/* Which strangers nobody can ever have pointed into. [round] */
MUST_CHECK err_t gc_find_orphans(struct gc *g);

/* gc_boxes.c */
/* Which boxes no statement names, as far as is known now. */
MUST_CHECK err_t gc_list_boxes(struct gc *g);
/* After the round, in which everything was pulled. */
MUST_CHECK err_t gc_boxes(struct gc *g);

/* gc_move.c [round] */
MUST_CHECK err_t gc_move_sparse(struct gc *g);

/* gc.c: -ECANCELED: it is to end. */
MUST_CHECK err_t gc_step(struct gc *g, uint64_t done, uint64_t total, const char *what);

#endif
