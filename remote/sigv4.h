/*
 * sigv4.h: AWS Signature Version 4, in the Authorization header, as S3 wants it: the path is encoded once and not
 * normalised (AWS General Reference, "Create a signed AWS API request").  Pure buffers.  Uses hash.h, secmem.h, bytes.h.
 */
#ifndef SNUGFS_SIGV4_H
#define SNUGFS_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

#define SIGV4_PAIRS_MAX 16
#define SIGV4_DATE_LEN 16 /* 20150830T123600Z */
#define SIGV4_HEX_LEN 64

struct sigv4_pair {
	const char *name;
	const char *value;
};

struct sigv4_request {
	const char *method;
	const char *path;                  /* not encoded; begins with a slash */
	const struct sigv4_pair *query;    /* not encoded, in any order */
	size_t query_count;
	const struct sigv4_pair *headers;  /* all that are to be signed, in any order; must hold host and x-amz-date */
	size_t header_count;
	const char *payload_sha256;        /* in hex */
};

struct sigv4_key {
	const char *access_key;
	const char *secret_key;            /* in secret memory */
	const char *region;
	const char *service;
	const char *date;                  /* the value of x-amz-date */
};

/* Appends the value of the Authorization header.  -EINVAL: more than SIGV4_PAIRS_MAX pairs, or a date of another form. */
MUST_CHECK err_t sigv4_authorize(const struct sigv4_key *key, const struct sigv4_request *request, struct bytes *out);
/* Appends "path?query", encoded as it was signed. */
MUST_CHECK err_t sigv4_target(const struct sigv4_request *request, struct bytes *out);
/* Percent-encodes all but unreserved characters (RFC 3986 2.3), and slashes if keep_slashes is false. */
MUST_CHECK err_t sigv4_encode(const char *text, bool keep_slashes, struct bytes *out);

void sigv4_date(int64_t seconds_since_1970, char out[static SIGV4_DATE_LEN + 1]);
void sigv4_hex(const uint8_t sha256[static 32], char out[static SIGV4_HEX_LEN + 1]);
MUST_CHECK err_t sigv4_sha256_hex(const void *data, size_t len, char out[static SIGV4_HEX_LEN + 1]);

#endif
