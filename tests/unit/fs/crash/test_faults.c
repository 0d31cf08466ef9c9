/*
 * Disks that fail: full or broken at each single write in turn, once or from then on, and read-only.  The operation or the
 * next fsync says so with the right error, what was there stays readable, nothing that was fsynced is lost in a power cut, and once the
 * disk works again everything goes on.
 *
 * An ordinary run takes every third write; SNUGFS_CRASH_STRIDE=1 takes all, SNUGFS_CRASH_SEEDS and SNUGFS_CRASH_FIRST other workloads.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "fault.h"
#include "place.h"
#include "secmem.h"

#define STRIDE 3

/* A test that failed has left its tape running. */
static int
setup(void **state)
{
	(void)state;
	tape_switch(NULL);
	return 0;
}

/* Closing a vault on a disk that is still broken: what was fsynced is there the next time. */
static void
give_up(struct work *w, const struct fault *f)
{
	uint32_t low = w->durable, high = (uint32_t)w->version_count - 1;
	err_t e = work_close(w);

	if (e && e != f->err && e != -EIO)
		FAULT_FAIL("closing failed with %d instead of %d", e, f->err);
	if (!e)
		low = high;
	tape_fail(w->tape, 0, 0, 0);
	tape_switch(NULL);
	fault_must_hold(verify(w->dir, w->versions, low, high, VERIFY_SETTLE, f->step), f, "closed and opened again");
}

/* false: the workload has not that many steps. */
static bool
work_with_fault(const struct fault *f, bool repaired)
{
	struct work w;
	struct tape t;
	char dir[PLACE_LEN];
	bool reached, told;

	place_path("live", dir);
	place_empty("live");
	work_begin(&w, dir, f->seed);
	for (unsigned k = 0; k < 30; k++)
		assert_int_equal(work_step(&w), 0);
	work_record(&w, &t);
	w.stays_open = true;
	tape_fail(&t, f->step, f->count, f->err);
	told = fault_work(&w, f);
	reached = t.steps > t.fail_from;
	if (t.failed && !told)
		FAULT_FAIL("seed %llu, step %llu failed with %d and nobody was told", (unsigned long long)f->seed,
		    (unsigned long long)f->step, f->err);
	if (reached)
		fault_cut(&w, f, "in a power cut");
	if (reached && repaired) {
		tape_fail(&t, 0, 0, 0);
		fault_go_on(&w, f);
	} else if (reached) {
		give_up(&w, f);
	}
	tape_clear(&t);
	work_end(&w);
	return reached;
}

static void
fail_at_every_step(err_t err, uint64_t count)
{
	unsigned first = place_setting("SNUGFS_CRASH_FIRST", 1), seeds = place_setting("SNUGFS_CRASH_SEEDS", 1);
	unsigned stride = place_setting("SNUGFS_CRASH_STRIDE", STRIDE);
	uint64_t steps = 0;

	place_hush(); /* every error is logged */
	for (unsigned seed = first; seed < first + seeds; seed++) {
		struct fault f = {seed, stride > 1 ? (uint64_t)-err % stride : 0, count, err};

		while (work_with_fault(&f, count == 1 || f.step % 2 != 0))
			f.step += stride;
		steps += f.step;
	}
	place_speak();
	print_message("%llu steps\n", (unsigned long long)steps);
	assert_true(steps > 60);
}

static void
a_disk_that_is_full_for_one_write_does_no_harm(void **state)
{
	(void)state;
	fail_at_every_step(-ENOSPC, 1);
}

static void
a_disk_that_fails_one_write_does_no_harm(void **state)
{
	(void)state;
	fail_at_every_step(-EIO, 1);
}

static void
a_disk_that_is_full_from_some_write_on_does_no_harm(void **state)
{
	(void)state;
	fail_at_every_step(-ENOSPC, UINT64_MAX);
}

static void
a_disk_that_is_broken_from_some_write_on_does_no_harm(void **state)
{
	(void)state;
	fail_at_every_step(-EIO, UINT64_MAX);
}

static void
a_disk_that_fails_every_now_and_then_does_no_harm(void **state)
{
	unsigned seeds = 5 * place_setting("SNUGFS_CRASH_SEEDS", 1);

	(void)state;
	place_hush();
	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct fault f = {seed, 0, 0, seed % 2 ? -EIO : -ENOSPC};
		struct work w;
		struct tape t;
		char dir[PLACE_LEN];

		place_path("live", dir);
		place_empty("live");
		work_begin(&w, dir, 1000 + seed);
		work_record(&w, &t);
		w.stays_open = true;
		for (unsigned round = 0; round < 4; round++) {
			tape_fail_often(&t, 2 + 4 * round, seed, f.err);
			(void)fault_work(&w, &f);
			fault_cut(&w, &f, "in a power cut");
			tape_fail(&t, 0, 0, 0);
			fault_must_work(work_fsync(&w), &f, "fsync when it worked");
			fault_must_show(&w, &f, "when it worked");
		}
		fault_go_on(&w, &f);
		tape_clear(&t);
		work_end(&w);
	}
	place_speak();
}

/* Opens what a crash left, with each step failing in turn. */
static void
open_with_fault_at_every_step(struct work *w, const struct tape *t, size_t at, err_t err)
{
	struct disk *d = disk_new(t, CUT_KILL, at);
	struct fault f = {0, 0, UINT64_MAX, err};
	char dir[PLACE_LEN];
	bool reached = true;

	place_path("cut", dir);
	for (; reached; f.step++) {
		struct tape inner;
		struct vault *v = NULL;
		err_t e;

		disk_advance(d, at);
		disk_build(d, dir);
		tape_begin(&inner, dir);
		tape_fail(&inner, f.step, UINT64_MAX, err);
		e = vault_open(dir, &WORK_PLAIN, &v);
		if (!e)
			e = vault_close(v);
		if (e && e != err && e != -EIO)
			FAULT_FAIL("opening failed with %d instead of %d at step %llu", e, err, (unsigned long long)f.step);
		reached = inner.steps > inner.fail_from;
		if (!e && inner.failed && f.step == 0)
			FAULT_FAIL("nothing can be written, and nobody was told");
		tape_clear(&inner);
		fault_must_hold(verify(dir, w->versions, at < t->count ? t->v[at].durable : t->durable,
		    at < t->count ? t->v[at].latest : t->latest, VERIFY_READ, 1), &f, "opened when it worked again");
	}
	disk_free(d);
}

static void
a_vault_can_be_opened_once_the_disk_works_again(void **state)
{
	static const err_t ERRORS[] = {-EIO, -ENOSPC, -EROFS};
	struct work w;
	struct tape t;
	char dir[PLACE_LEN];

	(void)state;
	place_hush();
	place_path("live", dir);
	place_empty("live");
	work_begin(&w, dir, 7);
	work_record(&w, &t);
	for (unsigned k = 0; k < 80; k++)
		assert_int_equal(work_step(&w), 0);
	tape_switch(NULL);
	for (size_t k = 0; k < ARRAY_LEN(ERRORS); k++) {
		open_with_fault_at_every_step(&w, &t, t.count, ERRORS[k]);
		open_with_fault_at_every_step(&w, &t, t.count * 2 / 3, ERRORS[k]);
	}
	tape_clear(&t);
	work_end(&w);
	place_speak();
}

static size_t
entries_of(const char *dir)
{
	DIR *d = opendir(dir);
	size_t count = 0;

	assert_non_null(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}

static void
a_vault_that_can_not_be_made_leaves_nothing_behind(void **state)
{
	struct vault_create_params p = {.device_name = "test", .lock = WORK_PLAIN};
	uint8_t recovery[RECOVERY_KEY_LEN];
	char parent[PLACE_LEN], dir[PLACE_LEN];
	uint64_t step = 0;
	err_t e = 1;

	(void)state;
	place_empty("made");
	place_path("made", parent);
	place_path("made/vault", dir);
	assert_int_equal(mkdir(parent, 0700), 0);
	p.dir = dir;
	for (; e; step++) {
		struct tape t;

		tape_begin(&t, parent);
		tape_fail(&t, step, UINT64_MAX, step % 2 ? -EIO : -ENOSPC);
		e = vault_create(&p, recovery);
		tape_clear(&t);
		if (e)
			assert_int_equal(entries_of(parent), 2);
	}
	assert_true(step > 20);
	tape_switch(NULL);

	struct vault *v;

	assert_int_equal(vault_open(dir, &WORK_PLAIN, &v), 0);
	assert_int_equal(vault_close(v), 0);
}

/* In a process of its own, which has a mount namespace of its own.  77: not allowed here. */
static int
open_read_only(const char *dir)
{
	struct vault *v;
	err_t e;

	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(dir, dir, NULL, MS_BIND, NULL) || mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
		return 77;
	e = vault_open(dir, &WORK_PLAIN, &v);
	return e == -EROFS ? 0 : 1;
}

static void
a_vault_on_a_read_only_disk_is_refused_as_such(void **state)
{
	struct work w;
	char dir[PLACE_LEN];
	int status;
	pid_t child;

	(void)state;
	place_path("live", dir);
	place_empty("live");
	work_begin(&w, dir, 1);
	assert_int_equal(work_close(&w), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(open_read_only(dir));
	assert_int_equal(waitpid(child, &status, 0), child);
	work_end(&w);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
		T(a_disk_that_is_full_for_one_write_does_no_harm),
		T(a_disk_that_fails_one_write_does_no_harm),
		T(a_disk_that_is_full_from_some_write_on_does_no_harm),
		T(a_disk_that_is_broken_from_some_write_on_does_no_harm),
		T(a_disk_that_fails_every_now_and_then_does_no_harm),
		T(a_vault_can_be_opened_once_the_disk_works_again),
		T(a_vault_that_can_not_be_made_leaves_nothing_behind),
		T(a_vault_on_a_read_only_disk_is_refused_as_such),
	};
	int failed;

	assert_int_equal(secmem_init(), 0);
	place_make();
	tape_install();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_remove();
	return failed;
}
