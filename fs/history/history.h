/*
 * history.h: the folder as it was: what became of a file, the whole tree as of a moment, and restoring from it.  All of it is
 * read from the store's chain (past.h); nothing is ever written there.
 *
 * A view is the tree as of one commit: metadata and content of its own, in DIR/history/<commit>/ (sealed as all that is local),
 * served by a vfs that only reads may be asked of.  At most two are open at a time; one that is finished is found again by the
 * next process, until it has not been used for a day or makes room for another.
 * Uses past.h, vault.h, vfs.h.
 */
#ifndef SNUGFS_HISTORY_H
#define SNUGFS_HISTORY_H

#include "past.h"
#include "vault.h"
#include "vfs.h"

struct history;
/* v is borrowed, and not closed before history_free. Removes what is left of earlier views. */
MUST_CHECK err_t history_new(struct vault *v, struct history **out);
void history_free(struct history *h); /* all views have been put back */
struct meta *history_present(struct history *h); /* of the folder as it is now; borrowed */

struct history_view;
/*
 * The tree as of commit seq.  s must be there until the view is put back, and for any read from it.  Making one takes long: see
 * past_watch.  -EBUSY: the views that there may be are in use; past.h's errors, with its sentence.
 */
MUST_CHECK err_t history_view_get(struct history *h, struct sync *s, struct past *p, uint64_t seq,
    struct history_view **out);
/* One that is open.  -ENOENT: it is not. */
MUST_CHECK err_t history_view_find(struct history *h, uint64_t seq, struct history_view **out);
void history_view_put(struct history *h, struct history_view *w);
struct vfs *history_view_vfs(const struct history_view *w); /* borrowed; for reading only */

/*
 * Follows a path (relative to the root; "" is the root; slashes too many do not matter) as far as it leads.  *ino_out is what was
 * reached, *rest_out what of the path is left: "" if all was found.  No link is followed.
 */
MUST_CHECK err_t history_resolve(struct vfs *v, const char *path, uint64_t *ino_out, const char **rest_out);

/*
 * When.  Understood, in the local time zone: "now", "today", "yesterday", "2026-11-20", "14:30", "2026-11-20 14:30",
 * "2026-11-20T14:30:05" with or without a fraction and a zone ("Z", "+01:00"), "3 hours ago", "2d", "commit 812".  Whatever
 * names a day, a minute or a second means the last moment of it.
 */
struct history_when {
	bool is_commit;
	uint64_t seq;     /* with is_commit */
	uint64_t time_ns; /* else */
};
/* -EINVAL: not understood. */
MUST_CHECK err_t history_time_parse(const char *text, time_t now, struct history_when *out);
/* "2026-11-20 14:30:05"; as it is parsed. */
#define HISTORY_TIME_LEN 40
void history_time_print(uint64_t time_ns, char out[static HISTORY_TIME_LEN]);
/* The same by RFC 3339, to the nanosecond, in UTC. */
void history_time_print_exact(uint64_t time_ns, char out[static HISTORY_TIME_LEN]);

/* What a commit did to a file; a mask. */
enum history_change {
	HISTORY_CREATED = 1,
	HISTORY_CONTENT = 2,    /* of a folder: names in it */
	HISTORY_ATTRIBUTES = 4, /* mode, owner, xattrs, times */
	HISTORY_NAMED = 8,      /* got the name, by renaming or linking */
	HISTORY_UNNAMED = 16,   /* the name leads nowhere any more */
};
struct history_version {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t ino;  /* 0: of an UNNAMED one */
	char device[TRUST_NAME_MAX + 1];
	unsigned changes;
	bool has_size;
	uint64_t size;
	bool has_mtime;
	struct timespec mtime;
	struct timespec ctime;
	char name[NAME_LEN_MAX + 1]; /* with NAMED or UNNAMED */
};
/* More are not shown at once: an answer to a command is no longer than a few MiB. */
#define HISTORY_LISTED_MAX 2000u
struct history_versions {
	struct history_version *v; /* newest first */
	size_t count;
	size_t cap;
	bool complete; /* to the chain's beginning */
	bool deleted;  /* the path leads to nothing now */
};
void history_versions_clear(struct history_versions *l);
MUST_CHECK err_t history_versions_add(struct history_versions *l, const struct history_version *v);
/*
 * The versions of what the path (as history_resolve, without a slash at its end) leads to in `now`, the vault's own vfs, and of
 * what it led to before, as far as commits no older than oldest_ns tell.  -ENOENT: nothing had that name in that time.
 */
MUST_CHECK err_t history_versions_of(struct history *h, struct sync *s, struct past *p, struct vfs *now, const char *path,
    uint64_t oldest_ns, struct history_versions *out);
/* Names that a folder had and has not now, each with its last loss.  One more than HISTORY_LISTED_MAX: there may be others. */
MUST_CHECK err_t history_versions_deleted(struct past *p, struct vfs *now, uint64_t folder, uint64_t oldest_ns,
    struct history_versions *out);
/* The newest commit as of which a path led to something.  -ENOENT. */
MUST_CHECK err_t history_versions_last(struct history *h, struct sync *s, struct past *p, struct vfs *now, const char *path,
    uint64_t oldest_ns, uint64_t *seq_out);

/* Restoring: copies from a view (or any vfs) to another. */
struct history_restore {
	struct vfs *from;
	uint64_t ino;        /* what */
	struct vfs *to;
	uint64_t parent;     /* where to */
	const char *name;    /* NULL: what is in the folder `ino` goes into the folder `parent`, as with overwrite */
	bool overwrite;      /* a file takes the place of one that is there; a folder is filled up with what it had */
	struct past_watch watch;
	/* Something has a new name or a new content there; may be NULL. */
	void (*changed)(void *ctx, uint64_t parent, const char *name);
	void *ctx;

	/* results */
	uint64_t file_count; /* of any kind but folders */
	uint64_t byte_count;
	uint64_t failed_count; /* of files in a folder that could not be read, and were left out */
	char failed[NAME_LEN_MAX + 1]; /* the first of them, or what a failure is about */
};
/* All or nothing, but for failed_count, and for a folder that is filled up.  -EEXIST without overwrite; -EISDIR, -ENOTDIR:
 * with it, and the one is a folder and the other is not. */
MUST_CHECK err_t history_restore(struct history_restore *r);
/* "name (as of 2026-11-20 14:30:05).ext", shortened to fit 255 bytes; n > 1 adds " n". */
void history_restore_name(const char *name, uint64_t time_ns, unsigned n, char out[static NAME_LEN_MAX + 1]);

#endif
