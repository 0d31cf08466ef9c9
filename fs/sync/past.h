/*
 * past.h: the chain read backwards from the head that this device has seen.  Each commit names the SHA-256 of the one before
 * it, so whatever is read here is what was there when this device (or whoever wrote the base that it began with) applied it:
 * a store that serves other or older objects is found out at once, also with the help of a device that was removed since.
 *
 * For one thread at a time; holds no lock across the network, and disturbs neither push nor pull.  Uses sync.h, changes.h.
 */
#ifndef SNUGFS_PAST_H
#define SNUGFS_PAST_H

#include "changes.h"
#include "sync.h"

/* What takes long says how far it is (total 0: not known); false: give up, which ends as -ECANCELED.  go_on may be NULL. */
struct past_watch {
	bool (*go_on)(void *ctx, const char *text, uint64_t done, uint64_t total);
	void *ctx;
};

struct past;
/* The head is that of this moment; w is copied.  -ENOENT: nothing is in the store yet. */
MUST_CHECK err_t past_open(struct sync *s, const struct past_watch *w, struct past **out);
void past_free(struct past *p);
void past_free_ptr(struct past **p);
uint64_t past_head(const struct past *p);
/* The sentence that explains the last failure; "": there is none but its errno's. */
const char *past_why(const struct past *p);

struct past_commit {
	uint64_t seq;
	uint64_t time_ns;   /* its author's clock */
	const char *device; /* borrowed from the past */
	struct changes *changes;
};
void past_commit_clear(struct past_commit *c);
/*
 * Commit seq, of which the ones above are read first if that has not been done.  -EBADMSG: damaged, or another one than this
 * device has seen; -EINVAL: above the head; the store's errors.
 */
MUST_CHECK err_t past_read(struct past *p, uint64_t seq, struct past_commit *out);
MUST_CHECK err_t past_time(struct past *p, uint64_t seq, uint64_t *time_ns_out);
/* SHA-256 of the object. */
MUST_CHECK err_t past_hash(struct past *p, uint64_t seq, uint8_t out[static 32]);
/* The newest commit that is not later than that.  -ENOENT: all are. */
MUST_CHECK err_t past_find(struct past *p, uint64_t time_ns, uint64_t *seq_out);

/*
 * The tree as of commit seq, into an empty meta: the newest base that holds, then the commits.  What is in m is stored from time
 * to time, so that memory is bounded.  -ERESTART: the base turned out to be damaged when a part of it was in m already; it is
 * left aside from now on: try again with an empty m.
 */
MUST_CHECK err_t past_build(struct past *p, uint64_t seq, struct meta *m);

/*
 * As sync_fetch_segment, of a segment that is named by another metadata than the vault's: from the vault's own if it is there, else
 * from the store.  Any thread, without any lock.
 */
MUST_CHECK err_t past_fetch(struct sync *s, const struct segment *seg, uint64_t off, size_t len, struct bytes *out);

#endif
