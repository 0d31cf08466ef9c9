/*
 * verify_internal.h: what verify*.c share.
 *
 *   verify.c          the run, the listing        verify_chain.c     marker, key boxes, commits, bases
 *   verify_objects.c  what is expected to exist   verify_segments.c  segments, read and put back
 *   verify_files.c    whose files are in a segment
 */
#ifndef SNUGFS_VERIFY_INTERNAL_H
#define SNUGFS_VERIFY_INTERNAL_H

#include "changes.h"
#include "engine.h"
#include "objname.h"
#include "verify.h"

/* A segment or part that something in the store refers to. */
struct verify_object;
struct verify_object_info {
	uint8_t name[SEGMENT_NAME_LEN];
	uint64_t size;
	uint8_t sha256[32];
	uint64_t row;      /* the local number of its row, if the current tree points into it; else 0 */
	bool part;         /* of a base; checked with it */
	bool dropped;      /* collected: it may be gone, and nothing that is kept needs it */
	bool seen;         /* the listing has it */
	bool suspicious;   /* to be read whatever the sample */
	bool checked;
};

struct verify {
	struct sync *s;
	const struct verify_options *o;
	struct verify_report *report;
	struct trust *trust; /* as of the start */
	bool has_head;
	uint64_t head_seq;
	uint8_t head_hash[32];
	struct verify_object *objects; /* by name */
	uint64_t gap_seq;   /* the highest commit that is lost; valid with has_gap */
	bool has_gap;
	uint64_t base_seq;  /* the newest base that holds; valid with has_base */
	bool has_base;
	bool base_damaged;
	bool has_new_epoch; /* begun by this run: who joins needs a base of it */
	uint64_t newest_seq; /* the highest commit that the store shows */
	uint64_t done;
	uint64_t total;
};

/* verify.c */
/* Tells a finding.  Each object is counted once, by verify_count, whatever the number of findings about it. */
MUST_CHECK err_t verify_tell(struct verify *v, enum verify_kind kind, const char *object, const char *path, bool repaired,
    const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void verify_count(struct verify *v, enum verify_kind kind, bool repaired);
MUST_CHECK err_t verify_step(struct verify *v, uint64_t steps, const char *what);
/* Notes what the store's error means, and hands it on. */
MUST_CHECK err_t verify_store_failed(struct verify *v, err_t err);
/* An object was read: counted. */
void verify_was_read(struct verify *v, size_t len);

/* verify_objects.c.  The info is borrowed until verify_objects_clear. */
MUST_CHECK err_t verify_object_expect(struct verify *v, const uint8_t name[static SEGMENT_NAME_LEN],
    struct verify_object_info **out);
struct verify_object_info *verify_object_find(struct verify *v, const uint8_t name[static SEGMENT_NAME_LEN]);
typedef err_t verify_object_fn(struct verify *v, struct verify_object_info *o);
MUST_CHECK err_t verify_objects_each(struct verify *v, verify_object_fn *fn);
void verify_objects_clear(struct verify *v);
/* All segments that a body refers to, but those that were dropped. */
MUST_CHECK err_t verify_objects_expect_all(struct verify *v, const struct changes *c);

/* verify_chain.c */
MUST_CHECK err_t verify_marker(struct verify *v);
MUST_CHECK err_t verify_boxes(struct verify *v);
MUST_CHECK err_t verify_commits(struct verify *v);
/* Can the next commit, which this device does not know yet, be applied? */
MUST_CHECK err_t verify_next(struct verify *v);
MUST_CHECK err_t verify_bases(struct verify *v, const uint64_t *seqs, size_t count);
/* After all others: what lost commits and bases mean, and a new base if that helps. */
MUST_CHECK err_t verify_conclude(struct verify *v);
/* Is it the name of a key box that a statement pins? */
bool verify_is_box(const struct verify *v, const char *name);

/* verify_segments.c */
MUST_CHECK err_t verify_segments(struct verify *v);

/*
 * verify_files.c: which chunks of files point into which segments, for as many segments at a time as fit some memory.
 */
struct verify_use {
	uint64_t row; /* of the segment */
	uint64_t ino;
	uint64_t chunk;
};
struct verify_uses {
	struct verify_use *v; /* by row, inode, chunk */
	size_t count;
	uint64_t end; /* complete for rows below that; UINT64_MAX: all */
};
/* Those of rows from `first` on. */
MUST_CHECK err_t verify_uses_find(struct verify *v, uint64_t first, struct verify_uses *out);
void verify_uses_clear(struct verify_uses *u);
/* Does what this chunk has in the segment open?  data: the segment's bytes.  -EBADMSG: something does not. */
MUST_CHECK err_t verify_use_open(struct verify *v, const struct verify_use *u, const struct bytes *data);

#endif
