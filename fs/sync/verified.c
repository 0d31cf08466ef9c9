/* A version, and ids. */
#include "verified.h"

#include <errno.h>
#include <string.h>

#define RECORD_VERSION 1

/* [meta lock] Appends the ids.  Without a row there are none. */
static err_t
load(struct meta *m, struct bytes *ids)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = meta_kv_get(m, DB_KEY_VERIFIED, &b);

	if (err != 0)
		return err == -ENOENT ? 0 : err;
	if (b.len < 1 || b.data[0] != RECORD_VERSION)
		return -EPROTO;
	if ((b.len - 1) % IDENTITY_ID_LEN != 0)
		return -EBADMSG;
	return bytes_append(ids, b.data + 1, b.len - 1);
}

static bool
find(const struct bytes *ids, const uint8_t id[static IDENTITY_ID_LEN], size_t *at_out)
{
	for (size_t at = 0; at < ids->len; at += IDENTITY_ID_LEN) {
		if (memcmp(ids->data + at, id, IDENTITY_ID_LEN) == 0) {
			*at_out = at;
			return true;
		}
	}
	return false;
}

bool
verified_has(struct meta *m, const uint8_t id[static IDENTITY_ID_LEN])
{
	CLEANUP(bytes_clear) struct bytes ids = { 0 };
	size_t at;

	return load(m, &ids) == 0 && find(&ids, id, &at);
}

/* [meta lock] */
static err_t
change(struct meta *m, const uint8_t id[static IDENTITY_ID_LEN], bool verified)
{
	CLEANUP(bytes_clear) struct bytes ids = { 0 };
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	size_t at;
	err_t err = load(m, &ids);

	if (err != 0 || find(&ids, id, &at) == verified)
		return err;
	if (verified && (err = bytes_append(&ids, id, IDENTITY_ID_LEN)) != 0)
		return err;
	if (!verified) {
		memmove(ids.data + at, ids.data + at + IDENTITY_ID_LEN, ids.len - at - IDENTITY_ID_LEN);
		ids.len -= IDENTITY_ID_LEN;
	}
	if ((err = bytes_append_u8(&b, RECORD_VERSION)) != 0 || (err = bytes_append(&b, ids.data, ids.len)) != 0)
		return err;
	return meta_kv_put(m, DB_KEY_VERIFIED, b.data, b.len);
}

err_t
verified_set(struct meta *m, const uint8_t id[static IDENTITY_ID_LEN], bool verified)
{
	err_t err;

	meta_lock(m);
	err = change(m, id, verified);
	meta_unlock(m);
	return err != 0 ? err : meta_sync(m);
}
