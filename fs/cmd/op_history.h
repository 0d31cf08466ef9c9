/*
 * op_history.h: what ops have in common that look back (op_history.c, op_restore.c).  Uses op.h, history.h.
 */
#ifndef SNUGFS_OP_HISTORY_H
#define SNUGFS_OP_HISTORY_H

#include "history.h"
#include "op.h"

/* One request under way. */
struct asking {
	struct op *op;
	const json_t *request;
	struct vfs *now;  /* of the vault itself */
	struct past *past;
	struct sync *sync;
	uint64_t oldest_ns; /* as far back as history is kept: what was deleted before that may be gone from the store */
	char *path;       /* below the mount point, without slashes at either end */
	json_t *answer;
};

/*
 * Runs fn with the past, if there is any.  It sets a->answer, also to a refusal; an error that it returns without one is told as
 * what it means.
 */
json_t *op_history_run(struct op *op, const json_t *request, err_t (*fn)(struct asking *a));
/* A path of the request, malloc'ed, without slashes at its ends.  Its bytes come as hexadecimal digits: JSON takes only UTF-8. */
MUST_CHECK err_t op_history_path(const json_t *request, const char *key, char **out);

#endif
