/* Fuzzes addresses of services, URLs, and the names that a store lists. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fuzz.h"
#include "http.h"
#include "objname.h"
#include "s3_address.h"
#include "store.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(unsetenv("AWS_REGION") == 0 && unsetenv("AWS_DEFAULT_REGION") == 0);
	FUZZ_REQUIRE(setenv("HOME", "/home/me", 1) == 0);
	return 0;
}

static void check_url(const char *text)
{
	struct http_url u = {0};
	err_t err = http_url_parse(text, &u);

	FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -EILSEQ);
	if (err != 0)
		return;
	FUZZ_REQUIRE(u.host != NULL && u.host[0] != '\0' && u.path != NULL && u.path[0] == '/' && u.query != NULL);
	FUZZ_REQUIRE(u.port < 65536);
	http_url_clear(&u);
}

static void require_same(const struct s3_address *a, const struct s3_address *b)
{
	FUZZ_REQUIRE(strcmp(a->host, b->host) == 0 && strcmp(a->bucket, b->bucket) == 0 && strcmp(a->prefix, b->prefix) == 0);
	FUZZ_REQUIRE(strcmp(a->region, b->region) == 0 && a->region_given == b->region_given);
	FUZZ_REQUIRE(a->virtual_style == b->virtual_style && a->style_given == b->style_given);
	FUZZ_REQUIRE(a->tls == b->tls && a->plain_http == b->plain_http && a->amazon == b->amazon);
}

/* Whoever connects to what is written asks that host. */
static void require_host(const struct s3_address *a, const char *written)
{
	struct http_url u = {0};
	char host[sizeof(a->host)];

	FUZZ_REQUIRE(http_url_parse(written + strlen(S3_SCHEME), &u) == 0 && u.tls == a->tls && !u.has_user);
	if (u.port != 0)
		snprintf(host, sizeof(host), "%s:%u", u.host, u.port);
	else
		snprintf(host, sizeof(host), "%s", u.host);
	FUZZ_REQUIRE(strcmp(host, a->host) == 0);
	http_url_clear(&u);
}

/* What is written can be read, and means the same. */
static void check_address(const char *text)
{
	struct s3_address a = {.host = ""}, b = {.host = ""};
	char *why = NULL, *written = NULL, *again = NULL;
	err_t err = s3_address_parse(text, &a, &why);

	FUZZ_REQUIRE(err == 0 || (err == -EINVAL && why != NULL));
	free(why);
	if (err != 0)
		return;
	why = NULL;
	FUZZ_REQUIRE(s3_address_format(&a, &written) == 0 && s3_address_parse(written, &b, &why) == 0);
	FUZZ_REQUIRE(s3_address_format(&b, &again) == 0 && strcmp(written, again) == 0);
	require_same(&a, &b);
	require_host(&a, written);
	free(written);
	free(again);
}

/* There is one way to write the address of a store, and nobody's terminal obeys it. */
static void check_store(const char *text)
{
	char *why = NULL, *normal = NULL, *again = NULL;
	err_t err = store_url_normalize(text, &normal, &why);

	FUZZ_REQUIRE(err == 0 ? normal != NULL && why == NULL : err == -EINVAL && normal == NULL && why != NULL);
	free(why);
	if (err != 0)
		return;
	for (const char *c = normal; *c != '\0'; c++)
		FUZZ_REQUIRE((unsigned char)*c >= 0x20 && *c != 0x7f);
	FUZZ_REQUIRE(strncmp(normal, "dir:/", 5) == 0 || strncmp(normal, "s3:http", 7) == 0);
	FUZZ_REQUIRE(store_url_normalize(normal, &again, &why) == 0 && strcmp(normal, again) == 0);
	free(normal);
	free(again);
}

/* An object has one name. */
static void check_name(const char *text)
{
	struct objname n = objname_parse(text);
	char name[CHAIN_NAME_MAX] = "";

	FUZZ_REQUIRE(n.kind < OBJNAME_KIND_COUNT);
	if (n.kind == OBJNAME_SEGMENT)
		chain_segment_object_name(n.random, name);
	else if (n.kind == OBJNAME_COMMIT || n.kind == OBJNAME_BASE)
		snprintf(name, sizeof(name), "%c/%012" PRIu64, text[0], n.number);
	else if (n.kind == OBJNAME_BOX)
		snprintf(name, sizeof(name), "k/%" PRIu64 "-%s", n.number, strchr(text, '-') + 1);
	FUZZ_REQUIRE(name[0] == '\0' || strcmp(name, text) == 0);
	FUZZ_REQUIRE(n.kind == OBJNAME_FOREIGN || store_name_valid(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);

	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	check_url(text);
	check_address(text);
	check_store(text);
	check_name(text);
	free(text);
	return 0;
}
