/*
#include <stdbool.h>
 * uplink.h: the daemon's connection to the store.  A store that is away when the folder is mounted is no reason not to
 * mount: it is looked for in the background until it is there, and from then on sync.h does the work.
 *
 * LOCKING: `sync`, once set, stays until uplink_free; everything here may be called from any thread but new and free.
 * Uses sync.h, store.h, vault.h.
 */
#ifndef SNUGFS_UPLINK_H
#define SNUGFS_UPLINK_H


#include "sync.h"

struct uplink;

/* v is borrowed and has a remote_url.  Tries once to find the store; that it is away is no error. */
MUST_CHECK err_t uplink_new(struct vault *v, struct uplink **out);
void uplink_free(struct uplink *u);

/* Starts to sync, or to look for the store.  The hooks' context must outlive uplink_stop. */
MUST_CHECK err_t uplink_start(struct uplink *u, const struct sync_hooks *hooks);
/* Ends all that runs in the background; drains that wait return -ECANCELED. */
void uplink_stop(struct uplink *u);

/* fetcher_source_fn; ctx is the uplink.  -EAGAIN while the store is away. */
MUST_CHECK err_t uplink_fetch(void *ctx, const struct segment *seg, uint64_t off, size_t len, struct bytes *out);

/*
 * Runs fn with the sync engine, connecting to the store first if that has not been done yet; hands fn's error on.
 * -ECANCELED: uplink_stop came before it.  why_out gets the sentence that explains a failure, maybe "".
 */
MUST_CHECK err_t uplink_with_sync(struct uplink *u, err_t (*fn)(struct sync *s, void *ctx), void *ctx, char *why_out,
    size_t why_len);
/* As sync_drain; why_out gets the sentence that explains a failure, maybe "". */
MUST_CHECK err_t uplink_drain(struct uplink *u, char *why_out, size_t why_len);

/* What the user wants: the vault's settings, and where they say nothing the configuration's. */
MUST_CHECK err_t uplink_settings(struct uplink *u, struct settings *out);
/* They were changed: from now on they hold. */
MUST_CHECK err_t uplink_apply_settings(struct uplink *u);

/* As sync_set_network, also while the store is away. */
void uplink_set_network(struct uplink *u, enum sync_network network);
/* As sync_is_held. */
bool uplink_is_held(struct uplink *u);

/* As sync_get_status, also while the store is away: then that is the problem. */
void uplink_get_status(struct uplink *u, struct sync_status *out);
/* As sync_get_calls; all 0 while the store is away. */
void uplink_get_calls(struct uplink *u, uint64_t out[static STORE_CALL_KINDS]);
/* As sync_get_messages. */
MUST_CHECK err_t uplink_get_messages(struct uplink *u, char ***out, size_t *count_out);

#endif
