/* What whoever runs the store sees of it, for the command exposure: asked with the keys that this vault has. */
#include "op_exposure.h"

#include <errno.h>

#include "credentials.h"
#include "human.h"
#include "op.h"
#include "tell.h"

static json_t *
time_or_null(int64_t when)
{
	return when != 0 ? json_integer(when) : json_null();
}

static json_t *
describe_kind(const struct exposure_kind *k)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "count", (json_int_t)k->count, "bytes", (json_int_t)k->bytes,
	    "smallest", (json_int_t)k->smallest, "largest", (json_int_t)k->largest, "first", (json_int_t)k->first, "last",
	    (json_int_t)k->last, "first_time", time_or_null(k->first_s), "last_time", time_or_null(k->last_s));
}

static json_t *
describe_counts(const uint64_t *counts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(list, json_integer((json_int_t)counts[i]));
	return list;
}

json_t *
exposure_describe(struct store *store, exposure_progress_fn *progress, void *ctx)
{
	struct exposure e;
	json_t *kinds;
	char what[384];
	err_t err = exposure_read(store, progress, ctx, &e);

	if (err != 0) {
		store_explain(store, err, what, sizeof(what));
		return control_refusal("%s", what);
	}
	kinds = json_object();
	for (int k = 0; k < OBJNAME_KIND_COUNT; k++)
		(void)json_object_set_new(kinds, objname_word((enum objname_kind)k), describe_kind(&e.kinds[k]));
	return json_pack("{s:b, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "ok", 1, "store", human_path(store->url), "objects", (json_int_t)e.count, "bytes",
	    (json_int_t)e.bytes, "off_step", (json_int_t)e.off_step, "kinds", kinds, "by_hour", describe_counts(e.by_hour, 24),
	    "by_weekday", describe_counts(e.by_weekday, 7));
}

static bool
show(void *ctx, uint64_t count)
{
	struct op *op = ctx;

	op_progress(op, EXPOSURE_PROGRESS_TEXT, count, 0, PROGRESS_COUNT);
	return !op_is_cancelled(op);
}

static json_t *
describe(struct op *op, struct store *store)
{
	return exposure_describe(store, show, op);
}

/* {"op": "exposure"} */
json_t *
op_exposure(struct op *op, const json_t *request)
{
	CLEANUP(secmem_free_ptr) struct credentials *c = NULL;
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(free_ptr) char *why = NULL;
	struct store_credentials given;
	struct store_options options = { 0 };
	err_t err;

	(void)request;
	if (op->vault->remote_url == NULL)
		return op_refuse_no_store(op);
	err = credentials_load(op->vault, &c);
	if (err != 0 && err != -ENOENT)
		return control_refusal("the keys to the store cannot be read: %s", tell_reason(err));
	if (c != NULL) {
		given = (struct store_credentials){ c->access_key, c->secret_key, c->session_token[0] != '\0' ? c->session_token : NULL };
		options.credentials = &given;
	}
	if ((err = store_open_with(op->vault->remote_url, false, &options, &store, &why)) != 0)
		return control_refusal("%s", why != NULL ? why : tell_reason(err));
	return op_with_store(op, store, describe);
}
