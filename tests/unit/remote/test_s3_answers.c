/* The store against a server that says just what the test wants, on loopback: odd answers, lost ones, and what is sent. */
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

#include "chain.h"
#include "clock.h"
#include "secmem.h"
#include "sigv4.h"
#include "store.h"
#include "store_s3.h"

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
};

static void send_all(int fd, const char *data, size_t len)
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
static bool read_request(int fd, char *header, char *body)
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

		if (recv(fd, &c, 1, 0) != 1)
			return false;
		if (got < REQUEST_MAX - 1)
			body[got] = c;
	}
	return true;
}

/* Connections one after the other: the tests send one request at a time. */
static void serve(struct stub *s, int fd)
{
	static char header[REQUEST_MAX], body[REQUEST_MAX];

	while (read_request(fd, header, body)) {
		struct reply reply;

		pthread_mutex_lock(&s->lock);
		memcpy(s->last, header, sizeof(s->last));
		memcpy(s->body, body, sizeof(s->body));
		reply = s->requests < s->reply_count ? s->replies[s->requests] : (struct reply){.text = "", .close = true};
		s->requests++;
		pthread_cond_broadcast(&s->seen);
		pthread_mutex_unlock(&s->lock);
		if (reply.text)
			send_all(fd, reply.text, strlen(reply.text));
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

static void *run_stub(void *arg)
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

int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

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

static struct store *open_at(const struct stub *stub, const char *host, const char *more, const struct store_options *options)
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
static const struct store_options options = {.credentials = &keys, .stall_timeout_s = 1};

static int setup(void **state)
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
	f->store = open_at(&f->stub, "127.0.0.1", "/p", &options);
	*state = f;
	return 0;
}

static int teardown(void **state)
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

static void say(struct fixture *f, const struct reply *replies, unsigned count)
{
	pthread_mutex_lock(&f->stub.lock);
	memcpy(f->stub.replies, replies, count * sizeof(*replies));
	f->stub.reply_count = count;
	f->stub.requests = 0;
	f->stub.connections = 0;
	pthread_mutex_unlock(&f->stub.lock);
}

/* The connection stays open. */
static struct reply keep(const char *text)
{
	return (struct reply){.text = text};
}

static struct reply last(const char *text)
{
	return (struct reply){.text = text, .close = true};
}

static struct reply padded(const char *text, bool close, size_t padding)
{
	return (struct reply){.text = text, .close = close, .padding = padding};
}

static struct reply silence(void)
{
	return (struct reply){.text = NULL};
}

#define SAY(f, ...) say(f, (const struct reply[]){__VA_ARGS__}, sizeof((const struct reply[]){__VA_ARGS__}) / sizeof(struct reply))

static unsigned requests(struct fixture *f)
{
	unsigned count;

	pthread_mutex_lock(&f->stub.lock);
	count = f->stub.requests;
	pthread_mutex_unlock(&f->stub.lock);
	return count;
}

static err_t get(struct fixture *f, size_t max_len)
{
	struct bytes got = {0};
	err_t err = store_get(f->store, "s/ab/x", max_len, &got);

	if (err)
		assert_null(got.data);
	bytes_clear(&got);
	return err;
}

static void expect_sentence(struct fixture *f, err_t err, const char *part)
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

/* ---- bodies ---- */

static void a_body_that_is_cut_off_is_to_be_asked_for_again(void **state)
{
	struct fixture *f = *state;

	SAY(f, last(OK("Content-Length: 10\r\n", "12345")));
	assert_int_equal(get(f, 100), -EAGAIN);
	SAY(f, last(OK("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n")));
	assert_int_equal(get(f, 100), -EAGAIN);
	SAY(f, last(OK("", "12345"))); /* nobody knows */
	assert_int_equal(get(f, 100), -EAGAIN);
	SAY(f, last(OK("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n")));
	assert_int_equal(get(f, 100), 0);
	SAY(f, last("HTTP/1.1 200 OK\r\nContent-Le"));
	assert_int_equal(get(f, 100), -EAGAIN);
	SAY(f, last(""));
	assert_int_equal(get(f, 100), -EAGAIN);
	expect_sentence(f, -EAGAIN, "cannot be reached");
}

static void a_body_beyond_the_maximum_is_not_read(void **state)
{
	struct fixture *f = *state;

	SAY(f, padded(OK("Content-Length: 100\r\n", ""), false, 100));
	assert_int_equal(get(f, 99), -EBADMSG);
	SAY(f, padded(OK("Content-Length: 100\r\n", ""), false, 100));
	assert_int_equal(get(f, 100), 0);
	SAY(f, padded(OK("", ""), true, 10 << 20));
	assert_int_equal(get(f, 100), -EBADMSG);
	/* An error's body of any length is none. */
	SAY(f, padded("HTTP/1.1 404 Not Found\r\nContent-Length: 5000000\r\n\r\n", false, 5000000));
	assert_int_equal(get(f, 100), -ENOENT);
}

static void what_is_no_http_is_refused(void **state)
{
	struct fixture *f = *state;

	SAY(f, last("220 ready for mail\r\n"));
	assert_int_equal(get(f, 100), -EBADMSG);
	SAY(f, last("HTTP/1.1 99999 \x1b[31m\r\n\r\n"));
	assert_int_equal(get(f, 100), -EBADMSG);
	SAY(f, padded("HTTP/1.1 200 OK\r\nX: ", true, 300000));
	assert_int_not_equal(get(f, 100), 0);
	SAY(f, last("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"));
	assert_int_not_equal(get(f, 100), 0);
}

static void many_small_headers_are_refused_too(void **state)
{
	static char text[400000]; /* the server may still send it when the test is over */
	struct fixture *f = *state;
	size_t len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n");

	for (unsigned i = 0; i < 10000; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "X-Header-%u: some value\r\n", i);
	SAY(f, last(text));
	assert_int_equal(get(f, 100), -EBADMSG);
}

/* ---- ranges ---- */

static err_t get_range(struct fixture *f, uint64_t off, size_t len)
{
	struct bytes got = {0};
	err_t err = store_get_range(f->store, "s/ab/x", off, len, &got);

	if (err)
		assert_null(got.data);
	else
		assert_int_equal(got.len, len);
	bytes_clear(&got);
	return err;
}

#define PARTIAL(range, len, body) "HTTP/1.1 206 Partial\r\n" range "Content-Length: " len "\r\n\r\n" body

static void another_range_than_was_asked_for_is_refused(void **state)
{
	struct fixture *f = *state;

	SAY(f, keep(PARTIAL("Content-Range: bytes 2-5/10\r\n", "4", "2345")));
	assert_int_equal(get_range(f, 2, 4), 0);
	assert_non_null(strstr(f->stub.last, "\r\nrange: bytes=2-5\r\n"));
	SAY(f, keep(PARTIAL("Content-Range: bytes 3-6/10\r\n", "4", "3456")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(PARTIAL("Content-Range: bytes 1-5/10\r\n", "4", "1234")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(PARTIAL("", "4", "2345")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(PARTIAL("Content-Range: bytes 2-4/5\r\n", "3", "234")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(PARTIAL("Content-Range: bytes 2-5/10\r\n", "3", "234")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(OK("Content-Length: 10\r\n", "0123456789")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(OK("Content-Length: 4\r\n", "0123")));
	assert_int_equal(get_range(f, 2, 4), -EBADMSG);
	SAY(f, keep(OK("Content-Length: 4\r\n", "0123"))); /* no ranges here, but it is just that */
	assert_int_equal(get_range(f, 0, 4), 0);
}

static void an_answer_comes_into_the_memory_that_is_there_for_it(void **state)
{
	CLEANUP(bytes_clear) struct bytes got = {0};
	struct fixture *f = *state;
	const uint8_t *memory;

	assert_int_equal(bytes_reserve(&got, 4096), 0);
	memory = got.data;
	SAY(f, keep(PARTIAL("Content-Range: bytes 2-5/10\r\n", "4", "2345")));
	assert_int_equal(store_get_range(f->store, "s/ab/x", 2, 4, &got), 0);
	assert_ptr_equal(got.data, memory);
	assert_int_equal(got.len, 4);
	assert_memory_equal(got.data, "2345", 4);
	SAY(f, keep(PARTIAL("Content-Range: bytes 6-9/10\r\n", "4", "6789")));
	assert_int_equal(store_get_range(f->store, "s/ab/x", 6, 4, &got), 0);
	assert_int_equal(got.len, 8);
	assert_memory_equal(got.data, "23456789", 8);
	bytes_reset(&got);
	SAY(f, keep(PARTIAL("Content-Range: bytes 3-6/10\r\n", "4", "3456")));
	assert_int_equal(store_get_range(f->store, "s/ab/x", 2, 4, &got), -EBADMSG);
	assert_int_equal(got.len, 0);
	assert_ptr_equal(got.data, memory);
	SAY(f, keep(OK("Content-Length: 4\r\n", "0123")));
	assert_int_equal(store_get(f->store, "s/ab/x", 100, &got), 0);
	assert_ptr_equal(got.data, memory);
	assert_memory_equal(got.data, "0123", 4);
}

static void the_size_is_what_the_service_says_of_a_range_or_the_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 0;

	SAY(f, keep(PARTIAL("Content-Range: bytes 0-0/12345678901\r\n", "1", "0")));
	assert_int_equal(store_size(f->store, "v", &size), 0);
	assert_true(size == UINT64_C(12345678901));
	SAY(f, padded(OK("Content-Length: 1000000\r\n", ""), true, 1000000));
	assert_int_equal(store_size(f->store, "v", &size), 0);
	assert_int_equal(size, 1000000);
	SAY(f, last(ERROR("416 No", "", "InvalidRange")));
	assert_int_equal(store_size(f->store, "v", &size), 0);
	assert_int_equal(size, 0);
	size = 77;
	SAY(f, keep(PARTIAL("Content-Range: bytes 0-0/*\r\n", "1", "0")));
	assert_int_equal(store_size(f->store, "v", &size), -EBADMSG);
	SAY(f, keep(PARTIAL("", "1", "0")));
	assert_int_equal(store_size(f->store, "v", &size), -EBADMSG);
	assert_int_equal(size, 77);
}

/* ---- refusals ---- */

static void a_redirect_is_not_followed(void **state)
{
	struct fixture *f = *state;
	static char text[400];

	(void)snprintf(text, sizeof(text), "HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:%u/bucket/stolen\r\n"
	    "x-amz-bucket-region: mars-1\r\nContent-Length: 0\r\n\r\n", f->stub.port);
	SAY(f, keep(text), keep(OK("Content-Length: 2\r\n", "no")));
	assert_int_equal(get(f, 100), -EACCES);
	assert_int_equal(requests(f), 1);
	expect_sentence(f, -EACCES, "mars-1");
	SAY(f, last("HTTP/1.1 301 Moved\r\nConnection: close\r\n\r\n<Error><Code>PermanentRedirect</Code><Region>moon-2</Region></Error>"));
	assert_int_equal(get(f, 100), -EACCES);
	expect_sentence(f, -EACCES, "moon-2");
}

#define MALFORMED(region) "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n<Error><Code>AuthorizationHeaderMalformed</Code>" region "</Error>"

/* As Amazon answers at the address that serves all regions. */
static void a_region_that_was_not_given_is_learnt_from_the_answer(void **state)
{
	struct fixture *f = *state;
	struct store *given = open_at(&f->stub, "127.0.0.1", "/p?region=here-1", &options);
	struct bytes got = {0};

	SAY(f, last(MALFORMED("<Region>mars-1</Region>")), last(OK("Content-Length: 1\r\n", "1")), keep(OK("Content-Length: 1\r\n", "1")));
	assert_int_equal(get(f, 100), 0);
	assert_int_equal(get(f, 100), 0); /* for good */
	assert_int_equal(requests(f), 3);
	assert_non_null(strstr(f->stub.last, "/mars-1/s3/aws4_request"));
	SAY(f, last(MALFORMED("<Region>mars-1</Region>")));
	assert_int_equal(get(f, 100), -EACCES);
	expect_sentence(f, -EACCES, "region");
	SAY(f, last(MALFORMED("")));
	assert_int_equal(get(f, 100), -EACCES);
	assert_int_equal(requests(f), 1);
	SAY(f, last(MALFORMED("<Region>mars-1</Region>")));
	assert_int_equal(store_get(given, "s/ab/x", 100, &got), -EACCES);
	assert_int_equal(requests(f), 1);
	store_free(given);
}

static void what_the_service_wishes_is_remembered(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_wait_ms(f->store), 0);
	SAY(f, last(ERROR("503 Slow", "Retry-After: 7\r\n", "SlowDown")));
	assert_int_equal(get(f, 100), -EAGAIN);
	assert_in_range(store_wait_ms(f->store), 1, 7000);
	expect_sentence(f, -EAGAIN, "SlowDown");
	SAY(f, last(ERROR("429 Slow", "Retry-After: 86400\r\n", "")));
	assert_int_equal(get(f, 100), -EAGAIN);
	assert_in_range(store_wait_ms(f->store), 7001, 60000);
	expect_sentence(f, -EAGAIN, "status 429");
}

static void a_refused_write_has_its_meaning(void **state)
{
	struct fixture *f = *state;
	const uint8_t x[1] = {'x'};

	SAY(f, last(ERROR("412 No", "", "PreconditionFailed")));
	assert_int_equal(store_create_if_absent(f->store, "c/1", x, 1), -EEXIST);
	SAY(f, last(ERROR("409 No", "", "ConditionalRequestConflict")));
	assert_int_equal(store_create_if_absent(f->store, "c/1", x, 1), -EAGAIN);
	SAY(f, last(ERROR("501 No", "", "NotImplemented")));
	assert_int_equal(store_create_if_absent(f->store, "c/1", x, 1), -ENOTSUP);
	SAY(f, last(ERROR("404 No", "", "NoSuchKey")));
	assert_int_equal(store_create_if_absent(f->store, "c/1", x, 1), -EAGAIN);
	SAY(f, last(ERROR("501 No", "", "NotImplemented")));
	assert_int_equal(store_put(f->store, "c/1", x, 1), -EIO);
	SAY(f, last(ERROR("507 No", "", "")));
	assert_int_equal(store_put(f->store, "c/1", x, 1), -ENOSPC);
	SAY(f, last(ERROR("403 No", "", "QuotaExceeded")));
	assert_int_equal(store_put(f->store, "c/1", x, 1), -ENOSPC);
	expect_sentence(f, -ENOSPC, "QuotaExceeded");
	SAY(f, last(ERROR("404 No", "", "NoSuchBucket")));
	assert_int_equal(store_remove(f->store, "c/1"), -EACCES);
	SAY(f, last(ERROR("403 No", "", "\x1b[31mred")));
	assert_int_equal(store_put(f->store, "c/1", x, 1), -EACCES);
	expect_sentence(f, -EACCES, "status 403");
}

/* ---- what is sent ---- */

static void a_hash_that_is_known_is_not_made_once_more(void **state)
{
	struct fixture *f = *state;
	uint8_t sha256[32];
	char expected[200], hex[SIGV4_HEX_LEN + 1];

	memset(sha256, 0xab, sizeof(sha256));
	sigv4_hex(sha256, hex);
	assert_string_equal(hex, "abababababababababababababababababababababababababababababababab");
	SAY(f, keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(store_put_hashed(f->store, "s/ab/x", (const uint8_t *)"payload", 7, sha256), 0);
	assert_string_equal(f->stub.body, "payload");
	(void)snprintf(expected, sizeof(expected), "\r\nx-amz-content-sha256: %s\r\n", hex);
	assert_non_null(strcasestr(f->stub.last, expected));
}

static void a_put_carries_its_hash_its_signature_and_no_secret(void **state)
{
	struct fixture *f = *state;
	char expected[200], hash[SIGV4_HEX_LEN + 1];

	SAY(f, keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(store_put(f->store, "s/ab/x", (const uint8_t *)"payload", 7), 0);
	assert_int_equal(strncmp(f->stub.last, "PUT /bucket/p/s/ab/x HTTP/1.1\r\n", 31), 0);
	assert_string_equal(f->stub.body, "payload");
	assert_int_equal(sigv4_sha256_hex("payload", 7, hash), 0);
	(void)snprintf(expected, sizeof(expected), "\r\nx-amz-content-sha256: %s\r\n", hash);
	assert_non_null(strcasestr(f->stub.last, expected));
	(void)snprintf(expected, sizeof(expected), "\r\nhost: 127.0.0.1:%u\r\n", f->stub.port);
	assert_non_null(strcasestr(f->stub.last, expected));
	assert_non_null(strstr(f->stub.last, "\r\nx-amz-security-token: the-token\r\n"));
	assert_non_null(strstr(f->stub.last, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKEXAMPLE/"));
	assert_non_null(strstr(f->stub.last, "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
	assert_non_null(strstr(f->stub.last, "\r\nUser-Agent: snugfs/"));
	assert_null(strcasestr(f->stub.last, "\r\nExpect:"));
	assert_null(strstr(f->stub.last, "if-none-match"));
	assert_null(strstr(f->stub.last, SECRET));
	SAY(f, keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(store_create_if_absent(f->store, "c/1", NULL, 0), 0);
	assert_non_null(strstr(f->stub.last, "\r\nif-none-match: *\r\n"));
	assert_non_null(strstr(f->stub.last, "SignedHeaders=host;if-none-match;"));
}

static void virtual_style_puts_the_bucket_into_the_host(void **state)
{
	struct fixture *f = *state;
	char expected[100];

	store_free(f->store);
	f->store = open_at(&f->stub, "localhost", "/my%20p?style=virtual", &options);
	SAY(f, keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(store_put(f->store, "v", (const uint8_t *)"x", 1), 0);
	assert_int_equal(strncmp(f->stub.last, "PUT /my%20p/v HTTP/1.1\r\n", 24), 0);
	(void)snprintf(expected, sizeof(expected), "\r\nhost: bucket.localhost:%u\r\n", f->stub.port);
	assert_non_null(strcasestr(f->stub.last, expected));
}

static void one_connection_serves_one_request_after_the_other(void **state)
{
	struct fixture *f = *state;

	SAY(f, keep(OK("Content-Length: 1\r\n", "1")), keep(OK("Content-Length: 1\r\n", "2")), last(ERROR("404 No", "", "NoSuchKey")),
	    keep(OK("Content-Length: 1\r\n", "4")));
	assert_int_equal(get(f, 1), 0);
	assert_int_equal(get(f, 1), 0);
	assert_int_equal(get(f, 1), -ENOENT);
	assert_int_equal(f->stub.connections, 1);
	/* The server has closed it meanwhile. */
	assert_int_equal(get(f, 1), 0);
	assert_int_equal(f->stub.connections, 2);
	assert_int_equal(requests(f), 4);
}

/* ---- time ---- */

static void a_server_that_says_nothing_is_given_up(void **state)
{
	struct fixture *f = *state;

	SAY(f, silence());
	assert_int_equal(get(f, 100), -EAGAIN);
	SAY(f, keep(OK("Content-Length: 10\r\n", "1234"))); /* and no more */
	assert_int_equal(get(f, 100), -EAGAIN);
}

/* When somebody has asked. */
static void *sleep_for_an_hour(void *arg)
{
	struct fixture *f = arg;

	pthread_mutex_lock(&f->stub.lock);
	while (f->stub.requests == 0)
		pthread_cond_wait(&f->stub.seen, &f->stub.lock);
	pthread_mutex_unlock(&f->stub.lock);
	slept_ns += INT64_C(3600000000000);
	return NULL;
}

static void an_upload_that_a_sleep_has_cut_off_is_not_waited_for(void **state)
{
	static const struct store_options patient = {.credentials = &keys, .stall_timeout_s = 3600};
	struct fixture *f = *state;
	pthread_t sleeper;

	store_free(f->store);
	f->store = open_at(&f->stub, "127.0.0.1", "", &patient);
	SAY(f, silence(), keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(pthread_create(&sleeper, NULL, sleep_for_an_hour, f), 0);
	assert_int_equal(store_put(f->store, "s/ab/x", (const uint8_t *)"data", 4), -EAGAIN);
	expect_sentence(f, -EAGAIN, "the last 5 seconds"); /* and not the time that all of it may take */
	assert_int_equal(pthread_join(sleeper, NULL), 0);
	assert_int_equal(store_put(f->store, "s/ab/x", (const uint8_t *)"data", 4), 0);
}

static void a_server_that_is_not_there_is_unreachable(void **state)
{
	struct fixture *f = *state;

	shutdown(f->stub.listener, SHUT_RDWR); /* nobody accepts any more */
	assert_int_equal(get(f, 100), -EAGAIN);
	expect_sentence(f, -EAGAIN, "cannot be reached");
}

static void *cancel_when_asked(void *arg)
{
	struct fixture *f = arg;

	pthread_mutex_lock(&f->stub.lock);
	while (f->stub.requests == 0)
		pthread_cond_wait(&f->stub.seen, &f->stub.lock);
	pthread_mutex_unlock(&f->stub.lock);
	store_cancel(f->store, true);
	return NULL;
}

static void a_canceled_store_ends_what_is_under_way_and_can_go_on_later(void **state)
{
	const struct store_options patient = {.credentials = &keys, .stall_timeout_s = 600};
	struct fixture *f = *state;
	pthread_t thread;

	store_free(f->store);
	f->store = open_at(&f->stub, "127.0.0.1", "", &patient);
	SAY(f, silence());
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_asked, f), 0);
	assert_int_equal(get(f, 100), -ECANCELED);
	pthread_join(thread, NULL);
	SAY(f, keep(OK("Content-Length: 1\r\n", "1")));
	assert_int_equal(get(f, 100), -ECANCELED);
	assert_int_equal(requests(f), 0);
	store_cancel(f->store, false);
	assert_int_equal(get(f, 100), 0);
}

/* ---- learning ---- */

static void a_wrong_clock_is_set_by_the_answers_date_once(void **state)
{
	struct fixture *f = *state;
	int64_t skew;

	assert_int_equal(store_clock_skew(f->store, &skew), -ENOTSUP);
	SAY(f, last(ERROR("403 No", "Date: Sun, 30 Aug 2015 12:36:00 GMT\r\n", "RequestTimeTooSkewed")),
	    keep(OK("Content-Length: 1\r\n", "1")));
	assert_int_equal(get(f, 100), 0);
	assert_int_equal(requests(f), 2);
	assert_non_null(strstr(f->stub.last, "\r\nx-amz-date: 20150830T1236"));
	assert_int_equal(store_clock_skew(f->store, &skew), 0);
	assert_in_range(-skew, time(NULL) - 1440938160 - 60, time(NULL) - 1440938160);
	SAY(f, last(ERROR("403 No", "", "RequestTimeTooSkewed")), keep(OK("Content-Length: 1\r\n", "1")));
	assert_int_equal(get(f, 100), -EACCES);
	assert_int_equal(requests(f), 1);
	expect_sentence(f, -EACCES, "clock");
}

static void write_keys(const char *path, const char *access_key)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n", access_key, SECRET);
	assert_int_equal(fclose(file), 0);
}

static void keys_that_expired_are_looked_for_again(void **state)
{
	static const struct store_options from_file = {.stall_timeout_s = 1};
	struct fixture *f = *state;
	const char *tmp = getenv("TMPDIR");
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%.80s/keys.XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	(void)unsetenv("AWS_ACCESS_KEY_ID");
	(void)unsetenv("AWS_SECRET_ACCESS_KEY");
	assert_int_equal(setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1), 0);
	write_keys(path, "AKOLD");
	store_free(f->store);
	f->store = open_at(&f->stub, "127.0.0.1", "", &from_file);
	SAY(f, last(ERROR("400 No", "", "ExpiredToken")), keep(OK("Content-Length: 1\r\n", "1")));
	assert_int_equal(get(f, 100), -EACCES); /* the same ones are there */
	assert_int_equal(requests(f), 1);
	expect_sentence(f, -EACCES, "ExpiredToken");
	write_keys(path, "AKNEW");
	SAY(f, last(ERROR("400 No", "", "ExpiredToken")), keep(OK("Content-Length: 1\r\n", "1")));
	assert_int_equal(get(f, 100), 0);
	assert_int_equal(requests(f), 2);
	assert_non_null(strstr(f->stub.last, "Credential=AKNEW/"));
	assert_int_equal(unlink(path), 0);
}

/* ---- listings ---- */

static err_t collect(void *ctx, const char *name, uint64_t size)
{
	char *names = ctx;

	(void)size;
	strncat(names, name, 50);
	strncat(names, " ", 2);
	return 0;
}

static err_t list(struct fixture *f, char names[static 400])
{
	names[0] = '\0';
	return store_list(f->store, "k/", collect, names);
}

#define KEY(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"

static const char *page(const char *inside)
{
	static char texts[4][2000];
	static unsigned next;
	char document[1025];
	char *text = texts[next++ % 4];

	(void)snprintf(document, sizeof(document), "<ListBucketResult>%s</ListBucketResult>", inside);
	(void)snprintf(text, 2000, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(document), document);
	return text;
}

static void a_listing_goes_on_where_the_token_says(void **state)
{
	struct fixture *f = *state;
	char names[400];

	SAY(f, keep(page(KEY("p/k/1") KEY("p/k/UPPER") KEY("p/other") KEY("q/k/2") KEY("p/k/") "<IsTruncated>true</IsTruncated>"
	    "<NextContinuationToken>a/b+c=</NextContinuationToken>")), keep(page("<EncodingType>url</EncodingType>" KEY("p%2Fk%2F2"))));
	assert_int_equal(list(f, names), 0);
	assert_string_equal(names, "k/1 k/2 ");
	assert_int_equal(strncmp(f->stub.last,
	    "GET /bucket?continuation-token=a%2Fb%2Bc%3D&encoding-type=url&list-type=2&prefix=p%2Fk%2F HTTP/1.1\r\n", 99), 0);
}

static void a_listing_that_is_broken_or_stands_still_is_an_error(void **state)
{
	struct fixture *f = *state;
	char names[400];
	const char *same = page("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>");

	SAY(f, keep(same), keep(same), keep(same));
	assert_int_equal(list(f, names), -EBADMSG);
	assert_int_equal(requests(f), 2);
	SAY(f, keep(OK("Content-Length: 5\r\n", "hello")));
	assert_int_equal(list(f, names), -EBADMSG);
	SAY(f, keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(list(f, names), -EBADMSG);
	SAY(f, last(ERROR("404 No", "", "NoSuchKey")));
	assert_int_equal(list(f, names), -EBADMSG);
}

/* ---- a lost answer ---- */

static void a_commit_whose_answer_was_lost_is_settled_by_reading_back(void **state)
{
	struct fixture *f = *state;
	struct chain *c = NULL;

	assert_int_equal(chain_new(f->store, &c), 0);
	/* The first PUT took effect, its answer was lost; what is there is ours. */
	SAY(f, last(""), keep(PARTIAL("Content-Range: bytes 0-0/4\r\n", "1", "m")), last(OK("Content-Length: 4\r\n", "mine")));
	assert_int_equal(chain_commit(c, 1, (const uint8_t *)"mine", 4), 0);
	/* 412 from our own first try, after libcurl or a proxy has repeated it. */
	SAY(f, last(ERROR("412 No", "", "PreconditionFailed")), keep(PARTIAL("Content-Range: bytes 0-0/4\r\n", "1", "m")),
	    last(OK("Content-Length: 4\r\n", "mine")));
	assert_int_equal(chain_commit(c, 1, (const uint8_t *)"mine", 4), 0);
	SAY(f, last(""), keep(PARTIAL("Content-Range: bytes 0-0/4\r\n", "1", "t")), last(OK("Content-Length: 4\r\n", "thei")));
	assert_int_equal(chain_commit(c, 1, (const uint8_t *)"mine", 4), -EEXIST);
	/* It did not take effect: once more. */
	SAY(f, last(""), last(ERROR("404 No", "", "NoSuchKey")), keep(OK("Content-Length: 0\r\n", "")));
	assert_int_equal(chain_commit(c, 1, (const uint8_t *)"mine", 4), 0);
	assert_int_equal(requests(f), 3);
	chain_free(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_body_that_is_cut_off_is_to_be_asked_for_again),
		T(a_body_beyond_the_maximum_is_not_read),
		T(what_is_no_http_is_refused),
		T(many_small_headers_are_refused_too),
		T(another_range_than_was_asked_for_is_refused),
		T(an_answer_comes_into_the_memory_that_is_there_for_it),
		T(the_size_is_what_the_service_says_of_a_range_or_the_whole),
		T(a_redirect_is_not_followed),
		T(a_region_that_was_not_given_is_learnt_from_the_answer),
		T(what_the_service_wishes_is_remembered),
		T(a_refused_write_has_its_meaning),
		T(a_hash_that_is_known_is_not_made_once_more),
		T(a_put_carries_its_hash_its_signature_and_no_secret),
		T(virtual_style_puts_the_bucket_into_the_host),
		T(one_connection_serves_one_request_after_the_other),
		T(a_server_that_says_nothing_is_given_up),
		T(an_upload_that_a_sleep_has_cut_off_is_not_waited_for),
		T(a_server_that_is_not_there_is_unreachable),
		T(a_canceled_store_ends_what_is_under_way_and_can_go_on_later),
		T(a_wrong_clock_is_set_by_the_answers_date_once),
		T(keys_that_expired_are_looked_for_again),
		T(a_listing_goes_on_where_the_token_says),
		T(a_listing_that_is_broken_or_stands_still_is_an_error),
		T(a_commit_whose_answer_was_lost_is_settled_by_reading_back),
	};

	if (secmem_init() != 0)
		return 2;
	return cmocka_run_group_tests_name("s3_answers", tests, NULL, NULL);
}
