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
