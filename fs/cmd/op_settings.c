/* What the user wants of sync on this device: whether it goes on, and how fast. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "op.h"
#include "settings.h"
#include "tell.h"

static json_t *
refuse(const struct op *op, err_t err)
{
	return control_refusal("it could not be noted in %s: %s", op->vault->dir, tell_reason(err));
}

static err_t
change(struct op *op, const struct settings *st)
{
	err_t err = settings_save(op->vault->meta, st);

	return err != 0 || op->uplink == NULL ? err : uplink_apply_settings(op->uplink);
}

/* {"op": "hold", "hold": "paused" | "offline" | "none", "until": seconds since 1970, 0: until told otherwise} */
json_t *
op_hold(struct op *op, const json_t *request)
{
	const char *hold = json_string_value(json_object_get(request, "hold"));
	struct settings st;
	err_t err;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	if ((err = settings_load(op->vault->meta, &st)) != 0)
		return refuse(op, err);
	if (hold == NULL)
		return control_refusal("it was not said what to do");
	st.hold = strcmp(hold, "paused") == 0 ? SETTINGS_PAUSED : strcmp(hold, "offline") == 0 ? SETTINGS_OFFLINE : SETTINGS_GO;
	st.hold_until = st.hold == SETTINGS_GO ? 0 : json_integer_value(json_object_get(request, "until"));
	if ((err = change(op, &st)) != 0)
		return refuse(op, err);
	return json_pack("{s:b}", "ok", 1);
}

/* {"op": "limit", "up": bytes a second, "down": …}: each may be missing, then it stays.  Answers with both, 0: none. */
json_t *
op_limit(struct op *op, const json_t *request)
{
	const json_t *up = json_object_get(request, "up"), *down = json_object_get(request, "down");
	struct settings st;
	err_t err;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	if ((err = settings_load(op->vault->meta, &st)) != 0)
		return refuse(op, err);
	if (up != NULL) {
		st.has_up = true;
		st.up = (uint64_t)json_integer_value(up);
	}
	if (down != NULL) {
		st.has_down = true;
		st.down = (uint64_t)json_integer_value(down);
	}
	if ((up != NULL || down != NULL) && (err = change(op, &st)) != 0)
		return refuse(op, err);
	if ((err = uplink_settings(op->uplink, &st)) != 0)
		return refuse(op, err);
	return json_pack("{s:b, s:I, s:I}", "ok", 1, "up", (json_int_t)st.up, "down", (json_int_t)st.down);
}
