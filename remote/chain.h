/*
 * chain.h: the vault's objects by their roles, as opaque bytes: names, the numbered chain, and the one place that retries
 * and that settles a lost answer.  No data key ever comes here.
 *
 * Names: "v"; "k/<epoch>-<32 hex>"; "c/<seq, 12 decimal digits>"; "b/<seq, 12 digits>"; "s/<2 hex>/<32 hex>", where the
 * folder is the first two digits of the segment's own name.  Uses store.h, hash.h, padme.h, random.h.
 */
#ifndef SNUGFS_CHAIN_H
#define SNUGFS_CHAIN_H

#include <stdatomic.h>

#include "store.h"

#define CHAIN_NAME_MAX 64
#define CHAIN_OBJECT_MAX (256u << 20) /* of a commit and a base */
#define CHAIN_BOX_MAX (1u << 20)
#define CHAIN_SEQ_MAX UINT64_C(999999999999) /* what has 12 digits */
#define SEGMENT_NAME_LEN 16

struct chain;
/* store is borrowed and must outlive it. */
MUST_CHECK err_t chain_new(struct store *store, struct chain **out);
void chain_free(struct chain *c);
void chain_free_ptr(struct chain **c);
struct store *chain_store(struct chain *c);

/* When *stop becomes true, waits between tries end with -ECANCELED.  tries: how often -EAGAIN is tried in all (1..; 5 if
 * never set); the pauses are those of retry.h, from 100 ms to 5 s.  stop may be NULL, else must outlive the chain.
 * Everything here may be called from any thread. */
void chain_set_retry(struct chain *c, unsigned tries, const atomic_bool *stop);

/* true: this device is the only one that commits, so that on a store which cannot create conditionally it is enough to look
 * whether a name is free.  Whoever says so must know it from the chain; a second device never joins on such a store
 * (chain_probe_conditional).  Not so until it is said. */
void chain_set_alone(struct chain *c, bool alone);

/* The `v` object: u8 version (1), u8 kind (5), 2 zero bytes, 32 vault id, random bytes, 32 SHA-256 of all before; PADME_FLOOR
 * bytes in all.  The version byte is looked at before anything else.
 * write: create it, or leave one that says the same; another vault's: -EEXIST; else as read.
 * read: -ENOENT: no vault here; -EPROTO: a version that is unknown; -EBADMSG: damaged. */
MUST_CHECK err_t chain_write_marker(struct chain *c, const uint8_t vault_id[static 32]);
/* In the place of one that is lost or damaged: whoever asks knows by the commits that the store is the vault's. */
MUST_CHECK err_t chain_mend_marker(struct chain *c, const uint8_t vault_id[static 32]);
MUST_CHECK err_t chain_read_marker(struct chain *c, uint8_t vault_id_out[static 32]);

/* c/<seq>: 0: ours is commit seq.  -EEXIST: another object is (the caller pulls and rebases).  A lost answer is settled
 * here by reading back and comparing.  After any other error ours may be there: the same bytes have to be tried again.
 * A seq above CHAIN_SEQ_MAX, an object above its maximum: -EINVAL, here and below. */
MUST_CHECK err_t chain_commit(struct chain *c, uint64_t seq, const uint8_t *object, size_t len);
MUST_CHECK err_t chain_read_commit(struct chain *c, uint64_t seq, struct bytes *out);
/* Its first len bytes, appended to out; -EBADMSG: it is shorter. */
MUST_CHECK err_t chain_read_commit_start(struct chain *c, uint64_t seq, size_t len, struct bytes *out);

MUST_CHECK err_t chain_write_base(struct chain *c, uint64_t seq, const uint8_t *object, size_t len);
MUST_CHECK err_t chain_read_base(struct chain *c, uint64_t seq, struct bytes *out);
/* The numbers of the bases that the store shows, newest first; *seqs_out is malloc'ed.  Listing: for joining and gc. */
MUST_CHECK err_t chain_list_bases(struct chain *c, uint64_t **seqs_out, size_t *count_out);

/* Draws a name, stores the box under it, and reads it back (-EBADMSG: it is not what was stored); name_out gets "k/<epoch>-<hex>". */
MUST_CHECK err_t chain_write_box(struct chain *c, uint32_t epoch, const uint8_t *object, size_t len,
    char name_out[static CHAIN_NAME_MAX]);
/* -EINVAL: not the name of a box. */
MUST_CHECK err_t chain_read_box(struct chain *c, const char *name, struct bytes *out);
struct chain_box {
	char name[CHAIN_NAME_MAX];
	uint32_t epoch;
};
/* Highest epoch first; malloc'ed. */
MUST_CHECK err_t chain_list_boxes(struct chain *c, struct chain_box **boxes_out, size_t *count_out);

/* Segments and base parts; sha256: of the object, as commits name it. */
MUST_CHECK err_t chain_write_segment(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN],
    const uint8_t sha256[static 32], const uint8_t *object, size_t len);
MUST_CHECK err_t chain_read_segment(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN], size_t max_len,
    struct bytes *out);
MUST_CHECK err_t chain_read_segment_range(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN], uint64_t off,
    size_t len, struct bytes *out);
void chain_segment_object_name(const uint8_t name[static SEGMENT_NAME_LEN], char out[static CHAIN_NAME_MAX]);

/* Tries, in a race with itself, whether conditional creates work here: 0, -ENOTSUP, or the store's error.  The objects that
 * it makes and removes look like segments, so that gc finds what a crash leaves. */
MUST_CHECK err_t chain_probe_conditional(struct chain *c);

#endif
