/*
 * s3_script.h: a service that answers as the test has written it down, and what it was asked.
 */
#ifndef SNUGFS_TEST_S3_SCRIPT_H
#define SNUGFS_TEST_S3_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "store.h"

#define REPLIES_MAX 8
#define REQUEST_MAX 8192
#define SECRET "hunter2hunter2"

/* What the server does after it has read a request. */
struct reply {
	const char *text;  /* NULL: nothing, the connection stays open */
	bool close;        /* then the connection ends */
	size_t padding;    /* that many more bytes of 'x' */
};

struct stub {
	int listener;
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t seen;
	struct reply replies[REPLIES_MAX]; /* under lock, here and below */
	unsigned reply_count;
	unsigned requests;
	unsigned connections;
	char last[REQUEST_MAX]; /* the header of the last request */
	char body[REQUEST_MAX];
	void (*in_body)(size_t got, size_t body_len); /* before each byte of it is read; set before the first request */
};

static inline void send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		data += sent;
		len -= (size_t)sent;
	}
}

/* false: the other side is gone. */
static inline bool read_request(struct stub *s, int fd, char *header, char *body)
{
	size_t len = 0, body_len = 0;
	const char *field;

	while (len < 4 || memcmp(header + len - 4, "\r\n\r\n", 4) != 0) {
		if (len == REQUEST_MAX - 1 || recv(fd, header + len, 1, 0) != 1)
			return false;
		len++;
	}
	header[len] = '\0';
	field = strcasestr(header, "\r\nContent-Length:");
	if (field)
		body_len = strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
	memset(body, 0, REQUEST_MAX);
	for (size_t got = 0; got < body_len; got++) {
		char c;

		if (s->in_body)
			s->in_body(got, body_len);
		if (recv(fd, &c, 1, 0) != 1)
			return false;
		if (got < REQUEST_MAX - 1)
			body[got] = c;
	}
	return true;
}

/* Who is not told that the connection ends may send the next request before it does, which then is lost. */
static inline void send_text(int fd, const struct reply *r)
{
	static const char end[] = "Connection: close\r\n";
	const char *line_end = strstr(r->text, "\r\n");
	size_t status_len = line_end ? (size_t)(line_end - r->text) + 2 : 0;

	send_all(fd, r->text, status_len);
	if (r->close && status_len > 0)
		send_all(fd, end, sizeof(end) - 1);
	send_all(fd, r->text + status_len, strlen(r->text + status_len));
}

/* Connections one after the other: the tests send one request at a time. */
static inline void serve(struct stub *s, int fd)
{
	static char header[REQUEST_MAX], body[REQUEST_MAX];

	while (read_request(s, fd, header, body)) {
		struct reply reply;

		pthread_mutex_lock(&s->lock);
		memcpy(s->last, header, sizeof(s->last));
		memcpy(s->body, body, sizeof(s->body));
		reply = s->requests < s->reply_count ? s->replies[s->requests] : (struct reply){.text = "", .close = true};
		s->requests++;
		pthread_cond_broadcast(&s->seen);
		pthread_mutex_unlock(&s->lock);
		if (reply.text)
			send_text(fd, &reply);
		if (reply.padding > 0) {
			char *padding = malloc(reply.padding);

			memset(padding, 'x', reply.padding);
			send_all(fd, padding, reply.padding);
			free(padding);
		}
		if (reply.close)
			return;
	}
}

static inline void *run_stub(void *arg)
{
	struct stub *s = arg;
	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		pthread_mutex_lock(&s->lock);
		s->connections++;
		pthread_mutex_unlock(&s->lock);
		serve(s, fd);
		close(fd);
	}
	return NULL;
}

/* The clocks that the store sees, in place of those of clock.c: of a computer that has slept for so long. */
static _Atomic int64_t slept_ns;
static atomic_uint sleep_looks; /* how often somebody has compared them */
static _Atomic int64_t boot_ns; /* CLOCK_BOOTTIME stands still there, however long a test takes; 0: it does not */

int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	sleep_looks += clock == CLOCK_BOOTTIME;
	if (clock == CLOCK_BOOTTIME && boot_ns != 0)
		return boot_ns;
	(void)clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + (clock == CLOCK_BOOTTIME ? slept_ns : 0);
}

int64_t clock_ms(clockid_t clock)
{
	return clock_ns(clock) / 1000000;
}

struct timespec clock_deadline(unsigned ms)
{
	int64_t then = clock_ns(CLOCK_MONOTONIC) + (int64_t)ms * 1000000;

	return (struct timespec){.tv_sec = (time_t)(then / 1000000000), .tv_nsec = (long)(then % 1000000000)};
}

struct fixture {
	struct stub stub;
	struct store *store;
};

static inline struct store *open_at(const struct stub *stub, const char *host, const char *more, const struct store_options *options)
{
	struct store *s = NULL;
	char *url = NULL, *why = NULL;

	assert_true(asprintf(&url, "s3:http://%s:%u/bucket%s", host, stub->port, more) > 0);
	if (store_open_with(url, false, options, &s, &why) != 0)
		fail_msg("%s", why);
	free(url);
	return s;
}

static const struct store_credentials keys = {"AKEXAMPLE", SECRET, "the-token"};
/* A busy computer may take its time for an answer. */
static const struct store_options options = {.credentials = &keys, .stall_timeout_s = 60};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	f->stub.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->stub.listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(f->stub.listener, 16), 0);
	assert_int_equal(getsockname(f->stub.listener, (struct sockaddr *)&address, &len), 0);
	f->stub.port = ntohs(address.sin_port);
	pthread_mutex_init(&f->stub.lock, NULL);
	pthread_cond_init(&f->stub.seen, NULL);
	assert_int_equal(pthread_create(&f->stub.thread, NULL, run_stub, &f->stub), 0);
	boot_ns = 0;
	f->store = open_at(&f->stub, "127.0.0.1", "/p", &options);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	shutdown(f->stub.listener, SHUT_RDWR);
	pthread_join(f->stub.thread, NULL);
	close(f->stub.listener);
	pthread_cond_destroy(&f->stub.seen);
	pthread_mutex_destroy(&f->stub.lock);
	free(f);
	return 0;
}

static inline void say(struct fixture *f, const struct reply *replies, unsigned count)
{
	pthread_mutex_lock(&f->stub.lock);
	memcpy(f->stub.replies, replies, count * sizeof(*replies));
	f->stub.reply_count = count;
	f->stub.requests = 0;
	f->stub.connections = 0;
	pthread_mutex_unlock(&f->stub.lock);
}

/* The connection stays open. */
static inline struct reply keep(const char *text)
{
	return (struct reply){.text = text};
}

static inline struct reply last(const char *text)
{
	return (struct reply){.text = text, .close = true};
}

#define SAY(f, ...) say(f, (const struct reply[]){__VA_ARGS__}, sizeof((const struct reply[]){__VA_ARGS__}) / sizeof(struct reply))

static inline unsigned requests(struct fixture *f)
{
	unsigned count;

	pthread_mutex_lock(&f->stub.lock);
	count = f->stub.requests;
	pthread_mutex_unlock(&f->stub.lock);
	return count;
}

static inline err_t get(struct fixture *f, size_t max_len)
{
	struct bytes got = {0};
	err_t err = store_get(f->store, "s/ab/x", max_len, &got);

	if (err)
		assert_null(got.data);
	bytes_clear(&got);
	return err;
}

static inline void expect_sentence(struct fixture *f, err_t err, const char *part)
{
	char sentence[600];

	store_explain(f->store, err, sentence, sizeof(sentence));
	if (!strstr(sentence, part) || !strstr(sentence, f->store->url))
		fail_msg("%s", sentence);
	assert_null(strstr(sentence, SECRET));
	for (const char *p = sentence; *p != '\0'; p++)
		assert_true(*p >= 0x20 && *p < 0x7f);
}

#define OK(headers, body) "HTTP/1.1 200 OK\r\n" headers "\r\n" body
#define ERROR(status, headers, code) "HTTP/1.1 " status "\r\n" headers "Connection: close\r\n\r\n<Error><Code>" code "</Code></Error>"

#define PARTIAL(range, len, body) "HTTP/1.1 206 Partial\r\n" range "Content-Length: " len "\r\n\r\n" body

#endif
