/*
 * http.h: HTTP requests, as blocking calls from any thread, over connections that are kept.  The files http*.c alone use libcurl.
 *
 * Certificates are always verified; redirects are never followed; an answer has a maximum; a transfer that cannot connect,
 * that stalls or that takes too long ends.  Uses bytes.h, limit.h, secmem.h, libcurl.
 */
#ifndef SNUGFS_HTTP_H
#define SNUGFS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

struct http;
struct limit;

/* Zero means the default. */
struct http_options {
	const char *ca_file;          /* certificates that are trusted, too (PEM) */
	unsigned connect_timeout_s;   /* 10 */
	unsigned stall_timeout_s;     /* 30: so long nothing moves */
	struct limit *limit;          /* what asks before bytes move; borrowed; cancelled together with http_cancel */
};

struct http_header {
	const char *name;
	const char *value;
};

struct http_request {
	const char *method;           /* GET, PUT, POST, DELETE */
	const char *url;              /* percent-encoded; sent as it is */
	const struct http_header *headers;
	size_t header_count;
	const uint8_t *body;          /* of PUT and POST */
	size_t body_len;
	size_t max_len;               /* the most that an answer of success (2xx) may hold */
	const char *wanted;           /* a header of the answer that the caller wants to see; may be NULL */
};

#define HTTP_LIBRARY "libcurl.so.4" /* loaded with the first client, or the first URL: library.h */
#define HTTP_ERROR_BODY_MAX (64u << 10) /* what is kept of an answer that is none of success */
#define HTTP_LENGTH_UNKNOWN UINT64_MAX

/* Zero-initialise. */
struct http_answer {
	int status;                   /* 0: none came */
	struct bytes body;
	uint64_t length;              /* what it said it would hold, else HTTP_LENGTH_UNKNOWN */
	bool has_range;               /* Content-Range named a range: the three below */
	uint64_t range_first;
	uint64_t range_last;
	uint64_t range_total;         /* HTTP_LENGTH_UNKNOWN: it said "*" */
	int64_t date;                 /* Date, in seconds since 1970; 0: none */
	unsigned retry_after_s;
	char wanted[64];              /* "" if it is absent, too long, or has other than printable ASCII in it */
	char why[160];                /* if the transfer failed: the cause, printable */
};
void http_answer_clear(struct http_answer *a);

/* -ELIBACC, -ELIBBAD: there is no libcurl here (library.h); -ENOMEM. */
MUST_CHECK err_t http_new(const struct http_options *options, struct http **out);
/* Nobody may be in http_perform. */
void http_free(struct http *h);

/*
 * 0: an answer came whole, whatever its status.  Else answer->why says more, and status and length are what was seen so far:
 *   -EAGAIN     no connection, a lost one, a stall, a body that was cut off
 *   -EACCES     the other side's certificate is not trusted here
 *   -EBADMSG    the answer is longer than max_len, or no HTTP
 *   -ECANCELED  http_cancel; -ENOMEM; -EINVAL: no URL; -EIO: anything else
 */
MUST_CHECK err_t http_perform(struct http *h, const struct http_request *request, struct http_answer *answer);

/* true: what is under way, and what is begun from now on, ends at once with -ECANCELED; false: no longer. */
void http_cancel(struct http *h, bool cancelled);

/* The parts of an absolute http:// or https:// URL; strings are malloc'ed. */
struct http_url {
	bool tls;
	bool has_user;       /* there is a user name or a password in it */
	char *host;          /* lower case; IPv6 addresses in brackets */
	unsigned port;       /* 0: the usual one */
	char *path;          /* decoded, begins with a slash */
	char *query;         /* as it is; "" if there is none */
};
void http_url_clear(struct http_url *u);
/* -EINVAL: it is none, or has a fragment; -EILSEQ: there is a % in its host; -ELIBACC, -ELIBBAD: as http_new. */
MUST_CHECK err_t http_url_parse(const char *text, struct http_url *out);

#endif
