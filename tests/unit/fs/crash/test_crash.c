/*
 * Power cuts.  A seeded workload runs on a vault while everything that the engine does to its disk is recorded; then disks are
 * built as they can be after a cut at thousands of moments, and each is opened: it must be a prefix of history that holds
 * everything that was fsynced.  The same with kill -9, and with a recording that was tampered with, which must show.
 *
 * SNUGFS_CRASH_SEEDS, SNUGFS_CRASH_FIRST (the first of them) and SNUGFS_CRASH_CUTS (per seed) ask for more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "place.h"
#include "secmem.h"
#include "verify.h"

#define STEPS 160

/* A workload on a new vault, recorded.  full: it begins with little room left in the first segment. */
static void
record(struct work *w, struct tape *t, uint64_t seed, unsigned steps, bool full)
{
	char dir[PLACE_LEN];

	place_path("live", dir);
	place_empty("live");
	work_begin(w, dir, seed);
	if (full)
		work_fill_segment(w, 300000);
	work_record(w, t);
	for (unsigned k = 0; k < steps; k++)
		assert_int_equal(work_step(w), 0);
	assert_true(work_is_as_expected(w));
	tape_switch(NULL);
}

static void
forget(struct work *w, struct tape *t)
{
	tape_clear(t);
	work_end(w);
}

static enum verify_depth
choose_depth(struct rng *r)
{
	return rng_chance(r, 85) ? VERIFY_READ : rng_chance(r, 60) ? VERIFY_SETTLE : VERIFY_AGAIN;
}

/* Goes through the tape once, with `cuts` cuts; how many of them broke the promise.  tells: of each; otherwise one is enough. */
static unsigned
cut_tape(const struct work *w, const struct tape *t, enum cut_model model, uint64_t seed, unsigned cuts, bool tells)
{
	struct disk *d = disk_new(t, model, seed);
	struct rng r = {seed};
	unsigned broken = 0;
	size_t at = 0;
	char dir[PLACE_LEN];

	place_path("cut", dir);
	for (unsigned k = 0; k < cuts && (tells || !broken); k++) {
		size_t next = choose_cut(t, &r, t->count * k / cuts, t->count * (k + 1) / cuts);
		enum verify_depth depth = choose_depth(&r);
		struct verdict v;

		at = next > at ? next : at;
		v = cut_and_verify(d, t, at, dir, w->versions, tells ? depth : VERIFY_READ, rng_next(&r));
		if (v.ok)
			continue;
		broken++;
		if (tells)
			print_error("seed %llu, model %d, cut %u before entry %zu of %zu: %s\n", (unsigned long long)seed,
			    (int)model, k, at, t->count, v.what);
	}
	disk_free(d);
	return broken;
}

static size_t
count_kind(const struct tape *t, enum tape_kind kind)
{
	size_t count = 0;

	for (size_t k = 0; k < t->count; k++)
		count += t->v[k].kind == kind;
	return count;
}

static void
after_a_power_cut_the_vault_is_a_prefix_of_history_with_all_that_was_fsynced(void **state)
{
	unsigned first = place_setting("SNUGFS_CRASH_FIRST", 1), seeds = place_setting("SNUGFS_CRASH_SEEDS", 8);
	unsigned cuts = place_setting("SNUGFS_CRASH_CUTS", 100);
	unsigned broken = 0;
	size_t entries = 0, rooms = 0;

	(void)state;
	for (unsigned seed = first; seed < first + seeds; seed++) {
		struct work w;
		struct tape t;

		record(&w, &t, seed, STEPS, seed % 2 == 0);
		broken += cut_tape(&w, &t, CUT_ORDERED, seed, cuts, true);
		broken += cut_tape(&w, &t, CUT_HARSH, seed, cuts, true);
		entries += t.count;
		rooms += count_kind(&t, TAPE_ALLOCATE);
		forget(&w, &t);
	}
	print_message("%u cuts of %u workloads with %zu disk operations, %zu of which made room ahead\n", 2 * seeds * cuts, seeds, entries,
	    rooms);
	assert_int_equal(broken, 0);
	assert_true(rooms > 0);
}

static void
killed_at_any_write_it_is_a_prefix_of_history_with_all_that_was_fsynced(void **state)
{
	unsigned first = 100 + place_setting("SNUGFS_CRASH_FIRST", 1);
	unsigned broken = 0;
	char dir[PLACE_LEN];

	(void)state;
	place_path("cut", dir);
	for (unsigned seed = first; seed < first + 2; seed++) {
		struct work w;
		struct tape t;

		record(&w, &t, seed, STEPS, seed % 2 == 0);

		struct disk *d = disk_new(&t, CUT_KILL, seed);

		for (size_t at = 0; at <= t.count; at++) {
			struct verdict v = cut_and_verify(d, &t, at, dir, w.versions,
			    at % 16 ? VERIFY_READ : VERIFY_SETTLE, at);

			if (v.ok)
				continue;
			broken++;
			print_error("seed %u, killed before entry %zu of %zu: %s\n", seed, at, t.count, v.what);
		}
		disk_free(d);
		forget(&w, &t);
	}
	assert_int_equal(broken, 0);
}

static void
commits_of_the_background_thread_cut_history_between_operations(void **state)
{
	unsigned first = 200 + place_setting("SNUGFS_CRASH_FIRST", 1), cuts = place_setting("SNUGFS_CRASH_CUTS", 100);
	unsigned broken = 0;

	(void)state;
	for (unsigned seed = first; seed < first + 3; seed++) {
		struct work w;
		struct tape t;
		char dir[PLACE_LEN];

		place_path("live", dir);
		place_empty("live");
		work_begin(&w, dir, seed);
		w.in_background = true;
		assert_int_equal(meta_start(w.vault->meta, 1), 0);
		work_record(&w, &t);
		t.dawdles = true;
		for (unsigned k = 0; k < 2 * STEPS; k++)
			assert_int_equal(work_step(&w), 0);
		assert_int_equal(work_fsync(&w), 0);
		assert_int_equal(meta_stop(w.vault->meta), 0);
		assert_true(work_is_as_expected(&w));
		tape_switch(NULL);
		broken += cut_tape(&w, &t, CUT_ORDERED, seed, cuts, true);
		broken += cut_tape(&w, &t, CUT_HARSH, seed, cuts, true);
		forget(&w, &t);
	}
	assert_int_equal(broken, 0);
}

/* Does this test notice?  Recordings that were tampered with, as if the engine did not do what it must. */

static bool
is_of(const struct tape *t, const struct tape_entry *e, const char *path)
{
	return strncmp(t->names[e->name].path, path, strlen(path)) == 0;
}

static void
drop_flushes_of(struct tape *t, const char *path)
{
	for (size_t k = 0; k < t->count; k++)
		if (t->v[k].kind == TAPE_FLUSH && is_of(t, &t->v[k], path))
			t->v[k].kind = TAPE_NOTHING;
}

static void
drop_flushes_of_data(struct tape *t)
{
	drop_flushes_of(t, "segments/");
}

static void
drop_flushes_of_the_log(struct tape *t)
{
	drop_flushes_of(t, "meta.db-wal");
}

static void
drop_flushes_of_the_journal(struct tape *t)
{
	drop_flushes_of(t, "meta.db.journal");
}

static void
drop_flushes_of_folders(struct tape *t)
{
	for (size_t k = 0; k < t->count; k++)
		if (t->v[k].kind == TAPE_FLUSH_DIR)
			t->v[k].kind = TAPE_NOTHING;
}

/* Moves entry `from` to behind or before others, with the moment's promises staying where they were. */
static void
move_entry(struct tape *t, size_t from, size_t to)
{
	struct tape_entry moved = t->v[from];
	int step = to > from ? 1 : -1;

	for (size_t k = from; k != to; k += (size_t)step) {
		struct tape_entry *e = &t->v[k], *next = &t->v[k + (size_t)step];
		uint32_t durable = e->durable, latest = e->latest;

		*e = *next;
		e->durable = durable;
		e->latest = latest;
	}
	moved.durable = t->v[to].durable;
	moved.latest = t->v[to].latest;
	t->v[to] = moved;
}

/* The next (step 1) or last (step -1) flush of the log from entry k on; k if there is none. */
static size_t
flush_of_log(const struct tape *t, size_t k, int step)
{
	for (size_t at = k; at < t->count; at += (size_t)step)
		if (t->v[at].kind == TAPE_FLUSH && is_of(t, &t->v[at], "meta.db-wal"))
			return at;
	return k;
}

static void
flush_data_after_the_commit(struct tape *t)
{
	for (size_t k = t->count; k-- > 0;)
		if (t->v[k].kind == TAPE_FLUSH && is_of(t, &t->v[k], "segments/"))
			move_entry(t, k, flush_of_log(t, k, 1));
}

/* As if it was punched as soon as nothing in memory pointed at it any more. */
static void
give_back_space_before_the_commit(struct tape *t)
{
	for (size_t k = 0; k < t->count; k++) {
		size_t commit = flush_of_log(t, k, -1);
		size_t before = commit > 0 ? flush_of_log(t, commit - 1, -1) : commit;

		if (t->v[k].kind == TAPE_PUNCH && before < commit)
			move_entry(t, k, before + 1);
	}
}

/* As if what is on its way was forgotten when room is given back. */
static void
cut_too_much(struct tape *t)
{
	for (size_t k = 0; k < t->count; k++)
		if (t->v[k].kind == TAPE_TRUNCATE && is_of(t, &t->v[k], "segments/"))
			t->v[k].len /= 2;
}

/* One thread made the recording: each flush covers all that is before it, wherever that is now. */
static void
cover_what_is_before(struct tape *t)
{
	for (size_t k = 0; k < t->count; k++)
		if (t->v[k].kind == TAPE_FLUSH || t->v[k].kind == TAPE_FLUSH_DIR)
			t->v[k].upto = k;
}

/* Workloads like those that pass when nobody tampers. */
static bool
breaks(void (*tamper)(struct tape *t), enum cut_model model)
{
	unsigned broken = 0;

	place_hush(); /* the engine complains, and rightly so */
	for (unsigned seed = 1; seed <= 8 && !broken; seed++) {
		struct work w;
		struct tape t;

		record(&w, &t, seed, STEPS, false);
		tamper(&t);
		cover_what_is_before(&t);
		broken += cut_tape(&w, &t, model, seed, (unsigned)t.count, false);
		forget(&w, &t);
	}
	place_speak();
	return broken != 0;
}

static void
the_test_notices_what_would_lose_data(void **state)
{
	(void)state;
	assert_true(breaks(drop_flushes_of_data, CUT_ORDERED));
	assert_true(breaks(drop_flushes_of_the_log, CUT_ORDERED));
	assert_true(breaks(drop_flushes_of_the_journal, CUT_ORDERED));
	assert_true(breaks(drop_flushes_of_folders, CUT_HARSH));
	assert_true(breaks(flush_data_after_the_commit, CUT_ORDERED));
	assert_true(breaks(give_back_space_before_the_commit, CUT_ORDERED));
	assert_true(breaks(cut_too_much, CUT_ORDERED));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_power_cut_the_vault_is_a_prefix_of_history_with_all_that_was_fsynced),
		cmocka_unit_test(killed_at_any_write_it_is_a_prefix_of_history_with_all_that_was_fsynced),
		cmocka_unit_test(commits_of_the_background_thread_cut_history_between_operations),
		cmocka_unit_test(the_test_notices_what_would_lose_data),
	};
	int failed;

	assert_int_equal(secmem_init(), 0);
	place_make();
	tape_install();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_remove();
	return failed;
}
