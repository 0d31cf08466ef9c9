/*
 * Fuzzes what people write of times and amounts, on a command line, to the control socket, and as names in the hidden folder;
 * the first byte chooses.  A moment that is shown is read as the same again.
 */
#include <string.h>
#include <time.h>

#include "amounts.h"
#include "fuzz.h"
#include "history.h"

#define NS 1000000000u
#define NOW 1795181400 /* in 2026 */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	setenv("TZ", "UTC", 1);
	tzset();
	return 0;
}

/* A day that is written out is not in another year, but what is later than can be said. */
static void check_year(const char *text, const struct history_when *w)
{
	time_t t = (time_t)(w->time_ns / NS);
	int year = 0, used = 0;
	struct tm tm;

	if (sscanf(text, " %4d%n", &year, &used) != 1 || text[used] != '-' || w->time_ns == UINT64_MAX)
		return;
	FUZZ_REQUIRE(gmtime_r(&t, &tm) != NULL && abs(tm.tm_year + 1900 - year) <= 1);
}

static void try_moment(const char *text)
{
	struct history_when w, again;
	char shown[HISTORY_TIME_LEN];

	if (history_time_parse(text, NOW, &w) != 0 || w.is_commit)
		return;
	check_year(text, &w);
	history_time_print_exact(w.time_ns, shown);
	FUZZ_REQUIRE(history_time_parse(shown, NOW, &again) == 0 && again.time_ns == w.time_ns);
	history_time_print(w.time_ns, shown);
	FUZZ_REQUIRE(history_time_parse(shown, NOW, &again) == 0 && again.time_ns / NS == w.time_ns / NS && again.time_ns >= w.time_ns);
}

static void try_bytes(const char *text)
{
	uint64_t n = 0;

	if (amount_parse_bytes(text, &n) == 0)
		FUZZ_REQUIRE(n <= (uint64_t)INT64_MAX);
}

static void try_seconds(const char *text)
{
	char shown[64] = "";
	int64_t n = 0;

	if (amount_parse_seconds(text, &n) != 0)
		return;
	FUZZ_REQUIRE(n > 0);
	amount_print_seconds(n, shown, sizeof(shown));
	FUZZ_REQUIRE(shown[0] != '\0');
}

static void try_name(const char *text)
{
	const char *slash = strchr(text, '/');
	char out[NAME_LEN_MAX + 1];

	if (*text == '\0' || strlen(text) > NAME_LEN_MAX || slash != NULL)
		return;
	history_restore_name(text, (uint64_t)NOW * NS, strlen(text) % 3 * 4294967295u / 2, out);
	FUZZ_REQUIRE(strlen(out) > strlen(" (as of )") && strlen(out) <= NAME_LEN_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const TRY[])(const char *text) = {try_moment, try_bytes, try_seconds, try_name};
	char *text;

	if (len == 0)
		return 0;
	FUZZ_REQUIRE((text = strndup((const char *)data + 1, len - 1)) != NULL);
	TRY[data[0] % ARRAY_LEN(TRY)](text);
	free(text);
	return 0;
}
