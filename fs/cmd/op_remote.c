/* What the vault's store is, as the daemon sees it. */
#include <errno.h>
#include <string.h>

#include "credentials.h"
#include "hex.h"
#include "human.h"
#include "op.h"
#include "secmem.h"
#include "tell.h"

static json_t *
time_or_null(time_t t)
{
	return t != 0 ? json_integer(t) : json_null();
}

static json_t *
head(struct vault *v)
{
	json_t *answer = json_null();
	char hex[65];

	meta_lock(v->meta);
	if (v->has_head) {
		hex_format(v->head_hash, sizeof(v->head_hash), hex);
		answer = json_pack("{s:I, s:s}", "number", (json_int_t)v->head_seq, "sha256", hex);
	}
	meta_unlock(v->meta);
	return answer;
}

/* Answers {url, kind, head {number, sha256} or null, last_contact, credentials: "sealed here" or "usual places" or null}. */
json_t *
op_remote(struct op *op, const json_t *request)
{
	CLEANUP(secmem_free_ptr) struct credentials *c = NULL;
	struct sync_status st;
	bool service;
	err_t err;

	(void)request;
	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	err = credentials_load(op->vault, &c);
	if (err != 0 && err != -ENOENT)
		return control_refusal("the keys to the store cannot be read from %s: %s", op->vault->dir, tell_reason(err));
	uplink_get_status(op->uplink, &st);
	service = strncmp(op->vault->remote_url, "s3:", 3) == 0;
	return json_pack("{s:b, s:o, s:s, s:o, s:o, s:s?}", "ok", 1, "url", human_path(op->vault->remote_url), "kind",
	    service ? "s3" : "dir", "head", head(op->vault), "last_contact", time_or_null(st.last_contact), "credentials",
	    !service ? NULL : c != NULL ? "sealed here" : "usual places");
}
