/*
 * probe.h: what a store can do, found out by trying, in a sentence for each thing that matters.  The objects that it makes
 * look like segments, and are removed again.  Uses store.h, race.h, random.h.
 */
#ifndef SNUGFS_PROBE_H
#define SNUGFS_PROBE_H

#include "store.h"

enum probe_item {
	PROBE_REACHABLE,
	PROBE_CREDENTIALS,
	PROBE_READ,
	PROBE_WRITE,
	PROBE_LIST,
	PROBE_CONDITIONAL, /* PROBE_BAD with -ENOTSUP: one device may use the store, a second may not */
	PROBE_DELETE,
	PROBE_CLOCK,
	PROBE_ROUND_TRIP,
	PROBE_THROUGHPUT,
	PROBE_ITEM_COUNT,
};

enum probe_verdict {
	PROBE_SKIPPED, /* something before it failed, or it means nothing here */
	PROBE_GOOD,
	PROBE_BAD,
};

struct probe_finding {
	enum probe_verdict verdict;
	err_t err;            /* of what is bad */
	char sentence[400];   /* without a full stop; "" if it was skipped */
};

struct probe_report {
	struct probe_finding findings[PROBE_ITEM_COUNT];
	int64_t skew_s;
	uint64_t round_trip_us;        /* 0: not measured, here and below */
	uint64_t up_bytes_per_s;
	uint64_t down_bytes_per_s;
};

/* A word for machines: "reachable", "read", … */
const char *probe_item_name(enum probe_item item);

/* What goes wrong in the store is in the report; 0 also then.  -ENOMEM, -EIO (no entropy), -ECANCELED (store_cancel). */
MUST_CHECK err_t probe_run(struct store *s, struct probe_report *out);

#endif
