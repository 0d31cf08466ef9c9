/*
 * remote_open.h: stores as commands open them, with keys that somebody types or that are in a file.  Functions that return
 * int return exit statuses (tell.h).  Uses options.h, credentials.h, store.h.
 */
#ifndef SNUGFS_REMOTE_OPEN_H
#define SNUGFS_REMOTE_OPEN_H

#include "credentials.h"
#include "options.h"
#include "store.h"

/* Keys that were given; text NULL: none, they are in the usual places. */
struct remote_keys {
	struct credentials *given; /* in secret memory */
};
void remote_keys_clear(struct remote_keys *k);

/* --credentials-file and --ask-credentials, for a command's table. */
extern const struct option_spec remote_keys_options[];
int remote_keys_read(const struct options *o, const char *command, struct remote_keys *out);

/* Opens a store, also one whose URL is not normalized. */
int remote_open(const char *url, bool create, const struct remote_keys *keys, struct store **out);

#endif
