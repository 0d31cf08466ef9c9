/* progress.c: bars and lines. */
#include "clock.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_INTERVAL_MS 100
#define LINE_INTERVAL_MS 10000
#define BAR_WIDTH 24
/* Before that the speed says nothing. */
#define SPEED_AFTER_MS 2000

static void
print_amount(uint64_t done, uint64_t total, enum progress_unit unit)
{
	const double mib = 1024.0 * 1024.0;

	if (unit == PROGRESS_BYTES)
		fprintf(stderr, "%.1f", (double)done / mib);
	else
		fprintf(stderr, "%" PRIu64, done);
	if (total > 0 && unit == PROGRESS_BYTES)
		fprintf(stderr, " of %.1f", (double)total / mib);
	else if (total > 0)
		fprintf(stderr, " of %" PRIu64, total);
	if (unit == PROGRESS_BYTES)
		fprintf(stderr, " MiB");
}

static void
print_time_left(const struct progress *p, uint64_t done, uint64_t total, int64_t now)
{
	double speed, left;

	if (total <= done || done <= p->begun_at || now - p->begun_ms < SPEED_AFTER_MS)
		return;
	speed = (double)(done - p->begun_at) / (double)(now - p->begun_ms);
	left = (double)(total - done) / speed / 1000;
	if (left < 90)
		fprintf(stderr, ", %.0f s left", left + 1);
	else if (left < 5400)
		fprintf(stderr, ", %.0f min left", left / 60);
	else
		fprintf(stderr, ", %.0f h left", left / 3600);
}

static void
print_bar(uint64_t done, uint64_t total)
{
	int filled = total > 0 ? (int)((done < total ? (double)done / (double)total : 1) * BAR_WIDTH) : 0;

	fputs("[", stderr);
	for (int i = 0; i < BAR_WIDTH; i++)
		fputc(i < filled ? '#' : ' ', stderr);
	fputs("]  ", stderr);
}

void
progress_show(struct progress *p, const char *text, uint64_t done, uint64_t total, enum progress_unit unit)
{
	bool news = strncmp(text, p->text, sizeof(p->text) - 1) != 0;
	bool terminal = isatty(STDERR_FILENO) == 1;
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
	fprintf(stderr, terminal ? "\r%s  " : "%s: ", text);
	if (terminal && total > 0)
		print_bar(done, total);
	print_amount(done, total, unit);
	print_time_left(p, done, total, now);
	fputs(terminal ? "\033[K" : "\n", stderr);
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
