/* Fuzzes addresses of services, URLs, and the names that a store lists. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "http.h"
#include "objname.h"
#include "s3_address.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(unsetenv("AWS_REGION") == 0 && unsetenv("AWS_DEFAULT_REGION") == 0);
	return 0;
}

static void check_url(const char *text)
{
	struct http_url u = {0};
	err_t err = http_url_parse(text, &u);

	FUZZ_REQUIRE(err == 0 || err == -EINVAL);
	if (err != 0)
		return;
	FUZZ_REQUIRE(u.host != NULL && u.host[0] != '\0' && u.path != NULL && u.path[0] == '/' && u.query != NULL);
	FUZZ_REQUIRE(u.port < 65536);
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
	FUZZ_REQUIRE(strcmp(a.host, b.host) == 0 && strcmp(a.bucket, b.bucket) == 0 && strcmp(a.prefix, b.prefix) == 0);
	free(written);
	free(again);
}

static void check_name(const char *text)
{
	struct objname n = objname_parse(text);
	char name[CHAIN_NAME_MAX];

	FUZZ_REQUIRE(n.kind < OBJNAME_KIND_COUNT);
	if (n.kind != OBJNAME_SEGMENT)
		return;
	chain_segment_object_name(n.random, name);
	FUZZ_REQUIRE(strcmp(name, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);

	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	check_url(text);
	check_address(text);
	check_name(text);
	free(text);
	return 0;
}
