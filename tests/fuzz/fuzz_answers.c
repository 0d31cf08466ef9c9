/*
 * Fuzzes what comes back over the network from whoever runs an S3 service, through libcurl and all that judges it.  The first byte
 * chooses what is asked for (below 8: the rest is the answer as it is; from 8 on: its status, its fields up to a NUL, and its body, to
 * which a right length is added here).  Each request gets the same answer, and then the connection ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "store.h"

#define OBJECT "c/000000000042"
#define BODY "12345678"
#define MAX_LEN 4096u
#define RANGE_OFF 100u
#define RANGE_LEN 16u

static char url[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bytes answer; /* under lock: a client that has heard enough does not wait for its end */

/* Whether all of a request is there: only its head's end and its body need be known. */
static bool is_whole(const char *request, size_t len)
{
	const char *end = memmem(request, len, "\r\n\r\n", 4);

	return end != NULL && (strncmp(request, "PUT /b/", 7) != 0 || (size_t)(end - request) + 4 + strlen(BODY) <= len);
}

static void serve_one(int fd)
{
	char request[8192];
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len < sizeof(request) - 1) {
		got = recv(fd, request + len, sizeof(request) - 1 - len, 0);
		len += got > 0 ? (size_t)got : 0;
		request[len] = '\0';
		if (is_whole(request, len))
			break;
	}
	for (size_t sent = 0; got > 0 && sent < answer.len; sent += (size_t)got)
		got = send(fd, answer.data + sent, answer.len - sent, MSG_NOSIGNAL);
	(void)close(fd);
}

static void *serve(void *ctx)
{
	int fd;

	while ((fd = accept4(*(int *)ctx, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == EINTR) {
		if (fd < 0)
			continue;
		pthread_mutex_lock(&lock);
		serve_one(fd);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static int listener;
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t here_len = sizeof(here);
	pthread_t thread;

	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && setenv("no_proxy", "*", 1) == 0);
	FUZZ_REQUIRE((listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	FUZZ_REQUIRE(bind(listener, (struct sockaddr *)&here, sizeof(here)) == 0 && listen(listener, 16) == 0);
	FUZZ_REQUIRE(getsockname(listener, (struct sockaddr *)&here, &here_len) == 0);
	snprintf(url, sizeof(url), "s3:http://127.0.0.1:%u/b/p", ntohs(here.sin_port));
	FUZZ_REQUIRE(pthread_create(&thread, NULL, serve, &listener) == 0 && pthread_detach(thread) == 0);
	return 0;
}

static void check_sentence(const struct store *s, err_t err)
{
	char what[512] = "";

	store_explain(s, err, what, sizeof(what));
	FUZZ_REQUIRE(what[0] != '\0' && memchr(what, '\0', sizeof(what)) != NULL);
	fuzz_require_tame(what, strlen(what));
}

static err_t try_get(struct store *s)
{
	struct bytes out = {0};
	err_t err = store_get(s, OBJECT, MAX_LEN, &out);

	FUZZ_REQUIRE(err == 0 ? out.len <= MAX_LEN : out.len == 0);
	bytes_clear(&out);
	return err;
}

static err_t try_range(struct store *s)
{
	struct bytes out = {0};
	err_t err = store_get_range(s, OBJECT, RANGE_OFF, RANGE_LEN, &out);

	FUZZ_REQUIRE(out.len == (err == 0 ? RANGE_LEN : 0));
	bytes_clear(&out);
	return err;
}

static err_t try_size(struct store *s)
{
	uint64_t size = 7;
	err_t err = store_size(s, OBJECT, &size);

	FUZZ_REQUIRE(err == 0 || size == 7);
	return err;
}

static err_t check_item(void *ctx, const struct store_item *item)
{
	(void)ctx;
	FUZZ_REQUIRE(store_name_valid(item->name) && strncmp(item->name, "c/", 2) == 0);
	return 0;
}

static err_t try_list(struct store *s)
{
	return store_list_items(s, "c/", check_item, NULL);
}

static err_t try_put(struct store *s)
{
	return store_put(s, OBJECT, (const uint8_t *)BODY, strlen(BODY));
}

static err_t try_create(struct store *s)
{
	return store_create_if_absent(s, OBJECT, (const uint8_t *)BODY, strlen(BODY));
}

static err_t try_remove(struct store *s)
{
	return store_remove(s, OBJECT);
}

/* What is left to do when the rest is known: whether the bucket is there. */
static err_t try_open(struct store *s)
{
	const struct store_credentials keys = {"access", "secret", NULL};
	const struct store_options options = {.credentials = &keys};
	struct store *made = NULL;
	char *why = NULL;
	err_t err = store_open_with(s->url, true, &options, &made, &why);

	FUZZ_REQUIRE((err == 0) == (made != NULL) && (err == 0) == (why == NULL));
	store_free(made);
	free(why);
	return err;
}

/* What store.h promises, and nothing else. */
static bool is_expected(err_t err)
{
	static const err_t known[] = {0, -ENOENT, -EEXIST, -EACCES, -ENOSPC, -EAGAIN, -ENOTSUP, -EBADMSG, -EIO};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (known[i] == err)
			return true;
	}
	return false;
}

static void ask(unsigned what)
{
	static err_t (*const tries[8])(struct store *s) = {try_get, try_range, try_size, try_list, try_put, try_create, try_remove,
	    try_open};
	const struct store_credentials keys = {"access", "secret", "token"};
	const struct store_options options = {.credentials = &keys};
	struct store *s = NULL;
	int64_t skew;
	err_t err;

	FUZZ_REQUIRE(store_open_with(url, false, &options, &s, NULL) == 0);
	err = tries[what](s);
	FUZZ_REQUIRE(is_expected(err));
	if (err != 0)
		check_sentence(s, err);
	FUZZ_REQUIRE(store_wait_ms(s) <= 60000);
	(void)!store_clock_skew(s, &skew);
	store_free(s);
}

/* u16: the status. */
static void make_answer(const uint8_t *data, size_t len)
{
	const uint8_t *end = len >= 2 ? memchr(data + 2, '\0', len - 2) : NULL;
	size_t fields_len = end != NULL ? (size_t)(end - data) - 2 : 0, body_len = end != NULL ? len - 3 - fields_len : 0;
	char head[96];
	int head_len = snprintf(head, sizeof(head), "HTTP/1.1 %u OK\r\nContent-Length: %zu\r\n", len >= 2 ? get_u16(data) % 1000u : 200u,
	    body_len);

	FUZZ_REQUIRE(bytes_append(&answer, head, (size_t)head_len) == 0);
	if (end != NULL)
		FUZZ_REQUIRE(bytes_append(&answer, data + 2, fields_len) == 0);
	FUZZ_REQUIRE(bytes_append(&answer, "\r\n\r\n", fields_len > 0 ? 4 : 2) == 0);
	if (end != NULL)
		FUZZ_REQUIRE(bytes_append(&answer, end + 1, body_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0 || len > 65536)
		return 0;
	pthread_mutex_lock(&lock);
	bytes_reset(&answer);
	if (data[0] & 8)
		make_answer(data + 1, len - 1);
	else
		FUZZ_REQUIRE(bytes_append(&answer, data + 1, len - 1) == 0);
	pthread_mutex_unlock(&lock);
	ask(data[0] & 7);
	return 0;
}
