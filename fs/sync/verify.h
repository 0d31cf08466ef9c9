/*
 * verify.h: reads what a vault has in its store and compares it with what the chain says; puts back what this device still has.
 *
 * Every commit from the head back (each is the one whose SHA-256 the next one signed), the marker, key boxes, bases with
 * their parts, every segment (size, SHA-256, and that each extent of the current tree opens), and names that nobody has
 * given.  Memory: some 150 bytes for each segment, one object, and up to 48 MiB for finding the files of segments.
 * Rounds go on meanwhile.  Uses sync.h.
 */
#ifndef SNUGFS_VERIFY_H
#define SNUGFS_VERIFY_H

#include "sync.h"

enum verify_kind {
	VERIFY_MISSING,
	VERIFY_CHANGED, /* not the bytes that were stored */
	VERIFY_FOREIGN, /* nothing of snugfs's, or of another vault */
	VERIFY_ORPHAN,  /* of ours by its name, but nothing refers to it: left by a push that was interrupted; no damage */
	VERIFY_KIND_COUNT,
};
const char *verify_kind_word(enum verify_kind kind); /* "missing", "changed", … */

struct verify_finding {
	enum verify_kind kind;
	const char *object; /* its name in the store */
	const char *path;   /* a file that it concerns, relative to the top folder; NULL: none, or more than a file */
	bool repaired;
	const char *text;   /* what it means, and what can be done: a sentence without a full stop */
};

struct verify_options {
	unsigned percent; /* of the segments that are read, 1 to 100; that they exist, and their sizes, is looked at always */
	bool repair;
	void *ctx;
	/* In no particular order; the strings live until it returns.  A non-zero return ends the run and is handed on. */
	err_t (*found)(void *ctx, const struct verify_finding *f);
	/* Now and then; false: end with -ECANCELED.  May be NULL. */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total, const char *what);
};

struct verify_report {
	uint64_t counts[VERIFY_KIND_COUNT]; /* objects */
	uint64_t objects_read;
	uint64_t bytes_read;
	uint64_t segments;      /* that the chain refers to */
	uint64_t files_damaged;
	uint64_t repaired;      /* objects */
	char why[512];          /* after a failure: a sentence without a full stop, or "" */
};

/* 0 also if there is damage: the report says it.  The store's errors, -ECANCELED, -ENOMEM: then only `why` counts. */
MUST_CHECK err_t sync_verify(struct sync *s, const struct verify_options *o, struct verify_report *out);

#endif
