/*
 * records.h: the rows of meta.db as bytes (before sealing).  The first byte of each is the record version (1).  Local
 * format, big-endian fields; decoding is bounded and checks everything that memory safety needs.  Uses inode.h, bytes.h.
 */
#ifndef SNUGFS_RECORDS_H
#define SNUGFS_RECORDS_H

#include "bytes.h"
#include "inode.h"

/* Encoding appends; -ENOMEM only.  Decoding: -EBADMSG (malformed), -EPROTO (version), -ENOMEM; result owned by the caller. */
MUST_CHECK err_t record_put_inode(struct bytes *b, const struct inode *i); /* with chunk0 */
MUST_CHECK err_t record_get_inode(const uint8_t *data, size_t len, uint64_t ino, struct inode **out);
void inode_free(struct inode *i); /* with chunk0, keys, target */

MUST_CHECK err_t record_put_chunk(struct bytes *b, const struct chunk *c);
MUST_CHECK err_t record_get_chunk(const uint8_t *data, size_t len, uint64_t ino, uint64_t no, struct chunk **out);
void chunk_free(struct chunk *c);

/*
 * A chunk in many pieces is a head, in place of the record above, and parts: such records, each with the extents that begin in one
 * part of the chunk, and with the chunk's pending.
 */
#define CHUNK_PART_LEN 32768u
#define CHUNK_PARTS 32u
struct chunk_head {
	bool pending;
	uint32_t rows;   /* parts that there are: a bit for each */
	uint32_t enters; /* parts that an extent of an earlier one may reach into */
};
bool record_is_chunk_head(const uint8_t *data, size_t len);
MUST_CHECK err_t record_put_chunk_head(struct bytes *b, const struct chunk_head *h);
MUST_CHECK err_t record_get_chunk_head(const uint8_t *data, size_t len, struct chunk_head *out);

/* Key (parent, cookie) is not in the record. */
MUST_CHECK err_t record_put_dentry(struct bytes *b, const struct dentry *d);
MUST_CHECK err_t record_get_dentry(const uint8_t *data, size_t len, uint64_t parent, uint64_t cookie,
    struct dentry *out);

MUST_CHECK err_t record_put_xattrs(struct bytes *b, const struct xattr_list *l);
MUST_CHECK err_t record_get_xattrs(const uint8_t *data, size_t len, struct xattr_list *out);
void xattr_list_clear(struct xattr_list *l);

MUST_CHECK err_t record_put_segment(struct bytes *b, const struct segment *s);
MUST_CHECK err_t record_get_segment(const uint8_t *data, size_t len, uint64_t id, struct segment *out);

#endif
