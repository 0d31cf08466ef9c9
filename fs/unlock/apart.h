/*
 * apart.h: work with a vendor's library in a short-lived process of its own, so that neither its threads and loops nor its copies
 * of a secret live on in ours.  Both processes see one room in locked memory, through which things come back.  Uses err.h, secmem.h.
 */
#ifndef SNUGFS_APART_H
#define SNUGFS_APART_H

#include <stddef.h>

#include "err.h"

#define APART_WHY_MAX 512

/* Every room begins with this. */
struct apart {
	err_t err;
	char why[APART_WHY_MAX]; /* a clause; empty: nothing to say */
};
/* Sets why and gives err back. */
__attribute__((format(printf, 3, 4))) err_t apart_fail(struct apart *room, err_t err, const char *fmt, ...);

/* Zeroed, not dumped; len is that of the whole room. */
MUST_CHECK err_t apart_new(size_t len, struct apart **out);
/* Wiped. */
void apart_free(struct apart *room, size_t len);

struct apart_work {
	err_t (*run)(struct apart *room, const void *task); /* in the other process, which begins with all that ours has */
	const void *task;
	const char *whom; /* it asks: "the TPM" */
	int timeout_ms;   /* then it is killed */
};
/* Before there are threads.  What run returned, which is in the room, too; -EIO with a why: no answer, or the process died. */
MUST_CHECK err_t apart_run(const struct apart_work *work, struct apart *room);

/* What to say of err: a copy of why, or NULL if there is none; NULL for 0. */
char *apart_why(const struct apart *room, err_t err);

#endif
