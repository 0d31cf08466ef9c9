/*
 * The policy of the vault.  A device tightens it by itself; to loosen it somebody with the recovery key signs a statement, for
 * which he gets all earlier ones and sends back his own: public data both ways.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "log.h"
#include "members.h"
#include "op.h"
#include "tell.h"

json_t *
op_policy(struct op *op, const json_t *request)
{
	struct trust_policy p;

	(void)request;
	meta_lock(op->vault->meta);
	p = *trust_policy(op->vault->trust);
	meta_unlock(op->vault->meta);
	return json_pack("{s:b, s:b, s:I, s:I}", "ok", 1, "devices_may_add", p.devices_may_add, "format_floor",
	    (json_int_t)p.format_floor, "cipher_floor", (json_int_t)p.cipher_floor);
}

static json_t *
hex(const uint8_t *data, size_t len)
{
	CLEANUP(free_ptr) char *text = malloc(len * 2 + 1);

	if (text == NULL)
		return NULL;
	hex_format(data, len, text);
	return json_stringn(text, len * 2);
}

/* What is signed must continue the newest state. */
static err_t
pull(struct sync *s, void *ctx)
{
	(void)ctx;
	return sync_pull(s);
}

json_t *
op_statements(struct op *op, const json_t *request)
{
	json_t *list = json_array();
	char why[512];

	(void)request;
	if (op->uplink != NULL && uplink_with_sync(op->uplink, pull, NULL, why, sizeof(why)) != 0)
		log_info("a statement is signed on top of what is known here: %s", why);
	meta_lock(op->vault->meta);
	for (size_t i = 0; i < trust_statement_count(op->vault->trust); i++) {
		const uint8_t *data;
		size_t len;

		trust_statement_at(op->vault->trust, i, &data, &len);
		(void)json_array_append_new(list, hex(data, len));
	}
	meta_unlock(op->vault->meta);
	return json_pack("{s:b, s:o}", "ok", 1, "statements", list);
}

/* Saying it. */

struct wish {
	bool devices_may_add;
	struct bytes signed_statement; /* empty: this device says it */
};

static err_t
say(struct members_saying *w, void *ctx)
{
	const struct wish *wish = ctx;
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct trust_policy p = *trust_policy(members_trust(w));
	err_t err;

	if (wish->signed_statement.len > 0) {
		err = members_say(w, &wish->signed_statement);
		return err == -EBADMSG ? members_refuse(w, -EALREADY, "the vault has changed meanwhile; try again") : err;
	}
	if (p.devices_may_add == wish->devices_may_add)
		return 0;
	p.devices_may_add = wish->devices_may_add;
	err = trust_make_policy(members_trust(w), members_vault(w)->me, &p, members_now_ns(w), &b);
	return err != 0 ? err : members_say(w, &b);
}

struct saying {
	struct wish wish;
	char *why;
};

static err_t
commit(struct sync *s, void *ctx)
{
	struct saying *y = ctx;

	return members_commit(s, say, &y->wish, &y->why, NULL);
}

/* false: not hexadecimal. */
static bool
read_hex(const char *text, struct bytes *out)
{
	size_t len = strlen(text);
	unsigned byte;

	if (len % 2 != 0 || strspn(text, "0123456789abcdef") != len)
		return false;
	for (size_t i = 0; i < len; i += 2)
		if (sscanf(text + i, "%2x", &byte) != 1 || bytes_append_u8(out, (uint8_t)byte) != 0)
			return false;
	return true;
}

json_t *
op_set_policy(struct op *op, const json_t *request)
{
	const char *statement = json_string_value(json_object_get(request, "statement"));
	struct saying y = { .wish.devices_may_add = json_is_true(json_object_get(request, "devices_may_add")) };
	json_t *answer;
	char why[512] = "";
	err_t err = 0;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	if (statement != NULL && !read_hex(statement, &y.wish.signed_statement))
		return control_refusal("this is no statement");
	err = uplink_with_sync(op->uplink, commit, &y, why, sizeof(why));
	answer = err == 0 ? json_pack("{s:b}", "ok", 1) :
	    control_refusal("%s", y.why != NULL ? y.why : why[0] != '\0' ? why : tell_reason(err));
	free(y.why);
	bytes_clear(&y.wish.signed_statement);
	return answer;
}
