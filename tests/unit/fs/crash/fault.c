/* fault.c: operations on a disk that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "fault.h"
#include "place.h"

#define STEPS 24

void
fault_must_hold(struct verdict v, const struct fault *f, const char *when)
{
	if (!v.ok)
		FAULT_FAIL("seed %llu, step %llu (%llu) failing with %d, %s: %s", (unsigned long long)f->seed,
		    (unsigned long long)f->step, (unsigned long long)f->count, f->err, when, v.what);
}

void
fault_must_work(err_t e, const struct fault *f, const char *what)
{
	if (e)
		FAULT_FAIL("seed %llu, step %llu (%llu) failing with %d, %s: %d", (unsigned long long)f->seed,
		    (unsigned long long)f->step, (unsigned long long)f->count, f->err, what, e);
}

void
fault_must_show(struct work *w, const struct fault *f, const char *when)
{
	if (!work_is_as_expected(w))
		FAULT_FAIL("seed %llu, step %llu (%llu) failing with %d, %s: the tree is not what it should be",
		    (unsigned long long)f->seed, (unsigned long long)f->step, (unsigned long long)f->count, f->err, when);
}

void
fault_cut(struct work *w, const struct fault *f, const char *when)
{
	struct disk *d = disk_new(w->tape, f->step % 2 ? CUT_HARSH : CUT_ORDERED, f->step);
	char dir[PLACE_LEN];

	place_path("cut", dir);
	fault_must_hold(cut_and_verify(d, w->tape, w->tape->count, dir, w->versions, VERIFY_SETTLE, f->step), f, when);
	disk_free(d);
}

bool
fault_try(struct work *w, const struct fault *f, err_t (*operation)(struct work *w))
{
	err_t e = operation(w);

	if (!e)
		return false;
	/* SQLite tells of a full disk at a write, but not at a flush. */
	if (e != f->err && e != -EIO)
		FAULT_FAIL("seed %llu, step %llu failing with %d was answered with %d", (unsigned long long)f->seed,
		    (unsigned long long)f->step, f->err, e);
	/* On a disk that can't be written to, everything can be read; one that can't be read shows nothing. */
	tape_spare(w->tape, w->tape->fails_reads);
	fault_must_show(w, f, "after the error");
	tape_spare(w->tape, false);
	return true;
}

static err_t
settle_some(struct work *w)
{
	return work_settle(w, 60);
}

/* The same operations again and again, so that the faults hit every step of all of them. */
bool
fault_work(struct work *w, const struct fault *f)
{
	bool told = false;

	for (unsigned k = 0; k < STEPS; k++) {
		told |= fault_try(w, f, work_step);
		if (k % 8 == 5)
			told |= fault_try(w, f, settle_some);
		if (k % 4 == 3)
			told |= fault_try(w, f, work_fsync);
	}
	return told | fault_try(w, f, work_fsync);
}

void
fault_go_on(struct work *w, const struct fault *f)
{
	fault_must_work(work_fsync(w), f, "fsync afterwards");
	for (unsigned k = 0; k < 8; k++)
		fault_must_work(work_step(w), f, "an operation afterwards");
	fault_must_work(work_fsync(w), f, "another fsync afterwards");
	fault_cut(w, f, "in a power cut afterwards");
	fault_must_work(work_settle(w, 100), f, "settling afterwards");
	fault_must_show(w, f, "afterwards");
	fault_must_work(work_close(w), f, "closing");
	fault_must_work(work_open(w), f, "opening");
	fault_must_show(w, f, "opened again");
}
