/* What is sent to a service, when it is asked again, and when it is given up. */
#include "limit.h"
#include "s3_script.h"

#include "chain.h"
#include "secmem.h"
#include "sigv4.h"

static struct reply silence(void)
{
	return (struct reply){.text = NULL};
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
	static const struct store_options impatient = {.credentials = &keys, .stall_timeout_s = 1};
	struct fixture *f = *state;

	store_free(f->store);
	f->store = open_at(&f->stub, "127.0.0.1", "/p", &impatient);
	SAY(f, silence());
	assert_int_equal(get(f, 100), -EAGAIN);
	SAY(f, keep(OK("Content-Length: 10\r\n", "1234"))); /* and no more */
	assert_int_equal(get(f, 100), -EAGAIN);
}

/* A server that has DRIPPED_LEN bytes, and sends so many of them a second. */
#define DRIPPED_LEN 600

struct dripping {
	struct stub stub;
	size_t per_s;
	char header[REQUEST_MAX], body[REQUEST_MAX];
};

static void *drip(void *arg)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n";
	static const char data[DRIPPED_LEN];
	const struct timespec second = {.tv_sec = 1};
	struct dripping *d = arg;
	int fd = accept(d->stub.listener, NULL, NULL);

	assert_true(read_request(&d->stub, fd, d->header, d->body));
	send_all(fd, head, sizeof(head) - 1);
	for (size_t n = 0; n < DRIPPED_LEN && send(fd, data, d->per_s, MSG_NOSIGNAL) == (ssize_t)d->per_s; n += d->per_s)
		(void)nanosleep(&second, NULL);
	close(fd);
	return NULL;
}

/* Whoever has a store of the stub's asks that one instead. */
static void begin_dripping(struct fixture *f, struct dripping *d, size_t per_s)
{
	static const struct store_options impatient = {.credentials = &keys, .stall_timeout_s = 2};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	*d = (struct dripping){.per_s = per_s};
	d->stub.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(d->stub.listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(d->stub.listener, 1), 0);
	assert_int_equal(getsockname(d->stub.listener, (struct sockaddr *)&address, &len), 0);
	d->stub.port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&d->stub.thread, NULL, drip, d), 0);
	store_free(f->store);
	f->store = open_at(&d->stub, "127.0.0.1", "/p", &impatient);
}

static void end_dripping(struct fixture *f, struct dripping *d)
{
	store_free(f->store);
	f->store = open_at(&f->stub, "127.0.0.1", "/p", &options);
	assert_int_equal(pthread_join(d->stub.thread, NULL), 0);
	close(d->stub.listener);
}

static void a_server_that_drips_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct dripping d;

	begin_dripping(f, &d, 50);
	assert_int_equal(get(f, DRIPPED_LEN), -EAGAIN);
	expect_sentence(f, -EAGAIN, "too slow");
	end_dripping(f, &d);
}

static void what_shares_a_low_limit_with_others_is_no_stall(void **state)
{
	struct fixture *f = *state;
	struct dripping d;

	begin_dripping(f, &d, 50);
	store_set_rates(f->store, 0, LIMIT_RATE_MIN);
	assert_int_equal(get(f, DRIPPED_LEN), 0);
	end_dripping(f, &d);
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

/*
 * The computer sleeps in the middle of a body.  When that has been noticed some more is read, and then nothing for longer than it takes
 * libcurl to call it a stall of 5 seconds: it looks at the speed of the last 5, too.
 */
static void sleep_and_read_on_slowly(size_t got, size_t body_len)
{
	const struct timespec moment = {.tv_nsec = 20000000}, stall = {.tv_sec = 12};

	if (got == 1) {
		unsigned looks = sleep_looks;

		slept_ns += INT64_C(3600000000000);
		while (sleep_looks < looks + 2)
			(void)nanosleep(&moment, NULL);
	} else if (got == body_len / 8) {
		(void)nanosleep(&stall, NULL);
	}
}

static void an_upload_that_goes_on_after_a_sleep_may_stall_as_long_as_any(void **state)
{
	static const struct store_options patient = {.credentials = &keys, .stall_timeout_s = 3600};
	static uint8_t data[1 << 20];
	const int little = 32 << 10;
	struct fixture *f = *state;

	store_free(f->store);
	f->store = open_at(&f->stub, "127.0.0.1", "", &patient);
	assert_int_equal(setsockopt(f->stub.listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	SAY(f, keep(OK("Content-Length: 0\r\n", "")));
	f->stub.in_body = sleep_and_read_on_slowly;
	assert_int_equal(store_put(f->store, "s/ab/x", data, sizeof(data)), 0);
	assert_int_equal(requests(f), 1);
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
	static const struct store_options from_file = {.stall_timeout_s = 60};
	struct fixture *f = *state;
	char path[] = "/tmp/keys.XXXXXX";
	int fd;

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
		T(a_hash_that_is_known_is_not_made_once_more),
		T(a_put_carries_its_hash_its_signature_and_no_secret),
		T(virtual_style_puts_the_bucket_into_the_host),
		T(one_connection_serves_one_request_after_the_other),
		T(a_server_that_says_nothing_is_given_up),
		T(a_server_that_drips_is_given_up),
		T(what_shares_a_low_limit_with_others_is_no_stall),
		T(an_upload_that_a_sleep_has_cut_off_is_not_waited_for),
		T(an_upload_that_goes_on_after_a_sleep_may_stall_as_long_as_any),
		T(a_server_that_is_not_there_is_unreachable),
		T(a_canceled_store_ends_what_is_under_way_and_can_go_on_later),
		T(a_wrong_clock_is_set_by_the_answers_date_once),
		T(keys_that_expired_are_looked_for_again),
		T(a_commit_whose_answer_was_lost_is_settled_by_reading_back),
	};

	if (secmem_init() != 0)
		return 2;
	return cmocka_run_group_tests_name("s3_requests", tests, NULL, NULL);
}
