/* hex.c: two digits a byte. */
#include "hex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

void
hex_format(const uint8_t *data, size_t len, char *text_out)
{
	for (size_t i = 0; i < len; i++) {
		*text_out++ = digits[data[i] >> 4];
		*text_out++ = digits[data[i] & 15];
	}
	*text_out = '\0';
}

err_t
hex_parse(const char *text, uint8_t *data_out, size_t len)
{
	if (text == NULL || strlen(text) != 2 * len || strspn(text, digits) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		data_out[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 | (strchr(digits, text[2 * i + 1]) - digits));
	return 0;
}

err_t
hex_parse_path(const char *hex, char **out)
{
	size_t len = hex != NULL ? strlen(hex) / 2 : 0;
	CLEANUP(free_ptr) char *path = calloc(1, len + 1);
	err_t err;

	if (path == NULL)
		return -ENOMEM;
	if ((err = hex_parse(hex, (uint8_t *)path, len)) != 0)
		return err;
	if (memchr(path, '\0', len) != NULL)
		return -EINVAL;
	*out = STEAL(path);
	return 0;
}
