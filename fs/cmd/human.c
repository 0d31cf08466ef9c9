/* human.c: sizes, counts and paths. */
#include "human.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define UTF8_MAX 4 /* bytes of a character */

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

/* The length of the control character that is there; 0: none is.  In UTF-8, C1 takes two bytes. */
static size_t
control_len(const char *text)
{
	unsigned char first = (unsigned char)text[0], second = first != '\0' ? (unsigned char)text[1] : 0;

	if (first == 0xc2 && second >= 0x80 && second < 0xa0)
		return 2;
	return first < 0x20 || first == 0x7f;
}

void
human_tame(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0';) {
		size_t len = control_len(from);

		*to++ = len > 0 ? '?' : *from;
		from += len > 0 ? len : 1;
	}
	*to = '\0';
}

static void
tame_string(json_t *value)
{
	CLEANUP(free_ptr) char *text = strdup(json_string_value(value));

	if (text == NULL) {
		(void)json_string_set(value, "?");
		return;
	}
	human_tame(text);
	(void)json_string_set(value, text);
}

void
human_tame_json(json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;

	if (json_is_string(value))
		tame_string(value);
	json_object_foreach(value, key, member)
		human_tame_json(member);
	json_array_foreach(value, i, member)
		human_tame_json(member);
}

/* The bytes of the character that is there, as jansson sees it; 0: there is none. */
static size_t
character_len(const char *text)
{
	size_t most = strnlen(text, UTF8_MAX);

	for (size_t len = 1; len <= most; len++) {
		json_t *one = json_stringn(text, len);

		json_decref(one);
		if (one != NULL)
			return len;
	}
	return 0;
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
	for (const char *from = path; *from != '\0';) {
		size_t len = (unsigned char)*from < 0x80 ? 1 : character_len(from);

		if (len > 0)
			to = mempcpy(to, from, len);
		else
			to += snprintf(to, 5, "\\x%02x", (unsigned char)*from);
		from += len > 0 ? len : 1;
	}
	*to = '\0';
	return json_string(escaped);
}
