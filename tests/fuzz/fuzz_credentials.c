/* Fuzzes the shared credentials file of S3 services. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "s3_credentials.h"

static int file = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];

	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && (file = memfd_create("credentials", MFD_CLOEXEC)) >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	FUZZ_REQUIRE(unsetenv("AWS_ACCESS_KEY_ID") == 0 && unsetenv("AWS_SECRET_ACCESS_KEY") == 0);
	FUZZ_REQUIRE(unsetenv("AWS_PROFILE") == 0 && setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1) == 0);
	return 0;
}

static void check_word(const char *text, size_t max)
{
	FUZZ_REQUIRE(strlen(text) <= max);
	for (; *text != '\0'; text++)
		FUZZ_REQUIRE(*text > 0x20 && *text < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct s3_credentials *found = NULL;
	char *why = NULL;
	err_t err;

	FUZZ_REQUIRE(ftruncate(file, 0) == 0 && pwrite(file, data, len, 0) == (ssize_t)len);
	err = s3_credentials_find(NULL, &found, &why);
	FUZZ_REQUIRE(err == 0 || err == -EACCES);
	FUZZ_REQUIRE(err == 0 ? found != NULL : found == NULL && why != NULL);
	if (err == 0) {
		check_word(found->access_key, S3_ACCESS_KEY_MAX);
		check_word(found->secret_key, S3_SECRET_KEY_MAX);
		check_word(found->session_token, S3_SESSION_TOKEN_MAX);
		FUZZ_REQUIRE(found->access_key[0] != '\0' && found->secret_key[0] != '\0');
	}
	secmem_free(found);
	free(why);
	return 0;
}
