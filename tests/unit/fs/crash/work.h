/*
 * work.h: a seeded workload on a vault, with the model beside it.  Every change of the tree makes a version; versions[n] is the
 * model's number after n changes.
 */
#ifndef CRASH_WORK_H
#define CRASH_WORK_H

#include "model.h"
#include "tape.h"
#include "vault.h"

#define WORK_HELD 4

struct work {
	char dir[256];
	struct rng rng;
	struct vault *vault; /* NULL: not open */
	struct vfs *vfs;
	struct model model;
	struct tape *tape; /* may be NULL */
	uint64_t *versions;
	size_t version_count; /* the last one is the present */
	size_t version_cap;
	uint32_t durable; /* version of the last fsync that said yes */
	bool in_background; /* commits are made by the committing thread, too */
	bool stays_open; /* never closes by itself, nor drops what only a write can bring back */
	uint64_t held[WORK_HELD]; /* inodes with a lookup that the kernel would still have: 0: none */
};

extern const struct vault_unlock WORK_PLAIN;

/* Makes a vault in dir and opens it. */
void work_begin(struct work *w, const char *dir, uint64_t seed);
/* Closes and forgets. */
void work_end(struct work *w);
MUST_CHECK err_t work_open(struct work *w);
MUST_CHECK err_t work_close(struct work *w); /* closed in any case */
/* Starts recording what happens from now on. */
void work_record(struct work *w, struct tape *t);
/* One random operation.  An error leaves the model as it was: so must it the tree. */
MUST_CHECK err_t work_step(struct work *w);
/* The model has changed. */
void work_note_version(struct work *w);
MUST_CHECK err_t work_fsync(struct work *w);
MUST_CHECK err_t work_settle(struct work *w, unsigned percent); /* of the pending inodes */
/* Does the tree that the engine shows have the model's number? */
bool work_is_as_expected(struct work *w);
/* Leaves the hot segment full but for some `left` bytes, with nothing live in it. */
void work_fill_segment(struct work *w, size_t left);

#endif
