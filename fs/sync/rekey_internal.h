/*
 * rekey_internal.h: what rekey*.c share.
 *
 *   rekey.c       the state, the run          rekey_find.c  what is to be done
 *   rekey_seal.c  reading, sealing, saying so
 */
#ifndef SNUGFS_REKEY_INTERNAL_H
#define SNUGFS_REKEY_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "engine.h"
#include "rekey.h"
#include "walk.h"

/* Lists here that have extents in a segment. */
struct rekey_use {
	uint64_t seg;
	uint64_t count;
	uint64_t here; /* pieces that were on this disk when it was counted: to read on brings more */
	UT_hash_handle hh;
};

struct rekey {
	struct sync *s;
	atomic_bool wanted;
	atomic_uint asked;  /* runs for somebody, so that the thread need not */

	/* [round] */
	bool has_epoch;     /* false: it is the one that is current when counting begins */
	uint32_t epoch;     /* keys of earlier ones are old */
	uint64_t total;     /* bytes in segments that were to be done when it began */
	uint64_t left;
	const struct rekey_options *options; /* of the run that is under way, or NULL */
	uint64_t bytes;     /* sealed anew, of this process */
	uint64_t batch_len; /* of plaintext, as the next commit takes it */
	unsigned rest_ms;   /* after the last pass, if all that is left had to wait for something else; else 0 */
	/* the pass under way: all is counted, then done from the beginning to the end */
	bool counted;
	struct walk walk;
	struct rekey_use *uses;
	uint64_t done;      /* chunks */
	uint64_t busy;      /* the same, that are pending, or were changed meanwhile */
	uint64_t damaged;   /* the same, that can't be read */
};

/* A chunk that has extents under old keys. */
struct rekey_item {
	uint64_t ino;
	uint64_t no;
	struct file_key key; /* what is new in `after` is sealed under */
	struct extent_list before;
	struct extent_list after; /* empty: not this time */
	bool named;               /* by the commit */
};
/* What one commit says. */
struct rekey_batch {
	struct rekey *r;
	struct rekey_item *v;
	size_t count;
	size_t cap;
	uint64_t extents;
	uint64_t len; /* of plaintext */
	bool full;
	/* segments under way and done, of what was not here [0] and what was [1] */
	struct segstore_build *build[2];
	struct numset *made[2];
};
void rekey_batch_clear(struct rekey_batch *b);

/* rekey.c: -ECANCELED: it is to end. */
MUST_CHECK err_t rekey_step(struct rekey *r);

/* rekey_find.c [round] */
/* Is there a range of the same sealed extent before that one?  One that was overwritten in its middle has two. */
bool rekey_has_twin(const struct extent_list *l, uint32_t k, uint32_t *twin_out);
/* Begins a pass: counts what is left. */
MUST_CHECK err_t rekey_count(struct rekey *r);
/* The next chunks. */
MUST_CHECK err_t rekey_find(struct rekey_batch *b);
void rekey_forget_uses(struct rekey *r);
/* Was what is stored there on this disk when it was counted?  What was not need not be afterwards. */
bool rekey_was_here(struct rekey *r, const struct extent *x);
/* An extent there is not used any more; *last_out: it was the last that was counted. */
void rekey_unuse(struct rekey *r, uint64_t seg, bool *last_out);

/* rekey_seal.c [round]  Seals, uploads and commits what was found, as far as it is still so. */
MUST_CHECK err_t rekey_seal(struct rekey_batch *b);

#endif
