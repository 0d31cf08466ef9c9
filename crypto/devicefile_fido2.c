/*
 * devicefile_fido2.c: slots of FIDO2 security keys.
 *
 *   parameters := map { 0: credential id (1 to 1024 bytes), 1: "snugfs", 2: salt (32), 3: whether the PIN is needed, 4: AAGUID (16) }
 *   slot's key := HKDF(output of the security key, salt the salt, "snugfs/1 fido2")
 */
#include "devicefile.h"

#include <errno.h>
#include <string.h>

#include "cborio.h"
#include "devicefile_internal.h"
#include "kdf.h"
#include "secmem.h"

static err_t fido2_key(const struct fido2_slot *how, const uint8_t *output, struct key32 *out)
{
	CLEANUP(key32_wipe) struct key32 prk;
	err_t err = hkdf_extract(how->salt, sizeof(how->salt), output, FIDO2_OUTPUT_LEN, prk.b);
	return err != 0 ? err : hkdf_expand_label(prk.b, "snugfs/1 fido2", NULL, 0, out->b, sizeof(out->b));
}

static err_t put_fido2(struct bytes *b, const struct fido2_slot *how)
{
	err_t err;
	if ((err = cbor_put_map(b, 5)) || (err = cbor_put_uint(b, 0)) ||
	    (err = cbor_put_bytes(b, how->credential, how->credential_len)) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_text(b, FIDO2_RELYING_PARTY)) || (err = cbor_put_uint(b, 2)) ||
	    (err = cbor_put_bytes(b, how->salt, sizeof(how->salt))) || (err = cbor_put_uint(b, 3)) ||
	    (err = cbor_put_boolean(b, how->with_pin)) || (err = cbor_put_uint(b, 4)))
		return err;
	return cbor_put_bytes(b, how->aaguid, sizeof(how->aaguid));
}

err_t devicefile_add_fido2(struct devicefile *df, const struct slot_tag *tag, const struct fido2_slot *how,
    const uint8_t output[static FIDO2_OUTPUT_LEN])
{
	CLEANUP(bytes_clear) struct bytes params = {0};
	CLEANUP(key32_wipe) struct key32 key;
	err_t err;
	if (how->credential_len == 0 || how->credential_len > sizeof(how->credential))
		return -EINVAL;
	if ((err = put_fido2(&params, how)) || (err = fido2_key(how, output, &key)))
		return err;
	return devicefile_add_with_key(df, tag, SLOT_FIDO2, key.b, params.data, params.len);
}

static err_t get_credential(struct cursor *c, struct fido2_slot *out)
{
	const uint8_t *id;
	size_t len;
	err_t err = cbor_get_bytes(c, &id, &len);
	if (err != 0)
		return err;
	if (len == 0 || len > sizeof(out->credential))
		return -EBADMSG;
	memcpy(out->credential, id, len);
	out->credential_len = len;
	return 0;
}

static err_t get_relying_party(struct cursor *c)
{
	const char *name;
	size_t len;
	err_t err = cbor_get_text(c, &name, &len);
	if (err != 0)
		return err;
	return len == strlen(FIDO2_RELYING_PARTY) && memcmp(name, FIDO2_RELYING_PARTY, len) == 0 ? 0 : -EBADMSG;
}

err_t devicefile_get_fido2(const struct devicefile *df, size_t i, struct fido2_slot *out)
{
	struct fido2_slot how = {.credential_len = 0};
	size_t pair_count;
	int64_t last = -1;
	err_t err;
	if (i >= df->slot_count || df->slots[i].kind != SLOT_FIDO2)
		return -ENOENT;
	struct cursor c = {df->slots[i].params.data, df->slots[i].params.len};
	if ((err = cbor_get_map(&c, &pair_count)))
		return err;
	if (pair_count != 5)
		return -EBADMSG;
	if ((err = cbor_key_is(&c, &last, 0)) || (err = get_credential(&c, &how)) || (err = cbor_key_is(&c, &last, 1)) ||
	    (err = get_relying_party(&c)) || (err = cbor_key_is(&c, &last, 2)) ||
	    (err = cbor_get_bytes_exact(&c, how.salt, sizeof(how.salt))) || (err = cbor_key_is(&c, &last, 3)) ||
	    (err = cbor_get_boolean(&c, &how.with_pin)) || (err = cbor_key_is(&c, &last, 4)) ||
	    (err = cbor_get_bytes_exact(&c, how.aaguid, sizeof(how.aaguid))) || (err = cbor_end(&c)))
		return err;
	*out = how;
	return 0;
}

err_t devicefile_open_fido2(struct devicefile *df, size_t i, const uint8_t output[static FIDO2_OUTPUT_LEN])
{
	CLEANUP(key32_wipe) struct key32 key;
	struct fido2_slot how;
	err_t err;
	if ((err = devicefile_get_fido2(df, i, &how)) || (err = fido2_key(&how, output, &key)))
		return err;
	return devicefile_open_held(df, i, key.b);
}
