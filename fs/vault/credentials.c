/* One row: version, and each of the three with its length. */
#include "credentials.h"

#include <errno.h>
#include <string.h>

#include "vault_internal.h"

#define RECORD_VERSION 1

static err_t
append_text(struct bytes *b, const char *text)
{
	size_t len = strnlen(text, CREDENTIAL_MAX);
	err_t err = bytes_append_u16(b, (uint16_t)len);

	return err != 0 ? err : bytes_append(b, text, len);
}

static err_t
take_text(struct cursor *c, char out[static CREDENTIAL_MAX])
{
	const uint8_t *data;
	uint16_t len;
	err_t err;

	if ((err = cursor_u16(c, &len)) != 0)
		return err;
	if (len >= CREDENTIAL_MAX)
		return -EBADMSG;
	if ((err = cursor_take(c, len, &data)) != 0)
		return err;
	memcpy(out, data, len);
	out[len] = '\0';
	return 0;
}

static err_t
decode(struct cursor *c, struct credentials *out)
{
	uint8_t version;
	err_t err;

	if ((err = cursor_u8(c, &version)) != 0)
		return err;
	if (version != RECORD_VERSION)
		return -EPROTO;
	if ((err = take_text(c, out->access_key)) != 0 || (err = take_text(c, out->secret_key)) != 0)
		return err;
	return take_text(c, out->session_token);
}

err_t
credentials_load(struct vault *v, struct credentials **out)
{
	CLEANUP(secmem_free_ptr) struct credentials *c = NULL;
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	meta_lock(v->meta);
	err = vault_secret_get(v, DB_KEY_CREDENTIALS, &b);
	meta_unlock(v->meta);
	if (err != 0)
		return err;
	if ((c = secmem_new(sizeof(*c))) == NULL)
		return -ENOMEM;
	if ((err = decode(&(struct cursor){ b.data, b.len }, c)) != 0)
		return err;
	*out = STEAL(c);
	return 0;
}

err_t
credentials_save(struct vault *v, const struct credentials *c)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = 0;

	if (c != NULL && ((err = bytes_append_u8(&b, RECORD_VERSION)) != 0 || (err = append_text(&b, c->access_key)) != 0 ||
	    (err = append_text(&b, c->secret_key)) != 0 || (err = append_text(&b, c->session_token)) != 0))
		return err;
	meta_lock(v->meta);
	err = c != NULL ? vault_secret_put(v, DB_KEY_CREDENTIALS, &b) : meta_kv_put(v->meta, DB_KEY_CREDENTIALS, (const uint8_t *)"", 0);
	meta_unlock(v->meta);
	return err;
}
