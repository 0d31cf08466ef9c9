/*
 * history_internal.h: where a path led, commit by commit backwards (history_trail.c); for the other files of this folder alone.
 */
#ifndef SNUGFS_HISTORY_INTERNAL_H
#define SNUGFS_HISTORY_INTERNAL_H

#include "history.h"

struct looking {
	struct history *h;
	struct sync *s;
	struct past *p;
	uint64_t oldest_ns;
};

/* One name of a path, in the folder in which it is looked up. */
struct trail_step {
	uint64_t folder;
	const char *name; /* in the path */
	size_t len;
};
/* A path, and the newest commit not looked at yet: in the tree as of then it leads through these steps. */
struct trail {
	uint64_t from;
	struct trail_step *steps;
	size_t step_count;
	bool leads;                     /* all of its folders are there, and so what follows is known */
	uint64_t folder;
	char name[NAME_LEN_MAX + 1];
	struct history_version holder;  /* who has the name: ino (0: nobody), size */
	struct history_version removal; /* not as of now: the commit behind it that took away where the path led, or the folder */
	bool unheard;                   /* it is gone here, and the store has not heard of that */
	char *path;
};
void trail_clear(struct trail *t);

/* As of now. */
MUST_CHECK err_t trail_begin(const struct looking *k, struct vfs *now, const char *path, struct trail *t);
/* Before the newest commit that made one of the steps lead elsewhere than before.  -ENOENT: there is none. */
MUST_CHECK err_t trail_go_back(const struct looking *k, struct trail *t);
/* Back to where all of its folders are there, if they are not.  -ENOENT. */
MUST_CHECK err_t trail_lead(const struct looking *k, struct trail *t);
/* Only who has its name in its folder, as of commit seq. */
MUST_CHECK err_t trail_look_up_then(const struct looking *k, uint64_t seq, struct trail *t);

#endif
