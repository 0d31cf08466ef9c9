/* The messages of status were seen. */
#include "op.h"
#include "tell.h"

static err_t
dismiss(struct sync *s, void *ctx)
{
	(void)ctx;
	sync_dismiss_messages(s);
	return 0;
}

json_t *
op_dismiss(struct op *op, const json_t *request)
{
	char why[512];
	err_t err;

	(void)request;
	if (op->uplink == NULL)
		return json_pack("{s:b}", "ok", 1); /* nobody to hear of */
	err = uplink_with_sync(op->uplink, dismiss, NULL, why, sizeof(why));
	if (err != 0)
		return control_refusal("%s", why[0] != '\0' ? why : tell_reason(err));
	return json_pack("{s:b}", "ok", 1);
}
