/*
 * Disks that fail: full or broken at each single write in turn, once or from then on, and read-only.  The operation or the
 * next fsync says so with the right error, what was there stays readable, nothing that was fsynced is lost in a power cut, and once the
 * disk works again everything goes on.
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

#include "place.h"
#include "secmem.h"
#include "verify.h"

#define STEPS 24

/* The engine's log is hushed while faults happen; a failure of the test is not. */
#define FAIL(...) do { place_speak(); fail_msg(__VA_ARGS__); } while (0)

struct fault {
	uint64_t seed; /* of the workload */
	uint64_t step;
	uint64_t count; /* UINT64_MAX: from then on */
	err_t err;
};

static void
must_hold(struct verdict v, const struct fault *f, const char *when)
{
	if (!v.ok)
		FAIL("seed %llu, step %llu (%llu) failing with %d, %s: %s", (unsigned long long)f->seed,
		    (unsigned long long)f->step, (unsigned long long)f->count, f->err, when, v.what);
}

static void
must_work(err_t e, const struct fault *f, const char *what)
{
	if (e)
		FAIL("seed %llu, step %llu (%llu) failing with %d, %s: %d", (unsigned long long)f->seed,
		    (unsigned long long)f->step, (unsigned long long)f->count, f->err, what, e);
}

static void
must_show_the_model(struct work *w, const struct fault *f, const char *when)
{
	if (!work_is_as_expected(w))
		FAIL("seed %llu, step %llu (%llu) failing with %d, %s: the tree is not what it should be",
		    (unsigned long long)f->seed, (unsigned long long)f->step, (unsigned long long)f->count, f->err, when);
}

/* A test that failed has left its tape running. */
static int
setup(void **state)
{
	(void)state;
	tape_switch(NULL);
	return 0;
}

/* What a power cut would leave now. */
static void
cut_now(struct work *w, const struct fault *f, const char *when)
{
	struct disk *d = disk_new(w->tape, f->step % 2 ? CUT_HARSH : CUT_ORDERED, f->step);
	char dir[PLACE_LEN];

	place_path("cut", dir);
	must_hold(cut_and_verify(d, w->tape, w->tape->count, dir, w->versions, VERIFY_SETTLE, f->step), f, when);
	disk_free(d);
}

/* An operation on a disk that may fail.  true: it has. */
static bool
try(struct work *w, const struct fault *f, err_t (*operation)(struct work *w))
{
	err_t e = operation(w);

	if (!e)
		return false;
	/* SQLite tells of a full disk at a write, but not at a flush. */
	if (e != f->err && e != -EIO)
		FAIL("seed %llu, step %llu failing with %d was answered with %d", (unsigned long long)f->seed,
		    (unsigned long long)f->step, f->err, e);
	must_show_the_model(w, f, "after the error");
	return true;
}

static err_t
settle_some(struct work *w)
{
	return work_settle(w, 60);
}

/* The same operations again and again, so that the faults hit every step of all of them. */
static bool
work_while_failing(struct work *w, const struct fault *f)
{
	bool told = false;

	for (unsigned k = 0; k < STEPS; k++) {
		told |= try(w, f, work_step);
		if (k % 8 == 5)
			told |= try(w, f, settle_some);
		if (k % 4 == 3)
			told |= try(w, f, work_fsync);
	}
	return told | try(w, f, work_fsync);
}

static void
go_on(struct work *w, const struct fault *f)
{
	must_work(work_fsync(w), f, "fsync afterwards");
	for (unsigned k = 0; k < 8; k++)
		must_work(work_step(w), f, "an operation afterwards");
	must_work(work_fsync(w), f, "another fsync afterwards");
	cut_now(w, f, "in a power cut afterwards");
	must_work(work_settle(w, 100), f, "settling afterwards");
	must_show_the_model(w, f, "afterwards");
	must_work(work_close(w), f, "closing");
	must_work(work_open(w), f, "opening");
	must_show_the_model(w, f, "opened again");
}

/* Closing a vault on a disk that is still broken: what was fsynced is there the next time. */
static void
give_up(struct work *w, const struct fault *f)
{
	uint32_t low = w->durable, high = (uint32_t)w->version_count - 1;
	err_t e = work_close(w);

	if (e && e != f->err && e != -EIO)
		FAIL("closing failed with %d instead of %d", e, f->err);
	if (!e)
		low = high;
	tape_fail(w->tape, 0, 0, 0);
	tape_switch(NULL);
	must_hold(verify(w->dir, w->versions, low, high, VERIFY_SETTLE, f->step), f, "closed and opened again");
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
	told = work_while_failing(&w, f);
	reached = t.steps > t.fail_from;
	if (t.failed && !told)
		FAIL("seed %llu, step %llu failed with %d and nobody was told", (unsigned long long)f->seed,
		    (unsigned long long)f->step, f->err);
	if (reached)
		cut_now(&w, f, "in a power cut");
	if (reached && repaired) {
		tape_fail(&t, 0, 0, 0);
		go_on(&w, f);
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
	unsigned seeds = place_setting("SNUGFS_CRASH_SEEDS", 1);
	uint64_t steps = 0;

	place_hush(); /* every error is logged */
	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct fault f = {seed, 0, count, err};

		while (work_with_fault(&f, count == 1 || f.step % 3 != 0))
			f.step++;
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
			(void)work_while_failing(&w, &f);
			cut_now(&w, &f, "in a power cut");
			tape_fail(&t, 0, 0, 0);
			must_work(work_fsync(&w), &f, "fsync when it worked");
			must_show_the_model(&w, &f, "when it worked");
		}
		go_on(&w, &f);
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
			FAIL("opening failed with %d instead of %d at step %llu", e, err, (unsigned long long)f.step);
		reached = inner.steps > inner.fail_from;
		if (!e && inner.failed && f.step == 0)
			FAIL("nothing can be written, and nobody was told");
		tape_clear(&inner);
		must_hold(verify(dir, w->versions, at < t->count ? t->v[at].durable : t->durable,
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
