/*
 * hidden.h: the hidden folder .snugfs in the root, as the handlers see it (fuse_hidden.c): .snugfs/at/TIME/ is the whole tree as it was,
 * to be read.  No FUSE here.
 *
 * Its inodes have numbers of their own: bit 63, the number of the moment, and the inode's number in the tree.  A moment keeps its
 * number as long as the kernel knows an inode of it, whatever becomes of the tree meanwhile: made anew, it is the same.
 */
#ifndef SNUGFS_HIDDEN_H
#define SNUGFS_HIDDEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "err.h"

struct hidden;
struct vfs;

#define HIDDEN_FLAG (UINT64_C(1) << 63)
#define HIDDEN_MOMENT_SHIFT 52
#define HIDDEN_TOP (HIDDEN_FLAG | 1) /* .snugfs */
#define HIDDEN_AT (HIDDEN_FLAG | 2)  /* .snugfs/at */

/* A moment: of a commit's number, or of a time. */
struct hidden_key {
	bool is_commit;
	uint64_t value;
};
/*
 * Who knows the past, for the hidden folder.  Any thread; may take long.  -EINTR: nobody waits for it any more (interrupt.h).
 */
struct hidden_source {
	void *ctx;
	/* What a name in .snugfs/at means.  -EINVAL: nothing. */
	err_t (*parse)(void *ctx, const char *name, struct hidden_key *out);
	/* The tree then, to be read until leave.  *commit: where it is found, UINT64_MAX before that. */
	err_t (*enter)(void *ctx, const struct hidden_key *key, uint64_t *commit, struct vfs **out, void **token_out);
	void (*leave)(void *ctx, void *token);
	/* Names worth listing, until fn returns non-zero. */
	err_t (*list)(void *ctx, int (*fn)(void *fn_ctx, const char *name), void *fn_ctx);
	/* The mount is ending: what is under way gives up. */
	void (*end)(void *ctx);
};

/* v and source are borrowed. */
MUST_CHECK err_t hidden_new(struct vfs *v, const struct hidden_source *source, struct hidden **out);
void hidden_free(struct hidden *p);

static inline bool
hidden_has(uint64_t ino)
{
	return ino & HIDDEN_FLAG;
}

/* One of the folders, or the root of a moment, about which is nothing to ask the tree. */
bool hidden_is_folder(uint64_t ino);
/* In the root: the hidden folder's name, and not somebody's own file of that name, which an older version let him make. */
bool hidden_is_name(struct hidden *p, uint64_t parent, const char *name);

/* A tree while one message is served. */
struct hidden_visit {
	struct hidden *hidden;
	unsigned number;
	uint64_t ino; /* in the tree */
	struct vfs *vfs;
	void *token;
};

/* To the tree of an inode that the kernel knows, so the moment stays.  Leave it, whatever was returned.  -ESTALE: there is none. */
MUST_CHECK err_t hidden_enter(struct hidden *p, uint64_t ino, struct hidden_visit *v);
void hidden_leave(struct hidden_visit *v);
/* What the kernel calls that inode of the tree. */
uint64_t hidden_number(const struct hidden_visit *v, uint64_t ino);

MUST_CHECK err_t hidden_attr(struct hidden *p, uint64_t ino, struct stat *out);
/* parent is in the past, or it is the hidden name.  What is found is one lookup more: hidden_forget. */
MUST_CHECK err_t hidden_lookup(struct hidden *p, uint64_t parent, const char *name, struct stat *out);
void hidden_forget(struct hidden *p, uint64_t ino, uint64_t n);

/* Of HIDDEN_TOP or HIDDEN_AT, from behind that cookie on; add returns other than 0 to end it.  The first of HIDDEN_AT may read from the store. */
typedef int hidden_entry_fn(void *ctx, const char *name, const struct stat *attr, uint64_t cookie);
MUST_CHECK err_t hidden_list(struct hidden *p, uint64_t ino, uint64_t after, hidden_entry_fn *add, void *ctx);

#endif
