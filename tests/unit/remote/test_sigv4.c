/* The signer, against the vectors that AWS publishes: its Signature Version 4 test suite, and the examples of the S3 manual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "secmem.h"
#include "sigv4.h"

#define SUITE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define MANUAL_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SUITE_DATE "20150830T123600Z"
#define MANUAL_DATE "20130524T000000Z"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define PAIRS 8

struct vector {
	const char *name;
	const char *method;
	const char *path;
	struct sigv4_pair query[PAIRS];
	struct sigv4_pair headers[PAIRS]; /* besides host and x-amz-date */
	const char *body;
	const char *signed_headers;
	const char *signature;
};

static size_t count_pairs(const struct sigv4_pair *pairs)
{
	size_t count = 0;

	while (count < PAIRS && pairs[count].name)
		count++;
	return count;
}

static void check(const struct sigv4_key *key, const char *host, const struct vector *v)
{
	struct sigv4_pair headers[PAIRS + 2] = {{"x-amz-date", key->date}};
	char payload[SIGV4_HEX_LEN + 1], expected[512], day[9] = "";
	struct bytes got = {0};
	size_t count = count_pairs(v->headers);

	memcpy(headers + 1, v->headers, count * sizeof(headers[0]));
	headers[1 + count] = (struct sigv4_pair){"host", host};
	assert_int_equal(sigv4_sha256_hex(v->body ? v->body : "", v->body ? strlen(v->body) : 0, payload), 0);
	const struct sigv4_request request = {
		.method = v->method, .path = v->path, .query = v->query, .query_count = count_pairs(v->query),
		.headers = headers, .header_count = count + 2, .payload_sha256 = payload,
	};
	assert_int_equal(sigv4_authorize(key, &request, &got), 0);
	assert_int_equal(bytes_append_u8(&got, 0), 0);
	memcpy(day, key->date, 8);
	(void)snprintf(expected, sizeof(expected), "AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/%s/aws4_request, SignedHeaders=%s, "
	    "Signature=%s", key->access_key, day, key->service, v->signed_headers, v->signature);
	if (strcmp((const char *)got.data, expected) != 0)
		fail_msg("%s:\n%s\n%s", v->name, (const char *)got.data, expected);
	bytes_clear(&got);
}

static void the_test_suite_is_signed_as_published(void **state)
{
	static const struct vector vectors[] = {
		{"get-vanilla", "GET", "/", {{0}}, {{0}}, NULL, "host;x-amz-date",
		    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", {{0}}, {{0}}, NULL,
		    "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"get-utf8", "GET", "/\xe1\x88\xb4", {{0}}, {{0}}, NULL, "host;x-amz-date",
		    "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
		{"get-space", "GET", "/example space/", {{0}}, {{0}}, NULL, "host;x-amz-date",
		    "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
		{"get-vanilla-query-order-key-case", "GET", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, {{0}}, NULL,
		    "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-query-order-value", "GET", "/", {{"Param1", "value2"}, {"Param1", "value1"}}, {{0}}, NULL,
		    "host;x-amz-date", "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
		{"get-vanilla-empty-query-key", "GET", "/", {{"Param1", "value1"}}, {{0}}, NULL,
		    "host;x-amz-date", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"get-vanilla-utf8-query", "GET", "/", {{"\xe1\x88\xb4", "bar"}}, {{0}}, NULL, "host;x-amz-date",
		    "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{"get-header-value-order", "GET", "/", {{0}},
		    {{"my-header1", "value4"}, {"my-header1", "value1"}, {"my-header1", "value3"}, {"my-header1", "value2"}}, NULL,
		    "host;my-header1;x-amz-date", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
		{"get-header-key-duplicate", "GET", "/", {{0}},
		    {{"my-header1", "value2"}, {"my-header1", "value2"}, {"my-header1", "value1"}}, NULL,
		    "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"get-header-value-trim", "GET", "/", {{0}}, {{"my-header1", " value1"}, {"my-header2", " \"a   b   c\""}}, NULL,
		    "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"post-vanilla", "POST", "/", {{0}}, {{0}}, NULL, "host;x-amz-date",
		    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-x-www-form-urlencoded", "POST", "/", {{0}}, {{"content-type", "application/x-www-form-urlencoded"}},
		    "Param1=value1", "content-type;host;x-amz-date",
		    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	};
	const struct sigv4_key key = {"AKIDEXAMPLE", SUITE_SECRET, "us-east-1", "service", SUITE_DATE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
		check(&key, "example.amazonaws.com", &vectors[i]);
}

static void a_session_token_is_signed_as_published(void **state)
{
	static const struct vector with_token = {"get-vanilla-with-session-token", "GET", "/", {{0}},
		{{"x-amz-security-token", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"}}, NULL,
		"host;x-amz-date;x-amz-security-token", "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"};
	const struct sigv4_key key = {"AKIDEXAMPLE", SUITE_SECRET, "us-east-1", "service", SUITE_DATE};

	(void)state;
	check(&key, "example.amazonaws.com", &with_token);
}

static void the_examples_of_the_s3_manual_are_signed_as_published(void **state)
{
	static const struct vector vectors[] = {
		{"get object", "GET", "/test.txt", {{0}}, {{"range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY_SHA256}}, NULL,
		    "host;range;x-amz-content-sha256;x-amz-date",
		    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"put object", "PUT", "/test$file.text", {{0}},
		    {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
		    {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"}},
		    "Welcome to Amazon S3.", "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"bucket lifecycle", "GET", "/", {{"lifecycle", ""}}, {{"x-amz-content-sha256", EMPTY_SHA256}}, NULL,
		    "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"list objects", "GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {{"x-amz-content-sha256", EMPTY_SHA256}}, NULL,
		    "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	};
	const struct sigv4_key key = {"AKIAIOSFODNN7EXAMPLE", MANUAL_SECRET, "us-east-1", "s3", MANUAL_DATE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
		check(&key, "examplebucket.s3.amazonaws.com", &vectors[i]);
}

static void the_target_is_encoded_once_and_its_query_sorted(void **state)
{
	const struct sigv4_pair query[] = {{"b", "x y"}, {"a-b", "1"}, {"a", "2+3/4"}};
	const struct sigv4_request request = {.path = "/a/../b c/%41:@+\xff", .query = query, .query_count = 3};
	struct bytes got = {0};

	(void)state;
	assert_int_equal(sigv4_target(&request, &got), 0);
	assert_int_equal(bytes_append_u8(&got, 0), 0);
	assert_string_equal(got.data, "/a/../b%20c/%2541%3A%40%2B%FF?a=2%2B3%2F4&a-b=1&b=x%20y");
	bytes_clear(&got);
}

static void dates_are_in_utc(void **state)
{
	char date[SIGV4_DATE_LEN + 1];

	(void)state;
	sigv4_date(1440938160, date);
	assert_string_equal(date, SUITE_DATE);
	sigv4_date(0, date);
	assert_string_equal(date, "19700101T000000Z");
	sigv4_date(INT64_MAX, date);
	assert_int_equal(strlen(date), SIGV4_DATE_LEN);
}

static void too_many_parameters_and_odd_dates_are_refused(void **state)
{
	struct sigv4_pair many[SIGV4_PAIRS_MAX + 1];
	struct sigv4_key key = {"A", "B", "us-east-1", "s3", SUITE_DATE};
	struct bytes got = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct sigv4_pair){"a", "b"};
	struct sigv4_request request = {.method = "GET", .path = "/", .query = many, .query_count = ARRAY_LEN(many),
		.headers = many, .header_count = 1, .payload_sha256 = EMPTY_SHA256};
	assert_int_equal(sigv4_authorize(&key, &request, &got), -EINVAL);
	assert_int_equal(sigv4_target(&request, &got), -EINVAL);
	request.query_count = 0;
	request.header_count = ARRAY_LEN(many);
	assert_int_equal(sigv4_authorize(&key, &request, &got), -EINVAL);
	request.header_count = 1;
	key.date = "2015";
	assert_int_equal(sigv4_authorize(&key, &request, &got), -EINVAL);
	assert_int_equal(got.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_test_suite_is_signed_as_published),
		cmocka_unit_test(a_session_token_is_signed_as_published),
		cmocka_unit_test(the_examples_of_the_s3_manual_are_signed_as_published),
		cmocka_unit_test(the_target_is_encoded_once_and_its_query_sorted),
		cmocka_unit_test(dates_are_in_utc),
		cmocka_unit_test(too_many_parameters_and_odd_dates_are_refused),
	};

	if (secmem_init() != 0)
		return 2;
	return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
