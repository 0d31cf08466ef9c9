/* What --json says, said for people: one paragraph a folder, a word and its value a line. */
#include "status_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void
line(const char *word, const char *value)
{
	printf("  %-10s  %s\n", word, value);
}

static const char *
text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t
number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void
size_text(json_int_t bytes, char *out, size_t out_len)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024.0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024.0;
		unit++;
	}
	snprintf(out, out_len, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void
print_pending(const json_t *status)
{
	const json_t *pending = json_object_get(status, "pending");
	json_int_t files = number_of(pending, "files"), names = number_of(pending, "names");
	char value[160], size[32];

	if (!json_is_object(pending))
		return;
	size_text(number_of(pending, "bytes"), size, sizeof(size));
	if (text_of(status, "remote") == NULL)
		snprintf(value, sizeof(value), "nothing is in a store");
	else if (files == 0 && names == 0)
		snprintf(value, sizeof(value), "nothing%s",
		    json_is_null(json_object_get(status, "problem")) ? ": the store has everything" : "");
	else
		snprintf(value, sizeof(value), "files: %lld, names: %lld, about %s%s", (long long)files, (long long)names, size,
		    json_is_true(json_object_get(status, "busy")) ? " (syncing now)" : "");
	line("pending", value);
}

static void
print_time(const json_t *status, const char *key, const char *word)
{
	time_t t = (time_t)number_of(status, key);
	struct tm local;
	char value[64];

	if (!json_is_integer(json_object_get(status, key)) || localtime_r(&t, &local) == NULL)
		return;
	strftime(value, sizeof(value), "%Y-%m-%d %H:%M:%S", &local);
	line(word, value);
}

static void
print_devices(const json_t *status)
{
	const json_t *device;
	char value[256];
	size_t i;

	json_array_foreach(json_object_get(status, "devices"), i, device) {
		const char *name = text_of(device, "name");

		snprintf(value, sizeof(value), "%s%s", name != NULL ? name : "?",
		    json_is_true(json_object_get(device, "this")) ? " (this computer)" : "");
		line(i == 0 ? "devices" : "", value);
	}
}

static void
print_list(const json_t *list, const char *word)
{
	const json_t *text;
	size_t i;

	json_array_foreach(list, i, text)
		line(i == 0 ? word : "", json_string_value(text));
}

static void
print_counters(json_t *counters)
{
	const char *kind;
	json_t *count;
	char value[64];

	json_object_foreach(counters, kind, count) {
		snprintf(value, sizeof(value), "%lld", (long long)json_integer_value(count));
		line(kind, value);
	}
}

void
status_text_print(const json_t *status)
{
	const char *remote = text_of(status, "remote");
	const char *problem = text_of(json_object_get(status, "problem"), "text");

	printf("%s\n", text_of(status, "mountpoint"));
	line("mounted", json_is_true(json_object_get(status, "mounted")) ? "yes" : "no");
	line("vault", text_of(status, "vault"));
	line("store", remote != NULL ? remote : "none");
	print_pending(status);
	print_time(status, "last_push", "last push");
	print_time(status, "last_pull", "last pull");
	print_devices(status);
	print_list(json_object_get(status, "messages"), "messages");
	if (problem != NULL)
		line("problem", problem);
	line("next", text_of(status, "next"));
	print_counters(json_object_get(status, "counters"));
	print_counters(json_object_get(status, "requests"));
}
