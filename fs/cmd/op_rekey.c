/* Content under keys that a removed device does not have. */
#include <errno.h>

#include "gc.h"
#include "human.h"
#include "op.h"
#include "rekey.h"
#include "tell.h"

struct rekeying {
	struct op *op;
	enum { REKEY_BEGIN, REKEY_WAIT, REKEY_STOP } what;
	bool begun;
	struct rekey_report report;
	int64_t keep_s;
};

static bool
progress(void *ctx, uint64_t done, uint64_t total)
{
	struct rekeying *k = ctx;

	op_progress(k->op, total != 0 ? "sealing content anew" : "looking at what is under old keys", done, total, PROGRESS_BYTES);
	return !op_is_cancelled(k->op);
}

static err_t
run(struct sync *s, void *ctx)
{
	struct rekeying *k = ctx;
	const struct rekey_options o = { .ctx = k, .progress = progress };
	err_t err;

	if ((err = gc_get_keep(s, &k->keep_s)) != 0 || (err = k->what == REKEY_STOP ? rekey_stop(s) : rekey_begin(s)) != 0)
		return err;
	k->begun = k->what != REKEY_STOP;
	return k->what == REKEY_WAIT ? rekey_run(s, &o, &k->report) : 0;
}

static json_t *
describe(const struct rekeying *k, bool done, const char *problem)
{
	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:o}", "ok", 1, "done", done, "bytes", (json_int_t)k->report.bytes, "damaged",
	    (json_int_t)k->report.damaged, "keep_seconds", (json_int_t)k->keep_s, "problem",
	    problem != NULL ? human_path(problem) : json_null());
}

json_t *
op_rekey_begin(struct op *op, bool wait)
{
	struct rekeying k = { .op = op, .what = wait ? REKEY_WAIT : REKEY_BEGIN };
	char why[512] = "";
	const char *problem;
	err_t err = uplink_with_sync(op->uplink, run, &k, why, sizeof(why));

	if (err == 0)
		return describe(&k, wait, NULL);
	problem = k.report.why[0] != '\0' ? k.report.why : why[0] != '\0' ? why : tell_reason(err);
	if (!k.begun)
		return control_refusal("nothing could be sealed anew: %s", problem);
	return describe(&k, false, err == -ECANCELED ? "it was interrupted" : problem);
}

static json_t *
stop(struct op *op)
{
	struct rekeying k = { .op = op, .what = REKEY_STOP };
	char why[512] = "";
	err_t err = uplink_with_sync(op->uplink, run, &k, why, sizeof(why));

	if (err != 0)
		return control_refusal("%s", why[0] != '\0' ? why : tell_reason(err));
	return describe(&k, false, NULL);
}

json_t *
op_rekey(struct op *op, const json_t *request)
{
	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	if (json_is_true(json_object_get(request, "stop")))
		return stop(op);
	return op_rekey_begin(op, !json_is_true(json_object_get(request, "background")));
}
