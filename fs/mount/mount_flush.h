/*
 * mount_flush.h: has the kernel hand over what it still holds of writes to a mount: what programs that have a file open wrote
 * without fsync (a file that was closed has nothing left).  Uses err.h.
 */
#ifndef SNUGFS_MOUNT_FLUSH_H
#define SNUGFS_MOUNT_FLUSH_H

#include "err.h"

/*
 * From any process; the mount's threads must be serving.  Returns when all of it has been served, or when nothing moved for some
 * seconds (a read may wait for the store), or after max_ms: a busy mount need not come to rest.  An error of a write reaches
 * whoever wrote.
 */
#define MOUNT_FLUSH_MS 10000u
err_t mount_flush(const char *mountpoint, unsigned max_ms);

#endif
