/*
 * Disks that can't be read: one read, or all from some moment on, or some again and again.  Whatever needs the read says so and
 * changes nothing; what was read before, or needs no reading, goes on; nothing that was fsynced is lost; and when the disk can
 * be read again, all is there.
 *
 * An ordinary run takes every third read; SNUGFS_CRASH_STRIDE=1 takes all, SNUGFS_CRASH_SEEDS and SNUGFS_CRASH_FIRST other workloads.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "fault.h"
#include "place.h"
#include "secmem.h"

#define STEPS_BEFORE 60
#define STRIDE 3

/* A test that failed has left its tape running. */
static int
setup(void **state)
{
	(void)state;
	tape_switch(NULL);
	return 0;
}

/* A vault with much in it, just opened: nothing of it is in memory yet. */
static void
begin(struct work *w, struct tape *t, uint64_t seed)
{
	char dir[PLACE_LEN];

	place_path("live", dir);
	place_empty("live");
	work_begin(w, dir, seed);
	for (unsigned k = 0; k < STEPS_BEFORE; k++)
		assert_int_equal(work_step(w), 0);
	assert_int_equal(work_close(w), 0);
	tape_begin(t, w->dir);
	w->tape = t;
	tape_note(t, w->durable, w->durable);
	tape_fail_reads(t, true);
	assert_int_equal(work_open(w), 0);
	w->stays_open = true;
}

static void
end(struct work *w, struct tape *t, const struct fault *f)
{
	tape_fail(t, 0, 0, 0);
	fault_must_show(w, f, "when it could be read again");
	fault_cut(w, f, "in a power cut");
	fault_go_on(w, f);
	tape_clear(t);
	work_end(w);
}

/* false: the workload has not that many reads. */
static bool
work_with_fault(const struct fault *f)
{
	struct work w;
	struct tape t;
	bool reached;

	begin(&w, &t, f->seed);
	tape_fail(&t, f->step, f->count, f->err);
	(void)fault_work(&w, f);
	reached = t.steps > t.fail_from;
	end(&w, &t, f);
	return reached;
}

static void
fail_at_every_read(uint64_t count)
{
	unsigned first = place_setting("SNUGFS_CRASH_FIRST", 1), seeds = place_setting("SNUGFS_CRASH_SEEDS", 1);
	unsigned stride = place_setting("SNUGFS_CRASH_STRIDE", STRIDE);
	uint64_t steps = 0;

	place_hush();
	for (unsigned seed = first; seed < first + seeds; seed++) {
		struct fault f = {seed, count == 1 ? 0 : stride / 2, count, -EIO};

		while (work_with_fault(&f))
			f.step += stride;
		steps += f.step;
	}
	place_speak();
	print_message("%llu reads\n", (unsigned long long)steps);
	assert_true(steps > 20);
}

static void
one_read_that_fails_costs_what_needs_it_alone(void **state)
{
	(void)state;
	fail_at_every_read(1);
}

static void
a_disk_that_can_not_be_read_from_some_moment_on_loses_nothing(void **state)
{
	(void)state;
	fail_at_every_read(UINT64_MAX);
}

static void
a_disk_that_can_not_be_read_now_and_then_loses_nothing(void **state)
{
	unsigned first = place_setting("SNUGFS_CRASH_FIRST", 1), seeds = 10 * place_setting("SNUGFS_CRASH_SEEDS", 1);

	(void)state;
	place_hush();
	for (unsigned seed = first; seed < first + seeds; seed++) {
		struct fault f = {2000 + seed, seed, 0, -EIO};
		struct work w;
		struct tape t;

		begin(&w, &t, f.seed);
		for (unsigned round = 0; round < 3; round++) {
			tape_fail_often(&t, 5 + 20 * round, seed, f.err);
			(void)fault_work(&w, &f);
		}
		end(&w, &t, &f);
	}
	place_speak();
}

/* Opens it with read `step` and all after it failing (or that one alone); false: there are not that many. */
static bool
open_with_fault(const struct work *w, const struct tape *t, uint64_t step, uint64_t count)
{
	struct fault f = {0, step, count, -EIO};
	struct disk *d = disk_new(t, CUT_ORDERED, step);
	struct vault *v = NULL;
	struct tape inner;
	char dir[PLACE_LEN];
	bool reached;
	err_t e;

	place_path("cut", dir);
	disk_advance(d, t->count);
	disk_build(d, dir);
	tape_begin(&inner, dir);
	tape_fail_reads(&inner, true);
	tape_fail(&inner, step, count, f.err);
	e = vault_open(dir, &WORK_PLAIN, &v);
	if (!e)
		e = vault_close(v);
	if (e && e != f.err)
		FAULT_FAIL("opening failed with %d instead of %d at read %llu", e, f.err, (unsigned long long)step);
	reached = inner.steps > inner.fail_from;
	tape_clear(&inner);
	fault_must_hold(verify(dir, w->versions, t->durable, t->latest, VERIFY_READ, 1), &f, "opened when it could be read again");
	disk_free(d);
	return reached;
}

static void
a_vault_can_be_opened_once_the_disk_can_be_read_again(void **state)
{
	struct work w;
	struct tape t;
	char dir[PLACE_LEN];
	uint64_t step = 0;

	(void)state;
	place_hush();
	place_path("live", dir);
	place_empty("live");
	work_begin(&w, dir, 7);
	work_record(&w, &t);
	for (unsigned k = 0; k < 80; k++)
		assert_int_equal(work_step(&w), 0);
	tape_switch(NULL);
	while (open_with_fault(&w, &t, step, 1) && open_with_fault(&w, &t, step, UINT64_MAX))
		step++;
	assert_true(step > 10);
	tape_clear(&t);
	work_end(&w);
	place_speak();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
		T(one_read_that_fails_costs_what_needs_it_alone),
		T(a_disk_that_can_not_be_read_from_some_moment_on_loses_nothing),
		T(a_disk_that_can_not_be_read_now_and_then_loses_nothing),
		T(a_vault_can_be_opened_once_the_disk_can_be_read_again),
	};
	int failed;

	assert_int_equal(secmem_init(), 0);
	place_make();
	tape_install();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_remove();
	return failed;
}
