/* qr.c: modules to half blocks. */
#include "qr.h"

#include <errno.h>
#include <qrencode.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "secmem.h"

#define LIBRARY "libqrencode.so.4"
#define FUNCTIONS(F) F(QRcode_encodeString) F(QRcode_free)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

#define QUIET 4
#define SIDE_MAX 177
#define LINE_MAX_LEN ((SIDE_MAX + 2 * QUIET) * 3 + 64)
#define BLACK_ON_WHITE "\033[38;5;16;48;5;231m"
#define AS_BEFORE "\033[0m"

static void
wipe_code(QRcode **code)
{
	if (*code == NULL)
		return;
	secmem_wipe((*code)->data, (size_t)(*code)->width * (size_t)(*code)->width);
	lib.QRcode_free(*code);
}

static bool
is_dark(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return false;
	return (code->data[y * code->width + x] & 1) != 0;
}

static err_t
write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static size_t
add(char *line, size_t at, const char *text)
{
	size_t len = strlen(text);

	memcpy(line + at, text, len);
	return at + len;
}

/* Two rows of modules. */
static err_t
write_rows(int fd, const QRcode *code, int y, bool coloured)
{
	static const char *const blocks[] = { " ", "\u2580", "\u2584", "\u2588" };
	char line[LINE_MAX_LEN];
	size_t at = coloured ? add(line, 0, BLACK_ON_WHITE) : 0;
	err_t err;

	for (int x = -QUIET; x < code->width + QUIET; x++)
		at = add(line, at, blocks[(is_dark(code, x, y) ? 1 : 0) + (is_dark(code, x, y + 1) ? 2 : 0)]);
	at = add(line, at, coloured ? AS_BEFORE "\n" : "\n");
	err = write_all(fd, line, at);
	secmem_wipe(line, sizeof(line));
	return err;
}

err_t
qr_write(int fd, const char *text, bool coloured)
{
	CLEANUP(wipe_code) QRcode *code = NULL;
	err_t err = library_load(LIBRARY, symbols, ARRAY_LEN(symbols));

	if (err != 0)
		return err;
	code = lib.QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1);
	if (code == NULL)
		return errno == ERANGE ? -E2BIG : -errno;
	if (code->width > SIDE_MAX)
		return -E2BIG;
	for (int y = -QUIET; y < code->width + QUIET && err == 0; y += 2)
		err = write_rows(fd, code, y, coloured);
	return err;
}
