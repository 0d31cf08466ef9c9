/* daemon_report.h: what the daemon knows about itself, as JSON for status.  Uses jansson, vault.h, uplink.h, fuse_ops.h. */
#ifndef SNUGFS_DAEMON_REPORT_H
#define SNUGFS_DAEMON_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "fuse_ops.h"
#include "uplink.h"
#include "vault.h"

/*
 * {"ok", "pending": {"bytes", "files", "names"}, "busy", "progress": {"done", "total"}, "last_push", "last_pull",
 * "last_contact" (seconds since 1970, or null), "devices": [{"name", "id", "kind", "this", "added"}], "messages": [text],
 * "problem": {"text"} or null, "remote"}, and with `counters` "counters": {kind: number} and "requests": {kind: number}.  NULL: no memory.
 * uplink may be NULL.
 */
json_t *daemon_report(struct vault *v, struct uplink *u, struct fuse_mount *fm, bool counters);

#endif
