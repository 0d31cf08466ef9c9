/*
 * Power cuts within what goes in steps: long files are cut, removed and made long again, with a commit after each step (steps.h), and the
 * power goes at each write between them.  What is there then must be a prefix of history that holds everything that was fsynced,
 * with nothing left of what was cut off.
 *
 * SNUGFS_CRASH_SEEDS and SNUGFS_CRASH_FIRST ask for more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "place.h"
#include "secmem.h"
#include "steps.h"
#include "verify.h"

#define STEPS 100
#define BEHIND 8 /* so many entries behind a span, where the last step is committed, are looked at, too */

struct scene {
	struct work w;
	struct tape t;
	struct steps_spans spans;
};

static void
record(struct scene *s, uint64_t seed)
{
	struct rng r = {seed};
	char dir[PLACE_LEN];

	*s = (struct scene){.spans = {.v = NULL}};
	place_path("live", dir);
	place_empty("live");
	steps_are_short(true);
	work_begin(&s->w, dir, seed);
	work_record(&s->w, &s->t);
	steps_watch(&s->spans);
	for (unsigned k = 0; k < STEPS; k++) {
		unsigned dice = (unsigned)rng_below(&r, 100);

		assert_int_equal(dice < 20 ? work_scatter(&s->w) : dice < 55 ? work_cut(&s->w) : work_step(&s->w), 0);
	}
	steps_watch(NULL);
	assert_true(work_is_as_expected(&s->w));
	tape_switch(NULL);
}

static void
forget(struct scene *s)
{
	tape_clear(&s->t);
	work_end(&s->w);
	steps_spans_clear(&s->spans);
	steps_are_short(false);
}

static enum verify_depth
choose_depth(struct rng *r)
{
	return rng_chance(r, 80) ? VERIFY_READ : rng_chance(r, 60) ? VERIFY_SETTLE : VERIFY_AGAIN;
}

/* Before each entry of the spans; how many of those broke the promise.  tells: of each; otherwise one is enough. */
static unsigned
cut_spans(const struct scene *s, enum cut_model model, uint64_t seed, bool tells)
{
	struct disk *d = disk_new(&s->t, model, seed);
	struct rng r = {seed};
	unsigned broken = 0;
	size_t done = 0;
	char dir[PLACE_LEN];

	place_path("cut", dir);
	for (size_t k = 0; k < s->spans.count; k++) {
		const struct steps_span *span = &s->spans.v[k];

		for (size_t at = span->from > done ? span->from : done; at <= span->to + BEHIND && at <= s->t.count && (tells || !broken); at++) {
			struct verdict v = cut_and_verify(d, &s->t, at, dir, s->w.versions, choose_depth(&r), rng_next(&r));

			done = at + 1;
			if (v.ok)
				continue;
			broken++;
			if (tells)
				print_error("seed %llu, model %d, before entry %zu of %zu: %s\n", (unsigned long long)seed,
				    (int)model, at, s->t.count, v.what);
		}
	}
	disk_free(d);
	return broken;
}

static void
after_a_power_cut_between_steps_nothing_is_left_of_what_was_cut_off(void **state)
{
	static const enum cut_model MODELS[] = {CUT_ORDERED, CUT_HARSH, CUT_KILL};
	unsigned first = place_setting("SNUGFS_CRASH_FIRST", 1), seeds = place_setting("SNUGFS_CRASH_SEEDS", 4);
	unsigned broken = 0;
	size_t cuts = 0;

	(void)state;
	for (unsigned seed = first; seed < first + seeds; seed++) {
		struct scene s;

		record(&s, seed);
		for (size_t k = 0; k < ARRAY_LEN(MODELS); k++)
			broken += cut_spans(&s, MODELS[k], seed, true);
		cuts += ARRAY_LEN(MODELS) * s.spans.entries;
		forget(&s);
	}
	print_message("%zu cuts between steps of %u workloads\n", cuts, seeds);
	assert_true(cuts > 200 * seeds);
	assert_int_equal(broken, 0);
}

static void
the_test_notices_when_nobody_notes_what_is_being_cut(void **state)
{
	unsigned broken = 0;

	(void)state;
	place_hush();
	for (unsigned seed = 1; seed <= 4 && !broken; seed++) {
		struct scene s;

		steps_are_not_noted(true);
		record(&s, seed);
		steps_are_not_noted(false);
		broken += cut_spans(&s, CUT_KILL, seed, false);
		forget(&s);
	}
	place_speak();
	assert_true(broken);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_power_cut_between_steps_nothing_is_left_of_what_was_cut_off),
		cmocka_unit_test(the_test_notices_when_nobody_notes_what_is_being_cut),
	};
	int failed;

	assert_int_equal(secmem_init(), 0);
	place_make();
	tape_install();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_remove();
	return failed;
}
