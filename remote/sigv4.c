/* sigv4.c: the canonical request, what is signed of it, and the chain of keys that signs it. */
#include "sigv4.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hash.h"
#include "secmem.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define DAY_LEN 8 /* of the date */
#define SECRET_MAX 512
#define UNRESERVED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

static err_t append_text(struct bytes *b, const char *text)
{
	return bytes_append(b, text, strlen(text));
}

/* Appends several texts; the list ends with NULL. */
static err_t append_all(struct bytes *b, const char *const *texts)
{
	for (; *texts; texts++) {
		err_t err = append_text(b, *texts);
		if (err)
			return err;
	}
	return 0;
}
#define APPEND(b, ...) append_all(b, (const char *const[]){__VA_ARGS__, NULL})

void sigv4_hex(const uint8_t hash[static HASH_LEN], char out[static SIGV4_HEX_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < HASH_LEN; i++) {
		out[2 * i] = digits[hash[i] >> 4];
		out[2 * i + 1] = digits[hash[i] & 15];
	}
	out[SIGV4_HEX_LEN] = '\0';
}

err_t sigv4_sha256_hex(const void *data, size_t len, char out[static SIGV4_HEX_LEN + 1])
{
	uint8_t hash[HASH_LEN];
	err_t err = hash_sha256(data, len, hash);

	if (err)
		return err;
	sigv4_hex(hash, out);
	return 0;
}

void sigv4_date(int64_t seconds_since_1970, char out[static SIGV4_DATE_LEN + 1])
{
	time_t seconds = (time_t)seconds_since_1970;
	struct tm tm = {0};

	if (!gmtime_r(&seconds, &tm) || strftime(out, SIGV4_DATE_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) != SIGV4_DATE_LEN)
		memcpy(out, "19700101T000000Z", SIGV4_DATE_LEN + 1);
}

err_t sigv4_encode(const char *text, bool keep_slashes, struct bytes *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		const char escape[] = {'%', digits[c >> 4], digits[c & 15]};
		bool plain = strchr(UNRESERVED, c) != NULL || (keep_slashes && c == '/');
		err_t err = plain ? bytes_append(out, text, 1) : bytes_append(out, escape, sizeof(escape));

		if (err)
			return err;
	}
	return 0;
}

/* ---- the canonical parts ---- */

struct encoded_pair {
	struct bytes name;
	struct bytes value;
};

struct encoded_query {
	struct encoded_pair pairs[SIGV4_PAIRS_MAX];
	size_t count;
};

static void encoded_query_clear(struct encoded_query *q)
{
	for (size_t i = 0; i < q->count; i++) {
		bytes_clear(&q->pairs[i].name);
		bytes_clear(&q->pairs[i].value);
	}
}

static int compare_bytes(const struct bytes *a, const struct bytes *b)
{
	size_t len = a->len < b->len ? a->len : b->len;
	int order = len > 0 ? memcmp(a->data, b->data, len) : 0;

	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare_pairs(const void *a, const void *b)
{
	const struct encoded_pair *x = a;
	const struct encoded_pair *y = b;
	int order = compare_bytes(&x->name, &y->name);

	return order != 0 ? order : compare_bytes(&x->value, &y->value);
}

/* Sorted after encoding, by name, then by value. */
static err_t append_query(const struct sigv4_request *request, struct bytes *out)
{
	CLEANUP(encoded_query_clear) struct encoded_query q = {0};
	err_t err = 0;

	for (size_t i = 0; i < request->query_count && err == 0; i++) {
		struct encoded_pair *pair = &q.pairs[q.count++];

		err = sigv4_encode(request->query[i].name, false, &pair->name);
		if (err == 0)
			err = sigv4_encode(request->query[i].value, false, &pair->value);
	}
	if (err)
		return err;
	qsort(q.pairs, q.count, sizeof(q.pairs[0]), compare_pairs);
	for (size_t i = 0; i < q.count && err == 0; i++) {
		const struct encoded_pair *pair = &q.pairs[i];

		if (i > 0)
			err = append_text(out, "&");
		if (err == 0)
			err = bytes_append(out, pair->name.data, pair->name.len);
		if (err == 0)
			err = append_text(out, "=");
		if (err == 0 && pair->value.len > 0)
			err = bytes_append(out, pair->value.data, pair->value.len);
	}
	return err;
}

err_t sigv4_target(const struct sigv4_request *request, struct bytes *out)
{
	err_t err = request->query_count > SIGV4_PAIRS_MAX ? -EINVAL : sigv4_encode(request->path, true, out);

	if (err || request->query_count == 0)
		return err;
	err = append_text(out, "?");
	return err ? err : append_query(request, out);
}

/* Leading and trailing spaces go, runs of spaces become one. */
static err_t append_trimmed(struct bytes *out, const char *value)
{
	bool begun = false;

	while (*(value += strspn(value, " ")) != '\0') {
		size_t len = strcspn(value, " ");
		err_t err = begun ? append_text(out, " ") : 0;

		if (err == 0)
			err = bytes_append(out, value, len);
		if (err)
			return err;
		begun = true;
		value += len;
	}
	return 0;
}

/* Headers of one name keep their order, so that each carries its place. */
struct placed_header {
	const struct sigv4_pair *pair;
	size_t place;
};

static int compare_headers(const void *a, const void *b)
{
	const struct placed_header *x = a;
	const struct placed_header *y = b;
	int order = strcmp(x->pair->name, y->pair->name);

	return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

static err_t append_headers(const struct sigv4_request *request, struct bytes *headers, struct bytes *names)
{
	struct placed_header sorted[SIGV4_PAIRS_MAX];
	err_t err = 0;

	for (size_t i = 0; i < request->header_count; i++)
		sorted[i] = (struct placed_header){.pair = &request->headers[i], .place = i};
	qsort(sorted, request->header_count, sizeof(sorted[0]), compare_headers);
	for (size_t i = 0; i < request->header_count && err == 0; i++) {
		const struct sigv4_pair *pair = sorted[i].pair;
		bool repeated = i > 0 && strcmp(sorted[i - 1].pair->name, pair->name) == 0;

		if (repeated)
			err = append_text(headers, ",");
		else if ((err = APPEND(headers, i > 0 ? "\n" : "", pair->name, ":")) == 0)
			err = APPEND(names, i > 0 ? ";" : "", pair->name);
		if (err == 0)
			err = append_trimmed(headers, pair->value);
	}
	return err ? err : append_text(headers, "\n");
}

static err_t hash_canonical(const struct sigv4_request *request, struct bytes *names,
    char hash_out[static SIGV4_HEX_LEN + 1])
{
	CLEANUP(bytes_clear) struct bytes text = {0};
	err_t err;

	if ((err = APPEND(&text, request->method, "\n")) != 0 || (err = sigv4_encode(request->path, true, &text)) != 0 ||
	    (err = append_text(&text, "\n")) != 0 || (err = append_query(request, &text)) != 0 ||
	    (err = append_text(&text, "\n")) != 0 || (err = append_headers(request, &text, names)) != 0 ||
	    (err = append_text(&text, "\n")) != 0 || (err = bytes_append(&text, names->data, names->len)) != 0 ||
	    (err = APPEND(&text, "\n", request->payload_sha256)) != 0)
		return err;
	return sigv4_sha256_hex(text.data, text.len, hash_out);
}

/* ---- signing ---- */

static err_t derive_key(const struct sigv4_key *key, const char *day, struct key32 *out)
{
	const char *const steps[] = {day, key->region, key->service, "aws4_request"};
	size_t secret_len = strnlen(key->secret_key, SECRET_MAX);
	CLEANUP(secmem_free_ptr) uint8_t *first = secmem_new(4 + SECRET_MAX);
	err_t err;

	if (!first)
		return -ENOMEM;
	if (secret_len == SECRET_MAX)
		return -EINVAL;
	memcpy(first, "AWS4", 4);
	memcpy(first + 4, key->secret_key, secret_len);
	err = hmac_sha256(first, 4 + secret_len, steps[0], strlen(steps[0]), out->b);
	for (size_t i = 1; i < ARRAY_LEN(steps) && err == 0; i++) {
		CLEANUP(key32_wipe) struct key32 previous = *out;

		err = hmac_sha256(previous.b, sizeof(previous.b), steps[i], strlen(steps[i]), out->b);
	}
	return err;
}

err_t sigv4_authorize(const struct sigv4_key *key, const struct sigv4_request *request, struct bytes *out)
{
	CLEANUP(key32_wipe) struct key32 signing_key = {0};
	CLEANUP(bytes_clear) struct bytes names = {0};
	CLEANUP(bytes_clear) struct bytes text = {0};
	char hex[SIGV4_HEX_LEN + 1];
	char day[DAY_LEN + 1] = "";
	uint8_t signature[HASH_LEN];
	err_t err;

	if (request->query_count > SIGV4_PAIRS_MAX || request->header_count > SIGV4_PAIRS_MAX ||
	    strlen(key->date) != SIGV4_DATE_LEN)
		return -EINVAL;
	memcpy(day, key->date, DAY_LEN);
	if ((err = hash_canonical(request, &names, hex)) != 0 || (err = bytes_append_u8(&names, '\0')) != 0 ||
	    (err = APPEND(&text, ALGORITHM "\n", key->date, "\n", day, "/", key->region, "/", key->service, "/aws4_request\n",
	     hex)) != 0 ||
	    (err = derive_key(key, day, &signing_key)) != 0 ||
	    (err = hmac_sha256(signing_key.b, sizeof(signing_key.b), text.data, text.len, signature)) != 0)
		return err;
	sigv4_hex(signature, hex);
	return APPEND(out, ALGORITHM " Credential=", key->access_key, "/", day, "/", key->region, "/", key->service,
	    "/aws4_request, SignedHeaders=", (const char *)names.data, ", Signature=", hex);
}
