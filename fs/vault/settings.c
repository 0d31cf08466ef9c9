/* One row: version, hold, until, what is set, the rates; if set, after how long it locks. */
#include "settings.h"

#include <errno.h>

#define RECORD_VERSION 1
#define HAS_UP 1u
#define HAS_DOWN 2u
#define HAS_LOCK_AFTER 4u
#define LOCK_ON_SUSPEND 8u

static err_t
decode(struct cursor *c, struct settings *out)
{
	struct settings s = { 0 };
	uint8_t version, hold, has;
	uint64_t until, after = 0;
	err_t err;

	if ((err = cursor_u8(c, &version)) != 0)
		return err;
	if (version != RECORD_VERSION)
		return -EPROTO;
	if ((err = cursor_u8(c, &hold)) != 0 || (err = cursor_u64(c, &until)) != 0 || (err = cursor_u8(c, &has)) != 0 ||
	    (err = cursor_u64(c, &s.up)) != 0 || (err = cursor_u64(c, &s.down)) != 0)
		return err;
	if ((has & HAS_LOCK_AFTER) != 0 && (err = cursor_u64(c, &after)) != 0)
		return err;
	if (hold > SETTINGS_OFFLINE || after > INT32_MAX)
		return -EBADMSG;
	s.lock_after_s = (int64_t)after;
	s.lock_on_suspend = (has & LOCK_ON_SUSPEND) != 0;
	s.hold = (enum settings_hold)hold;
	s.hold_until = (int64_t)until;
	s.has_up = (has & HAS_UP) != 0;
	s.has_down = (has & HAS_DOWN) != 0;
	*out = s;
	return 0;
}

err_t
settings_load(struct meta *m, struct settings *out)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	meta_lock(m);
	err = meta_kv_get(m, DB_KEY_SETTINGS, &b);
	meta_unlock(m);
	if (err == -ENOENT) {
		*out = (struct settings){ 0 };
		return 0;
	}
	return err != 0 ? err : decode(&(struct cursor){ b.data, b.len }, out);
}

err_t
settings_save(struct meta *m, const struct settings *s)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	uint8_t has = (uint8_t)((s->has_up ? HAS_UP : 0) | (s->has_down ? HAS_DOWN : 0) |
	    (s->lock_after_s > 0 ? HAS_LOCK_AFTER : 0) | (s->lock_on_suspend ? LOCK_ON_SUSPEND : 0));
	err_t err;

	if ((err = bytes_append_u8(&b, RECORD_VERSION)) != 0 || (err = bytes_append_u8(&b, (uint8_t)s->hold)) != 0 ||
	    (err = bytes_append_u64(&b, (uint64_t)s->hold_until)) != 0 || (err = bytes_append_u8(&b, has)) != 0 ||
	    (err = bytes_append_u64(&b, s->up)) != 0 || (err = bytes_append_u64(&b, s->down)) != 0 ||
	    (s->lock_after_s > 0 && (err = bytes_append_u64(&b, (uint64_t)s->lock_after_s)) != 0))
		return err;
	meta_lock(m);
	err = meta_kv_put(m, DB_KEY_SETTINGS, b.data, b.len);
	meta_unlock(m);
	return err != 0 ? err : meta_sync(m);
}

enum settings_hold
settings_hold_at(const struct settings *s, int64_t now_s)
{
	return s->hold_until != 0 && now_s >= s->hold_until ? SETTINGS_GO : s->hold;
}
