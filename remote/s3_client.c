/* s3_client.c: from a call to a signed request, and from the answer to an error with its words. */
#include "s3_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "s3_credentials.h"
#include "s3_error.h"
#include "s3_xml.h"
#include "secmem.h"

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define REGION_HEADER "x-amz-bucket-region"
#define HEADERS_MAX 6
#define FAILURES_MAX 8 /* kinds of errors that are remembered */
#define WORDS_MAX 320
#define WAIT_MAX_S 60

struct failure {
	err_t err; /* 0: a free place */
	char words[WORDS_MAX];
};

struct s3_client {
	struct s3_address address;
	struct http *http;
	bool given; /* the caller gave the credentials: they are not looked for again */
	_Atomic int64_t clock_ahead;    /* what is added to our clock when signing */
	_Atomic int64_t skew;           /* as the last date showed it */
	atomic_bool has_skew;
	_Atomic uint64_t not_before_ms; /* CLOCK_BOOTTIME */

	pthread_mutex_t lock;
	struct s3_credentials *credentials;      /* under lock */
	char region[S3_REGION_MAX + 1];          /* the same; to sign for */
	struct failure failures[FAILURES_MAX];   /* under lock */
};

/* ---- the client ---- */

static const char *ca_file(void)
{
	static const char *const names[] = {"SNUGFS_CA_FILE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0] != '\0')
			return value;
	}
	return NULL;
}

static void free_client(struct s3_client **c)
{
	s3_client_free(*c);
}

err_t s3_client_new(const struct s3_address *address, const struct store_options *options, struct s3_client **out,
    char **why_out)
{
	CLEANUP(free_client) struct s3_client *c = calloc(1, sizeof(*c));
	const struct http_options http_options = {
		.ca_file = ca_file(),
		.connect_timeout_s = options->connect_timeout_s,
		.stall_timeout_s = options->stall_timeout_s,
		.limit = options->limit,
	};
	err_t err;

	if (!c)
		return -ENOMEM;
	c->address = *address;
	memcpy(c->region, address->region, sizeof(c->region));
	c->given = options->credentials != NULL;
	pthread_mutex_init(&c->lock, NULL);
	if ((err = s3_credentials_find(options->credentials, &c->credentials, why_out)) != 0 ||
	    (err = http_new(&http_options, &c->http)) != 0)
		return err;
	*out = STEAL(c);
	return 0;
}

void s3_client_free(struct s3_client *c)
{
	if (!c)
		return;
	http_free(c->http);
	secmem_free(c->credentials);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

const struct s3_address *s3_client_address(const struct s3_client *c)
{
	return &c->address;
}

void s3_client_cancel(struct s3_client *c, bool cancelled)
{
	http_cancel(c->http, cancelled);
}

unsigned s3_client_wait_ms(struct s3_client *c)
{
	uint64_t until = atomic_load(&c->not_before_ms);
	uint64_t now = (uint64_t)clock_ms(CLOCK_BOOTTIME);

	return until > now ? (unsigned)(until - now) : 0;
}

err_t s3_client_clock_skew(struct s3_client *c, int64_t *seconds_out)
{
	if (!atomic_load(&c->has_skew))
		return -ENOTSUP;
	*seconds_out = atomic_load(&c->skew);
	return 0;
}

void s3_client_set_clock(struct s3_client *c, int64_t seconds_ahead)
{
	atomic_store(&c->clock_ahead, seconds_ahead);
}

/* ---- what went wrong ---- */

bool s3_client_explain(const struct s3_client *c, err_t err, char *out, size_t out_len)
{
	/* The lock is what changes, not the client. */
	pthread_mutex_t *lock = &((struct s3_client *)(uintptr_t)c)->lock;
	bool found = false;

	pthread_mutex_lock(lock);
	for (size_t i = 0; i < FAILURES_MAX && !found; i++) {
		found = c->failures[i].err == err && err != 0;
		if (found)
			(void)snprintf(out, out_len, "%s", c->failures[i].words);
	}
	pthread_mutex_unlock(lock);
	return found;
}

/* words NULL: what there is to say says the error itself. */
static void remember(struct s3_client *c, err_t err, const char *words, const char *detail)
{
	struct failure *place = NULL;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < FAILURES_MAX && !(place && place->err == err); i++) {
		struct failure *f = &c->failures[i];

		if (f->err == err || (f->err == 0 && !place))
			place = f;
	}
	if (place) {
		place->err = words ? err : 0;
		if (words)
			(void)snprintf(place->words, sizeof(place->words), "%s (%s)", words, detail);
	}
	pthread_mutex_unlock(&c->lock);
}

static err_t judge_transfer(struct s3_client *c, err_t err, const struct http_answer *answer)
{
	if (err == -EAGAIN)
		remember(c, err, "cannot be reached now", answer->why);
	else if (err == -EACCES)
		remember(c, err, "has a certificate that is not trusted here; if it is your own, name the file of its authority in "
		    "SNUGFS_CA_FILE", answer->why);
	else if (err == -EBADMSG)
		remember(c, err, "gave an answer that is not understood", answer->why);
	else if (err == -EIO || err == -EINVAL)
		remember(c, err, "cannot be spoken to", answer->why);
	return err;
}

static void note_wait(struct s3_client *c, const struct http_answer *answer)
{
	unsigned wait_s = answer->retry_after_s < WAIT_MAX_S ? answer->retry_after_s : WAIT_MAX_S;

	if (wait_s > 0)
		atomic_store(&c->not_before_ms, (uint64_t)clock_ms(CLOCK_BOOTTIME) + wait_s * UINT64_C(1000));
}

/* signed_for: the region.  *out: with the one that the answer names in whatever way. */
static struct s3_error judge_answer(struct s3_client *c, const struct http_answer *answer, const char *signed_for,
    struct s3_xml_error *out)
{
	struct s3_xml_error document;
	struct s3_error error;
	char detail[S3_XML_CODE_MAX + S3_XML_CODE_MAX + 16];
	int len;

	s3_xml_parse_error(answer->body.data, answer->body.len, &document);
	error = s3_error_judge(answer->status, document.code);
	if (document.region[0] == '\0')
		(void)snprintf(document.region, sizeof(document.region), "%.*s", S3_XML_CODE_MAX - 1, answer->wanted);
	if (document.code[0] != '\0')
		len = snprintf(detail, sizeof(detail), "%s", document.code);
	else
		len = snprintf(detail, sizeof(detail), "status %d", answer->status);
	if (document.region[0] != '\0' && strcmp(document.region, signed_for) != 0)
		(void)snprintf(detail + len, sizeof(detail) - (size_t)len, ", region %s", document.region);
	if (error.err == -EAGAIN)
		note_wait(c, answer);
	remember(c, error.err, error.words, detail);
	*out = document;
	return error;
}

static void note_date(struct s3_client *c, const struct http_answer *answer)
{
	if (answer->date == 0)
		return;
	atomic_store(&c->skew, answer->date - (int64_t)time(NULL));
	atomic_store(&c->has_skew, true);
}

/* ---- a request ---- */

struct signing {
	char host[S3_HOST_MAX + S3_BUCKET_MAX + 16];
	char path[S3_BUCKET_MAX + S3_PREFIX_MAX + STORE_NAME_MAX + 8];
	char date[SIGV4_DATE_LEN + 1];
	char payload_sha256[SIGV4_HEX_LEN + 1];
	char region[S3_REGION_MAX + 1]; /* that the last try was signed for */
	struct sigv4_pair headers[HEADERS_MAX];
	struct sigv4_request request;
};

static void set_place(const struct s3_address *a, const struct s3_call *call, struct signing *s)
{
	const char *name = call->name ? call->name : "";
	const char *prefix = call->name ? a->prefix : "";

	if (a->virtual_style) {
		(void)snprintf(s->host, sizeof(s->host), "%s.%s", a->bucket, a->host);
		(void)snprintf(s->path, sizeof(s->path), "/%s%s", prefix, name);
	} else {
		(void)snprintf(s->host, sizeof(s->host), "%s", a->host);
		(void)snprintf(s->path, sizeof(s->path), "/%s%s%s%s", a->bucket, call->name ? "/" : "", prefix, name);
	}
}

static err_t set_payload_hash(const struct s3_call *call, struct signing *s)
{
	if (call->body_len == 0) {
		memcpy(s->payload_sha256, EMPTY_SHA256, sizeof(s->payload_sha256));
		return 0;
	}
	if (call->body_sha256) {
		sigv4_hex(call->body_sha256, s->payload_sha256);
		return 0;
	}
	return sigv4_sha256_hex(call->body, call->body_len, s->payload_sha256);
}

static void add_header(struct signing *s, const char *name, const char *value)
{
	s->headers[s->request.header_count++] = (struct sigv4_pair){name, value};
}

/* s holds what does not change between two tries. */
static err_t prepare(const struct s3_client *c, const struct s3_call *call, struct signing *s)
{
	set_place(&c->address, call, s);
	s->request = (struct sigv4_request){
		.method = call->method,
		.path = s->path,
		.query = call->query,
		.query_count = call->query_count,
		.headers = s->headers,
		.payload_sha256 = s->payload_sha256,
	};
	add_header(s, "host", s->host);
	add_header(s, "x-amz-content-sha256", s->payload_sha256);
	add_header(s, "x-amz-date", s->date);
	if (call->header)
		add_header(s, call->header->name, call->header->value);
	return set_payload_hash(call, s);
}

/* Under the lock, because the keys can be replaced; token is a copy in secret memory, NULL if there is none. */
static err_t sign_locked(struct s3_client *c, struct signing *s, struct bytes *authorization, char **token_out)
{
	const struct sigv4_key key = {
		.access_key = c->credentials->access_key,
		.secret_key = c->credentials->secret_key,
		.region = s->region,
		.service = "s3",
		.date = s->date,
	};
	size_t token_len = strlen(c->credentials->session_token);
	err_t err;

	memcpy(s->region, c->region, sizeof(s->region));
	if (token_len > 0) {
		*token_out = secmem_new(token_len + 1);
		if (!*token_out)
			return -ENOMEM;
		memcpy(*token_out, c->credentials->session_token, token_len);
		add_header(s, "x-amz-security-token", *token_out);
	}
	err = sigv4_authorize(&key, &s->request, authorization);
	return err ? err : bytes_append_u8(authorization, '\0');
}

static err_t build_url(const struct s3_client *c, const struct signing *s, struct bytes *url)
{
	const char *scheme = c->address.tls ? "https://" : "http://";
	err_t err;

	if ((err = bytes_append(url, scheme, strlen(scheme))) != 0 ||
	    (err = bytes_append(url, s->host, strlen(s->host))) != 0 || (err = sigv4_target(&s->request, url)) != 0)
		return err;
	return bytes_append_u8(url, '\0');
}

/* Signs with the time of now and asks. */
static err_t ask(struct s3_client *c, const struct s3_call *call, struct signing *s, struct http_answer *answer)
{
	CLEANUP(bytes_clear) struct bytes authorization = {0};
	CLEANUP(bytes_clear) struct bytes url = {0};
	CLEANUP(secmem_free_ptr) char *token = NULL;
	struct http_header headers[HEADERS_MAX + 1];
	size_t without_token = s->request.header_count;
	size_t count = 0;
	err_t err;

	sigv4_date((int64_t)time(NULL) + atomic_load(&c->clock_ahead), s->date);
	pthread_mutex_lock(&c->lock);
	err = sign_locked(c, s, &authorization, &token);
	pthread_mutex_unlock(&c->lock);
	for (; count < s->request.header_count; count++)
		headers[count] = (struct http_header){s->headers[count].name, s->headers[count].value};
	s->request.header_count = without_token;
	if (err == 0)
		err = build_url(c, s, &url);
	if (err)
		return err;
	headers[count++] = (struct http_header){"Authorization", (const char *)authorization.data};
	const struct http_request request = {
		.method = call->method,
		.url = (const char *)url.data,
		.headers = headers,
		.header_count = count,
		.body = call->body,
		.body_len = call->body_len,
		.max_len = call->max_len,
		.wanted = REGION_HEADER,
	};
	return http_perform(c->http, &request, answer);
}

/* ---- learning from a refusal ---- */

/* true: there are other keys now. */
static bool renew_credentials(struct s3_client *c)
{
	CLEANUP(secmem_free_ptr) struct s3_credentials *found = NULL;
	bool other;

	if (c->given || s3_credentials_find(NULL, &found, NULL) != 0)
		return false;
	pthread_mutex_lock(&c->lock);
	other = !s3_credentials_equal(found, c->credentials);
	if (other) {
		struct s3_credentials *old = c->credentials;
		c->credentials = found;
		found = old;
	}
	pthread_mutex_unlock(&c->lock);
	return other;
}

/* true: the service's clock is now known, and was not before. */
static bool set_clock(struct s3_client *c, const struct http_answer *answer)
{
	int64_t ahead = answer->date - (int64_t)time(NULL);

	if (answer->date == 0 || ahead == atomic_load(&c->clock_ahead))
		return false;
	atomic_store(&c->clock_ahead, ahead);
	return true;
}

/*
 * true: the bucket's region is another one than that.  Another thread may have learnt it meanwhile.  One that the address names is
 * the user's word.
 */
static bool set_region(struct s3_client *c, const char *signed_for, const char *region)
{
	if (c->address.region_given || region[0] == '\0')
		return false;
	pthread_mutex_lock(&c->lock);
	(void)snprintf(c->region, sizeof(c->region), "%s", region);
	pthread_mutex_unlock(&c->lock);
	return strcmp(signed_for, region) != 0;
}

static bool mend(struct s3_client *c, enum s3_remedy remedy, const struct http_answer *answer, const char *signed_for,
    const char *region)
{
	switch (remedy) {
	case S3_REMEDY_NEW_KEYS:
		return renew_credentials(c);
	case S3_REMEDY_SET_CLOCK:
		return set_clock(c, answer);
	case S3_REMEDY_REGION:
		return set_region(c, signed_for, region);
	case S3_REMEDY_NONE:
		break;
	}
	return false;
}

/* What was refused for its signature has had no effect: asking again is safe for every call. */
err_t s3_client_call(struct s3_client *c, const struct s3_call *call, struct http_answer *answer)
{
	struct signing s = {.host = ""};
	err_t err = prepare(c, call, &s);

	for (bool again = true; err == 0; again = false) {
		struct s3_xml_error document;
		struct s3_error error;

		err = ask(c, call, &s, answer);
		if (answer->status != 0)
			note_date(c, answer);
		if (err)
			return judge_transfer(c, err, answer);
		if (answer->status >= 200 && answer->status < 300)
			return 0;
		error = judge_answer(c, answer, s.region, &document);
		if (!again || !mend(c, error.remedy, answer, s.region, document.region))
			return error.err;
		http_answer_clear(answer);
	}
	return err;
}
