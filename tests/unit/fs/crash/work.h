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

struct work;

/* What is outside: where segments come from, and what pushing means. */
struct work_remote {
	MUST_CHECK err_t (*attach)(struct work *w); /* the vault was opened */
	void (*detach)(struct work *w);             /* it is about to be closed */
	MUST_CHECK err_t (*push)(struct work *w);
};

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
	unsigned fsyncs;
	bool in_background; /* commits are made by the committing thread, too */
	const struct work_remote *remote;
	void *remote_ctx;
	bool looks;      /* versions are what the engine shows, not what the model says: others change the tree, too */
	bool stays_open; /* never closes by itself, nor drops what only a write can bring back */
	uint64_t held[WORK_HELD]; /* inodes with a lookup that the kernel would still have: 0: none */
};

extern const struct vault_unlock WORK_PLAIN;

/* Makes a vault in dir and opens it.  Its remote is the depot. */
void work_begin(struct work *w, const char *dir, uint64_t seed);
/* The same around a vault that is there. */
void work_begin_in(struct work *w, const char *dir, uint64_t seed, const struct work_remote *remote, void *remote_ctx);
/* Closes and forgets. */
void work_end(struct work *w);
MUST_CHECK err_t work_open(struct work *w);
MUST_CHECK err_t work_close(struct work *w); /* closed in any case */
/* Starts recording what happens from now on. */
void work_record(struct work *w, struct tape *t);
/* One random operation.  An error leaves the model as it was: so must it the tree. */
MUST_CHECK err_t work_step(struct work *w);
/* From here on the next version may reach the disk. */
void work_about_to_change(struct work *w);
/* The tree has changed: a new version; or the last one was not all of the change. */
void work_note_version(struct work *w);
void work_correct_version(struct work *w);
/* A file gets a few bytes in many chunks; one that is long is cut, most of the time to little. */
MUST_CHECK err_t work_scatter(struct work *w);
MUST_CHECK err_t work_cut(struct work *w);
MUST_CHECK err_t work_fsync(struct work *w);
MUST_CHECK err_t work_settle(struct work *w, unsigned percent); /* of the pending inodes */
/* Does the tree that the engine shows have the model's number? */
bool work_is_as_expected(struct work *w);
/* Leaves the hot segment full but for some `left` bytes, with nothing live in it. */
void work_fill_segment(struct work *w, size_t left);

#endif
