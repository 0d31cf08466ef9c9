/* http_transfer.c: what libcurl sends and receives for one request, and what its outcome means. */
#include "http_transfer.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http.h"
#include "http_fields.h"
#include "library.h"
#include "limit.h"
#include "secmem.h"

#define USER_AGENT "snugfs/" SNUGFS_VERSION
#define HEADERS_MAX (64u << 10) /* of one answer */
#define RETRY_AFTER_MAX_S 3600

/* The type check in libcurl's macros of these names calls what the program would be linked with. */
#undef curl_easy_getinfo
#undef curl_easy_setopt

#define FUNCTIONS(F) F(curl_easy_getinfo) F(curl_easy_header) F(curl_easy_setopt) F(curl_easy_strerror) \
	F(curl_slist_append) F(curl_slist_free_all)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib; /* set by http_transfer_load */
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

_Static_assert(sizeof(((struct http_transfer *)NULL)->error) >= CURL_ERROR_SIZE, "libcurl writes there");

err_t http_transfer_load(void)
{
	return library_load(HTTP_LIBRARY, symbols, ARRAY_LEN(symbols));
}

/* ---- what libcurl calls ---- */

static size_t send_body(char *out, size_t size, size_t count, void *ctx)
{
	struct http_transfer *t = ctx;
	size_t left = t->request->body_len - t->sent;
	size_t len = size * count < left ? size * count : left;

	if (len == 0)
		return 0;
	len = limit_take(t->limit, LIMIT_UP, len);
	if (len == 0)
		return CURL_READFUNC_ABORT;
	memcpy(out, t->request->body + t->sent, len);
	t->sent += len;
	return len;
}

/* When a kept connection turns out to be dead, the request is sent once more on a fresh one. */
static int seek_body(void *ctx, curl_off_t off, int origin)
{
	struct http_transfer *t = ctx;

	if (origin != SEEK_SET || off < 0 || (uint64_t)off > t->request->body_len)
		return CURL_SEEKFUNC_FAIL;
	t->sent = (size_t)off;
	return CURL_SEEKFUNC_OK;
}

static bool is_success(const struct http_transfer *t)
{
	long status = 0;

	(void)lib.curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

/* Bytes that are here wait for their turn; meanwhile no more are read, so that the other side slows down. */
static bool admit(struct http_transfer *t, size_t len)
{
	while (len > 0 && !t->cancelled) {
		size_t may = limit_take(t->limit, LIMIT_DOWN, len);

		t->cancelled = may == 0;
		len -= may;
	}
	return !t->cancelled;
}

/* Room for all that was announced and may come: a body that grows is copied again and again. */
static err_t make_room(struct http_transfer *t, size_t room)
{
	curl_off_t length = -1;

	(void)lib.curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return length > 0 && (uint64_t)length <= room ? bytes_reserve(&t->answer->body, (size_t)length) : 0;
}

static size_t receive_body(char *data, size_t size, size_t count, void *ctx)
{
	struct http_transfer *t = ctx;
	struct bytes *body = &t->answer->body;
	size_t len = size * count;
	bool success = is_success(t);
	size_t room = (success ? t->request->max_len : HTTP_ERROR_BODY_MAX) - body->len;

	if (len > room && success) {
		t->too_long = true;
		return 0;
	}
	if (!admit(t, len) || (success && body->len == 0 && make_room(t, room) != 0))
		return 0;
	if (len > 0 && bytes_append(body, data, len < room ? len : room) != 0)
		return 0;
	return len;
}

static size_t receive_header(char *data, size_t size, size_t count, void *ctx)
{
	struct http_transfer *t = ctx;
	size_t len = size * count;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
		t->header_len = 0;
	t->header_len += len;
	if (t->header_len > HEADERS_MAX) {
		t->too_long = true;
		return 0;
	}
	return len;
}

/* ---- what it is told ---- */

static err_t build_headers(const struct http_request *request, struct curl_slist **out)
{
	for (size_t i = 0; i < request->header_count; i++) {
		const struct http_header *header = &request->headers[i];
		struct curl_slist *grown;
		char *line;

		if (asprintf(&line, "%s: %s", header->name, header->value) < 0)
			return -ENOMEM;
		grown = lib.curl_slist_append(*out, line);
		secmem_wipe(line, strlen(line));
		free(line);
		if (!grown)
			return -ENOMEM;
		*out = grown;
	}
	return 0;
}

static void set_method(struct http_transfer *t)
{
	CURL *easy = t->easy;
	const struct http_request *request = t->request;

	if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
		(void)lib.curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		(void)lib.curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_len);
		(void)lib.curl_easy_setopt(easy, CURLOPT_READFUNCTION, send_body);
		(void)lib.curl_easy_setopt(easy, CURLOPT_READDATA, t);
		(void)lib.curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body);
		(void)lib.curl_easy_setopt(easy, CURLOPT_SEEKDATA, t);
	} else {
		(void)lib.curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	(void)lib.curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

err_t http_transfer_set_up(struct http_transfer *t, void *easy)
{
	err_t err;

	t->easy = easy;
	/* A request that waits for "100 Continue" takes a round trip more. */
	t->headers = lib.curl_slist_append(NULL, "Expect:");
	if (!t->headers)
		return -ENOMEM;
	err = build_headers(t->request, &t->headers);
	if (err)
		return err;
	set_method(t);
	(void)lib.curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	(void)lib.curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
	(void)lib.curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
	(void)lib.curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_body);
	(void)lib.curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	(void)lib.curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header);
	(void)lib.curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	if (lib.curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_URL, t->request->url) != CURLE_OK)
		return -ENOMEM;
	return 0;
}

/* A session token may be among the headers. */
void http_transfer_clear(struct http_transfer *t)
{
	for (struct curl_slist *h = t->headers; h; h = h->next)
		secmem_wipe(h->data, strlen(h->data));
	if (t->headers)
		lib.curl_slist_free_all(t->headers);
	t->headers = NULL;
}

/* ---- what came of it ---- */

static err_t translate(int code)
{
	switch (code) { /* an int, because the rest of the many codes is -EIO */
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_PROXY:
		return -EAGAIN;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return -EACCES;
	case CURLE_WRITE_ERROR:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_BAD_CONTENT_ENCODING:
		return -EBADMSG;
	case CURLE_ABORTED_BY_CALLBACK:
		return -ECANCELED;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static const char *field(CURL *easy, const char *name)
{
	struct curl_header *header;

	return lib.curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : "";
}

static void read_fields(struct http_transfer *t)
{
	struct http_answer *a = t->answer;
	curl_off_t length = -1;
	long status = 0;

	(void)lib.curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)lib.curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	a->status = (int)status;
	a->length = length >= 0 ? (uint64_t)length : HTTP_LENGTH_UNKNOWN;
	a->date = http_fields_date(field(t->easy, "Date"));
	a->retry_after_s = http_fields_retry_after(field(t->easy, "Retry-After"), (int64_t)time(NULL), RETRY_AFTER_MAX_S);
	a->has_range = http_fields_content_range(field(t->easy, "Content-Range"), &a->range_first, &a->range_last,
	    &a->range_total) == 0;
	t->chunked = field(t->easy, "Transfer-Encoding")[0] != '\0';
	if (t->request->wanted)
		http_fields_copy(field(t->easy, t->request->wanted), a->wanted, sizeof(a->wanted));
}

/* An answer whose end is the end of the connection may have been cut, even in its header.  204: there is no body. */
static bool end_is_unknown(const struct http_transfer *t)
{
	long version = 0;

	(void)lib.curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
	return is_success(t) && t->answer->status != 204 && t->answer->length == HTTP_LENGTH_UNKNOWN && !t->chunked &&
	       version <= CURL_HTTP_VERSION_1_1;
}

err_t http_transfer_conclude(struct http_transfer *t, int code)
{
	const char *why = t->error[0] != '\0' ? t->error : lib.curl_easy_strerror((CURLcode)code);
	err_t err = t->cancelled ? -ECANCELED : translate(code);

	read_fields(t);
	if (err == 0 && end_is_unknown(t)) {
		why = "an answer came without its length";
		err = -EAGAIN;
	}
	if (code == CURLE_WRITE_ERROR && !t->cancelled) {
		why = "the answer is longer than it may be";
		err = t->too_long ? -EBADMSG : -ENOMEM;
	}
	if (err)
		(void)snprintf(t->answer->why, sizeof(t->answer->why), "%.*s", (int)sizeof(t->answer->why) - 1, why);
	for (char *p = t->answer->why; *p != '\0'; p++) {
		if (*p < 0x20 || *p >= 0x7f)
			*p = '?';
	}
	return err;
}

void http_answer_clear(struct http_answer *a)
{
	bytes_clear(&a->body);
	*a = (struct http_answer){0};
}
