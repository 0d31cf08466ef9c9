/* merge_name.c: the names of conflict copies. */
#include <stdio.h>
#include <string.h>

#include "merge.h"

#define EXTENSION_MAX 32 /* a longer "extension" is part of the name */

/* The start of ".ext", or the end of the name. */
static size_t
stem_len(const char *name, size_t len)
{
	const char *dot = strrchr(name, '.');

	if (!dot || dot == name || dot[1] == '\0' || strchr(dot, ' ') || len - (size_t)(dot - name) > EXTENSION_MAX)
		return len;
	return (size_t)(dot - name);
}

/* At most max bytes, not ending within a UTF-8 character. */
static size_t
cut_len(const char *s, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max > 0 && ((unsigned char)s[max] & 0xc0) == 0x80)
		max--;
	return max;
}

void
merge_conflict_name(const char *name, const char *device, time_t now, unsigned n, char out[static NAME_LEN_MAX + 1])
{
	char who[65];
	char mark[160];
	char date[32] = "";
	char number[16] = "";
	struct tm tm;
	size_t len = strlen(name);
	size_t stem = stem_len(name, len);
	size_t who_len = cut_len(device, strlen(device), sizeof(who) - 1);

	memcpy(who, device, who_len);
	who[who_len] = '\0';
	for (char *p = who; *p; p++)
		*p = *p == '/' ? '-' : *p;
	if (localtime_r(&now, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	if (n > 1)
		snprintf(number, sizeof(number), " %u", n);
	snprintf(mark, sizeof(mark), " (conflict from %s, %s)%s", who, date, number);

	size_t rest = len - stem;
	size_t kept = cut_len(name, stem, NAME_LEN_MAX - strlen(mark) - rest);

	snprintf(out, NAME_LEN_MAX + 1, "%.*s%s%s", (int)kept, name, mark, name + stem);
}
