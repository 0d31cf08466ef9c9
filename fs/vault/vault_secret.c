/*
 * vault_secret.c: values of meta.db that are secrets, sealed before meta has them: its cache, the batch of a commit and the journal
 * are ordinary memory.
 */
#include <errno.h>
#include <string.h>

#include "aead.h"
#include "kdf.h"
#include "random.h"
#include "vault_internal.h"

#define LABEL "snugfs/1 secret value"
#define SALT_LEN 32

/* The first byte.  A value that began with 1 was written before there was a seal. */
#define FORM_PLAIN 1
#define FORM_SEALED 2
#define HEADER_LEN (1 + SALT_LEN)

/* Good for one message: the salt makes it so. */
static err_t
value_cipher(struct vault *v, enum db_key key, const uint8_t salt[static SALT_LEN], struct aead **out)
{
	CLEANUP(key32_wipe) struct key32 local = { 0 };
	CLEANUP(key32_wipe) struct key32 one = { 0 };
	uint8_t context[4 + SALT_LEN];
	err_t err;

	put_u32(context, (uint32_t)key);
	memcpy(context + 4, salt, SALT_LEN);
	if ((err = identity_derive(v->me, "local", local.b)) != 0 ||
	    (err = hkdf_expand_label(local.b, LABEL, context, sizeof(context), one.b, sizeof(one.b))) != 0)
		return err;
	return aead_new(one.b, out);
}

err_t
vault_secret_put(struct vault *v, enum db_key key, const struct bytes *plain)
{
	static const uint8_t nonce[AEAD_NONCE_LEN];
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	CLEANUP(aead_free_ptr) struct aead *cipher = NULL;
	uint8_t *at;
	err_t err;

	if ((err = bytes_extend(&b, HEADER_LEN + plain->len + AEAD_TAG_LEN, &at)) != 0 ||
	    (err = random_bytes(at + 1, SALT_LEN)) != 0 || (err = value_cipher(v, key, at + 1, &cipher)) != 0)
		return err;
	at[0] = FORM_SEALED;
	if ((err = aead_seal(cipher, nonce, NULL, 0, plain->data, plain->len, at + HEADER_LEN)) != 0)
		return err;
	return meta_kv_put(v->meta, key, b.data, b.len);
}

err_t
vault_secret_get(struct vault *v, enum db_key key, struct bytes *out)
{
	static const uint8_t nonce[AEAD_NONCE_LEN];
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	CLEANUP(aead_free_ptr) struct aead *cipher = NULL;
	uint8_t *at;
	err_t err = meta_kv_get(v->meta, key, &b);

	if (err != 0 || b.len == 0)
		return err != 0 ? err : -ENOENT;
	if (b.data[0] == FORM_PLAIN)
		return bytes_append(out, b.data, b.len);
	if (b.data[0] != FORM_SEALED)
		return -EPROTO;
	if (b.len < HEADER_LEN + AEAD_TAG_LEN)
		return -EBADMSG;
	if ((err = value_cipher(v, key, b.data + 1, &cipher)) != 0 ||
	    (err = bytes_extend(out, b.len - HEADER_LEN - AEAD_TAG_LEN, &at)) != 0)
		return err;
	err = aead_open(cipher, nonce, NULL, 0, b.data + HEADER_LEN, b.len - HEADER_LEN, at);
	if (err != 0)
		out->len -= b.len - HEADER_LEN - AEAD_TAG_LEN;
	return err;
}
