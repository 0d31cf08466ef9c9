/* Collects garbage in the store. */
#include <errno.h>

#include "gc.h"
#include "op.h"
#include "tell.h"

struct collecting {
	struct op *op;
	struct gc_options o;
	bool save;
	struct gc_report report;
};

static bool
progress(void *ctx, uint64_t done, uint64_t total, const char *what)
{
	struct collecting *c = ctx;
	char text[80];

	snprintf(text, sizeof(text), "looking at %s", what);
	op_progress(c->op, text, done, total, PROGRESS_COUNT);
	return !op_is_cancelled(c->op);
}

static err_t
run(struct sync *s, void *ctx)
{
	struct collecting *c = ctx;
	err_t err = 0;

	if (c->save)
		err = gc_set_keep(s, c->o.keep_s);
	return err != 0 ? err : gc_run(s, &c->o, &c->report);
}

static json_t *
count(const struct gc_count *c)
{
	return json_pack("{s:I, s:I}", "objects", (json_int_t)c->objects, "bytes", (json_int_t)c->bytes);
}

static json_t *
answer(const struct collecting *c)
{
	const struct gc_report *r = &c->report;

	return json_pack("{s:b, s:b, s:I, s:o, s:{s:o, s:o, s:o, s:o, s:o}, s:o, s:{s:o, s:o, s:o}, s:b, s:b}", "ok", 1, "dry_run",
	    c->o.dry_run, "keep_seconds", (json_int_t)r->keep_s, "store", count(&r->store), "freed", "dead", count(&r->dead),
	    "orphans", count(&r->orphans), "bases", count(&r->bases), "boxes", count(&r->boxes), "leftovers", count(&r->leftovers), "moved", count(&r->moved),
	    "kept", "history", count(&r->history), "sparse", count(&r->sparse), "waiting", count(&r->waiting), "gave_way",
	    r->gave_way, "crowded", r->crowded);
}

json_t *
op_gc(struct op *op, const json_t *request)
{
	struct collecting c = { .op = op, .save = json_is_true(json_object_get(request, "save")) };
	const json_t *keep = json_object_get(request, "keep");
	char why[512] = "";
	err_t err;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	c.o = (struct gc_options){ .keep_s = json_is_integer(keep) ? json_integer_value(keep) : -1,
		.now = json_is_true(json_object_get(request, "now")), .dry_run = json_is_true(json_object_get(request, "dry_run")),
		.ctx = &c, .progress = progress };
	if (c.o.keep_s > GC_KEEP_MAX_S || (c.save && c.o.keep_s < 0))
		return control_refusal("history can be kept for up to 100 years");
	err = uplink_with_sync(op->uplink, run, &c, why, sizeof(why));
	if (err == -ECANCELED)
		return control_refusal("the collection was ended before it was through; what it had done until then is done");
	if (err != 0)
		return control_refusal("the store could not be cleaned up: %s", c.report.why[0] != '\0' ? c.report.why :
		    why[0] != '\0' ? why : tell_reason(err));
	return answer(&c);
}
