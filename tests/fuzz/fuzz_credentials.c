/* Fuzzes the shared credentials file of S3 services; of an input that begins with AWS_, the environment, a variable in each line. */
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

static const char *const variables[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"};

static void set_variables(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len), *rest = text, *line;

	FUZZ_REQUIRE(text != NULL);
	while ((line = strsep(&rest, "\n")) != NULL) {
		char *value = strchr(line, '=');

		for (size_t i = 0; value != NULL && i < ARRAY_LEN(variables); i++) {
			if (strncmp(line, variables[i], (size_t)(value - line)) == 0 && strlen(variables[i]) == (size_t)(value - line))
				FUZZ_REQUIRE(setenv(variables[i], value + 1, 1) == 0);
		}
	}
	free(text);
}

static void check_found(void)
{
	struct s3_credentials *found = NULL;
	char *why = NULL;
	err_t err = s3_credentials_find(NULL, &found, &why);

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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char file_text[] = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n";
	bool is_environment = len > 4 && memcmp(data, "AWS_", 4) == 0;

	FUZZ_REQUIRE(ftruncate(file, 0) == 0);
	if (is_environment) {
		FUZZ_REQUIRE(pwrite(file, file_text, sizeof(file_text) - 1, 0) == (ssize_t)sizeof(file_text) - 1);
		set_variables(data, len);
	} else {
		FUZZ_REQUIRE(pwrite(file, data, len, 0) == (ssize_t)len);
	}
	check_found();
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		FUZZ_REQUIRE(unsetenv(variables[i]) == 0);
	return 0;
}
