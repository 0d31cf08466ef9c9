/*
 * merge_state.h: one merge under way: shared by merge*.c and by nobody else.  All of it under the meta lock.
 *
 * Each name has two values: what it leads to here, and what the chain has.  A merge first moves the chain's values on (they
 * become the same on every device, whatever is pending there), then finds values for here that follow the table in
 * snugfs-design(7), then makes the rest follow: link counts, parents, what is to be introduced again, what is gone.
 */
#ifndef SNUGFS_MERGE_STATE_H
#define SNUGFS_MERGE_STATE_H

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "merge.h"

/* What a merge knows about an inode that a name in it mentions. */
struct touched {
	uint64_t ino;
	struct inode *inode;  /* NULL: not here (yet) */
	uint32_t type;        /* S_IFMT of its mode; 0: neither here nor introduced */
	bool known;           /* the chain knew it before this commit */
	bool introduced;      /* by this commit */
	bool was_named;       /* before the merge it had a name here */
	bool named;           /* directories: has one now (others: nlink says so) */
	bool moved;           /* directories: got another place in this merge, so it may be its own ancestor */
	bool told;            /* the kernel will hear of it */
	int64_t chain_before; /* names in the chain, before and as far as the merge has come */
	int64_t chain_names;
	const struct change_dentry *taken; /* the last name that this commit took from it here */
	uint64_t walk;        /* merge_check.c: the walk up the chain's tree that came by */
	bool rooted;
	UT_hash_handle hh;
};

enum note_kind {
	NOTE_COPY, /* content changed on both: `other` is ours */
	NOTE_NAME, /* one name, two files: ours is `other` now */
	NOTE_KEPT, /* deleted there, changed here */
	NOTE_BACK, /* deleted here, changed there */
	NOTE_MOVE, /* moved on both: ours is undone */
};
struct note {
	enum note_kind kind;
	uint64_t parent;
	char name[NAME_LEN_MAX + 1];
	char other[NAME_LEN_MAX + 1];
};

struct merge {
	const struct merge_context *mc;
	struct meta *meta;
	const struct changes *c;
	struct touched *touched;
	bool placing; /* names are being changed: unnamed directories have the link count of named ones */

	/* The names that were pending before the merge, by what they lead to here and by what the chain has. */
	struct dentry *pending;
	size_t pending_count;
	struct dentry **by_ino;
	struct dentry **by_chain;
	/* The commit's names by inode. */
	const struct change_dentry **given;
	size_t given_count;
	/* What the chain had under each of the commit's names. */
	uint64_t *old;

	uint64_t *segments; /* local number of each of the commit's segments */
	uint64_t walks;

	struct note *notes;
	size_t note_count;
	size_t note_cap;
	struct merge_result result;
	size_t entry_cap;
	size_t ino_cap;
};

/* merge_state.c */
MUST_CHECK err_t merge_begin(struct merge *m, const struct merge_context *mc, const struct changes *c);
void merge_clear(struct merge *m);
/* The record of an inode, made at the first mention; its inode is NULL if there is none here. */
MUST_CHECK err_t merge_touch(struct merge *m, uint64_t ino, struct touched **out);
bool merge_is_dir(const struct touched *t);
bool merge_is_named(const struct touched *t);
/* The pending names (as they were before the merge) whose ino, or chain_ino, is this: first index and count. */
size_t merge_pending_range(struct dentry *const *v, size_t count, bool chain, uint64_t ino, size_t *count_out);
/* The commit's names that lead to ino. */
size_t merge_given_range(const struct merge *m, uint64_t ino, size_t *count_out);
/* What a name leads to here and in the chain; zeros if there is no such name. */
MUST_CHECK err_t merge_lookup(struct merge *m, uint64_t parent, const char *name, struct dentry *out);
/* A name that the chain has for it and that does not lead to it here.  -ENOENT. */
MUST_CHECK err_t merge_find_chain_name(struct merge *m, const struct touched *t, struct dentry *out);
/* A name here.  -ENOENT: none, or it is not where the inode's hint says. */
MUST_CHECK err_t merge_find_local_name(struct merge *m, const struct touched *t, struct dentry *out);
MUST_CHECK err_t merge_add_segments(struct merge *m);
bool merge_kernel_knows(const struct merge *m, uint64_t ino);
MUST_CHECK err_t merge_note(struct merge *m, enum note_kind kind, uint64_t parent, const char *name, const char *other);
MUST_CHECK err_t merge_tell_entry(struct merge *m, uint64_t parent, const char *name);
MUST_CHECK err_t merge_tell_inode(struct merge *m, uint64_t ino);
/* Turns the notes into sentences. */
MUST_CHECK err_t merge_finish_result(struct merge *m, struct merge_result *out);

/* merge.c: before any lock, so that nobody waits while the names of segments are read for the first time. */
MUST_CHECK err_t merge_learn_segments(const struct merge_context *mc, const struct changes *c);

/*
 * merge.c: the files whose content the commit changes, locked; only those of which it says just CHANGE_CONTENT among `fields`.
 * Before the meta lock.
 */
struct held_files {
	struct content *content;
	uint64_t *inos;
	size_t count;
};
MUST_CHECK err_t merge_lock_files(struct held_files *held, struct content *content, const struct changes *c,
    uint32_t fields);
void merge_unlock_files(struct held_files *held); /* cleanup handler */

/* merge_check.c: does the commit make sense in the chain so far?  -EBADMSG.  Changes nothing; fills m->old. */
MUST_CHECK err_t merge_check(struct merge *m);

/* merge_tree.c: names. */
MUST_CHECK err_t merge_names(struct merge *m);
/* Gives the name to a foreign inode; who has it here makes room. */
MUST_CHECK err_t merge_place(struct merge *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type);
MUST_CHECK err_t merge_link(struct merge *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type);
MUST_CHECK err_t merge_unlink(struct merge *m, uint64_t parent, const char *name);
/* Links ino under a free name "beside" name. */
MUST_CHECK err_t merge_link_beside(struct merge *m, uint64_t parent, const char *name, uint64_t ino, uint8_t type,
    char used_out[static NAME_LEN_MAX + 1]);

/* Moves all that is in one directory here into another. */
MUST_CHECK err_t merge_pour(struct merge *m, uint64_t from, uint64_t to);

/* Our delete of a file is dropped: it has again all the names that the chain has. */
MUST_CHECK err_t merge_revive(struct merge *m, struct touched *t);

/* merge_settle.c: what follows from the names: lost inodes, parents, cycles, link counts. */
MUST_CHECK err_t merge_keep_changed(struct merge *m);
MUST_CHECK err_t merge_settle_tree(struct merge *m);
MUST_CHECK err_t merge_settle_inodes(struct merge *m);

/* merge_inode.c: attributes and introduction. */
MUST_CHECK err_t merge_introduce(struct merge *m);
MUST_CHECK err_t merge_inodes(struct merge *m);
/* All that the commit says of a new inode, as agreed. */
MUST_CHECK err_t merge_fill(struct merge *m, struct inode *i, const struct change_inode *ch);
bool merge_times_equal(const struct timespec *a, const struct timespec *b);

/* merge_moved.c: the same content at another place, or under another key. */
/* Does the commit say of the file no more than where, or under which key, what the chain has of it already is stored now? */
MUST_CHECK err_t merge_is_move(struct merge *m, struct inode *i, const struct change_inode *ch, bool *out);
/* The keys of such a commit, and those that only what is pending here is sealed under. */
MUST_CHECK err_t merge_take_keys(struct merge *m, struct inode *i, const struct change_inode *ch);
/* Extents here, pending or not, that the commit has at another place, or sealed anew, are so from now on. */
MUST_CHECK err_t merge_follow_moves(struct merge *m, struct inode *i, const struct change_inode *ch);

/* merge_drops.c: what the commit drops is forgotten, or gets another name if something pending here needs it. */
MUST_CHECK err_t merge_drops(struct merge *m);
MUST_CHECK err_t merge_left_note(uint64_t **v, size_t *count, uint64_t number);

/* merge_content.c: content. */
/* What the commit says is what is here.  Nothing of it may be pending. */
MUST_CHECK err_t merge_take_content(struct merge *m, struct inode *i, const struct change_inode *ch);
/* Back to what the chain has; what only was here is released. */
MUST_CHECK err_t merge_drop_content(struct merge *m, struct inode *i);
/* Moves what is here to another inode and leaves what the chain has. */
MUST_CHECK err_t merge_move_content(struct merge *m, struct inode *from, struct inode *to);
/* Chunks from one on that neither a reader nor the chain has.  *later_out: they are left for merge_give_back. */
MUST_CHECK err_t merge_leave(struct merge *m, struct inode *i, uint64_t from, bool *later_out);
MUST_CHECK err_t merge_make_content_new(struct merge *m, struct inode *i);
/* The list as the body has it, with the local numbers of segments; appended to the empty *out. */
MUST_CHECK err_t merge_localize(const struct merge *m, const struct change_chunk *from, struct extent_list *out);
/* Our own change is in the chain. */
MUST_CHECK err_t merge_own_content(struct merge *m, struct inode *i, const struct change_inode *ch);

#endif
