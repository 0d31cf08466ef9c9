/*
 * http_fields.h: the values of HTTP header fields, which come from whoever runs the store (RFC 9110).  For http.c alone.
 */
#ifndef SNUGFS_HTTP_FIELDS_H
#define SNUGFS_HTTP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* "bytes 0-9/100" or "bytes 0-9/" and an asterisk (total_out: UINT64_MAX), RFC 9110 14.4; -EBADMSG: anything else. */
MUST_CHECK err_t http_fields_content_range(const char *value, uint64_t *first_out, uint64_t *last_out, uint64_t *total_out);
/* Retry-After, RFC 9110 10.2.3: seconds, or a date that is compared with now; at most `max`; 0 if it says nothing. */
unsigned http_fields_retry_after(const char *value, int64_t now, unsigned max);
/* Seconds since 1970; 0 if it is no date. */
int64_t http_fields_date(const char *value);
/* Copies what is printable ASCII as a whole and fits, else "". */
void http_fields_copy(const char *value, char *out, size_t out_len);

#endif
