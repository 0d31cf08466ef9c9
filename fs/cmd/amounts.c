/* Numbers with units. */
#include "amounts.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX 9e18
#define SECONDS_MAX (INT64_C(100) * 366 * 86400)

/* What may stand behind a number of bytes. */
static bool
is_decoration(const char *text)
{
	static const char *const allowed[] = { "", "B", "iB", "B/s", "iB/s", "/s" };

	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (strcmp(text, allowed[i]) == 0)
			return true;
	return false;
}

err_t
amount_parse_bytes(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	double n;
	char *end;

	if (strcmp(text, "none") == 0) {
		*out = 0;
		return 0;
	}
	if (!isdigit((unsigned char)text[0]) || strspn(text, "0123456789.") != strcspn(text, "KkMGTBi/"))
		return -EINVAL;
	n = strtod(text, &end);
	unit = *end != '\0' ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit != NULL) {
		for (const char *u = units; u <= unit; u++)
			n *= 1024;
		end++;
	}
	if (!is_decoration(end) || n > BYTES_MAX)
		return -EINVAL;
	*out = (uint64_t)n;
	return 0;
}

err_t
amount_parse_seconds(const char *text, int64_t *out)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }, { "w", 7 * 86400 } };
	long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0 || n < 1 || n > SECONDS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		if (n > SECONDS_MAX / units[i].seconds)
			return -EINVAL;
		*out = n * units[i].seconds;
		return 0;
	}
	return -EINVAL;
}

void
amount_print_seconds(int64_t seconds, char *out, size_t out_len)
{
	static const struct {
		const char *word;
		int64_t seconds;
	} units[] = { { "day", 86400 }, { "hour", 3600 }, { "minute", 60 }, { "second", 1 } };

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		int64_t n = (seconds + units[i].seconds / 2) / units[i].seconds;

		if (seconds < 2 * units[i].seconds && units[i].seconds > 1)
			continue;
		snprintf(out, out_len, "%lld %s%s", (long long)n, units[i].word, n == 1 ? "" : "s");
		return;
	}
}
