/*
 * history_pair.h: two computers and their store with some past, and views of that.
 */
#ifndef SNUGFS_TEST_HISTORY_PAIR_H
#define SNUGFS_TEST_HISTORY_PAIR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <unistd.h>

#include "history.h"
#include "sides.h"

#define NS 1000000000u

/* Looking back from a side. */
struct back {
	struct history *h;
	struct past *p;
	struct history_view *view;
	struct side then; /* as dump wants it: only fs is set */
};

static inline void
look_back(struct side *s, struct back *b)
{
	const struct past_watch w = { 0 };

	*b = (struct back){ 0 };
	assert_int_equal(history_new(s->v, &b->h), 0);
	assert_int_equal(past_open(s->sync, &w, &b->p), 0);
}

static inline void
look_away(struct back *b)
{
	if (b->view != NULL)
		history_view_put(b->h, b->view);
	past_free(b->p);
	history_free(b->h);
}

static inline void
go_to(struct side *s, struct back *b, uint64_t seq)
{
	err_t err;

	if (b->view != NULL)
		history_view_put(b->h, b->view);
	b->view = NULL;
	err = history_view_get(b->h, s->sync, b->p, seq, &b->view);
	if (err != 0)
		fail_msg("view of %llu: %d, %s", (unsigned long long)seq, err, past_why(b->p));
	b->then.fs = history_view_vfs(b->view);
}

/* What the tree was after each of some commits. */
struct record {
	uint64_t seq;
	char *tree;
};

static inline struct record
record(struct side *s)
{
	sync_ok(s);
	return (struct record){ head_of(s), dump_tree(s) };
}

static inline void
chmod_to(struct side *s, uint64_t ino, unsigned mode)
{
	struct stat st = { .st_mode = mode };

	assert_int_equal(vfs_setattr(s->fs, ino, &st, VFS_SET_MODE, &st), 0);
}

/* Four states with all kinds of changes between them. */
static inline void
make_history(struct side *s, struct record r[static 4])
{
	uint64_t dir;

	make_variety(s);
	r[0] = record(s);
	write_at(s, lookup(s, INODE_ROOT, "hello.txt"), 0, "HELLO, all", 10);
	dir = lookup(s, INODE_ROOT, "dir");
	write_at(s, lookup(s, lookup(s, dir, "sub"), "three megabytes"), 1 << 20, "in the middle", 13);
	r[1] = record(s);
	assert_int_equal(vfs_rename(s->fs, INODE_ROOT, "dir", INODE_ROOT, "folder", 0), 0);
	assert_int_equal(vfs_unlink(s->fs, INODE_ROOT, "hello.txt"), 0);
	assert_int_equal(vfs_removexattr(s->fs, lookup(s, dir, "small"), "user.colour"), 0);
	chmod_to(s, lookup(s, dir, "small"), 0600);
	r[2] = record(s);
	make_text(s, "hello.txt", "another file of that name");
	assert_int_equal(vfs_unlink(s->fs, dir, "link"), 0);
	r[3] = record(s);
}

/* 2026-11-20 14:30:00 in Berlin, where the clock was put back on October 25. */
#define NOON_IN_BERLIN 1795181400

#endif
