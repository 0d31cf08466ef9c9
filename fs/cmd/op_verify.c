/* Reads the store and lists what is wrong with it. */
#include <errno.h>
#include <string.h>

#include "human.h"
#include "op.h"
#include "sync.h"
#include "tell.h"
#include "verify.h"

/* So much is listed; the rest is only counted. */
#define LISTED_LEN_MAX (2u << 20)

struct gathering {
	struct op *op;
	bool repair;
	unsigned percent;
	json_t *findings;
	size_t listed_len;
	uint64_t unlisted;
	struct verify_report report;
};

static err_t
found(void *ctx, const struct verify_finding *f)
{
	struct gathering *g = ctx;
	json_t *o;

	g->listed_len += strlen(f->text) + (f->path != NULL ? strlen(f->path) * 4 : 0) + 128;
	if (g->listed_len > LISTED_LEN_MAX) {
		g->unlisted++;
		return 0;
	}
	o = json_pack("{s:s, s:o, s:o, s:b, s:o}", "kind", verify_kind_word(f->kind), "object", human_path(f->object), "path",
	    f->path != NULL ? human_path(f->path) : json_null(), "repaired", f->repaired, "text", human_path(f->text));
	return o == NULL || json_array_append_new(g->findings, o) != 0 ? -ENOMEM : 0;
}

static bool
progress(void *ctx, uint64_t done, uint64_t total, const char *what)
{
	struct gathering *g = ctx;
	char text[80];

	snprintf(text, sizeof(text), "checking %s", what);
	op_progress(g->op, text, done, total, PROGRESS_COUNT);
	return !op_is_cancelled(g->op);
}

static err_t
run(struct sync *s, void *ctx)
{
	struct gathering *g = ctx;
	const struct verify_options o = { g->percent, g->repair, g, found, progress };
	err_t err = sync_pull(s);

	/* What others have deleted since is not missing.  Whatever stands against taking their commits over is found below. */
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	return sync_verify(s, &o, &g->report);
}

static json_t *
answer(struct gathering *g)
{
	const struct verify_report *r = &g->report;
	json_t *counts = json_object();

	for (int k = 0; k < VERIFY_KIND_COUNT; k++)
		(void)json_object_set_new(counts, verify_kind_word((enum verify_kind)k), json_integer((json_int_t)r->counts[k]));
	return json_pack("{s:b, s:O, s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "ok", 1, "findings", g->findings, "unlisted",
	    (json_int_t)g->unlisted, "counts", counts, "objects_read", (json_int_t)r->objects_read, "bytes_read",
	    (json_int_t)r->bytes_read, "segments", (json_int_t)r->segments, "files_damaged", (json_int_t)r->files_damaged,
	    "repaired", (json_int_t)r->repaired);
}

json_t *
op_verify(struct op *op, const json_t *request)
{
	struct gathering g = { .op = op, .repair = json_is_true(json_object_get(request, "repair")),
		.percent = (unsigned)json_integer_value(json_object_get(request, "percent")) };
	char why[512];
	json_t *a;
	err_t err;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	if (g.percent < 1 || g.percent > 100)
		return control_refusal("a sample is 1%% to 100%%");
	g.findings = json_array();
	if (g.findings == NULL)
		return NULL;
	err = uplink_with_sync(op->uplink, run, &g, why, sizeof(why));
	if (err == -ECANCELED)
		a = control_refusal("the check was ended before it was through");
	else if (err != 0)
		a = control_refusal("the store could not be checked: %s", g.report.why[0] != '\0' ? g.report.why :
		    why[0] != '\0' ? why : tell_reason(err));
	else
		a = answer(&g);
	json_decref(g.findings);
	return a;
}
