/* progress.c: bars and lines. */
#include "clock.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_INTERVAL_MS 100
#define LINE_INTERVAL_MS 10000
#define BAR_WIDTH 24
/* Where there are fewer, what the bar would say is said by numbers alone. */
#define BAR_COLUMNS_MIN 72
#define LINE_MAX_LEN 256
/* Before that the speed says nothing. */
#define SPEED_AFTER_MS 2000

static void
print_amount(FILE *f, uint64_t done, uint64_t total, enum progress_unit unit)
{
	const double mib = 1024.0 * 1024.0;

	if (unit == PROGRESS_BYTES)
		fprintf(f, "%.1f", (double)done / mib);
	else
		fprintf(f, "%" PRIu64, done);
	if (total > 0 && unit == PROGRESS_BYTES)
		fprintf(f, " of %.1f", (double)total / mib);
	else if (total > 0)
		fprintf(f, " of %" PRIu64, total);
	if (unit == PROGRESS_BYTES)
		fprintf(f, " MiB");
}

static void
print_time_left(FILE *f, const struct progress *p, uint64_t done, uint64_t total, int64_t now)
{
	double speed, left;

	if (total <= done || done <= p->begun_at || now - p->begun_ms < SPEED_AFTER_MS)
		return;
	speed = (double)(done - p->begun_at) / (double)(now - p->begun_ms);
	left = (double)(total - done) / speed / 1000;
	if (left < 90)
		fprintf(f, ", %.0f s left", left + 1);
	else if (left < 5400)
		fprintf(f, ", %.0f min left", left / 60);
	else
		fprintf(f, ", %.0f h left", left / 3600);
}

static void
print_bar(FILE *f, uint64_t done, uint64_t total)
{
	int filled = total > 0 ? (int)((done < total ? (double)done / (double)total : 1) * BAR_WIDTH) : 0;

	fputs("[", f);
	for (int i = 0; i < BAR_WIDTH; i++)
		fputc(i < filled ? '#' : ' ', f);
	fputs("]  ", f);
}

bool
progress_is_screen(int fd)
{
	const char *kind = getenv("TERM");

	return isatty(fd) == 1 && kind != NULL && kind[0] != '\0' && strcmp(kind, "dumb") != 0;
}

/* What is wider would leave a line behind each time. */
static int
columns_left(void)
{
	struct winsize size = { 0 };

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : LINE_MAX_LEN;
}

static void
compose(const struct progress *p, uint64_t done, uint64_t total, enum progress_unit unit, bool bar, int64_t now,
    char line[static LINE_MAX_LEN])
{
	FILE *f = fmemopen(line, LINE_MAX_LEN, "w");

	if (f == NULL)
		return;
	fprintf(f, bar ? "%s  " : "%s: ", p->text);
	if (bar && total > 0)
		print_bar(f, done, total);
	print_amount(f, done, total, unit);
	print_time_left(f, p, done, total, now);
	fclose(f);
	line[LINE_MAX_LEN - 1] = '\0';
}

void
progress_show(struct progress *p, const char *text, uint64_t done, uint64_t total, enum progress_unit unit)
{
	bool news = strncmp(text, p->text, sizeof(p->text) - 1) != 0;
	bool terminal = progress_is_screen(STDERR_FILENO);
	char line[LINE_MAX_LEN] = "";
	int columns;
	int64_t now = clock_ms(CLOCK_MONOTONIC);

	if (news) {
		snprintf(p->text, sizeof(p->text), "%s", text);
		p->begun_ms = now;
		p->begun_at = done;
	}
	if (!terminal && p->shown_ms == 0)
		p->shown_ms = now;
	if (now - p->shown_ms < (terminal ? (news ? 0 : BAR_INTERVAL_MS) : LINE_INTERVAL_MS))
		return;
	p->shown_ms = now;
	columns = columns_left();
	compose(p, done, total, unit, terminal && columns >= BAR_COLUMNS_MIN, now, line);
	if (terminal)
		fprintf(stderr, "\r%.*s\033[K", columns, line);
	else
		fprintf(stderr, "%s\n", line);
	fflush(stderr);
	p->on_line = terminal;
}

void
progress_end(struct progress *p)
{
	if (p->on_line)
		fputs("\r\033[K", stderr);
	*p = (struct progress){ 0 };
}
