/* Moments as people write them (the grammar is in history.h and snugfs(1)), and as they are shown. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "history.h"

#define NS 1000000000u
#define DAY_S (24 * 60 * 60)

static void
skip_spaces(const char **at)
{
	while (**at == ' ' || **at == '\t')
		(*at)++;
}

static bool
is_over(const char *at)
{
	skip_spaces(&at);
	return *at == '\0';
}

/* One to max digits. */
static bool
take_number(const char **at, unsigned max, uint64_t *out)
{
	uint64_t n = 0;
	unsigned i = 0;

	for (; i < max && (*at)[i] >= '0' && (*at)[i] <= '9'; i++)
		n = n * 10 + (uint64_t)((*at)[i] - '0');
	if (i == 0 || ((*at)[i] >= '0' && (*at)[i] <= '9'))
		return false;
	*at += i;
	*out = n;
	return true;
}

static bool
take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static bool
take_word(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncasecmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

/* What is later than can be said is the last moment that can. */
static uint64_t
moment(time_t t, uint64_t ns)
{
	uint64_t at;

	return __builtin_mul_overflow((uint64_t)t, NS, &at) || __builtin_add_overflow(at, ns, &at) ? UINT64_MAX : at;
}

/* The last moment of the second. */
static uint64_t
end_of(time_t t)
{
	return moment(t, NS - 1);
}

/* Words and distances. */

static bool
parse_commit(const char *at, struct history_when *out)
{
	uint64_t seq;

	if (!take_word(&at, "commit"))
		return false;
	skip_spaces(&at);
	if (!take_number(&at, 12, &seq) || !is_over(at))
		return false;
	*out = (struct history_when){ .is_commit = true, .seq = seq };
	return true;
}

/* The last second of the day, so many days from that of t. */
static time_t
end_of_day(time_t t, int days)
{
	struct tm tm;

	localtime_r(&t, &tm);
	tm.tm_mday += days + 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	return mktime(&tm) - 1;
}

static bool
parse_word(const char *at, time_t now, struct history_when *out)
{
	if (take_word(&at, "now"))
		out->time_ns = end_of(now);
	else if (take_word(&at, "today"))
		out->time_ns = end_of(end_of_day(now, 0));
	else if (take_word(&at, "yesterday"))
		out->time_ns = end_of(end_of_day(now, -1));
	else
		return false;
	return is_over(at);
}

static bool
take_unit(const char **at, uint64_t *seconds_out)
{
	static const struct {
		const char *name;
		uint64_t seconds;
	} units[] = { /* a name before what it begins with */
		{ "seconds", 1 }, { "second", 1 }, { "secs", 1 }, { "sec", 1 }, { "s", 1 },
		{ "minutes", 60 }, { "minute", 60 }, { "mins", 60 }, { "min", 60 }, { "m", 60 },
		{ "hours", 3600 }, { "hour", 3600 }, { "h", 3600 },
		{ "days", DAY_S }, { "day", DAY_S }, { "d", DAY_S },
		{ "weeks", 7 * DAY_S }, { "week", 7 * DAY_S }, { "w", 7 * DAY_S },
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (take_word(at, units[i].name)) {
			*seconds_out = units[i].seconds;
			return true;
		}
	return false;
}

/* "2d", "3 hours ago", "1h 30m". */
static bool
parse_distance(const char *at, time_t now, struct history_when *out)
{
	uint64_t back = 0, number, unit;

	do {
		if (!take_number(&at, 6, &number))
			return false;
		skip_spaces(&at);
		if (!take_unit(&at, &unit))
			return false;
		back += number * unit;
		skip_spaces(&at);
	} while (*at >= '0' && *at <= '9');
	if (!is_over(at) && !(take_word(&at, "ago") && is_over(at)))
		return false;
	if (back > (uint64_t)now)
		return false;
	out->time_ns = end_of(now - (time_t)back);
	return true;
}

/* Dates. */

struct clock {
	struct tm tm;
	bool has_minute;
	bool has_second;
	uint64_t ns;     /* behind the second; with has_fraction */
	bool has_fraction;
	bool has_zone;
	long zone;       /* seconds east of UTC */
};

static bool
take_date(const char **at, struct tm *tm)
{
	const char *p = *at;
	uint64_t year, month, day;

	if (!take_number(&p, 4, &year) || !take_char(&p, '-') || !take_number(&p, 2, &month) || !take_char(&p, '-') ||
	    !take_number(&p, 2, &day) || year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
		return false;
	tm->tm_year = (int)year - 1900;
	tm->tm_mon = (int)month - 1;
	tm->tm_mday = (int)day;
	*at = p;
	return true;
}

static bool
take_fraction(const char **at, struct clock *c)
{
	uint64_t scale = NS / 10;

	c->ns = 0;
	if (**at < '0' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; (*at)++, scale /= 10)
		c->ns += (uint64_t)(**at - '0') * scale;
	c->has_fraction = true;
	return true;
}

static bool
take_time(const char **at, struct clock *c)
{
	uint64_t hour, minute, second = 0;

	if (!take_number(at, 2, &hour) || !take_char(at, ':') || !take_number(at, 2, &minute) || hour > 23 || minute > 59)
		return false;
	c->has_minute = true;
	if (take_char(at, ':')) {
		if (!take_number(at, 2, &second) || second > 60 || (take_char(at, '.') && !take_fraction(at, c)))
			return false;
		c->has_second = true;
	}
	c->tm.tm_hour = (int)hour;
	c->tm.tm_min = (int)minute;
	c->tm.tm_sec = (int)second;
	return true;
}

static bool
take_zone(const char **at, struct clock *c)
{
	uint64_t hours, minutes = 0;
	bool west = **at == '-';

	c->has_zone = true;
	if (take_char(at, 'Z') || take_char(at, 'z'))
		return true;
	if (!take_char(at, '+') && !take_char(at, '-')) {
		c->has_zone = false;
		return true;
	}
	if (!take_number(at, 2, &hours) || !take_char(at, ':') || !take_number(at, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	c->zone = (long)(hours * 3600 + minutes * 60) * (west ? -1 : 1);
	return true;
}

/* The last moment of the day, minute, second or fraction that was named. */
static bool
resolve(struct clock *c, struct history_when *out)
{
	struct tm given;
	time_t t;

	if (!c->has_minute)
		c->tm.tm_hour = 23;
	if (!c->has_minute)
		c->tm.tm_min = 59;
	if (!c->has_second)
		c->tm.tm_sec = 59;
	given = c->tm;
	c->tm.tm_isdst = -1;
	t = c->has_zone ? timegm(&c->tm) - c->zone : mktime(&c->tm);
	if (t < 0 || c->tm.tm_mday != given.tm_mday) /* the 31st of a month that has 30 days */
		return false;
	out->time_ns = c->has_fraction ? moment(t, c->ns) : end_of(t);
	return true;
}

static bool
parse_date(const char *at, time_t now, struct history_when *out)
{
	struct clock c = { 0 };
	bool dated;

	localtime_r(&now, &c.tm);
	dated = take_date(&at, &c.tm);
	if (dated && is_over(at))
		return resolve(&c, out);
	if (dated && !take_char(&at, 'T') && !take_char(&at, 't') && *at != ' ')
		return false;
	skip_spaces(&at);
	if (!take_time(&at, &c))
		return false;
	skip_spaces(&at);
	return take_zone(&at, &c) && is_over(at) && resolve(&c, out);
}

err_t
history_time_parse(const char *text, time_t now, struct history_when *out)
{
	struct history_when w = { 0 };

	skip_spaces(&text);
	if (!parse_commit(text, &w) && !parse_word(text, now, &w) && !parse_date(text, now, &w) && !parse_distance(text, now, &w))
		return -EINVAL;
	*out = w;
	return 0;
}

/* Showing. */

void
history_time_print(uint64_t time_ns, char out[static HISTORY_TIME_LEN])
{
	time_t t = (time_t)(time_ns / NS);
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(out, HISTORY_TIME_LEN, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, HISTORY_TIME_LEN, "@%" PRIu64, time_ns / NS);
}

void
history_time_print_exact(uint64_t time_ns, char out[static HISTORY_TIME_LEN])
{
	time_t t = (time_t)(time_ns / NS);
	char whole[24];
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		whole[0] = '\0';
	snprintf(out, HISTORY_TIME_LEN, "%s.%09uZ", whole, (unsigned)(time_ns % NS));
}
