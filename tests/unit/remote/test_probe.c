/* The probe, on a directory, and on one that misbehaves as it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"
#include "store_dir.h"
#include "store_fault.h"

#include "../tempdir.h"

struct fixture {
	char path[80];
	struct store *store;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store *dir = NULL;

	assert_non_null(f);
	strcpy(f->path, "/tmp/probe.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	assert_int_equal(store_dir_open(f->path, true, &dir, NULL), 0);
	assert_int_equal(store_fault_new(dir, 1, &f->store), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	tempdir_remove(f->path);
	free(f);
	return 0;
}

static err_t count_one(void *ctx, const char *name, uint64_t size)
{
	unsigned *count = ctx;

	(void)name;
	(void)size;
	++*count;
	return 0;
}

static void run_with(struct fixture *f, enum store_fault_kind kind, unsigned ops, err_t error, struct probe_report *out)
{
	const struct store_fault_rule rule = {.kind = kind, .ops = ops, .error = error};

	assert_int_equal(store_fault_set(f->store, &rule, 1), 0);
	assert_int_equal(probe_run(f->store, out), 0);
	for (enum probe_item i = 0; i < PROBE_ITEM_COUNT; i++) {
		const struct probe_finding *found = &out->findings[i];

		assert_int_equal(found->sentence[0] != '\0', found->verdict != PROBE_SKIPPED);
		assert_int_equal(found->err != 0, found->verdict == PROBE_BAD);
		assert_non_null(probe_item_name(i));
	}
}

static void a_sound_store_is_good_in_everything_and_is_left_empty(void **state)
{
	struct fixture *f = *state;
	struct probe_report report;
	unsigned count = 0;

	run_with(f, STORE_FAULT_NONE, 0, 0, &report);
	for (enum probe_item i = 0; i < PROBE_ITEM_COUNT; i++)
		assert_int_equal(report.findings[i].verdict, i == PROBE_CLOCK ? PROBE_SKIPPED : PROBE_GOOD);
	assert_true(report.round_trip_us > 0 && report.up_bytes_per_s > 0 && report.down_bytes_per_s > 0);
	assert_int_equal(store_list(f->store, "", count_one, &count), 0);
	assert_int_equal(count, 0);
}

static void a_store_that_is_away_is_not_asked_for_more(void **state)
{
	struct fixture *f = *state;
	struct probe_report report;

	run_with(f, STORE_FAULT_BEFORE, STORE_OP_ALL, -EAGAIN, &report);
	assert_int_equal(report.findings[PROBE_REACHABLE].verdict, PROBE_BAD);
	for (enum probe_item i = PROBE_REACHABLE + 1; i < PROBE_ITEM_COUNT; i++)
		assert_int_equal(report.findings[i].verdict, PROBE_SKIPPED);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_PUT | STORE_OP_CREATE), 0);
}

static void refused_keys_are_told_from_an_unreachable_store(void **state)
{
	struct fixture *f = *state;
	struct probe_report report;

	run_with(f, STORE_FAULT_BEFORE, STORE_OP_ALL, -EACCES, &report);
	assert_int_equal(report.findings[PROBE_REACHABLE].verdict, PROBE_GOOD);
	assert_int_equal(report.findings[PROBE_CREDENTIALS].verdict, PROBE_BAD);
	assert_int_equal(report.findings[PROBE_CREDENTIALS].err, -EACCES);
	assert_non_null(strstr(report.findings[PROBE_CREDENTIALS].sentence, f->store->url));
}

static void each_missing_right_is_named(void **state)
{
	static const struct {
		unsigned op;
		enum probe_item item;
	} cases[] = {
		{STORE_OP_PUT, PROBE_WRITE}, {STORE_OP_GET, PROBE_READ}, {STORE_OP_GET_RANGE, PROBE_READ},
		{STORE_OP_LIST, PROBE_LIST}, {STORE_OP_REMOVE, PROBE_DELETE}, {STORE_OP_CREATE, PROBE_CONDITIONAL},
	};
	struct fixture *f = *state;
	struct probe_report report;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		run_with(f, STORE_FAULT_BEFORE, cases[i].op, -EACCES, &report);
		assert_int_equal(report.findings[PROBE_CREDENTIALS].verdict, PROBE_GOOD);
		assert_int_equal(report.findings[cases[i].item].verdict, PROBE_BAD);
		assert_int_equal(report.findings[cases[i].item].err, -EACCES);
	}
}

static void a_store_without_conditional_creates_is_found_out(void **state)
{
	struct fixture *f = *state;
	struct probe_report report;

	run_with(f, STORE_FAULT_BEFORE, STORE_OP_CREATE, -ENOTSUP, &report);
	assert_int_equal(report.findings[PROBE_CONDITIONAL].err, -ENOTSUP);
	assert_int_equal(report.findings[PROBE_DELETE].verdict, PROBE_GOOD);
	/* One that says yes to all of them. */
	run_with(f, STORE_FAULT_VANISH, STORE_OP_CREATE, 0, &report);
	assert_int_equal(report.findings[PROBE_CONDITIONAL].err, -ENOTSUP);
}

static void a_store_that_gives_back_other_bytes_is_found_out(void **state)
{
	struct fixture *f = *state;
	struct probe_report report;

	run_with(f, STORE_FAULT_FLIP, STORE_OP_GET, 0, &report);
	assert_int_equal(report.findings[PROBE_READ].err, -EBADMSG);
	run_with(f, STORE_FAULT_FLIP, STORE_OP_GET_RANGE, 0, &report);
	assert_int_equal(report.findings[PROBE_READ].err, -EBADMSG);
}

static void a_canceled_probe_says_so(void **state)
{
	struct fixture *f = *state;
	struct probe_report report = {.skew_s = 77};
	const struct store_fault_rule rule = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT, .error = -ECANCELED};

	assert_int_equal(store_fault_set(f->store, &rule, 1), 0);
	assert_int_equal(probe_run(f->store, &report), -ECANCELED);
	assert_int_equal(report.skew_s, 77);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_sound_store_is_good_in_everything_and_is_left_empty),
		T(a_store_that_is_away_is_not_asked_for_more),
		T(refused_keys_are_told_from_an_unreachable_store),
		T(each_missing_right_is_named),
		T(a_store_without_conditional_creates_is_found_out),
		T(a_store_that_gives_back_other_bytes_is_found_out),
		T(a_canceled_probe_says_so),
	};

	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
