/* probe.c: one step after the other, each with its sentence; a step whose ground is missing is skipped. */
#include "probe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "race.h"
#include "random.h"

#define NAME_LEN 40
#define ROUND_TRIPS 5
#define RACERS 8
#define BULK_LEN (8u << 20)
#define SKEW_MAX_S 300 /* beyond it services refuse signatures after 15 minutes, and backups look odd before */
#define OBJECT "a small object that was read back"

struct probe {
	struct store *store;
	struct probe_report *report;
	char name[NAME_LEN]; /* of the object that is written, read and deleted */
	err_t fatal;
};

static uint64_t now_us(void)
{
	return (uint64_t)clock_ns(CLOCK_MONOTONIC) / 1000;
}

const char *probe_item_name(enum probe_item item)
{
	static const char *const names[PROBE_ITEM_COUNT] = {
		[PROBE_REACHABLE] = "reachable", [PROBE_CREDENTIALS] = "credentials", [PROBE_READ] = "read",
		[PROBE_WRITE] = "write", [PROBE_LIST] = "list", [PROBE_CONDITIONAL] = "conditional-create",
		[PROBE_DELETE] = "delete", [PROBE_CLOCK] = "clock", [PROBE_ROUND_TRIP] = "round-trip",
		[PROBE_THROUGHPUT] = "throughput",
	};

	return names[item];
}

/* Looks like a segment's, so that gc removes what a crash leaves. */
static err_t draw_name(char out[static NAME_LEN])
{
	uint64_t drawn[2];
	err_t err = random_bytes(drawn, sizeof(drawn));

	if (err)
		return err;
	(void)snprintf(out, NAME_LEN, "s/%02" PRIx64 "/%016" PRIx64 "%016" PRIx64, drawn[0] >> 56, drawn[0], drawn[1]);
	return 0;
}

/* ---- findings ---- */

__attribute__((format(printf, 3, 4))) static void say_good(struct probe *p, enum probe_item item, const char *fmt, ...)
{
	struct probe_finding *f = &p->report->findings[item];
	va_list args;

	f->verdict = PROBE_GOOD;
	va_start(args, fmt);
	(void)vsnprintf(f->sentence, sizeof(f->sentence), fmt, args);
	va_end(args);
}

/* what: the consequence, before the cause. */
static void say_bad(struct probe *p, enum probe_item item, err_t err, const char *what)
{
	struct probe_finding *f = &p->report->findings[item];
	char cause[300];

	if (err == -ENOMEM || err == -ECANCELED)
		p->fatal = err;
	store_explain(p->store, err, cause, sizeof(cause));
	f->verdict = PROBE_BAD;
	f->err = err;
	(void)snprintf(f->sentence, sizeof(f->sentence), "%s: %s", what, cause);
}

static bool is_good(const struct probe *p, enum probe_item item)
{
	return p->report->findings[item].verdict == PROBE_GOOD;
}

/* ---- the steps ---- */

/* Asks for what is not there: an answer to that needs a connection, the keys, and the right to read. */
static void try_to_read(struct probe *p)
{
	uint64_t size;
	err_t err = store_size(p->store, p->name, &size);

	if (err == -EAGAIN || err == -EIO || err == -EBADMSG) {
		say_bad(p, PROBE_REACHABLE, err, "the store does not answer as it should");
		return;
	}
	say_good(p, PROBE_REACHABLE, "the store answers");
	if (err != 0 && err != -ENOENT) {
		say_bad(p, PROBE_CREDENTIALS, err, "the store does not let this computer in");
		return;
	}
	say_good(p, PROBE_CREDENTIALS, "the store accepts the credentials");
}

static void try_to_write(struct probe *p)
{
	err_t err = store_put(p->store, p->name, (const uint8_t *)OBJECT, strlen(OBJECT));

	if (err)
		say_bad(p, PROBE_WRITE, err, "objects cannot be written");
	else
		say_good(p, PROBE_WRITE, "objects can be written");
}

static void try_to_read_back(struct probe *p)
{
	CLEANUP(bytes_clear) struct bytes got = {0};
	err_t err = store_get(p->store, p->name, strlen(OBJECT), &got);

	if (err == 0 && (got.len != strlen(OBJECT) || memcmp(got.data, OBJECT, got.len) != 0))
		err = -EBADMSG;
	bytes_reset(&got);
	if (err == 0)
		err = store_get_range(p->store, p->name, 2, 5, &got);
	if (err == 0 && memcmp(got.data, &OBJECT[2], 5) != 0)
		err = -EBADMSG;
	if (err)
		say_bad(p, PROBE_READ, err, "objects cannot be read");
	else
		say_good(p, PROBE_READ, "objects can be read, whole and in parts");
}

struct search {
	const char *name;
	bool found;
};

static err_t look(void *ctx, const char *name, uint64_t size)
{
	struct search *search = ctx;

	search->found = search->found || (strcmp(name, search->name) == 0 && size == strlen(OBJECT));
	return 0;
}

/* Some listings lag behind; nothing depends on that. */
static void try_to_list(struct probe *p)
{
	struct search search = {.name = p->name};
	err_t err = store_list(p->store, p->name, look, &search);

	if (err)
		say_bad(p, PROBE_LIST, err, "objects cannot be listed, so that no other computer can join");
	else
		say_good(p, PROBE_LIST, search.found ? "objects can be listed" :
		    "objects can be listed; the list lags behind, which does no harm");
}

static void try_to_delete(struct probe *p)
{
	uint64_t size;
	err_t err = store_remove(p->store, p->name);

	if (err == 0)
		err = store_size(p->store, p->name, &size);
	if (err == -ENOENT)
		say_good(p, PROBE_DELETE, "objects can be deleted");
	else
		say_bad(p, PROBE_DELETE, err ? err : -EBADMSG, "objects cannot be deleted, so that the store only grows");
}

static void try_a_race(struct probe *p)
{
	char name[NAME_LEN];
	err_t err = draw_name(name);

	if (err) {
		p->fatal = err;
		return;
	}
	err = race_run(p->store, name, RACERS);
	if (err == 0)
		say_good(p, PROBE_CONDITIONAL, "of %d that created one object at once just one won, so several computers can share "
		    "the store", RACERS);
	else
		say_bad(p, PROBE_CONDITIONAL, err, "only one computer can use the store");
}

static void look_at_clock(struct probe *p)
{
	int64_t skew;

	if (store_clock_skew(p->store, &skew) != 0)
		return;
	p->report->skew_s = skew;
	if (skew > -SKEW_MAX_S && skew < SKEW_MAX_S) {
		say_good(p, PROBE_CLOCK, "the clocks agree to %" PRId64 " s", skew < 0 ? -skew : skew);
		return;
	}
	p->report->findings[PROBE_CLOCK] = (struct probe_finding){.verdict = PROBE_BAD, .err = -EINVAL};
	(void)snprintf(p->report->findings[PROBE_CLOCK].sentence, sizeof(p->report->findings[PROBE_CLOCK].sentence),
	    "this computer's clock is %" PRId64 " s %s that of the store; set it", skew < 0 ? -skew : skew,
	    skew < 0 ? "ahead of" : "behind");
}

static void measure_round_trip(struct probe *p)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < ROUND_TRIPS; i++) {
		uint64_t begun = now_us();
		uint64_t size;
		uint64_t took;

		if (store_size(p->store, p->name, &size) != -ENOENT)
			return;
		took = now_us() - begun;
		best = took < best ? took : best;
	}
	p->report->round_trip_us = best > 0 ? best : 1;
	say_good(p, PROBE_ROUND_TRIP, "a request takes %.1f ms", (double)best / 1000);
}

static uint64_t per_second(uint64_t bytes, uint64_t us)
{
	return bytes * 1000000 / (us > 0 ? us : 1);
}

static err_t move_bulk(struct probe *p, const char *name, const uint8_t *data)
{
	CLEANUP(bytes_clear) struct bytes got = {0};
	uint64_t begun = now_us();
	uint64_t written;
	err_t err = store_put(p->store, name, data, BULK_LEN);

	if (err)
		return err;
	written = now_us();
	err = store_get(p->store, name, BULK_LEN, &got);
	if (err)
		return err;
	p->report->up_bytes_per_s = per_second(BULK_LEN, written - begun);
	p->report->down_bytes_per_s = per_second(BULK_LEN, now_us() - written);
	return got.len == BULK_LEN && memcmp(got.data, data, BULK_LEN) == 0 ? 0 : -EBADMSG;
}

static void measure_throughput(struct probe *p)
{
	CLEANUP(free_ptr) uint8_t *data = malloc(BULK_LEN);
	const double mib = 1024.0 * 1024.0;
	char name[NAME_LEN];
	err_t removed;
	err_t err = data ? draw_name(name) : -ENOMEM;

	/* Random, so that nothing on the way can make it smaller. */
	if (err == 0)
		err = random_bytes(data, BULK_LEN);
	if (err) {
		p->fatal = err;
		return;
	}
	err = move_bulk(p, name, data);
	removed = store_remove(p->store, name);
	(void)removed; /* if it is still there, gc will find it */
	if (err)
		say_bad(p, PROBE_THROUGHPUT, err, "a large object does not get there and back");
	else
		say_good(p, PROBE_THROUGHPUT, "one transfer alone goes up at %.1f MiB/s and down at %.1f MiB/s",
		    (double)p->report->up_bytes_per_s / mib, (double)p->report->down_bytes_per_s / mib);
}

static void run_steps(struct probe *p)
{
	try_to_read(p);
	look_at_clock(p);
	if (!is_good(p, PROBE_CREDENTIALS))
		return;
	measure_round_trip(p);
	try_to_write(p);
	if (!is_good(p, PROBE_WRITE))
		return;
	try_to_read_back(p);
	try_to_list(p);
	try_a_race(p);
	try_to_delete(p);
	if (is_good(p, PROBE_READ))
		measure_throughput(p);
}

err_t probe_run(struct store *s, struct probe_report *out)
{
	struct probe_report report = {0};
	struct probe p = {.store = s, .report = &report};
	err_t err = draw_name(p.name);

	if (err)
		return err;
	run_steps(&p);
	if (p.fatal)
		return p.fatal;
	*out = report;
	return 0;
}
