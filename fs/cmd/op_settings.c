/* What the user wants on this device: whether sync goes on, and how fast; when the folder locks itself. */
#include <stdlib.h>
#include <string.h>

#include "autolock.h"
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

/*
 * {"op": "hold", "hold": "paused" | "offline" | "none", "until": seconds since 1970, 0: until told otherwise}.  Answers with "metered":
 * is nothing synced by itself for that reason?
 */
json_t *
op_hold(struct op *op, const json_t *request)
{
	const char *hold = json_string_value(json_object_get(request, "hold"));
	struct sync_status status;
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
	uplink_get_status(op->uplink, &status);
	return json_pack("{s:b, s:b}", "ok", 1, "metered", status.metered);
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

json_t *
op_lock_report(struct op *op)
{
	struct settings st;

	if (settings_load(op->vault->meta, &st) != 0)
		return json_null();
	return json_pack("{s:o, s:b, s:b}", "after", st.lock_after_s > 0 ? json_integer(st.lock_after_s) : json_null(), "on_suspend",
	    st.lock_on_suspend, "watching", op->autolock != NULL && autolock_watches(op->autolock));
}

/*
 * {"op": "lock-settings", "after": seconds, 0: never, "on_suspend": …}: each may be missing, then it stays.  Answers with both, and
 * "why", if the computer's sleep is to be watched and can't be.
 */
json_t *
op_lock_settings(struct op *op, const json_t *request)
{
	const json_t *after = json_object_get(request, "after"), *on_suspend = json_object_get(request, "on_suspend");
	struct settings st;
	char *why = NULL;
	json_t *answer;
	err_t err;

	if ((err = settings_load(op->vault->meta, &st)) != 0)
		return refuse(op, err);
	st.lock_after_s = after != NULL ? json_integer_value(after) : st.lock_after_s;
	st.lock_on_suspend = on_suspend != NULL ? json_is_true(on_suspend) : st.lock_on_suspend;
	if (st.lock_after_s < 0 || st.lock_after_s > INT32_MAX)
		return control_refusal("a folder can lock itself after at most 68 years");
	if ((err = settings_save(op->vault->meta, &st)) != 0)
		return refuse(op, err);
	if (op->autolock != NULL)
		autolock_apply(op->autolock, &why);
	answer = op_lock_report(op);
	if (json_is_object(answer) && why != NULL)
		(void)json_object_set_new(answer, "why", json_string(why));
	(void)json_object_set_new(answer, "ok", json_true());
	free(why);
	return answer;
}
