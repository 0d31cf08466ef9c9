/* What --json says, said for people: one paragraph a folder, a word and its value a line. */
#include "status_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "amounts.h"
#include "err.h"
#include "human.h"

#define TIME_LEN 40
#define SPEED_LEN 160
#define REKEY_LEN 80

/* NULL: a daemon of another version says it in another way. */
static const char *
or_unknown(const char *text)
{
	return text != NULL ? text : "?";
}

/* As human_tame says. */
static void
print_words(const char *text)
{
	CLEANUP(free_ptr) char *tame = strdup(or_unknown(text));

	if (tame != NULL)
		human_tame(tame);
	printf("%s", or_unknown(tame));
}

static void
line(const char *word, const char *value)
{
	size_t len = strlen(word);

	printf("  ");
	print_words(word);
	printf("%*s  ", len < 10 ? (int)(10 - len) : 0, "");
	print_words(value);
	(void)putchar('\n');
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

static const json_t *
part_of(const json_t *status, const char *part)
{
	return json_object_get(status, part);
}

static void
time_text(const json_t *object, const char *key, char out[static TIME_LEN])
{
	time_t t = (time_t)number_of(object, key);
	struct tm local;

	if (!json_is_integer(json_object_get(object, key)) || localtime_r(&t, &local) == NULL)
		out[0] = '\0';
	else
		strftime(out, TIME_LEN, "%Y-%m-%d %H:%M:%S", &local);
}

static void
print_pending(const json_t *status)
{
	const json_t *pending = part_of(status, "pending");
	json_int_t files = number_of(pending, "files"), names = number_of(pending, "names");
	char value[160], size[HUMAN_BYTES_LEN], since[TIME_LEN];

	if (!json_is_object(pending))
		return;
	human_bytes((uint64_t)number_of(pending, "bytes"), size);
	time_text(pending, "since", since);
	if (text_of(status, "remote") == NULL)
		snprintf(value, sizeof(value), "nothing is in a store");
	else if (files == 0 && names == 0)
		snprintf(value, sizeof(value), "nothing%s",
		    json_is_null(part_of(status, "problem")) ? ": the store has everything" : "");
	else
		snprintf(value, sizeof(value), "files: %lld, names: %lld, about %s%s%s%s", (long long)files, (long long)names, size,
		    since[0] != '\0' ? ", since " : "", since, json_is_true(part_of(status, "busy")) ? " (syncing now)" : "");
	line("pending", value);
}

/* What of the vault is on this computer. */
static void
print_cache(const json_t *cache)
{
	const json_t *limit = json_object_get(cache, "limit");
	char value[160], here[HUMAN_BYTES_LEN], total[HUMAN_BYTES_LEN], most[48] = "";
	json_int_t pins = number_of(cache, "pins");

	if (!json_is_object(cache) || number_of(cache, "total") == 0)
		return;
	human_bytes((uint64_t)number_of(cache, "here"), here);
	human_bytes((uint64_t)number_of(cache, "total"), total);
	if (json_is_integer(limit)) {
		char size[HUMAN_BYTES_LEN];

		human_bytes((uint64_t)json_integer_value(limit), size);
		snprintf(most, sizeof(most), "; at most %s", size);
	}
	snprintf(value, sizeof(value), "%s of %s%s%s", here, total, most, pins > 0 ? "; some is pinned" : "");
	line("here", value);
}

static void
print_hold(const json_t *status)
{
	const json_t *hold = part_of(status, "hold");
	const char *kind = text_of(hold, "kind");
	bool metered = json_is_true(part_of(status, "metered"));
	char value[160], until[TIME_LEN];

	if (kind == NULL) {
		if (metered)
			line("sync", "waits: the network is metered; \"snugfs sync\" syncs now");
		return;
	}
	time_text(hold, "until", until);
	snprintf(value, sizeof(value), "%s%s%s%s", strcmp(kind, "offline") == 0 ? "offline: nothing goes over the network" :
	    "paused: nothing is synced by itself", until[0] != '\0' ? ", until " : "", until,
	    metered ? "; the network is metered, too" : "");
	line("sync", value);
}

/* "sealed anew: 1.2 GiB of 3.4 GiB"; "": nothing is. */
static void
rekey_text(const json_t *status, char out[static REKEY_LEN])
{
	const json_t *rekey = part_of(status, "rekey");
	char done[HUMAN_BYTES_LEN], total[HUMAN_BYTES_LEN];

	out[0] = '\0';
	if (!json_is_object(rekey))
		return;
	human_bytes((uint64_t)number_of(rekey, "done"), done);
	human_bytes((uint64_t)number_of(rekey, "total"), total);
	if (number_of(rekey, "total") == 0)
		snprintf(out, REKEY_LEN, "sealed anew: to be counted");
	else
		snprintf(out, REKEY_LEN, "sealed anew: %s of %s", done, total);
}

static void
print_rekey(const json_t *status)
{
	char value[REKEY_LEN];

	rekey_text(status, value);
	if (value[0] != '\0')
		line("rekey", value);
}

static void
print_lock(const json_t *status)
{
	const json_t *lock = part_of(status, "lock");
	json_int_t after = number_of(lock, "after");
	bool sleeps = json_is_true(json_object_get(lock, "on_suspend")), watching = json_is_true(json_object_get(lock, "watching"));
	char value[160], time[40] = "";

	if (after == 0 && !sleeps)
		return;
	if (after > 0)
		amount_print_seconds(after, time, sizeof(time));
	snprintf(value, sizeof(value), "%s%s%s%s", after > 0 ? "after " : "", time, after > 0 ? " without use" : "", !sleeps ? "" :
	    watching ? (after > 0 ? ", and before the computer sleeps" : "before the computer sleeps") :
	    (after > 0 ? "; not before the computer sleeps: logind is not there" : "not before the computer sleeps: logind is not there"));
	line("locks", value);
}

/* "up 1.1 MiB/s, down 20 KiB/s, about 2 minutes left"; "": nothing moves. */
static void
speed_text(const json_t *status, char out[static SPEED_LEN])
{
	const json_t *speed = part_of(status, "speed");
	json_int_t up = number_of(speed, "up"), down = number_of(speed, "down"), left = number_of(status, "time_left");
	char up_text[HUMAN_BYTES_LEN], down_text[HUMAN_BYTES_LEN], left_text[40] = "";

	out[0] = '\0';
	if (up == 0 && down == 0)
		return;
	human_bytes((uint64_t)up, up_text);
	human_bytes((uint64_t)down, down_text);
	if (left > 0)
		amount_print_seconds(left, left_text, sizeof(left_text));
	snprintf(out, SPEED_LEN, "up %s/s, down %s/s%s%s%s", up_text, down_text, left > 0 ? ", about " : "", left_text,
	    left > 0 ? " left" : "");
}

static void
print_speed(const json_t *status)
{
	const json_t *limits = part_of(status, "limits");
	json_int_t up = number_of(limits, "up"), down = number_of(limits, "down");
	char value[SPEED_LEN], up_text[HUMAN_BYTES_LEN] = "none", down_text[HUMAN_BYTES_LEN] = "none";

	speed_text(status, value);
	if (value[0] != '\0')
		line("speed", value);
	if (up == 0 && down == 0)
		return;
	if (up != 0)
		human_bytes((uint64_t)up, up_text);
	if (down != 0)
		human_bytes((uint64_t)down, down_text);
	snprintf(value, sizeof(value), "up %s%s, down %s%s", up_text, up != 0 ? "/s" : "", down_text, down != 0 ? "/s" : "");
	line("limits", value);
}

static void
print_time(const json_t *status, const char *key, const char *word)
{
	char value[TIME_LEN];

	time_text(status, key, value);
	if (value[0] != '\0')
		line(word, value);
}

static void
print_devices(const json_t *status)
{
	const json_t *device;
	char value[256];
	size_t i;

	json_array_foreach(json_object_get(status, "devices"), i, device) {
		snprintf(value, sizeof(value), "%s%s", or_unknown(text_of(device, "name")),
		    json_is_true(json_object_get(device, "this")) ? " (this computer)" :
		    strcmp(or_unknown(text_of(device, "kind")), "invitation") == 0 ? " (an invitation)" : "");
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

	print_words(text_of(status, "mountpoint"));
	(void)putchar('\n');
	line("mounted", json_is_true(json_object_get(status, "mounted")) ? "yes" : "no");
	line("vault", text_of(status, "vault"));
	line("store", remote != NULL ? remote : "none");
	print_pending(status);
	print_hold(status);
	print_lock(status);
	print_speed(status);
	print_rekey(status);
	print_cache(json_object_get(status, "cache"));
	print_time(status, "last_push", "last push");
	print_time(status, "last_pull", "last pull");
	print_time(status, "last_contact", "contact");
	print_devices(status);
	print_list(json_object_get(status, "messages"), "messages");
	if (problem != NULL)
		line("problem", problem);
	line("next", text_of(status, "next"));
	print_counters(json_object_get(status, "counters"));
	print_counters(json_object_get(status, "requests"));
}

/* "paused"; NULL: nothing holds it. */
static const char *
hold_word(const json_t *status)
{
	const char *kind = text_of(part_of(status, "hold"), "kind");

	return kind != NULL ? kind : json_is_true(part_of(status, "metered")) ? "waits: the network is metered" : NULL;
}

void
status_text_line(const json_t *status, char out[static STATUS_LINE_LEN])
{
	const json_t *pending = part_of(status, "pending");
	const char *problem = text_of(part_of(status, "problem"), "text"), *hold = hold_word(status);
	json_int_t files = number_of(pending, "files"), names = number_of(pending, "names");
	char size[HUMAN_BYTES_LEN], speed[SPEED_LEN], rekey[REKEY_LEN];

	human_bytes((uint64_t)number_of(pending, "bytes"), size);
	speed_text(status, speed);
	rekey_text(status, rekey);
	if (!json_is_true(part_of(status, "mounted")))
		snprintf(out, STATUS_LINE_LEN, "not mounted");
	else if (files == 0 && names == 0 && problem == NULL)
		snprintf(out, STATUS_LINE_LEN, "%s%s%s%s%s", text_of(status, "remote") == NULL ? "no store" : "nothing pending",
		    rekey[0] != '\0' ? "; " : "", rekey, hold != NULL ? "; " : "", hold != NULL ? hold : "");
	else
		snprintf(out, STATUS_LINE_LEN, "files pending: %lld, names: %lld, about %s%s%s%s%s%s%s%s%s",
		    (long long)files, (long long)names, size, speed[0] != '\0' ? "; " : "", speed, rekey[0] != '\0' ? "; " : "", rekey, hold != NULL ? "; " : "", hold != NULL ? hold : "",
		    problem != NULL ? "; problem: " : "", problem != NULL ? problem : "");
	human_tame(out);
}
