/*
 * changes.h: the body of a commit and of a base part: deterministic CBOR, zstd-compressed.  The CDDL is in snugfs-format(5).
 * Decoding is bounded and strict: whatever decodes is well-formed, so that merge.h needs to check only meaning.
 * Uses inode.h, cborio.h, compress.h.
 */
#ifndef SNUGFS_CHANGES_H
#define SNUGFS_CHANGES_H

#include "bytes.h"
#include "inode.h"

#define CHANGES_MAX_LEN (128u << 20) /* of the decompressed body */

enum change_field { /* a mask: which attributes of the inode are given */
	CHANGE_NEW = 1 << 0,     /* the inode is introduced: type, rdev, target, btime and all attributes are given */
	CHANGE_MODE = 1 << 1,
	CHANGE_OWNER = 1 << 2,
	CHANGE_MTIME = 1 << 3,
	CHANGE_XATTR = 1 << 4,
	CHANGE_CONTENT = 1 << 5, /* size, keys, chunks */
	CHANGE_RESEALED = 1 << 6, /* with CONTENT alone: the same bytes, each extent as it was or sealed anew under another key */
};
struct change_xattr {
	char *name;
	uint8_t *value; /* NULL: removed */
	uint32_t len;
};
/* Extents as inode.h's, but `seg` is an index into the segment table of the same body. */
struct change_chunk {
	uint64_t no;
	struct extent_list extents; /* the whole chunk: empty means a hole */
};
struct change_inode {
	uint64_t ino;
	uint32_t fields;
	uint32_t mode; /* always with its type bits */
	uint32_t uid, gid;
	uint64_t rdev;
	struct timespec mtime, ctime, btime;
	char *target;
	uint64_t size;
	uint64_t origin;
	struct file_key *keys; /* all versions */
	uint32_t key_count;
	struct change_xattr *xattrs;
	uint32_t xattr_count;
	struct change_chunk *chunks; /* ascending; chunks behind `size` are gone */
	uint32_t chunk_count;
};
struct change_dentry {
	uint64_t parent;
	uint64_t ino; /* 0: the name is gone */
	uint8_t type; /* DT_* */
	char name[NAME_LEN_MAX + 1];
};
struct change_segment {
	uint8_t name[16];
	uint64_t size;
	uint8_t sha256[32];
};
/* A segment that is going to be deleted from the store; its name is never used again. */
struct change_drop {
	uint8_t name[16];
};
struct changes_index;
struct changes {
	struct bytes *statements; /* trust statements, in order */
	uint32_t statement_count;
	/* earlier epoch keys, wrapped under the epoch key of this object (AES-KW): with an epoch change, and in bases */
	struct { uint32_t epoch; uint8_t wrapped[KEYWRAP_LEN]; } *epoch_keys;
	uint32_t epoch_key_count;
	struct change_segment *segments; /* every segment that an extent below points into */
	uint32_t segment_count;
	struct change_inode *inodes; /* ascending ino */
	uint32_t inode_count;
	struct change_dentry *dentries;
	uint32_t dentry_count;
	/* a base's manifest only: its parts */
	struct change_segment *parts;
	uint32_t part_count;
	struct change_drop *drops; /* ascending names */
	uint32_t drop_count;
	struct changes_index *segment_index; /* of changes_segment_index */
};

MUST_CHECK err_t changes_new(struct changes **out);
void changes_free(struct changes *c);
void changes_free_ptr(struct changes **c);
/* Appending, for whoever builds one: a zeroed element at the end (growing geometrically), or NULL. */
struct change_inode *changes_add_inode(struct changes *c);
struct change_dentry *changes_add_dentry(struct changes *c);
MUST_CHECK err_t changes_add_statement(struct changes *c, const uint8_t *data, size_t len);
MUST_CHECK err_t changes_add_epoch_key(struct changes *c, uint32_t epoch, const uint8_t wrapped[static KEYWRAP_LEN]);
MUST_CHECK err_t changes_add_drop(struct changes *c, const uint8_t name[static 16]);
/* The index of a segment, added if it is not there yet. */
MUST_CHECK err_t changes_segment_index(struct changes *c, const struct change_segment *s, uint32_t *index_out);

/*
 * Compressed body, appended.  -E2BIG: larger than CHANGES_MAX_LEN; -EINVAL: not well-formed, so that no other device could
 * read it.  Sorts inodes, dentries (by parent, then name), xattrs and drops (by name).  Chunks behind an inode's size are left out;
 * CHANGE_NEW implies MODE, OWNER, MTIME, for regular files CONTENT, and XATTR if there are any.
 */
MUST_CHECK err_t changes_encode(struct changes *c, struct bytes *out);
/* -EBADMSG, -EPROTO (an unknown mandatory key), -ENOMEM. */
MUST_CHECK err_t changes_decode(const uint8_t *data, size_t len, struct changes **out);
/* The same of a body that is not compressed. */
MUST_CHECK err_t changes_decode_plain(const uint8_t *data, size_t len, struct changes **out);

#endif
