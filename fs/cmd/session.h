/*
 * session.h: a command's conversation with a vault: by its daemon if it is mounted, else here.  Functions that return int
 * return exit statuses (tell.h).  Uses op.h, place.h.
 */
#ifndef SNUGFS_SESSION_H
#define SNUGFS_SESSION_H

#include <jansson.h>

#include "options.h"
#include "place.h"
#include "prompt.h"

/* The vault of the mount point that was given, or the only one that is known here. */
int session_find_place(const struct options *o, struct place *out);
/*
 * Runs the op that request (a new object, taken over) names in "op": shows its progress; a refusal is told.  *answer_out: a
 * new object, "ok" is true.
 */
int session_call(const struct options *o, const struct place *p, json_t *request, json_t **answer_out);
/* The same for a vault that is not mounted and whose passphrase is known (empty: it wants none). */
int session_call_here(const struct secret *passphrase, const struct place *p, json_t *request, json_t **answer_out);

#endif
