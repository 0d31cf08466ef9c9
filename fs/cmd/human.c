/* human.c: sizes, counts and paths. */
#include "human.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

void
human_bytes(uint64_t bytes, char out[static HUMAN_BYTES_LEN])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024 * 10) {
		snprintf(out, HUMAN_BYTES_LEN, "%" PRIu64 " bytes", bytes);
		return;
	}
	for (n /= 1024; n >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
		n /= 1024;
	snprintf(out, HUMAN_BYTES_LEN, "%.1f %s", n, units[unit]);
}

void
human_count(uint64_t count, const char *thing, char out[static HUMAN_COUNT_LEN])
{
	snprintf(out, HUMAN_COUNT_LEN, "%" PRIu64 " %s%s", count, thing, count == 1 ? "" : "s");
}

json_t *
human_path(const char *path)
{
	CLEANUP(free_ptr) char *escaped = NULL;
	json_t *plain = json_string(path);
	char *to;

	if (plain != NULL)
		return plain;
	to = escaped = malloc(strlen(path) * 4 + 1);
	if (escaped == NULL)
		return NULL;
	for (const char *from = path; *from != '\0'; from++)
		if ((unsigned char)*from < 0x80)
			*to++ = *from;
		else
			to += snprintf(to, 5, "\\x%02x", (unsigned char)*from);
	*to = '\0';
	return json_string(escaped);
}
