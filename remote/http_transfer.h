/*
 * http_transfer.h: one request on a handle of libcurl's: what is told to that, what it calls meanwhile, and what came of it.  For
 * http.c alone.  Uses http.h, http_fields.h, library.h, limit.h, secmem.h, libcurl.
 */
#ifndef SNUGFS_HTTP_TRANSFER_H
#define SNUGFS_HTTP_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct curl_slist;
struct http_answer;
struct http_request;
struct limit;

/* All but the first three are for http_transfer.c, and begin as zero. */
struct http_transfer {
	const struct http_request *request;
	struct http_answer *answer;
	struct limit *limit;
	void *easy; /* libcurl's handle */
	struct curl_slist *headers;
	size_t sent;
	size_t header_len;
	bool chunked;
	bool too_long;
	bool cancelled; /* while it waited for its share of the speed */
	char error[256]; /* what libcurl says */
};

/* Once, before anything else.  -ELIBACC, -ELIBBAD: library_load. */
MUST_CHECK err_t http_transfer_load(void);

/* What is asked: easy must have been reset, and is borrowed until it is reset again.  -ENOMEM. */
MUST_CHECK err_t http_transfer_set_up(struct http_transfer *t, void *easy);
/* The handle has ended with that CURLcode: fills in the answer, and returns what http_perform does. */
MUST_CHECK err_t http_transfer_conclude(struct http_transfer *t, int code);
/* The handle must have been reset. */
void http_transfer_clear(struct http_transfer *t);

#endif
