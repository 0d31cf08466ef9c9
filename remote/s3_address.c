/* s3_address.c: reading and writing the address of a bucket. */
#include "s3_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "http.h"
#include "sigv4.h"
#include "store.h"

#define DEFAULT_REGION "us-east-1"
#define AMAZON ".amazonaws.com"
#define HOST_WORD "abcdefghijklmnopqrstuvwxyz0123456789-"
#define WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s);
	size_t end_len = strlen(end);

	return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

static bool is_loopback(const char *host)
{
	struct in_addr address;

	if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 || ends_with(host, ".localhost"))
		return true;
	return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

/* Copies a word of letters, digits and -._ that is not empty and fits. */
static bool copy_word(const char *text, size_t len, char *out, size_t out_len)
{
	if (len == 0 || len >= out_len || strspn(text, WORD) < len)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* ---- the query ---- */

static bool is_named(const char *item, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(item, name, len) == 0;
}

static err_t take_parameter(const char *item, size_t len, struct s3_address *a, char **why_out)
{
	if (len > 7 && memcmp(item, "region=", 7) == 0 && copy_word(item + 7, len - 7, a->region, sizeof(a->region))) {
		a->region_given = true;
		return 0;
	}
	if (is_named(item, len, "style=path") || is_named(item, len, "style=virtual")) {
		a->style_given = true;
		a->virtual_style = item[6] == 'v';
		return 0;
	}
	if (is_named(item, len, "plain-http=yes")) {
		a->plain_http = true;
		return 0;
	}
	store_say(why_out, "after the ? in the address of the store there may only be region=NAME, style=path or style=virtual, "
	    "and plain-http=yes");
	return -EINVAL;
}

static err_t take_query(const char *query, struct s3_address *a, char **why_out)
{
	while (*query != '\0') {
		size_t len = strcspn(query, "&");
		err_t err = take_parameter(query, len, a, why_out);

		if (err)
			return err;
		query += len;
		query += *query == '&';
	}
	return 0;
}

/* ---- the path ---- */

/* The prefix of all keys: what is between slashes, none of it empty or only dots. */
static bool take_prefix(const char *path, struct s3_address *a)
{
	size_t len = 0;

	while (*(path += strspn(path, "/")) != '\0') {
		size_t part_len = strcspn(path, "/");

		if (strspn(path, ".") >= part_len || len + part_len > S3_PREFIX_MAX)
			return false;
		for (size_t i = 0; i < part_len; i++) {
			if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
				return false;
		}
		memcpy(a->prefix + len, path, part_len);
		len += part_len;
		a->prefix[len++] = '/';
		path += part_len;
	}
	a->prefix[len] = '\0';
	return true;
}

static err_t take_path(const char *path, struct s3_address *a, char **why_out)
{
	size_t len;

	path += strspn(path, "/");
	len = strcspn(path, "/");
	if (len == 0) {
		store_say(why_out, "the address of the store lacks the bucket: s3:https://host/bucket");
		return -EINVAL;
	}
	if (!copy_word(path, len, a->bucket, sizeof(a->bucket)) || strspn(a->bucket, ".-_") > 0) {
		store_say(why_out, "the bucket's name in the address of the store can only have letters, digits, dots and dashes");
		return -EINVAL;
	}
	if (!take_prefix(path + len, a)) {
		store_say(why_out, "the path behind the bucket in the address of the store is too long, or has \"..\" or control "
		    "characters in it");
		return -EINVAL;
	}
	return 0;
}

/* ---- defaults ---- */

/* "s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com" */
static bool region_of_host(const char *host, char *out, size_t out_len)
{
	size_t len = strlen(host) - strlen(AMAZON);
	size_t start = len;

	while (start > 0 && host[start - 1] != '.')
		start--;
	if (start == 0 && strncmp(host, "s3-", 3) == 0)
		start = 3;
	if (start == 0)
		return false;
	return copy_word(host + start, len - start, out, out_len);
}

static void set_default_region(const char *host, struct s3_address *a)
{
	const char *names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};

	if (a->amazon && region_of_host(host, a->region, sizeof(a->region)))
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);

		if (value && copy_word(value, strlen(value), a->region, sizeof(a->region)))
			return;
	}
	(void)snprintf(a->region, sizeof(a->region), DEFAULT_REGION);
}

static err_t take_host(const struct http_url *u, struct s3_address *a, char **why_out)
{
	if (strlen(u->host) > S3_HOST_MAX) {
		store_say(why_out, "the host's name in the address of the store is too long");
		return -EINVAL;
	}
	a->loopback = is_loopback(u->host);
	if (!u->tls && !a->plain_http && !a->loopback) {
		store_say(why_out, "the address of the store begins with http://, and that is not encrypted on its way; use https://, "
		    "or add ?plain-http=yes if that network is your own");
		return -EINVAL;
	}
	a->tls = u->tls;
	a->amazon = ends_with(u->host, AMAZON);
	if (u->port > 0 && u->port != (u->tls ? 443u : 80u))
		(void)snprintf(a->host, sizeof(a->host), "%s:%u", u->host, u->port);
	else
		(void)snprintf(a->host, sizeof(a->host), "%s", u->host);
	return 0;
}

err_t s3_address_parse(const char *url, struct s3_address *out, char **why_out)
{
	CLEANUP(http_url_clear) struct http_url u = {0};
	struct s3_address a = {0};
	err_t err = strncmp(url, S3_SCHEME, strlen(S3_SCHEME)) == 0 ? http_url_parse(url + strlen(S3_SCHEME), &u) : -EINVAL;

	if (err == -EINVAL)
		store_say(why_out, "this is not the address of a bucket; it looks like s3:https://host/bucket");
	if (err == -EILSEQ) {
		store_say(why_out, "there is a %% in the host's name in the address of the store; write the name as it is");
		return -EINVAL;
	}
	if (err)
		return err;
	if (u.has_user) {
		store_say(why_out, "there is a user name or password in the address of the store, where others can read it; put the "
		    "keys into the file ~/.aws/credentials or the environment");
		return -EINVAL;
	}
	if ((err = take_query(u.query, &a, why_out)) != 0 || (err = take_path(u.path, &a, why_out)) != 0 ||
	    (err = take_host(&u, &a, why_out)) != 0)
		return err;
	if (!a.region_given)
		set_default_region(u.host, &a);
	/* A certificate for *.s3.amazonaws.com does not hold for a bucket with a dot; old ones have names that no host has. */
	if (!a.style_given)
		a.virtual_style = a.amazon && strspn(a.bucket, HOST_WORD) == strlen(a.bucket);
	*out = a;
	return 0;
}

err_t s3_address_format(const struct s3_address *a, char **out)
{
	CLEANUP(bytes_clear) struct bytes prefix = {0};
	char parameters[S3_REGION_MAX + 64] = "";
	size_t len = 0;
	err_t err;

	if ((err = sigv4_encode(a->prefix, true, &prefix)) != 0 || (err = bytes_append_u8(&prefix, '\0')) != 0)
		return err;
	if (prefix.len > 1)
		prefix.data[prefix.len - 2] = '\0'; /* the slash at its end */
	if (a->region_given)
		len += (size_t)snprintf(parameters + len, sizeof(parameters) - len, "&region=%s", a->region);
	if (a->style_given)
		len += (size_t)snprintf(parameters + len, sizeof(parameters) - len, "&style=%s",
		    a->virtual_style ? "virtual" : "path");
	if (a->plain_http)
		(void)snprintf(parameters + len, sizeof(parameters) - len, "&plain-http=yes");
	if (parameters[0] != '\0')
		parameters[0] = '?';
	if (asprintf(out, S3_SCHEME "%s://%s/%s%s%s%s", a->tls ? "https" : "http", a->host, a->bucket, prefix.len > 1 ? "/" : "",
	    (const char *)prefix.data, parameters) < 0)
		return -ENOMEM;
	return 0;
}
