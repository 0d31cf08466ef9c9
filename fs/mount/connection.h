/*
 * connection.h: the kernel's end of a FUSE mount, as fusectl shows it.  None of these asks the file system that is mounted, so that
 * they return though nobody serves it.  Uses err.h.
 */
#ifndef SNUGFS_CONNECTION_H
#define SNUGFS_CONNECTION_H

#include "err.h"

/* The device's number that the mount's files have.  errno's of open(2) and stat(2). */
MUST_CHECK err_t connection_device(const char *mountpoint, unsigned *major_out, unsigned *minor_out);

/*
 * Opens one of the connection's files with open(2)'s flags: "waiting" (the number of requests that are not answered yet), or "abort".
 * It stays that connection's, and means nothing once that is gone.  Root needs no fusectl to be mounted.  -ENOENT: there is none.
 */
MUST_CHECK err_t connection_open(const char *mountpoint, const char *file, int flags, int *fd_out);

/*
 * abort_fd: of "abort".  Whoever waits for an answer gets ECONNABORTED, whoever asks from now on ENOTCONN; the mount stays.
 */
MUST_CHECK err_t connection_abort(int abort_fd);

#endif
