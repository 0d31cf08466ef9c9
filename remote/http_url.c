/* http_url.c: URLs, taken apart by libcurl's own parser, so that what is looked at is what will be asked. */
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "library.h"

#define FUNCTIONS(F) F(curl_free) F(curl_url) F(curl_url_cleanup) F(curl_url_get) F(curl_url_set)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };
static struct library library = LIBRARY_OF(HTTP_LIBRARY, symbols);

void http_url_clear(struct http_url *u)
{
	free(u->host);
	free(u->path);
	free(u->query);
	*u = (struct http_url){0};
}

/* A part that is absent is NULL. */
static err_t part(CURLU *u, CURLUPart what, unsigned flags, char **out)
{
	char *text = NULL;
	CURLUcode code = lib.curl_url_get(u, what, &text, flags);

	if (code == CURLUE_OUT_OF_MEMORY)
		return -ENOMEM;
	*out = code == CURLUE_OK ? strdup(text) : NULL;
	lib.curl_free(text);
	return code == CURLUE_OK && !*out ? -ENOMEM : 0;
}

static err_t has_part(CURLU *u, CURLUPart what, bool *out)
{
	CLEANUP(free_ptr) char *text = NULL;
	err_t err = part(u, what, 0, &text);

	*out = *out || text != NULL;
	return err;
}

static err_t read_parts(CURLU *u, struct http_url *out)
{
	CLEANUP(free_ptr) char *scheme = NULL;
	CLEANUP(free_ptr) char *port = NULL;
	bool fragment = false;
	err_t err;

	if ((err = part(u, CURLUPART_SCHEME, 0, &scheme)) != 0 ||
	    (err = part(u, CURLUPART_HOST, 0, &out->host)) != 0 ||
	    (err = part(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT, &port)) != 0 ||
	    (err = part(u, CURLUPART_PATH, CURLU_URLDECODE, &out->path)) != 0 ||
	    (err = part(u, CURLUPART_QUERY, 0, &out->query)) != 0 || (err = has_part(u, CURLUPART_FRAGMENT, &fragment)) != 0 ||
	    (err = has_part(u, CURLUPART_USER, &out->has_user)) != 0 ||
	    (err = has_part(u, CURLUPART_PASSWORD, &out->has_user)) != 0)
		return err;
	if (!scheme || !out->host || !out->path || fragment)
		return -EINVAL;
	out->tls = strcmp(scheme, "https") == 0;
	if (!out->tls && strcmp(scheme, "http") != 0)
		return -EINVAL;
	out->port = port ? (unsigned)strtoul(port, NULL, 10) : 0;
	for (char *p = out->host; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	if (!out->query)
		out->query = strdup("");
	return out->query ? 0 : -ENOMEM;
}

/* libcurl decodes the host, and only when it reads that again takes %41 for an A, or 0.0 for an address: two readings of one URL
 * would be two hosts.  No name of a host needs it; link-local addresses with a zone do (fe80::1%25eth0), and are not supported. */
static bool has_encoded_host(const char *text)
{
	const char *start = text + strcspn(text, ":");
	const char *end;

	start += strspn(start, ":/");
	end = start + strcspn(start, "/?#");
	for (const char *c = end; c > start && c[-1] != '@'; c--) {
		if (c[-1] == '%')
			return true;
	}
	return false;
}

static err_t parse(CURLU *u, const char *text, struct http_url *out)
{
	CLEANUP(http_url_clear) struct http_url parsed = {0};
	err_t err;

	if (has_encoded_host(text))
		return -EILSEQ;
	if (lib.curl_url_set(u, CURLUPART_URL, text, CURLU_PATH_AS_IS | CURLU_ALLOW_SPACE) != CURLUE_OK)
		return -EINVAL;
	err = read_parts(u, &parsed);
	if (err)
		return err;
	*out = parsed;
	parsed = (struct http_url){0};
	return 0;
}

err_t http_url_parse(const char *text, struct http_url *out)
{
	CURLU *u;
	err_t err = library_load_once(&library);

	if (err)
		return err;
	u = lib.curl_url();
	err = u ? parse(u, text, out) : -ENOMEM;
	lib.curl_url_cleanup(u);
	return err;
}
