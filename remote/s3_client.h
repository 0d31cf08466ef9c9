/*
 * s3_client.h: signed requests to one bucket: builds and signs them, learns from a refusal where that is safe (a clock that
 * is wrong, keys that were replaced) and asks once more, and keeps the words for what went wrong last.  Thread-safe.
 * Uses http.h, sigv4.h, s3_address.h, s3_credentials.h, s3_error.h.
 */
#ifndef SNUGFS_S3_CLIENT_H
#define SNUGFS_S3_CLIENT_H

#include "http.h"
#include "s3_address.h"
#include "sigv4.h"
#include "store.h"

struct s3_client;

/* -EACCES: no credentials, with a sentence. */
MUST_CHECK err_t s3_client_new(const struct s3_address *address, const struct store_options *options,
    struct s3_client **out, char **why_out);
void s3_client_free(struct s3_client *c);
const struct s3_address *s3_client_address(const struct s3_client *c);

struct s3_call {
	const char *method;
	const char *name;                /* of the object; NULL: the bucket itself */
	const struct sigv4_pair *query;
	size_t query_count;
	const struct sigv4_pair *header; /* one more, its name in lower case; or NULL */
	const uint8_t *body;
	size_t body_len;
	const uint8_t *body_sha256;      /* 32 bytes; NULL: not known yet */
	size_t max_len;
};
/* 0: an answer of success (2xx).  Else an error of store.h; answer is what is there of it. */
MUST_CHECK err_t s3_client_call(struct s3_client *c, const struct s3_call *call, struct http_answer *answer);

void s3_client_cancel(struct s3_client *c, bool cancelled);
unsigned s3_client_wait_ms(struct s3_client *c);
/* How far the service's clock is ahead of ours; -ENOTSUP: no answer had a date. */
MUST_CHECK err_t s3_client_clock_skew(struct s3_client *c, int64_t *seconds_out);
/* For tests: signs with a clock that is so far ahead, until a refusal teaches better. */
void s3_client_set_clock(struct s3_client *c, int64_t seconds_ahead);

/* What the last failure with this error was, behind "the store URL"; false: there was none, or none with words. */
bool s3_client_explain(const struct s3_client *c, err_t err, char *out, size_t out_len);

#endif
