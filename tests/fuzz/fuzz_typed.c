/*
 * Fuzzes what is typed or comes from a pipe in its place, and bytes that travel as hexadecimal digits in requests.  First byte 0: lines
 * of secret text; 1: the same behind almost as much as a line may have; else digits.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "hex.h"
#include "terminal.h"

static int file = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && (file = memfd_create("typed", MFD_CLOEXEC)) >= 0);
	return 0;
}

/* Each line just as it is, until one that is too long; what is behind it is not read. */
static void try_lines(const uint8_t *data, size_t len)
{
	char *line = malloc(SECRET_LINE_MAX);
	size_t at = 0, got;
	err_t err;

	FUZZ_REQUIRE(line != NULL && ftruncate(file, 0) == 0 && pwrite(file, data, len, 0) == (ssize_t)len);
	FUZZ_REQUIRE(lseek(file, 0, SEEK_SET) == 0);
	for (;;) {
		const uint8_t *newline = at < len ? memchr(data + at, '\n', len - at) : NULL;
		size_t wanted = newline != NULL ? (size_t)(newline - data) - at : len - at;

		err = terminal_read_line(file, line, &got);
		if (wanted >= SECRET_LINE_MAX || at == len)
			break;
		FUZZ_REQUIRE(err == 0 && got == wanted && line[got] == '\0' && memcmp(line, data + at, got) == 0);
		at += wanted + (newline != NULL);
	}
	FUZZ_REQUIRE(err == (at == len ? -ENODATA : -E2BIG));
	free(line);
}

static void try_long_line(const uint8_t *data, size_t len)
{
	size_t before = SECRET_LINE_MAX - 4;
	uint8_t *all = malloc(before + len);

	FUZZ_REQUIRE(all != NULL);
	memset(all, 'x', before);
	memcpy(all + before, data, len);
	try_lines(all, before + len);
	free(all);
}

/* What is read is written again in just those digits. */
static void try_hex(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len), *path = NULL, *again = malloc(len + 1);
	size_t text_len = text != NULL ? strlen(text) : 0;
	uint8_t *bytes = malloc(text_len / 2 + 1);
	err_t err;

	FUZZ_REQUIRE(text != NULL && again != NULL && bytes != NULL);
	err = hex_parse(text, bytes, text_len / 2);
	FUZZ_REQUIRE(err == 0 || err == -EINVAL);
	if (err == 0) {
		hex_format(bytes, text_len / 2, again);
		FUZZ_REQUIRE(strcmp(text, again) == 0);
	}
	FUZZ_REQUIRE(hex_parse_path(text, &path) == 0 ? err == 0 && strlen(path) == text_len / 2 : path == NULL);
	free(path);
	free(bytes);
	free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 0)
		try_lines(data + 1, len - 1);
	else if (data[0] == 1)
		try_long_line(data + 1, len - 1);
	else
		try_hex(data + 1, len - 1);
	return 0;
}
