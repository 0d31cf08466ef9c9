/*
 * op.h: what a command asks of a vault: written once, run by the daemon if the folder is mounted, else by the command's own
 * process on the vault that it opened (session.h).  Uses control.h, progress.h, store.h, uplink.h, vault.h, fuse_ops.h.
 */
#ifndef SNUGFS_OP_H
#define SNUGFS_OP_H

#include <jansson.h>

#include "cache.h"
#include "control.h"
#include "fuse_ops.h"
#include "history.h"
#include "progress.h"
#include "uplink.h"
#include "vault.h"

struct op {
	struct vault *vault;
	struct uplink *uplink;    /* NULL: the vault has no store */
	struct fuse_mount *mount; /* NULL: not mounted */
	struct history *history;  /* views of the past */
	struct cache *cache;      /* NULL: not mounted, or no store */
	struct autolock *autolock; /* NULL: not mounted */
	const char *mountpoint;

	struct control_call *call;  /* the daemon's: who asked */
	int64_t told_ms;            /* when he was told of progress */
	char told[80];
	struct progress *progress;  /* in a command's own process */
};

/*
 * A new object with "ok": true, or control_refusal's; NULL: no memory.  Several may run at once in the daemon.  request is
 * JSON that passed a socket: no secret is ever in it.
 */
typedef json_t *op_fn(struct op *op, const json_t *request);

/* NULL: there is no such op. */
op_fn *op_find(const char *name);

/* Shows whoever asked how far it is; as progress_show. */
void op_progress(struct op *op, const char *text, uint64_t done, uint64_t total, enum progress_unit unit);
/* Nobody waits any more, or the folder is being unmounted: return soon. */
bool op_is_cancelled(struct op *op);
/* fn's answer.  Once op_is_cancelled, requests to store end with -ECANCELED: store is fn's alone. */
json_t *op_with_store(struct op *op, struct store *store, json_t *(*fn)(struct op *op, struct store *store));
/* The answer when a vault has no store: how it gets one. */
json_t *op_refuse_no_store(const struct op *op);

/* ops.c's table; each in the file of its name. */
json_t *op_sync(struct op *op, const json_t *request);
json_t *op_hold(struct op *op, const json_t *request); /* op_settings.c, this and the next three */
json_t *op_limit(struct op *op, const json_t *request);
json_t *op_lock_settings(struct op *op, const json_t *request);
/* {"after" (null: never), "on_suspend", "watching"} */
json_t *op_lock_report(struct op *op);
json_t *op_remote(struct op *op, const json_t *request);
json_t *op_dismiss(struct op *op, const json_t *request); /* op_status.c */
json_t *op_check_recovery(struct op *op, const json_t *request);
json_t *op_cache(struct op *op, const json_t *request);
json_t *op_free(struct op *op, const json_t *request);
json_t *op_pin(struct op *op, const json_t *request);
json_t *op_unpin(struct op *op, const json_t *request);

/* op_cache.c: {"here", "total", "cached", "limit" (null: none), "pins"}: what of the vault is on this computer, in bytes. */
json_t *op_cache_report(struct vault *v);
json_t *op_verify(struct op *op, const json_t *request);
json_t *op_exposure(struct op *op, const json_t *request);
json_t *op_gc(struct op *op, const json_t *request);
json_t *op_rekey(struct op *op, const json_t *request);
/*
 * op_rekey.c: begins it, and if asked waits for its end.  op has an uplink.  {"ok", "done", "bytes", "damaged", "keep_seconds",
 * "problem" (why it is not done yet, or null)}, or a refusal if it could not even be begun.
 */
json_t *op_rekey_begin(struct op *op, bool wait);
json_t *op_versions(struct op *op, const json_t *request);
json_t *op_restore(struct op *op, const json_t *request);
json_t *op_words(struct op *op, const json_t *request);         /* op_words.c, both */
json_t *op_verify_device(struct op *op, const json_t *request);
json_t *op_policy(struct op *op, const json_t *request);        /* op_policy.c, all three */
json_t *op_set_policy(struct op *op, const json_t *request);
json_t *op_statements(struct op *op, const json_t *request);
json_t *op_witness(struct op *op, const json_t *request);       /* op_witness.c, both */
json_t *op_set_witness(struct op *op, const json_t *request);
json_t *op_export_pending(struct op *op, const json_t *request); /* op_pending.c */
json_t *op_device_list(struct op *op, const json_t *request); /* op_device.c, this and the next three */
json_t *op_device_invite(struct op *op, const json_t *request);
json_t *op_device_rename(struct op *op, const json_t *request);
json_t *op_device_remove(struct op *op, const json_t *request);

#endif
