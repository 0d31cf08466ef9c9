/*
 * fault.h: a workload on a disk that fails, and what has to hold all the same.  What does not hold ends the test (cmocka).
 */
#ifndef CRASH_FAULT_H
#define CRASH_FAULT_H

#include "verify.h"

/* The engine's log is hushed while faults happen; a failure of the test is not.  (cmocka.h is the caller's.) */
#define FAULT_FAIL(...) do { place_speak(); fail_msg(__VA_ARGS__); } while (0)

struct fault {
	uint64_t seed; /* of the workload */
	uint64_t step;
	uint64_t count; /* UINT64_MAX: from then on */
	err_t err;
};

void fault_must_hold(struct verdict v, const struct fault *f, const char *when);
void fault_must_work(err_t e, const struct fault *f, const char *what);
void fault_must_show(struct work *w, const struct fault *f, const char *when);
/* What a power cut would leave now. */
void fault_cut(struct work *w, const struct fault *f, const char *when);
/* An operation on a disk that may fail.  true: it has, with the right error, and has changed nothing. */
bool fault_try(struct work *w, const struct fault *f, err_t (*operation)(struct work *w));
/* Some operations, settling and fsync among them.  true: one has failed. */
bool fault_work(struct work *w, const struct fault *f);
/* The disk works again, and so does everything. */
void fault_go_on(struct work *w, const struct fault *f);

#endif
