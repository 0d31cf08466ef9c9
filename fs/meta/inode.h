/*
 * inode.h: what a file is, in memory: attributes, wrapped file keys, extents.  Plain data; meta.h says who may touch it.
 *
 * A file's content is divided into chunks of 1 MiB (by logical offset); no extent crosses from one into the next.  A
 * chunk's extents are sorted by offset and do not overlap; gaps read as zeros.  Uses crypto's frame.h and keywrap.h.
 */
#ifndef SNUGFS_INODE_H
#define SNUGFS_INODE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "frame.h"
#include "keywrap.h"

#define INODE_ROOT 1
#define CHUNK_LEN EXTENT_MAX_LEN
#define NAME_LEN_MAX 255
#define SYMLINK_LEN_MAX 4095
#define INODE_MAX_SIZE INT64_MAX

/* File ids are inode numbers, the same on every device: the member's number (trust.h) above this bit, a counter below. */
#define INODE_MEMBER_SHIFT 40

/* A version of a file's key, wrapped under the key of `epoch`. */
struct file_key {
	uint32_t version; /* 1, 2, …: ascending within an inode */
	uint32_t epoch;
	uint8_t wrapped[KEYWRAP_LEN];
};

/* A mapped range of a sealed extent.  The sealed extent may be larger than the range: parts were overwritten since. */
struct extent {
	uint64_t off; /* logical offset of the range in the file */
	uint32_t len; /* of the range */
	/* the sealed extent (extent_identity, frame.h) and where it is */
	uint64_t x_off;
	uint32_t x_len;
	uint8_t x_encoding;
	uint32_t key_version;
	uint8_t x_id[EXTENT_ID_LEN];
	uint64_t seg;        /* local number of the segment */
	uint64_t seg_off;    /* of the sealed extent in the segment */
	uint32_t stored_len; /* of the sealed extent in the segment */
};

struct extent_list {
	struct extent *v;
	uint32_t count;
	uint32_t cap;
};

/*
 * current: what a reader sees.  If pending: differs from what the vault's chain says, which then stands in `chain`;
 * otherwise the chain says `current` and `chain` is empty.
 */
struct chunk {
	uint64_t ino;
	uint64_t no; /* covers [no * CHUNK_LEN, (no + 1) * CHUNK_LEN) */
	bool pending;
	struct extent_list current;
	struct extent_list chain;
	uint64_t change; /* moves on with every change of `current`, in memory only: lets settling notice a race */
};

/* Fields that differ from the chain's. */
enum pending_bits {
	PENDING_MODE = 1 << 0,
	PENDING_OWNER = 1 << 1,
	PENDING_MTIME = 1 << 2,
	PENDING_XATTR = 1 << 3,   /* the names are marked in struct xattr */
	PENDING_CONTENT = 1 << 4, /* size and chunks (they are marked) and keys */
	PENDING_NEW = 1 << 5,     /* the chain does not know this inode at all */
	PENDING_CTIME = 1 << 6,   /* only that; travels with mtime, but gives way to the mtime of others */
	PENDING_ALL = (1 << 7) - 1,
};

struct inode {
	uint64_t ino;
	uint32_t mode; /* type and permissions, as st_mode */
	uint32_t uid;
	uint32_t gid;
	uint64_t rdev;
	uint32_t nlink; /* directory entries that name it (directories: 2 + subdirectories; 0 once removed) */
	uint64_t size;
	struct timespec atime;
	struct timespec mtime;
	struct timespec ctime;
	struct timespec btime;
	uint64_t parent; /* directories: the parent.  Others: a directory that had a name of it lately, or 0 (a hint) */
	uint64_t entry_count; /* directories: entries */
	uint64_t origin;      /* the file id that its extents are sealed for: ino, but for a conflict copy the original's */
	char *target;         /* symbolic links, else NULL */
	struct file_key *keys; /* regular files: ascending versions; the last one is for writing */
	uint32_t key_count;
	uint32_t pending;     /* pending_bits */
	uint64_t chain_size;  /* the chain's size while PENDING_CONTENT and not PENDING_NEW */
	uint64_t mapped;      /* bytes of all ranges mapped in the `current` of its chunks; kept by content.c */
	bool has_xattrs;      /* false: there is certainly none */
	struct chunk *chunk0; /* regular files: chunk 0, kept with the inode's own row; NULL while it has never been made */
};

/* The number of the first chunk that lies wholly behind a file's end. */
static inline uint64_t
inode_chunks(uint64_t size)
{
	return size / CHUNK_LEN + (size % CHUNK_LEN != 0);
}

/* Where what the chain has of it ends. */
static inline uint64_t
inode_chain_size(const struct inode *i)
{
	if (i->pending & PENDING_NEW)
		return 0;
	return i->pending & PENDING_CONTENT ? i->chain_size : i->size;
}

struct xattr {
	char *name;
	uint8_t *value; /* NULL with deleted */
	uint32_t len;
	bool pending; /* differs from the chain */
	bool deleted; /* kept until the chain knows */
};
struct xattr_list {
	struct xattr *v;
	uint32_t count;
	uint32_t cap;
};

/* A name in a directory, or what the chain says of a name that is no more. */
struct dentry {
	uint64_t parent;
	uint64_t cookie; /* order of readdir; never reused within the vault directory */
	uint64_t ino;       /* 0: not there (any more) */
	uint64_t chain_ino; /* what the chain has under this name; 0: nothing.  pending == (ino != chain_ino) */
	uint8_t type;       /* DT_* of ino */
	uint8_t name_len;
	char name[NAME_LEN_MAX + 1];
};

enum segment_kind {
	SEGMENT_HOT = 0,     /* raw, growing, local only */
	SEGMENT_SETTLED = 1, /* finished, to be or already in the store */
};
struct segment {
	uint64_t id; /* local number, never reused */
	uint8_t kind;
	bool in_store; /* the store has it and a commit names it */
	bool local;    /* the local file is whole */
	uint8_t name[16];
	uint64_t size; /* of the object (settled) */
	uint8_t sha256[32];
	uint64_t present; /* settled and not local: pieces (pieces.h) of which the bytes are in the local file, durably */
	/* settled ones only, for gc; seconds since 1970, 0: not so */
	uint64_t dead_since;   /* nothing that the chain has points into it, and no commit since then has named it */
	uint64_t sparse_since; /* what the chain has points at less than half of it */
	/* hot ones only */
	bool tidied;        /* what is in it was looked at since it was written: packed where that pays, and in few pieces */
	bool full;          /* it was made of as many small things as go into one at once, however short it is */
	uint64_t live;      /* bytes that extents map, as of the last time somebody counted: a hint */
	uint64_t first_ino; /* no inode but from first_ino to last_ino has extents in it; 0: none has */
	uint64_t last_ino;
};

#endif
