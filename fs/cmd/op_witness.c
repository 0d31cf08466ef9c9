/* The second store in which devices say how far the chain has come. */
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "op.h"
#include "tell.h"
#include "witness.h"

struct wish {
	const char *url; /* NULL: none */
	char *why;
	struct witness_status status;
};

static err_t
set(struct sync *s, void *ctx)
{
	struct wish *wish = ctx;

	return witness_set(s, wish->url, &wish->why);
}

static err_t
show(struct sync *s, void *ctx)
{
	struct wish *wish = ctx;

	witness_get_status(s, &wish->status);
	return 0;
}

static json_t *
run(struct op *op, err_t (*fn)(struct sync *s, void *ctx), struct wish *wish)
{
	char why[512] = "";
	json_t *refusal = NULL;
	err_t err;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	err = uplink_with_sync(op->uplink, fn, wish, why, sizeof(why));
	if (err != 0)
		refusal = control_refusal("%s", wish->why != NULL ? wish->why : why[0] != '\0' ? why : tell_reason(err));
	free(wish->why);
	return refusal;
}

json_t *
op_set_witness(struct op *op, const json_t *request)
{
	struct wish wish = { .url = json_string_value(json_object_get(request, "url")) };
	json_t *refusal;

	if (wish.url != NULL && op->vault->remote_url != NULL && strcmp(wish.url, op->vault->remote_url) == 0)
		return control_refusal("a witness is of use only in another store than the vault's own");
	refusal = run(op, set, &wish);
	return refusal != NULL ? refusal : json_pack("{s:b}", "ok", 1);
}

json_t *
op_witness(struct op *op, const json_t *request)
{
	struct wish wish = { 0 };
	json_t *refusal = run(op, show, &wish);
	const struct witness_status *st = &wish.status;

	(void)request;
	if (refusal != NULL)
		return refusal;
	return json_pack("{s:b, s:o, s:o, s:o, s:I}", "ok", 1, "url", st->url[0] != '\0' ? human_path(st->url) : json_null(),
	    "problem", st->problem[0] != '\0' ? human_path(st->problem) : json_null(), "told",
	    st->has_written ? json_integer((json_int_t)st->written) : json_null(), "heard", (json_int_t)st->heard);
}
