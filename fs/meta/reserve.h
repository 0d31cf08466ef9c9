/*
 * reserve.h: room on the disk that is kept back, so that on a full one what gives room back still works: removing a file is a
 * commit, and a commit takes room before it gives any.
 *
 * It is the file DIR/reserve, of which only the length matters.  Whoever commits spends it when the disk is full; from then on
 * nothing but commits may take room (segstore.h), until there is enough again to put it back.
 * Thread-safe.  Uses disk.h.
 */
#ifndef SNUGFS_RESERVE_H
#define SNUGFS_RESERVE_H

#include <stdbool.h>

#include "err.h"

struct reserve;
/* dirfd is borrowed.  Makes no file yet: that takes a moment. */
MUST_CHECK err_t reserve_new(int dirfd, struct reserve **out);
void reserve_free(struct reserve *r);
/* Puts it there if it is not, the disk has more room than it takes, and not so much that it will not be needed soon. */
void reserve_fill(struct reserve *r);
/* true: there is room now that was not there before. */
bool reserve_spend(struct reserve *r);
/* Was it spent, and not filled since?  Then the disk is for commits alone. */
bool reserve_is_spent(const struct reserve *r);

#endif
