/* What people type and what services send: addresses, credentials, listings, errors, header fields; well-formed and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_fields.h"
#include "s3_address.h"
#include "s3_credentials.h"
#include "s3_error.h"
#include "s3_xml.h"
#include "secmem.h"
#include "store.h"

/* ---- addresses ---- */

static void expect_normal(const char *url, const char *normal)
{
	char *out = NULL, *why = NULL;

	if (store_url_normalize(url, &out, &why) != 0)
		fail_msg("%s: %s", url, why);
	assert_string_equal(out, normal);
	free(out);
}

static void an_address_has_one_way_to_be_written(void **state)
{
	(void)state;
	expect_normal("s3:https://Host.Example/bucket", "s3:https://host.example/bucket");
	expect_normal("s3:https://host:443/bucket/", "s3:https://host/bucket");
	expect_normal("s3:https://host:9000//bucket//a//b/", "s3:https://host:9000/bucket/a/b");
	expect_normal("s3:http://127.0.0.1:80/bucket", "s3:http://127.0.0.1/bucket");
	expect_normal("s3:http://[::1]:81/bucket", "s3:http://[::1]:81/bucket");
	expect_normal("s3:https://host/bucket/my photos+%2B/\xc3\xbc", "s3:https://host/bucket/my%20photos%2B%2B/%C3%BC");
	expect_normal("s3:https://host/bucket?style=virtual&region=eu-1", "s3:https://host/bucket?region=eu-1&style=virtual");
	expect_normal("s3:http://nas.local/b?plain-http=yes&style=path", "s3:http://nas.local/b?style=path&plain-http=yes");
	/* And that way is stable. */
	expect_normal("s3:https://host/bucket/my%20photos%2B%2B/%C3%BC", "s3:https://host/bucket/my%20photos%2B%2B/%C3%BC");
}

static void a_service_is_reached_over_a_network_unless_it_is_on_this_computer(void **state)
{
	static const char *const far[] = {"s3:https://host.example/b", "s3:https://192.168.1.2:9000/b?region=eu-1",
	    "s3:http://nas.local/b?plain-http=yes", "s3:https://127.0.0.1.example/b", "s3:https://[fe80::1]/b"};
	static const char *const near[] = {"s3:http://127.0.0.1:9000/b", "s3:https://localhost/b", "s3:http://[::1]:81/b",
	    "s3:https://minio.localhost/b", "dir:/mnt/nas/vault", "/mnt/nas/vault", "s3:nonsense", ""};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(far); i++)
		assert_true(store_uses_network(far[i]));
	for (size_t i = 0; i < ARRAY_LEN(near); i++)
		assert_false(store_uses_network(near[i]));
}

static void an_address_that_is_wrong_is_refused_with_a_hint_and_never_repeated(void **state)
{
	static const struct {
		const char *url, *hint;
	} cases[] = {
		{"s3:", "looks like"}, {"s3:bucket", "looks like"}, {"s3:ftp://host/bucket", "looks like"},
		{"s3:https://host/bucket#hunter2", "looks like"}, {"s3:https:///bucket", "lacks the bucket"},
		{"s3:https://host", "lacks the bucket"}, {"s3:https://host/", "lacks the bucket"},
		{"s3:https://host/bu cket", "bucket's name"}, {"s3:https://host/-b", "bucket's name"}, {"s3:https://host/..", "bucket"},
		{"s3:https://host/bucket/../x", "\"..\""}, {"s3:https://host/bucket/./x", "\"..\""},
		{"s3:https://host/bucket/a%0ab", "looks like"}, {"s3:https://key:hunter2@host/bucket", "where others can read it"},
		{"s3:https://key@host/bucket", "where others can read it"}, {"s3:http://host/bucket", "not encrypted"},
		{"s3:http://128.0.0.1/bucket", "not encrypted"}, {"s3:http://127.0.0.1.evil/bucket", "not encrypted"},
		{"s3:https://host/b?secret=hunter2", "only be"}, {"s3:https://host/b?region=", "only be"},
		{"s3:https://host/b?style=hunter2", "only be"}, {"s3:https://host/b?region=a%20b", "only be"},
		{"s3:https://host:99999/bucket", "looks like"}, {"s3:https://%68unter2/bucket", "a % in the host's name"},
		{"s3:https://[fe80::1%25eth0]/bucket", "a % in the host's name"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *out = NULL, *why = NULL;
		struct store *s = NULL;

		if (store_url_normalize(cases[i].url, &out, &why) != -EINVAL || !why || !strstr(why, cases[i].hint))
			fail_msg("%s: %s", cases[i].url, why ? why : "no sentence");
		assert_null(out);
		assert_null(strstr(why, "hunter2"));
		free(why);
		assert_int_equal(store_open(cases[i].url, false, &s, NULL), -EINVAL);
	}
}

static struct s3_address parsed(const char *url)
{
	struct s3_address a;
	char *why = NULL;

	if (s3_address_parse(url, &a, &why) != 0)
		fail_msg("%s: %s", url, why);
	return a;
}

static void region_and_style_come_from_the_address_the_host_or_the_environment(void **state)
{
	(void)state;
	assert_int_equal(unsetenv("AWS_REGION") | unsetenv("AWS_DEFAULT_REGION"), 0);
	assert_string_equal(parsed("s3:https://host/b").region, "us-east-1");
	assert_string_equal(parsed("s3:https://s3.eu-central-1.amazonaws.com/b").region, "eu-central-1");
	assert_string_equal(parsed("s3:https://s3-eu-west-1.amazonaws.com/b").region, "eu-west-1");
	assert_string_equal(parsed("s3:https://s3.dualstack.eu-west-2.amazonaws.com/b").region, "eu-west-2");
	assert_int_equal(setenv("AWS_DEFAULT_REGION", "region-3", 1), 0);
	assert_string_equal(parsed("s3:https://host/b").region, "region-3");
	assert_int_equal(setenv("AWS_REGION", "region-4", 1), 0);
	assert_string_equal(parsed("s3:https://host/b").region, "region-4");
	assert_string_equal(parsed("s3:https://host/b?region=region-5").region, "region-5");
	assert_int_equal(setenv("AWS_REGION", "no region", 1), 0);
	assert_string_equal(parsed("s3:https://host/b").region, "region-3");
	assert_int_equal(unsetenv("AWS_REGION") | unsetenv("AWS_DEFAULT_REGION"), 0);

	assert_false(parsed("s3:https://host/b").virtual_style);
	assert_true(parsed("s3:https://s3.eu-central-1.amazonaws.com/b").virtual_style);
	assert_false(parsed("s3:https://s3.eu-central-1.amazonaws.com/b.c").virtual_style);
	assert_false(parsed("s3:https://s3.amazonaws.com/Old_Bucket").virtual_style);
	assert_false(parsed("s3:https://s3.eu-central-1.amazonaws.com/b?style=path").virtual_style);
	assert_true(parsed("s3:https://host/b?style=virtual").virtual_style);
	assert_false(parsed("s3:https://amazonaws.com.evil/b").amazon);
}

/* ---- credentials ---- */

static char file_path[128];

static void write_file(const char *text)
{
	FILE *f = fopen(file_path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int setup_file(void **state)
{
	int fd;

	(void)state;
	strcpy(file_path, "/tmp/credentials.XXXXXX");
	fd = mkstemp(file_path);
	if (fd < 0)
		return -1;
	(void)close(fd);
	(void)unsetenv("AWS_ACCESS_KEY_ID");
	(void)unsetenv("AWS_SECRET_ACCESS_KEY");
	(void)unsetenv("AWS_SESSION_TOKEN");
	(void)unsetenv("AWS_PROFILE");
	return setenv("AWS_SHARED_CREDENTIALS_FILE", file_path, 1);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(file_path);
}

static void expect_keys(const struct store_credentials *given, const char *access_key, const char *secret_key,
    const char *token)
{
	struct s3_credentials *c = NULL;
	char *why = NULL;

	if (s3_credentials_find(given, &c, &why) != 0)
		fail_msg("%s", why);
	assert_string_equal(c->access_key, access_key);
	assert_string_equal(c->secret_key, secret_key);
	assert_string_equal(c->session_token, token);
	secmem_free(c);
}

static void expect_no_keys(const struct store_credentials *given, const char *hint)
{
	struct s3_credentials *c = NULL;
	char *why = NULL;

	assert_int_equal(s3_credentials_find(given, &c, &why), -EACCES);
	assert_null(c);
	assert_non_null(why);
	if (!strstr(why, hint))
		fail_msg("%s", why);
	assert_null(strstr(why, "hunter2"));
	free(why);
}

static void keys_come_from_the_profile_of_the_shared_file(void **state)
{
	(void)state;
	write_file("# mine\n[default]\naws_access_key_id = AKONE\naws_secret_access_key = one/+secret\nregion = x\n\n"
	    "[work]\naws_secret_access_key=two\naws_access_key_id=AKTWO\naws_session_token = TOKEN/+=\n");
	expect_keys(NULL, "AKONE", "one/+secret", "");
	assert_int_equal(setenv("AWS_PROFILE", "work", 1), 0);
	expect_keys(NULL, "AKTWO", "two", "TOKEN/+=");
	assert_int_equal(setenv("AWS_PROFILE", "elsewhere", 1), 0);
	expect_no_keys(NULL, "[elsewhere]");
	assert_int_equal(unsetenv("AWS_PROFILE"), 0);
}

static void a_session_token_may_be_longer_than_a_line_of_an_ini_reader(void **state)
{
	char token[S3_SESSION_TOKEN_MAX + 1], text[S3_SESSION_TOKEN_MAX + 1000];

	(void)state;
	for (size_t len = 100; len <= S3_SESSION_TOKEN_MAX; len += len < 400 ? 1 : 1231) {
		memset(token, 'T', len);
		token[len - 1] = 'E';
		token[len] = '\0';
		(void)snprintf(text, sizeof(text), "[default]\naws_access_key_id=A\naws_session_token=%s\n"
		    "# a comment that is longer than a line of an INI reader: %.*s\naws_secret_access_key=S\n", token, 300, token);
		write_file(text);
		expect_keys(NULL, "A", "S", token);
	}
}

static void keys_that_are_missing_halved_or_odd_are_refused(void **state)
{
	char long_key[S3_SECRET_KEY_MAX + 2], text[S3_SECRET_KEY_MAX + 100];

	(void)state;
	write_file("");
	expect_no_keys(NULL, file_path);
	write_file("[default]\naws_access_key_id=A\n");
	expect_no_keys(NULL, "[default]");
	write_file("[default]\naws_access_key_id=A\naws_secret_access_key=hunter2 \x01 x\n");
	expect_no_keys(NULL, "strange");
	for (unsigned len = S3_SECRET_KEY_MAX; len <= S3_SECRET_KEY_MAX + 1; len++) {
		memset(long_key, 'k', len);
		long_key[len] = '\0';
		(void)snprintf(text, sizeof(text), "[default]\naws_access_key_id=A\naws_secret_access_key=%s", long_key);
		write_file(text);
		if (len == S3_SECRET_KEY_MAX)
			expect_keys(NULL, "A", long_key, "");
		else
			expect_no_keys(NULL, "too long");
	}
	assert_int_equal(setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1), 0);
	expect_no_keys(NULL, "/nonexistent");
	assert_int_equal(setenv("AWS_SHARED_CREDENTIALS_FILE", file_path, 1), 0);
}

static void the_environment_and_the_caller_come_before_the_file(void **state)
{
	const struct store_credentials given = {"AKGIVEN", "given", NULL};
	const struct store_credentials half = {"AKGIVEN", NULL, NULL};

	(void)state;
	write_file("[default]\naws_access_key_id = AKFILE\naws_secret_access_key = file\n");
	assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "AKENV", 1), 0);
	expect_no_keys(NULL, "AWS_SECRET_ACCESS_KEY");
	assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", "env", 1) | setenv("AWS_SESSION_TOKEN", "tok", 1), 0);
	expect_keys(NULL, "AKENV", "env", "tok");
	expect_keys(&given, "AKGIVEN", "given", "");
	expect_no_keys(&half, "incomplete");
	assert_int_equal(unsetenv("AWS_ACCESS_KEY_ID") | unsetenv("AWS_SECRET_ACCESS_KEY") | unsetenv("AWS_SESSION_TOKEN"), 0);
}

/* ---- XML ---- */

static err_t parse_page(const char *text, struct s3_xml_page *out)
{
	return s3_xml_parse_page((const uint8_t *)text, strlen(text), out);
}

#define PAGE(inside) "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" inside \
	"</ListBucketResult>"
#define OBJECT(key, size) "<Contents><Key>" key "</Key><Owner><ID>Key</ID></Owner><Size>" size "</Size></Contents>"

static void a_page_is_read(void **state)
{
	struct s3_xml_page page = {0};

	(void)state;
	assert_int_equal(parse_page(PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>"
	    OBJECT("c/1%2B+%C3%BC", "17") OBJECT("b", "0") "<CommonPrefixes><Prefix>x</Prefix></CommonPrefixes>"
	    "<EncodingType>url</EncodingType>"), &page), 0);
	assert_int_equal(page.count, 2);
	assert_string_equal(page.objects[0].key, "c/1+ \xc3\xbc");
	assert_int_equal(page.objects[0].size, 17);
	assert_string_equal(page.objects[1].key, "b");
	assert_true(page.truncated);
	assert_string_equal(page.next_token, "a&b");
	s3_xml_page_clear(&page);
	assert_int_equal(parse_page(PAGE(OBJECT("a%2B+", "1")), &page), 0);
	assert_string_equal(page.objects[0].key, "a%2B+"); /* nobody said that it is encoded */
	assert_false(page.truncated);
	s3_xml_page_clear(&page);
	assert_int_equal(parse_page(PAGE(""), &page), 0);
	assert_int_equal(page.count, 0);
	s3_xml_page_clear(&page);
}

static void a_page_that_is_not_sound_is_refused(void **state)
{
	static const char *const cases[] = {
		"", "x", "<a/>", "<ListBucketResult>", "<Error><Code>X</Code></Error>",
		PAGE("<IsTruncated>true</IsTruncated>"),
		PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>"),
		PAGE("<NextContinuationToken>a</NextContinuationToken><NextContinuationToken>b</NextContinuationToken>"),
		PAGE("<Contents><Key>a</Key></Contents>"), PAGE("<Contents><Size>1</Size></Contents>"),
		PAGE("<Contents><Key>a</Key><Key>b</Key><Size>1</Size></Contents>"),
		PAGE(OBJECT("a", "-1")), PAGE(OBJECT("a", "")), PAGE(OBJECT("a", "99999999999999999999")), PAGE(OBJECT("a", "1x")),
		PAGE("<EncodingType>url</EncodingType>" OBJECT("a%2", "1")),
		PAGE("<EncodingType>url</EncodingType>" OBJECT("a%00b", "1")),
		PAGE("<EncodingType>url</EncodingType>" OBJECT("a%zz", "1")),
		PAGE("<a><b><c><d><e><f><g><h>deep</h></g></f></e></d></c></b></a>"),
		"<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult>" OBJECT("&b;", "1") "</ListBucketResult>",
		"<!DOCTYPE a><ListBucketResult></ListBucketResult>",
		PAGE(OBJECT("\xff\xfe", "1")),
	};
	struct s3_xml_page page = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (parse_page(cases[i], &page) != -EBADMSG)
			fail_msg("%s", cases[i]);
		assert_null(page.objects);
	}
}

static void a_page_that_is_cut_anywhere_is_refused(void **state)
{
	static const char whole[] = PAGE(OBJECT("a", "1") "<IsTruncated>false</IsTruncated>");
	struct s3_xml_page page = {0};

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++)
		assert_int_equal(s3_xml_parse_page((const uint8_t *)whole, len, &page), -EBADMSG);
	assert_int_equal(s3_xml_parse_page((const uint8_t *)whole, sizeof(whole) - 1, &page), 0);
	s3_xml_page_clear(&page);
}

static void bounds_of_a_page_hold(void **state)
{
	size_t room = (S3_XML_PAGE_MAX + 2) * 100;
	char *text = malloc(room);
	struct s3_xml_page page = {0};
	size_t len;

	(void)state;
	assert_non_null(text);
	for (unsigned count = S3_XML_PAGE_MAX; count <= S3_XML_PAGE_MAX + 1; count++) {
		len = (size_t)snprintf(text, room, "<ListBucketResult>");
		for (unsigned i = 0; i < count; i++)
			len += (size_t)snprintf(text + len, room - len, OBJECT("k%u", "1"), i);
		len += (size_t)snprintf(text + len, room - len, "</ListBucketResult>");
		assert_int_equal(s3_xml_parse_page((const uint8_t *)text, len, &page), count > S3_XML_PAGE_MAX ? -EBADMSG : 0);
		s3_xml_page_clear(&page);
	}
	for (unsigned key_len = S3_XML_KEY_MAX; key_len <= S3_XML_KEY_MAX + 1; key_len++) {
		len = (size_t)snprintf(text, room, "<ListBucketResult><Contents><Key>");
		memset(text + len, 'k', key_len);
		len += key_len;
		len += (size_t)snprintf(text + len, room - len, "</Key><Size>1</Size></Contents></ListBucketResult>");
		assert_int_equal(s3_xml_parse_page((const uint8_t *)text, len, &page), key_len > S3_XML_KEY_MAX ? -EBADMSG : 0);
		s3_xml_page_clear(&page);
	}
	free(text);
}

static void expect_code(const char *text, const char *code, const char *region)
{
	struct s3_xml_error e;

	s3_xml_parse_error((const uint8_t *)text, strlen(text), &e);
	assert_string_equal(e.code, code);
	assert_string_equal(e.region, region);
}

static void the_code_of_an_error_is_a_plain_word_or_nothing(void **state)
{
	(void)state;
	expect_code("<Error><Code>NoSuchKey</Code><Message>x</Message><Region>eu-1</Region></Error>", "NoSuchKey", "eu-1");
	expect_code("<Error><Code>No Such\nKey</Code></Error>", "", "");
	expect_code("<Error><Code>\x1b[31m</Code></Error>", "", "");
	expect_code("<Error><Code>&lt;b></Code></Error>", "", "");
	expect_code("<Error><Code>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</Code></Error>", "", "");
	expect_code("<Error><Code></Code></Error>", "", "");
	expect_code("<Error><Detail><Code>Inner</Code></Detail></Error>", "", "");
	expect_code("<html><Code>Other</Code></html>", "", "");
	expect_code("<Error><Code>Cut</Code>", "", "");
	expect_code("not XML at all", "", "");
	expect_code("", "", "");
}

static void each_refusal_has_its_meaning(void **state)
{
	static const struct {
		int status;
		const char *code;
		err_t err;
	} cases[] = {
		{404, "NoSuchKey", -ENOENT}, {404, "", -ENOENT}, {404, "NoSuchBucket", -EACCES}, {403, "AccessDenied", -EACCES},
		{403, "SomethingNew", -EACCES}, {401, "", -EACCES}, {400, "ExpiredToken", -EACCES}, {403, "RequestTimeTooSkewed", -EACCES},
		{301, "PermanentRedirect", -EACCES}, {307, "", -EACCES}, {400, "AuthorizationHeaderMalformed", -EACCES},
		{412, "PreconditionFailed", -EEXIST}, {412, "", -EEXIST}, {409, "ConditionalRequestConflict", -EAGAIN},
		{409, "", -EAGAIN}, {501, "NotImplemented", -ENOTSUP}, {501, "", -ENOTSUP}, {400, "NotImplemented", -ENOTSUP},
		{503, "SlowDown", -EAGAIN}, {503, "", -EAGAIN}, {429, "", -EAGAIN}, {500, "InternalError", -EAGAIN}, {500, "", -EAGAIN},
		{502, "", -EAGAIN}, {504, "", -EAGAIN}, {400, "RequestTimeout", -EAGAIN}, {400, "BadDigest", -EAGAIN},
		{400, "XAmzContentSHA256Mismatch", -EAGAIN}, {507, "", -ENOSPC}, {403, "QuotaExceeded", -ENOSPC},
		{507, "XMinioStorageFull", -ENOSPC}, {416, "InvalidRange", -EBADMSG}, {400, "Unheard", -EBADMSG}, {418, "", -EBADMSG},
		{100, "", -EBADMSG},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct s3_error e = s3_error_judge(cases[i].status, cases[i].code);

		if (e.err != cases[i].err)
			fail_msg("%d %s: %d", cases[i].status, cases[i].code, e.err);
	}
	assert_int_equal(s3_error_judge(400, "ExpiredToken").remedy, S3_REMEDY_NEW_KEYS);
	assert_int_equal(s3_error_judge(403, "RequestTimeTooSkewed").remedy, S3_REMEDY_SET_CLOCK);
	assert_int_equal(s3_error_judge(503, "SlowDown").remedy, S3_REMEDY_NONE);
}

/* ---- header fields ---- */

static void a_content_range_is_read_strictly(void **state)
{
	static const char *const bad[] = {
		"", "bytes", "bytes ", "bytes */10", "bytes 0-", "bytes -1/10", "bytes 0-1", "bytes 0-1/", "bytes 2-1/10",
		"bytes 0-10/10", "bytes 0-1/10 ", "bytes 0-1/10x", "bytes  0-1/10", "items 0-1/10", "bytes 0-1/**",
		"bytes 0-9999999999999999999/*", "bytes +0-1/10", "bytes 0x0-1/10",
	};
	uint64_t first = 7, last = 7, total = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (http_fields_content_range(bad[i], &first, &last, &total) != -EBADMSG)
			fail_msg("%s", bad[i]);
		assert_true(first == 7 && last == 7 && total == 7);
	}
	assert_int_equal(http_fields_content_range("bytes 5-9/10", &first, &last, &total), 0);
	assert_true(first == 5 && last == 9 && total == 10);
	assert_int_equal(http_fields_content_range("bytes 0-0/*", &first, &last, &total), 0);
	assert_true(first == 0 && last == 0 && total == UINT64_MAX);
}

static void retry_after_is_seconds_or_a_date(void **state)
{
	const int64_t now = 1440938160; /* Sun, 30 Aug 2015 12:36:00 GMT */

	(void)state;
	assert_int_equal(http_fields_retry_after("7", now, 60), 7);
	assert_int_equal(http_fields_retry_after("0", now, 60), 0);
	assert_int_equal(http_fields_retry_after("61", now, 60), 60);
	assert_int_equal(http_fields_retry_after("99999999999999999999", now, 60), 0);
	assert_int_equal(http_fields_retry_after("Sun, 30 Aug 2015 12:36:30 GMT", now, 60), 30);
	assert_int_equal(http_fields_retry_after("Sun, 30 Aug 2015 12:35:00 GMT", now, 60), 0);
	assert_int_equal(http_fields_retry_after("Sun, 30 Aug 2099 12:35:00 GMT", now, 60), 60);
	assert_int_equal(http_fields_retry_after("soon", now, 60), 0);
	assert_int_equal(http_fields_retry_after("", now, 60), 0);
	assert_int_equal(http_fields_retry_after("-5", now, 60), 0);
}

static void a_copied_field_is_printable_or_empty(void **state)
{
	char out[6];

	(void)state;
	http_fields_copy("abcde", out, sizeof(out));
	assert_string_equal(out, "abcde");
	http_fields_copy("abcdef", out, sizeof(out));
	assert_string_equal(out, "");
	http_fields_copy("a\tb", out, sizeof(out));
	assert_string_equal(out, "");
	http_fields_copy("\xc3\xbc", out, sizeof(out));
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_has_one_way_to_be_written),
		cmocka_unit_test(a_service_is_reached_over_a_network_unless_it_is_on_this_computer),
		cmocka_unit_test(an_address_that_is_wrong_is_refused_with_a_hint_and_never_repeated),
		cmocka_unit_test(region_and_style_come_from_the_address_the_host_or_the_environment),
		cmocka_unit_test_setup_teardown(keys_come_from_the_profile_of_the_shared_file, setup_file, remove_file),
		cmocka_unit_test_setup_teardown(a_session_token_may_be_longer_than_a_line_of_an_ini_reader, setup_file, remove_file),
		cmocka_unit_test_setup_teardown(keys_that_are_missing_halved_or_odd_are_refused, setup_file, remove_file),
		cmocka_unit_test_setup_teardown(the_environment_and_the_caller_come_before_the_file, setup_file, remove_file),
		cmocka_unit_test(a_page_is_read),
		cmocka_unit_test(a_page_that_is_not_sound_is_refused),
		cmocka_unit_test(a_page_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(bounds_of_a_page_hold),
		cmocka_unit_test(the_code_of_an_error_is_a_plain_word_or_nothing),
		cmocka_unit_test(each_refusal_has_its_meaning),
		cmocka_unit_test(a_content_range_is_read_strictly),
		cmocka_unit_test(retry_after_is_seconds_or_a_date),
		cmocka_unit_test(a_copied_field_is_printable_or_empty),
	};

	if (secmem_init() != 0)
		return 2;
	return cmocka_run_group_tests_name("s3_parsing", tests, NULL, NULL);
}
