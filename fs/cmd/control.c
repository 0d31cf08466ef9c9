/* The daemon's end of the control socket: a thread that accepts, one for each request, and a spare one for when there can be no more. */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "control_line.h"
#include "human.h"
#include "log.h"

#define REQUEST_MAX_LEN 65536
#define REQUEST_TIMEOUT_MS 5000
#define ANSWER_TIMEOUT_S 5
#define CONNECTIONS_MAX 32
#define LOOK_INTERVAL_MS 200

struct control_call { /* a connection */
	struct control *control;
	int fd; /* -1: none */
	bool spare; /* it has the spare thread */
	bool lasts; /* until the process ends */
};

struct control {
	int dir_fd;
	int listen_fd;
	int stop_fd; /* eventfd: readable when it is over */
	control_fn *fn;
	void *ctx;
	pthread_t acceptor;
	pthread_t spare; /* made in time: unmounting must be possible when memory is short */

	pthread_mutex_t lock;
	pthread_cond_t moved;
	/* under lock */
	unsigned connections; /* that are served; those that await the end included */
	unsigned answering; /* calls of fn */
	struct control_call spare_call; /* what the spare thread has or is to take */
	bool spare_taken; /* by somebody who awaits the end */
	bool spare_over;
	bool stopping;        /* no request gets to fn any more */
	bool finished;
	char *final_text;     /* with finished: NULL, or what went wrong */
};

json_t *
control_refusal(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_pack("{s:b, s:o}", "ok", 0, "text", human_path(text)); /* it may name a path that is no UTF-8, or be cut in a character */
}

bool
control_is_current(const json_t *request)
{
	return json_integer_value(json_object_get(request, "version")) == CONTROL_VERSION;
}

/* One request. */

static bool
has_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* [lock] False: whoever asked has gone, as when the folder was in use; no thread is kept for him. */
static bool
wait_for_end(struct control_call *call)
{
	struct control *c = call->control;

	while (!c->finished) {
		const struct timespec look = clock_deadline(LOOK_INTERVAL_MS);

		(void)pthread_cond_timedwait(&c->moved, &c->lock, &look);
		if (!c->finished && has_gone(call->fd))
			return false;
	}
	return true;
}

/* The first answer promises the second: whoever got it may unmount.  The connection ends with the process, so that this can be heard. */
static json_t *
await_end(struct control_call *call)
{
	struct control *c = call->control;
	json_t *answer = json_pack("{s:b}", "ok", 1);
	err_t err = answer != NULL ? control_write_line(call->fd, answer) : -ENOMEM;

	json_decref(answer);
	if (err != 0)
		return NULL;
	pthread_mutex_lock(&c->lock);
	call->lasts = wait_for_end(call);
	if (!call->lasts)
		answer = NULL;
	else
		answer = c->final_text != NULL ? control_refusal("%s", c->final_text) : json_pack("{s:b}", "ok", 1);
	pthread_mutex_unlock(&c->lock);
	return answer;
}

static bool
is_stopping(struct control *c)
{
	bool stopping;

	pthread_mutex_lock(&c->lock);
	stopping = c->stopping;
	pthread_mutex_unlock(&c->lock);
	return stopping;
}

void
control_tell(struct control_call *call, json_t *value)
{
	err_t err = value != NULL ? control_write_line(call->fd, value) : -ENOMEM;

	(void)err; /* control_is_over finds out */
	json_decref(value);
}

bool
control_is_over(struct control_call *call)
{
	return is_stopping(call->control) || has_gone(call->fd);
}

/* False: nothing new begins. */
static bool
begin_answer(struct control *c)
{
	bool begun;

	pthread_mutex_lock(&c->lock);
	begun = !c->stopping;
	c->answering += begun;
	pthread_mutex_unlock(&c->lock);
	return begun;
}

static void
end_answer(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->answering--;
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
}

static void
note_spare_is_taken(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->spare_taken = true;
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
}

static json_t *
answer_request(struct control_call *call, const json_t *request)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	struct control *c = call->control;
	json_t *answer;

	if (op == NULL)
		return control_refusal("the request has no operation");
	if (strcmp(op, "await-end") == 0) {
		if (call->spare)
			note_spare_is_taken(c);
		return await_end(call);
	}
	/* What may take long must not keep the spare thread from those that unmount. */
	if (call->spare && strcmp(op, "status") != 0)
		return control_refusal("the background process of the folder can start no further thread, for want of memory or since too "
		    "many commands ask it at once: try again later; \"snugfs status\" and \"snugfs unmount\" work all the same");
	if (!begin_answer(c))
		return control_refusal("the folder is being unmounted");
	answer = c->fn(c->ctx, call, op, request);
	end_answer(c);
	return answer;
}

static bool
is_permitted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && len == sizeof(peer) &&
	    (peer.uid == geteuid() || peer.uid == 0);
}

static void
serve(struct control_call *call)
{
	int fd = call->fd;
	json_t *request = NULL, *answer;
	err_t err;

	if (!is_permitted(fd))
		return;
	err = control_read_line(fd, REQUEST_MAX_LEN, REQUEST_TIMEOUT_MS, &request);
	if (err != 0) {
		if (err == -EBADMSG && (answer = control_refusal("the request is not a line of JSON")) != NULL) {
			err = control_write_line(fd, answer);
			json_decref(answer);
		}
		return;
	}
	answer = answer_request(call, request);
	json_decref(request);
	if (answer != NULL && json_object_set_new(answer, "version", json_integer(CONTROL_VERSION)) == 0)
		err = control_write_line(fd, answer);
	(void)err; /* whoever asked has gone */
	json_decref(answer);
}

static void
end_connection(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->connections--;
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
}

static void *
connection_main(void *arg)
{
	struct control_call *n = arg;
	struct control *c = n->control;

	serve(n);
	if (!n->lasts)
		close(n->fd);
	free(n);
	end_connection(c);
	return NULL;
}

static void *
spare_main(void *arg)
{
	struct control *c = arg;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (c->spare_call.fd < 0 && !c->spare_over)
			pthread_cond_wait(&c->moved, &c->lock);
		if (c->spare_call.fd < 0)
			break;
		pthread_mutex_unlock(&c->lock);
		serve(&c->spare_call);
		pthread_mutex_lock(&c->lock);
		if (!c->spare_call.lasts)
			close(c->spare_call.fd);
		c->spare_call.fd = -1;
		c->spare_taken = false;
		c->connections--;
		pthread_cond_broadcast(&c->moved);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Accepting. */

static bool
admit(struct control *c)
{
	bool room;

	pthread_mutex_lock(&c->lock);
	room = c->connections < CONNECTIONS_MAX;
	if (room)
		c->connections++;
	pthread_mutex_unlock(&c->lock);
	return room;
}

static bool
give_thread(struct control *c, int fd)
{
	struct control_call *n = malloc(sizeof(*n));
	pthread_t thread;

	if (n == NULL)
		return false;
	*n = (struct control_call){ .control = c, .fd = fd };
	if (pthread_create(&thread, NULL, connection_main, n) != 0) {
		free(n);
		return false;
	}
	pthread_detach(thread);
	return true;
}

/* One after the other: none but the end takes long there. */
static bool
give_spare(struct control *c, int fd)
{
	bool idle;

	pthread_mutex_lock(&c->lock);
	while (c->spare_call.fd >= 0 && (!c->spare_taken || has_gone(c->spare_call.fd)))
		pthread_cond_wait(&c->moved, &c->lock);
	idle = c->spare_call.fd < 0;
	if (idle) {
		c->spare_call.fd = fd;
		c->connections++;
		pthread_cond_broadcast(&c->moved);
	}
	pthread_mutex_unlock(&c->lock);
	return idle;
}

static void
take_connection(struct control *c, int fd)
{
	struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (admit(c)) {
		if (give_thread(c, fd))
			return;
		end_connection(c);
	}
	if (!give_spare(c, fd))
		close(fd);
}

/* False: nobody waits to be accepted, or it cannot be done now. */
static bool
accept_one(struct control *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		take_connection(c, fd);
	return fd >= 0;
}

static void *
acceptor_main(void *arg)
{
	struct control *c = arg;
	struct pollfd p[2] = { { .fd = c->listen_fd, .events = POLLIN }, { .fd = c->stop_fd, .events = POLLIN } };

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents != 0)
			break;
		if (p[0].revents == 0)
			continue;
		if (!accept_one(c) && (errno == EMFILE || errno == ENFILE))
			(void)poll(&p[1], 1, 100); /* there is nothing to do but wait */
	}
	while (accept_one(c)) /* who came before the name went */
		;
	return NULL;
}

/* Starting and ending. */

static void
control_free(struct control *c)
{
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	pthread_cond_destroy(&c->moved);
	pthread_mutex_destroy(&c->lock);
	free(c->final_text);
	free(c);
}

static err_t
listen_in(struct control *c)
{
	struct sockaddr_un address;
	mode_t mask;
	int failed;

	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listen_fd < 0)
		return -errno;
	/* The vault's lock is ours: whatever socket there is has nobody behind it. */
	if (unlinkat(c->dir_fd, CONTROL_SOCKET, 0) != 0 && errno != ENOENT)
		return -errno;
	control_address(c->dir_fd, &address);
	mask = umask(0177);
	failed = bind(c->listen_fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ? errno : 0;
	umask(mask);
	if (failed != 0)
		return -failed;
	return listen(c->listen_fd, CONNECTIONS_MAX) != 0 ? -errno : 0;
}

static void
end_spare(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->spare_over = true;
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->spare, NULL);
}

static err_t
start_threads(struct control *c)
{
	err_t err = -pthread_create(&c->spare, NULL, spare_main, c);

	if (err == 0 && (err = -pthread_create(&c->acceptor, NULL, acceptor_main, c)) != 0)
		end_spare(c);
	return err;
}

err_t
control_start(int dir_fd, control_fn *fn, void *ctx, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	pthread_condattr_t monotonic;
	err_t err = 0;

	if (c == NULL)
		return -ENOMEM;
	c->fn = fn;
	c->ctx = ctx;
	c->listen_fd = -1;
	c->spare_call = (struct control_call){ .control = c, .fd = -1, .spare = true };
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->moved, &monotonic);
	pthread_condattr_destroy(&monotonic);
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	c->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	if (c->stop_fd < 0 || c->dir_fd < 0)
		err = -errno;
	if (err == 0)
		err = listen_in(c);
	if (err == 0)
		err = start_threads(c);
	if (err != 0) {
		control_free(c);
		return err;
	}
	*out = c;
	return 0;
}

void
control_quiesce(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_mutex_unlock(&c->lock);
}

void
control_stop(struct control *c)
{
	control_quiesce(c);
	pthread_mutex_lock(&c->lock);
	while (c->answering > 0)
		pthread_cond_wait(&c->moved, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

void
control_finish(struct control *c, const char *text)
{
	(void)unlinkat(c->dir_fd, CONTROL_SOCKET, 0);
	if (eventfd_write(c->stop_fd, 1) != 0)
		log_error("the control socket could not be closed: %s", strerror(errno));
	pthread_join(c->acceptor, NULL);
	pthread_mutex_lock(&c->lock);
	c->final_text = text != NULL ? strdup(text) : NULL;
	c->finished = true;
	pthread_cond_broadcast(&c->moved);
	while (c->connections > 0)
		pthread_cond_wait(&c->moved, &c->lock);
	pthread_mutex_unlock(&c->lock);
	end_spare(c);
	control_free(c);
}
