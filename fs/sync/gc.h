/*
 * gc.h: gives back what the store holds for nothing: segments that no state within the retention time points into, what is dead
 * in segments, bases that others have superseded, and what crashed pushes left behind.  snugfs-design(7), GARBAGE, says by which
 * rules, and why a collector takes nothing from anybody.
 *
 * MEMORY: some 100 bytes for each segment that is pointed into, and some 300 for each object that is not known, up to
 * GC_STRANGERS_MAX.  Uses sync.h.
 */
#ifndef SNUGFS_GC_H
#define SNUGFS_GC_H

#include "sync.h"

#define GC_KEEP_DEFAULT_S (30 * 86400)
/* Objects that no row here knows: what the store shows besides these is for another run.  A store may invent any number of names. */
#define GC_STRANGERS_MAX 32768u
#define GC_KEEP_MAX_S (INT64_C(100) * 365 * 86400)

struct gc_options {
	int64_t keep_s; /* how long history is kept; negative: as set on this device */
	bool now;       /* orphans go at once, also those that may belong to a push that is under way elsewhere */
	bool dry_run;   /* nothing is changed anywhere */
	bool by_itself; /* nobody has asked for it: what holds sync ends it, with -ECANCELED */
	void *ctx;
	/* Now and then; false: end with -ECANCELED.  May be NULL. */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total, const char *what);
};

struct gc_count {
	uint64_t objects;
	uint64_t bytes;
};
struct gc_report {
	struct gc_count store;     /* segments and parts that the store showed */
	/* gone, or with dry_run to go */
	struct gc_count dead;
	struct gc_count orphans;
	struct gc_count bases;     /* manifests and parts */
	struct gc_count boxes;     /* of invitations that are over, or that no statement names */
	struct gc_count leftovers; /* of a collection that was cut short, and what this device has uploaded for nothing */
	struct gc_count moved;     /* sparse segments whose rest was put elsewhere; they are dead from now on */
	/* to stay */
	struct gc_count history;   /* dead, but some state within the retention time has it */
	struct gc_count sparse;    /* more than half dead, but not for long enough */
	struct gc_count waiting;   /* perhaps orphans: too young to say */
	uint64_t keep_s;
	bool gave_way;             /* others committed all the time: the rest is for another day */
	bool crowded;              /* the store shows more than GC_STRANGERS_MAX that nobody here knows: the rest is for another run */
	char why[512];             /* after a failure: a sentence without a full stop, or "" */
};

/* -EBUSY: another one is under way; -ECANCELED; else as sync_once: then only `why` counts.  What was done until then stays done. */
MUST_CHECK err_t gc_run(struct sync *s, const struct gc_options *o, struct gc_report *out);
/* How long history is kept, as this device collects. */
MUST_CHECK err_t gc_get_keep(struct sync *s, int64_t *keep_s_out);
MUST_CHECK err_t gc_set_keep(struct sync *s, int64_t keep_s);

#endif
