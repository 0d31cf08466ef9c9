/*
 * control.h: the daemon's socket DIR/control: one request and one answer a connection, each a line of JSON.
 *
 * The socket has mode 0600 in a folder of mode 0700, and only the same user and root are answered (SO_PEERCRED).  Requests
 * are bounded in size, number and time.  Where there can be no thread more, "status" and "await-end" are answered all the same,
 * one after the other, and the rest is refused with a sentence; while one of these awaits the end, others are closed.  A request
 * is an object with "op"; an answer has "ok", and with "ok": false "text", a sentence.  Before the answer there may be lines that
 * say how far it is: objects without "ok".  The operation "await-end" is answered by this module, twice: at once, and when the
 * daemon has ended all its work; its connection then ends with the process.
 *
 * Uses jansson, whose type json_t appears here since requests are what this module is about.
 */
#ifndef SNUGFS_CONTROL_H
#define SNUGFS_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

/*
 * Goes up whenever a request or an answer comes to mean something else.  It is in each of both as "version", since a command may be newer or
 * older than the daemon that it asks: then it is told to, and nothing is done.  "status" and "await-end" are answered all the same.
 */
#define CONTROL_VERSION 2

/* The daemon's side. */

struct control;
struct control_call; /* a request that is being answered */

/*
 * Answers a request, from any of several threads at once: a new object, or NULL when memory is short.  request is borrowed.
 */
typedef json_t *control_fn(void *ctx, struct control_call *call, const char *op, const json_t *request);

/* A line before the answer: takes over value (a new object).  Whoever asked may have gone: then nothing. */
void control_tell(struct control_call *call, json_t *value);
/* Nobody waits for the answer any more, or the daemon is about to end. */
bool control_is_over(struct control_call *call);

/* Makes the socket in the directory dir_fd, in place of one that a crash left, and starts to answer. */
MUST_CHECK err_t control_start(int dir_fd, control_fn *fn, void *ctx, struct control **out);
/* From now on control_is_over for all that runs, and nothing new begins. */
void control_quiesce(struct control *c);
/* The same; returns when fn is not running any more, nor ever will be.  The end can still be awaited.  Call it while the vault is open,
 * then control_finish once, when it is closed, but its lock is still held: afterwards the socket's name may be another daemon's. */
void control_stop(struct control *c);
/* All is done (text NULL), or the last changes are not on disk (text says why): removes the socket, tells those that wait, and frees. */
void control_finish(struct control *c, const char *text);

/* "ok": false and the sentence. */
__attribute__((format(printf, 1, 2))) json_t *control_refusal(const char *fmt, ...);
/* Is the request of this version? */
bool control_is_current(const json_t *request);
#define CONTROL_OTHER_VERSION "%s was mounted by another version of snugfs: unmount it and mount it again"

/* The commands' side. */

/*
 * Connects to the daemon of the vault in dir.  -ENOENT or -ECONNREFUSED: no daemon runs; -EACCES: another user's.
 */
MUST_CHECK err_t control_connect(const char *dir, int *fd_out);
/* The process at the other end of a connection, or at what is left of one; -1: it can't be known. */
pid_t control_peer(int fd);
/* Takes over request (a new object), also on failure, and says its version. */
MUST_CHECK err_t control_send(int fd, json_t *request);
/*
 * Waits for the answer: a new object.  -ETIMEDOUT after timeout_ms (try again); -ECONNRESET: the daemon ended without one;
 * -EBADMSG.
 */
MUST_CHECK err_t control_receive(int fd, int timeout_ms, json_t **out);
/* All three, with a time limit for the answer. */
MUST_CHECK err_t control_call(const char *dir, json_t *request, json_t **out);

/* Takes the version out of an answer.  Is it this one? */
bool control_take_version(json_t *answer);
/* Is it "ok"?  If not, *text_out is the sentence (borrowed from the answer). */
bool control_is_ok(const json_t *answer, const char **text_out);

#endif
