/* Fuzzes what an S3 service answers with: a page of a listing, and an error. */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "s3_error.h"
#include "s3_xml.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void check_page(const uint8_t *data, size_t len)
{
	struct s3_xml_page page = {0};
	err_t err = s3_xml_parse_page(data, len, &page);

	FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
	if (err != 0) {
		FUZZ_REQUIRE(page.objects == NULL && page.next_token == NULL);
		return;
	}
	FUZZ_REQUIRE(page.count <= S3_XML_PAGE_MAX);
	FUZZ_REQUIRE(!page.truncated || page.next_token != NULL);
	for (size_t i = 0; i < page.count; i++)
		FUZZ_REQUIRE(strlen(page.objects[i].key) <= S3_XML_KEY_MAX);
	s3_xml_page_clear(&page);
}

static void check_word(const char *word)
{
	FUZZ_REQUIRE(strnlen(word, S3_XML_CODE_MAX) < S3_XML_CODE_MAX);
	for (; *word != '\0'; word++)
		FUZZ_REQUIRE(*word > 0x20 && *word < 0x7f && *word != '<' && *word != '%');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct s3_xml_error error;

	check_page(data, len);
	s3_xml_parse_error(data, len, &error);
	check_word(error.code);
	check_word(error.region);
	FUZZ_REQUIRE(s3_error_judge(400, error.code).err < 0);
	return 0;
}
