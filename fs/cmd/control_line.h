/* control_line.h: lines of JSON over the socket, for both its ends. */
#ifndef SNUGFS_CONTROL_LINE_H
#define SNUGFS_CONTROL_LINE_H

#include <jansson.h>
#include <sys/un.h>

#include "err.h"

#define CONTROL_SOCKET "control"

/*
 * The socket's address by its folder's descriptor, since a path may be longer than an address can be.
 */
void control_address(int dir_fd, struct sockaddr_un *out);
/* Sends value as a line; wipes nothing: no secret goes through here. */
MUST_CHECK err_t control_write_line(int fd, const json_t *value);
/*
 * One line of at most max_len bytes; an object, else -EBADMSG.  timeout_ms is for all of it (-1: none): -ETIMEDOUT, before
 * the first byte came, leaves the connection as it was.
 */
MUST_CHECK err_t control_read_line(int fd, size_t max_len, int timeout_ms, json_t **out);

#endif
