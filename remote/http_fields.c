/* http_fields.c: strict readings: what is not just as the standard says is as good as absent. */
#include "http_fields.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "library.h"

#define DIGITS "0123456789"
#define NUMBER_DIGITS_MAX 18 /* what cannot overflow */

#define FUNCTIONS(F) F(curl_getdate)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };
static struct library library = LIBRARY_OF(HTTP_LIBRARY, symbols);

/* Reads digits at *p and moves it behind them. */
static err_t take_number(const char **p, uint64_t *out)
{
	size_t count = strspn(*p, DIGITS);

	if (count == 0 || count > NUMBER_DIGITS_MAX)
		return -EBADMSG;
	*out = strtoull(*p, NULL, 10);
	*p += count;
	return 0;
}

err_t http_fields_content_range(const char *value, uint64_t *first_out, uint64_t *last_out, uint64_t *total_out)
{
	uint64_t first, last;
	uint64_t total = UINT64_MAX;
	const char *p = value;

	if (strncmp(p, "bytes ", 6) != 0)
		return -EBADMSG;
	p += 6;
	if (take_number(&p, &first) != 0 || *p++ != '-' || take_number(&p, &last) != 0 || *p++ != '/')
		return -EBADMSG;
	if (strcmp(p, "*") != 0 && (take_number(&p, &total) != 0 || *p != '\0'))
		return -EBADMSG;
	if (last < first || total <= last)
		return -EBADMSG;
	*first_out = first;
	*last_out = last;
	*total_out = total;
	return 0;
}

unsigned http_fields_retry_after(const char *value, int64_t now, unsigned max)
{
	const char *p = value;
	uint64_t seconds = 0;
	int64_t date;

	if (take_number(&p, &seconds) == 0 && *p == '\0')
		return seconds < max ? (unsigned)seconds : max;
	date = http_fields_date(value);
	if (date <= now)
		return 0;
	return date - now < (int64_t)max ? (unsigned)(date - now) : max;
}

int64_t http_fields_date(const char *value)
{
	time_t date = library_load_once(&library) == 0 ? lib.curl_getdate(value, NULL) : 0;

	return date > 0 ? (int64_t)date : 0;
}

void http_fields_copy(const char *value, char *out, size_t out_len)
{
	size_t len = 0;

	while (value[len] >= 0x20 && value[len] < 0x7f)
		len++;
	if (value[len] != '\0' || len >= out_len)
		len = 0;
	memcpy(out, value, len);
	out[len] = '\0';
}
