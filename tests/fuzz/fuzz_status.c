/* Fuzzes what commands make of a daemon's answers: a status object, whatever is in it, becomes lines for people. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "status_text.h"

static int printed;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];

	(void)argc;
	(void)argv;
	FUZZ_REQUIRE((printed = memfd_create("printed", MFD_CLOEXEC)) >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", printed);
	FUZZ_REQUIRE(freopen(path, "w", stdout) != NULL);
	return 0;
}

static void check_printed(void)
{
	off_t len;
	char *text;

	FUZZ_REQUIRE(fflush(stdout) == 0 && (len = lseek(printed, 0, SEEK_END)) > 0);
	FUZZ_REQUIRE((text = calloc(1, (size_t)len + 1)) != NULL && pread(printed, text, (size_t)len, 0) == len);
	for (off_t at = 0, end; at < len; at = end + 1) {
		const char *newline = memchr(text + at, '\n', (size_t)(len - at));

		end = newline != NULL ? newline - text : len;
		fuzz_require_tame(text + at, (size_t)(end - at));
	}
	free(text);
	rewind(stdout);
	FUZZ_REQUIRE(ftruncate(printed, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	json_t *status = json_loadb((const char *)data, len, 0, NULL);
	char line[STATUS_LINE_LEN];

	if (json_is_object(status)) {
		status_text_print(status);
		check_printed();
		status_text_line(status, line);
		FUZZ_REQUIRE(memchr(line, '\0', sizeof(line)) != NULL);
		fuzz_require_tame(line, strlen(line));
	}
	json_decref(status);
	return 0;
}
