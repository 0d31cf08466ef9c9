/* store_s3.c: the operations of a store as S3's requests, and the checks that an answer is what was asked for. */
#include "store_s3.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3_client.h"
#include "s3_xml.h"

#define PAGE_LEN_MAX (16u << 20)
#define PAGES_MAX 1000000u
#define EMPTY_PAGES_MAX 1000u /* in a row: some services have such where much was deleted */
#define RANGE_MAX 64
#define SMALL_ANSWER_MAX (64u << 10) /* where a body says nothing that is needed */

struct store_s3 {
	struct store base;
	struct s3_client *client;
};

static struct s3_client *client_of(struct store *s)
{
	return ((struct store_s3 *)s)->client;
}

/* ---- writing ---- */

static err_t write_object(struct store *s, const struct s3_call *call)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};

	return s3_client_call(client_of(s), call, &answer);
}

static err_t put_object(struct store *s, const char *name, const uint8_t *data, size_t len, const uint8_t *sha256)
{
	const struct s3_call call = {
		.method = "PUT",
		.name = name,
		.body = data,
		.body_len = len,
		.body_sha256 = sha256,
		.max_len = SMALL_ANSWER_MAX,
	};
	err_t err = write_object(s, &call);

	/* Neither means here what it means to a caller: nothing was to be there, no condition was made. */
	return err == -ENOENT || err == -EEXIST || err == -ENOTSUP ? -EIO : err;
}

static err_t s3_put(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return put_object(s, name, data, len, NULL);
}

static err_t s3_put_hashed(struct store *s, const char *name, const uint8_t *data, size_t len, const uint8_t sha256[static 32])
{
	return put_object(s, name, data, len, sha256);
}

static err_t s3_create_if_absent(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	const struct sigv4_pair condition = {"if-none-match", "*"};
	const struct s3_call call = {
		.method = "PUT",
		.name = name,
		.header = &condition,
		.body = data,
		.body_len = len,
		.max_len = SMALL_ANSWER_MAX,
	};
	err_t err = write_object(s, &call);

	/* What some services answer when an object is deleted while it is compared with. */
	return err == -ENOENT ? -EAGAIN : err;
}

static err_t s3_remove(struct store *s, const char *name)
{
	const struct s3_call call = {.method = "DELETE", .name = name, .max_len = SMALL_ANSWER_MAX};
	err_t err = write_object(s, &call);

	return err == -ENOENT ? 0 : err;
}

/* ---- reading ---- */

/* Large objects are not copied: an answer comes into the caller's memory if there is room and nothing in it yet.  True: so it is. */
static bool lend_memory(struct bytes *out, struct http_answer *answer)
{
	if (out->len > 0 || out->cap == 0)
		return false;
	answer->body = *out;
	*out = (struct bytes){0};
	return true;
}

/* err: what became of the call. */
static err_t take_body(err_t err, bool lent, struct http_answer *answer, struct bytes *out)
{
	if (err && !lent)
		return err;
	if (out->len > 0)
		return bytes_append(out, answer->body.data, answer->body.len);
	*out = answer->body;
	answer->body = (struct bytes){0};
	if (err)
		bytes_reset(out);
	return err;
}

static err_t s3_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};
	const struct s3_call call = {.method = "GET", .name = name, .max_len = max_len};
	bool lent = lend_memory(out, &answer);
	err_t err = s3_client_call(client_of(s), &call, &answer);

	if (err == 0 && answer.status != 200)
		err = -EBADMSG;
	return take_body(err, lent, &answer, out);
}

/* Asks for bytes off to off + len - 1; len is not 0. */
static err_t ask_range(struct store *s, const char *name, uint64_t off, size_t len, struct http_answer *answer)
{
	char range[RANGE_MAX];
	const struct sigv4_pair header = {"range", range};
	const struct s3_call call = {.method = "GET", .name = name, .header = &header, .max_len = len};

	(void)snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, off, off + len - 1);
	return s3_client_call(client_of(s), &call, answer);
}

/* A service without ranges answers 200 and the whole object: fine only if that is what was asked for. */
static bool is_range(const struct http_answer *answer, uint64_t off, size_t len)
{
	if (answer->body.len != len)
		return false;
	if (answer->status == 206)
		return answer->has_range && answer->range_first == off && answer->range_last == off + len - 1;
	return answer->status == 200 && off == 0;
}

static err_t s3_size(struct store *s, const char *name, uint64_t *size_out);

static err_t s3_get_range(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};
	uint64_t size;
	bool lent;
	err_t err;

	if (len == 0) {
		err = s3_size(s, name, &size);
		return err ? err : off <= size ? 0 : -EBADMSG;
	}
	if (off > UINT64_MAX - len)
		return -EBADMSG;
	lent = lend_memory(out, &answer);
	err = ask_range(s, name, off, len, &answer);
	if (err == 0 && !is_range(&answer, off, len))
		err = -EBADMSG;
	return take_body(err, lent, &answer, out);
}

/*
 * By reading the first byte: the answer to a HEAD has no body, and so could not tell a missing bucket from a missing object.
 */
static err_t s3_size(struct store *s, const char *name, uint64_t *size_out)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};
	err_t err = ask_range(s, name, 0, 1, &answer);

	if (answer.status == 416) {
		*size_out = 0;
		return 0;
	}
	/* The whole object came, or began to: a service without ranges. */
	if (answer.status == 200 && (err == 0 || err == -EBADMSG) && answer.length != HTTP_LENGTH_UNKNOWN) {
		*size_out = answer.length;
		return 0;
	}
	if (err)
		return err;
	if (answer.status != 206 || !answer.has_range || answer.range_first != 0 || answer.range_total == HTTP_LENGTH_UNKNOWN)
		return -EBADMSG;
	*size_out = answer.range_total;
	return 0;
}

/* ---- listing ---- */

static err_t ask_page(struct store *s, const char *prefix, const char *token, struct s3_xml_page *out)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};
	char key_prefix[S3_PREFIX_MAX + STORE_NAME_MAX + 8];
	const struct sigv4_pair query[] = {
		{"list-type", "2"},
		{"encoding-type", "url"},
		{"prefix", key_prefix},
		{"continuation-token", token ? token : ""},
	};
	const struct s3_call call = {
		.method = "GET",
		.query = query,
		.query_count = ARRAY_LEN(query) - (token ? 0 : 1),
		.max_len = PAGE_LEN_MAX,
	};
	err_t err;

	(void)snprintf(key_prefix, sizeof(key_prefix), "%s%s", s3_client_address(client_of(s))->prefix, prefix);
	err = s3_client_call(client_of(s), &call, &answer);
	/* A list of nothing is a page. */
	if (err == -ENOENT)
		return -EBADMSG;
	return err ? err : s3_xml_parse_page(answer.body.data, answer.body.len, out);
}

/* What others have put into the bucket is passed over. */
static err_t hand_on(struct store *s, const char *prefix, const struct s3_xml_page *page, store_item_fn *fn, void *ctx)
{
	const char *key_prefix = s3_client_address(client_of(s))->prefix;
	size_t key_prefix_len = strlen(key_prefix);
	err_t err = 0;

	for (size_t i = 0; i < page->count && err == 0; i++) {
		const char *key = page->objects[i].key;
		const char *name = key + key_prefix_len;

		if (strncmp(key, key_prefix, key_prefix_len) == 0 && strncmp(name, prefix, strlen(prefix)) == 0 &&
		    store_name_valid(name))
			err = fn(ctx, &(struct store_item){name, page->objects[i].size, page->objects[i].time_s});
	}
	return err;
}

/*
 * A listing that goes round in circles would never end: a token comes that came before (Brent's algorithm: the mark is moved on to
 * the newest one after 1, 2, 4, 8, ... pages).
 */
static err_t notice_circle(unsigned pages, const char *token, char **mark)
{
	char *moved;

	if (*mark && strcmp(*mark, token) == 0)
		return -EBADMSG;
	if ((pages & (pages + 1)) != 0)
		return 0;
	moved = strdup(token);
	if (!moved)
		return -ENOMEM;
	free(*mark);
	*mark = moved;
	return 0;
}

static err_t s3_list(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	CLEANUP(free_ptr) char *token = NULL;
	CLEANUP(free_ptr) char *mark = NULL;
	unsigned empty = 0;

	for (unsigned pages = 0; pages < PAGES_MAX; pages++) {
		CLEANUP(s3_xml_page_clear) struct s3_xml_page page = {0};
		err_t err = ask_page(s, prefix, token, &page);

		if (err == 0)
			err = hand_on(s, prefix, &page, fn, ctx);
		if (err || !page.truncated)
			return err;
		empty = page.count > 0 ? 0 : empty + 1;
		if (empty > EMPTY_PAGES_MAX)
			return -EBADMSG;
		if ((err = notice_circle(pages, page.next_token, &mark)) != 0)
			return err;
		free(token);
		token = STEAL(page.next_token);
	}
	return -EBADMSG;
}

static err_t s3_space(struct store *s, uint64_t *free_out, uint64_t *total_out)
{
	(void)s;
	(void)free_out;
	(void)total_out;
	return -ENOTSUP;
}

/* ---- the rest ---- */

static void s3_free(struct store *s)
{
	s3_client_free(client_of(s));
	free(s->url);
	free(s);
}

static void s3_cancel(struct store *s, bool cancelled)
{
	s3_client_cancel(client_of(s), cancelled);
}

static bool s3_explain(const struct store *s, err_t err, char *out, size_t out_len)
{
	const struct store_s3 *store = (const struct store_s3 *)s;
	char words[400];

	if (!s3_client_explain(store->client, err, words, sizeof(words)))
		return false;
	(void)snprintf(out, out_len, "the store %s %s", s->url, words);
	return true;
}

static unsigned s3_wait_ms(struct store *s)
{
	return s3_client_wait_ms(client_of(s));
}

static err_t s3_clock_skew(struct store *s, int64_t *seconds_out)
{
	return s3_client_clock_skew(client_of(s), seconds_out);
}

void store_s3_set_clock(struct store *s, int64_t seconds_ahead)
{
	s3_client_set_clock(client_of(s), seconds_ahead);
}

static const struct store_ops s3_ops = {
	.put = s3_put,
	.put_hashed = s3_put_hashed,
	.create_if_absent = s3_create_if_absent,
	.get = s3_get,
	.get_range = s3_get_range,
	.size = s3_size,
	.remove = s3_remove,
	.list = s3_list,
	.space = s3_space,
	.free = s3_free,
	.cancel = s3_cancel,
	.explain = s3_explain,
	.wait_ms = s3_wait_ms,
	.clock_skew = s3_clock_skew,
};

/* ---- opening ---- */

/* AWS wants to hear the region in the body as well, but not that one which is the default. */
static err_t make_bucket(struct store *s)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};
	const struct s3_address *a = s3_client_address(client_of(s));
	struct s3_call call = {.method = "PUT", .max_len = SMALL_ANSWER_MAX};
	char body[256];
	err_t err;

	if (a->amazon && strcmp(a->region, "us-east-1") != 0) {
		call.body = (const uint8_t *)body;
		call.body_len = (size_t)snprintf(body, sizeof(body),
		    "<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
		    a->region);
	}
	err = s3_client_call(client_of(s), &call, &answer);
	/* Ours already: somebody was quicker. */
	return err == -EAGAIN && answer.status == 409 ? 0 : err;
}

/* Asks for an object, because that needs no other right than those that are needed anyway. */
static err_t find_bucket(struct store *s)
{
	CLEANUP(http_answer_clear) struct http_answer answer = {0};
	struct s3_xml_error error;
	err_t err = ask_range(s, "v", 0, 1, &answer);

	/* 416: it is there, and empty; 200: there are no ranges here. */
	if (err == 0 || err == -ENOENT || answer.status == 416 || answer.status == 200)
		return 0;
	s3_xml_parse_error(answer.body.data, answer.body.len, &error);
	return strcmp(error.code, "NoSuchBucket") == 0 ? make_bucket(s) : err;
}

static err_t explain_open(const struct store *s, err_t err, char **why_out)
{
	char sentence[512];

	if (err == -ENOMEM)
		return err;
	store_explain(s, err, sentence, sizeof(sentence));
	store_say(why_out, "%s", sentence);
	return err;
}

err_t store_s3_open(const char *url, bool create, const struct store_options *options, struct store **out,
    char **why_out)
{
	struct s3_address address;
	CLEANUP(free_ptr) struct store_s3 *made = NULL;
	CLEANUP(free_ptr) char *normal = NULL;
	err_t err;

	if ((err = s3_address_parse(url, &address, why_out)) != 0 || (err = s3_address_format(&address, &normal)) != 0)
		return err;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	err = s3_client_new(&address, options, &made->client, why_out);
	if (err)
		return err;
	CLEANUP(store_free_ptr) struct store *s = &STEAL(made)->base;
	s->ops = &s3_ops;
	s->url = STEAL(normal);
	if (create && (err = find_bucket(s)) != 0)
		return explain_open(s, err, why_out);
	*out = STEAL(s);
	return 0;
}
