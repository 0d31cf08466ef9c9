/* What a service may answer: bodies, ranges, refusals, listings that are broken, cut off, too long or untrue. */
#include "s3_script.h"

#include "chain.h"
#include "secmem.h"

static struct reply padded(const char *text, bool close, size_t padding)
{
	return (struct reply){.text = text, .close = close, .padding = padding};
}

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

	boot_ns = clock_ns(CLOCK_BOOTTIME);
	assert_int_equal(store_wait_ms(f->store), 0);
	SAY(f, last(ERROR("503 Slow", "Retry-After: 7\r\n", "SlowDown")));
	assert_int_equal(get(f, 100), -EAGAIN);
	assert_int_equal(store_wait_ms(f->store), 7000);
	expect_sentence(f, -EAGAIN, "SlowDown");
	SAY(f, last(ERROR("429 Slow", "Retry-After: 86400\r\n", "")));
	assert_int_equal(get(f, 100), -EAGAIN);
	assert_int_equal(store_wait_ms(f->store), 60000);
	expect_sentence(f, -EAGAIN, "status 429");
	boot_ns += INT64_C(59999000000);
	assert_int_equal(store_wait_ms(f->store), 1);
	boot_ns += 1000000;
	assert_int_equal(store_wait_ms(f->store), 0);
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

#define NEXT(token) "<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"

static void a_listing_that_goes_round_in_circles_is_an_error(void **state)
{
	struct fixture *f = *state;
	char names[400];
	const char *one = page(KEY("p/k/1") NEXT("one")), *two = page(KEY("p/k/2") NEXT("two"));

	SAY(f, keep(one), keep(two), keep(one), keep(two), keep(one), keep(two));
	assert_int_equal(list(f, names), -EBADMSG);
	assert_int_equal(requests(f), 4);
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
		T(a_listing_goes_on_where_the_token_says),
		T(a_listing_that_is_broken_or_stands_still_is_an_error),
		T(a_listing_that_goes_round_in_circles_is_an_error),
	};

	if (secmem_init() != 0)
		return 2;
	return cmocka_run_group_tests_name("s3_answers", tests, NULL, NULL);
}
