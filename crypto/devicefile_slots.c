/*
 * devicefile_slots.c: what opens a device file: the slots' keys, and how the device secret is wrapped under them.
 *
 *   wrapped := AEAD(HKDF(slot's key, salt the anchor or none, "snugfs/1 slot" || id), device secret)
 *   slot's key, sealed := AEAD(HKDF(device secret, no salt, "snugfs/1 slot key" || id), slot's key)
 *   associated data of both: the kind, the id and the parameters, as they are encoded
 *   parameters of a plain slot: {}; of a passphrase slot: { 0: salt (32), 1: log2 N, 2: r, 3: p }; of a key file slot:
 *   { 0: salt (32) }; of a recovery slot: { 0: the member id of the recovery key }; of a security key's: devicefile_fido2.c;
 *   else as whoever holds the key wants it
 *
 * A slot's id is random, and its key never changes, so each of these keys seals one message under the constant nonce.
 */
#include "devicefile.h"

#include <errno.h>
#include <string.h>

#include "aead.h"
#include "cborio.h"
#include "devicefile_internal.h"
#include "hpke.h"
#include "kdf.h"
#include "random.h"
#include "secmem.h"

#define SALT_LEN 32
#define WRAPPED_LEN (DEVICE_SECRET_LEN + AEAD_TAG_LEN)

#define DEFAULT_LOG_N 17
#define MIN_LOG_N 14
#define SCRYPT_R 8
#define SCRYPT_P 1

void slot_clear(struct slot *s)
{
	bytes_clear(&s->params);
	bytes_clear(&s->wrapped);
	bytes_clear(&s->escrow);
	secmem_free(s->plain);
	*s = (struct slot){.kind = 0};
}

/* Control characters are U+0000 to U+001F, U+007F, and U+0080 to U+009F. */
static bool is_printable(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;
	for (size_t i = 0; i < len; i++) {
		if (p[i] < 0x20 || p[i] == 0x7f || (p[i] == 0xc2 && i + 1 < len && p[i + 1] < 0xa0))
			return false;
	}
	return true;
}

err_t slot_get_label(struct cursor *c, char out[static SLOT_LABEL_MAX + 1])
{
	const char *text;
	size_t len;
	err_t err = cbor_get_text(c, &text, &len);
	if (err != 0)
		return err;
	if (len > SLOT_LABEL_MAX || !is_printable(text, len))
		return -EBADMSG;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

err_t slot_tag_new(const char *label, uint64_t created_s, struct slot_tag *out)
{
	CLEANUP(bytes_clear) struct bytes encoded = {0};
	struct slot_tag tag = {.created_s = created_s};
	err_t err = cbor_put_text(&encoded, label);
	if (err != 0)
		return err;
	struct cursor c = {encoded.data, encoded.len};
	if (slot_get_label(&c, tag.label) != 0)
		return -EINVAL;
	err = random_bytes(tag.id, sizeof(tag.id));
	if (err == 0)
		*out = tag;
	return err;
}

/* Wrapping */

static err_t slot_aad(const struct slot *s, struct bytes *out)
{
	err_t err;
	if ((err = cbor_put_uint(out, s->kind)) || (err = cbor_put_bytes(out, s->tag.id, sizeof(s->tag.id))))
		return err;
	return cbor_put_bytes(out, s->params.data, s->params.len);
}

/* HKDF from a secret of 32 bytes to the key of one message. */
static err_t message_key(const uint8_t *salt, const uint8_t *ikm, const char *label, const struct slot *s,
    struct key32 *out)
{
	CLEANUP(key32_wipe) struct key32 prk;
	err_t err = hkdf_extract(salt, salt != NULL ? DEVICEFILE_ANCHOR_LEN : 0, ikm, 32, prk.b);
	return err != 0 ? err : hkdf_expand_label(prk.b, label, s->tag.id, sizeof(s->tag.id), out->b, sizeof(out->b));
}

static err_t seal32(const struct slot *s, const struct key32 *key, const uint8_t plain[static 32], struct bytes *out)
{
	CLEANUP(bytes_clear) struct bytes aad = {0};
	CLEANUP(aead_free_ptr) struct aead *aead = NULL;
	uint8_t nonce[AEAD_NONCE_LEN], sealed[WRAPPED_LEN];
	aead_nonce(0, nonce);
	err_t err;
	if ((err = slot_aad(s, &aad)) || (err = aead_new(key->b, &aead)) ||
	    (err = aead_seal(aead, nonce, aad.data, aad.len, plain, 32, sealed)))
		return err;
	return bytes_append(out, sealed, sizeof(sealed));
}

static err_t open32(const struct slot *s, const struct key32 *key, const struct bytes *sealed, struct key32 *out)
{
	if (sealed->len != WRAPPED_LEN)
		return -EBADMSG;
	CLEANUP(bytes_clear) struct bytes aad = {0};
	CLEANUP(aead_free_ptr) struct aead *aead = NULL;
	uint8_t nonce[AEAD_NONCE_LEN];
	aead_nonce(0, nonce);
	err_t err;
	if ((err = slot_aad(s, &aad)) || (err = aead_new(key->b, &aead)))
		return err;
	return aead_open(aead, nonce, aad.data, aad.len, sealed->data, sealed->len, out->b);
}

static err_t wrap(const struct devicefile *df, const struct slot *s, const uint8_t *slot_key, struct bytes *out)
{
	CLEANUP(key32_wipe) struct key32 key;
	err_t err = message_key(df->anchor.value, slot_key, "snugfs/1 slot", s, &key);
	return err != 0 ? err : seal32(s, &key, df->secret, out);
}

static err_t rewrap(const struct devicefile *df, const struct slot *s, struct bytes *out)
{
	CLEANUP(key32_wipe) struct key32 key;
	CLEANUP(key32_wipe) struct key32 slot_key;
	err_t err;
	if ((err = message_key(NULL, df->secret, "snugfs/1 slot key", s, &key)) ||
	    (err = open32(s, &key, &s->escrow, &slot_key)))
		return err;
	return wrap(df, s, slot_key.b, out);
}

err_t devicefile_wrap_slots(struct devicefile *df)
{
	struct bytes anew[DEVICEFILE_MAX_SLOTS] = {{0}};
	err_t err = 0;
	for (size_t i = 0; i < df->slot_count && err == 0; i++) {
		if (df->slots[i].escrow.len > 0)
			err = rewrap(df, &df->slots[i], &anew[i]);
	}
	for (size_t i = 0; i < df->slot_count; i++) {
		if (err == 0 && df->slots[i].escrow.len > 0) {
			bytes_clear(&df->slots[i].wrapped);
			df->slots[i].wrapped = anew[i];
		} else {
			bytes_clear(&anew[i]);
		}
	}
	return err;
}

/* Adding */

static err_t begin_slot(const struct devicefile *df, enum slot_kind kind, const struct slot_tag *tag, struct slot *out)
{
	if (df->secret == NULL)
		return -EINVAL;
	if (df->slot_count == DEVICEFILE_MAX_SLOTS)
		return -E2BIG;
	if (df->anchor.exists && df->anchor.value == NULL)
		return -ENOKEY;
	struct slot_tag anonymous;
	err_t err = tag == NULL ? slot_tag_new("", 0, &anonymous) : 0;
	if (err == 0)
		*out = (struct slot){.kind = (uint64_t)kind, .tag = tag != NULL ? *tag : anonymous};
	return err;
}

static void end_slot(struct devicefile *df, struct slot *s)
{
	df->slots[df->slot_count++] = *s;
	*s = (struct slot){.kind = 0};
}

/* The parameters are there. */
static err_t add_keyed(struct devicefile *df, struct slot *s, const uint8_t slot_key[static SLOT_KEY_LEN])
{
	CLEANUP(key32_wipe) struct key32 key;
	err_t err;
	if ((err = message_key(NULL, df->secret, "snugfs/1 slot key", s, &key)) ||
	    (err = seal32(s, &key, slot_key, &s->escrow)) || (err = wrap(df, s, slot_key, &s->wrapped)))
		return err;
	end_slot(df, s);
	return 0;
}

static err_t put_salt(struct slot *s, size_t pair_count, uint8_t salt_out[static SALT_LEN])
{
	err_t err;
	if ((err = random_bytes(salt_out, SALT_LEN)) || (err = cbor_put_map(&s->params, pair_count)) ||
	    (err = cbor_put_uint(&s->params, 0)))
		return err;
	return cbor_put_bytes(&s->params, salt_out, SALT_LEN);
}

err_t devicefile_add_passphrase(struct devicefile *df, const struct slot_tag *tag, const void *pass, size_t pass_len,
    unsigned log_n)
{
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	CLEANUP(key32_wipe) struct key32 key;
	uint8_t salt[SALT_LEN];
	err_t err = begin_slot(df, SLOT_PASSPHRASE, tag, &s);
	if (err != 0)
		return err;
	if (log_n == 0)
		log_n = DEFAULT_LOG_N;
	if (log_n < MIN_LOG_N)
		return -EINVAL;
	if ((err = put_salt(&s, 4, salt)) || (err = cbor_put_uint(&s.params, 1)) || (err = cbor_put_uint(&s.params, log_n)) ||
	    (err = cbor_put_uint(&s.params, 2)) || (err = cbor_put_uint(&s.params, SCRYPT_R)) ||
	    (err = cbor_put_uint(&s.params, 3)) || (err = cbor_put_uint(&s.params, SCRYPT_P)) ||
	    (err = scrypt_derive(pass, pass_len, salt, sizeof(salt), log_n, SCRYPT_R, SCRYPT_P, key.b)))
		return err;
	return add_keyed(df, &s, key.b);
}

err_t devicefile_add_plain(struct devicefile *df, const struct slot_tag *tag)
{
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	err_t err;
	if ((err = begin_slot(df, SLOT_PLAIN, tag, &s)) || (err = cbor_put_map(&s.params, 0)) ||
	    (err = devicefile_copy_secret(df->secret, &s.plain)))
		return err;
	end_slot(df, &s);
	return 0;
}

static err_t key_of_file(const void *content, size_t len, const uint8_t salt[static SALT_LEN], struct key32 *out)
{
	CLEANUP(key32_wipe) struct key32 prk;
	err_t err = hkdf_extract(salt, SALT_LEN, content, len, prk.b);
	return err != 0 ? err : hkdf_expand_label(prk.b, "snugfs/1 key file", NULL, 0, out->b, sizeof(out->b));
}

err_t devicefile_add_key_file(struct devicefile *df, const struct slot_tag *tag, const void *content, size_t len)
{
	if (len < DEVICEFILE_KEY_FILE_MIN || len > DEVICEFILE_KEY_FILE_MAX)
		return -EINVAL;
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	CLEANUP(key32_wipe) struct key32 key;
	uint8_t salt[SALT_LEN];
	err_t err;
	if ((err = begin_slot(df, SLOT_KEY_FILE, tag, &s)) || (err = put_salt(&s, 1, salt)) ||
	    (err = key_of_file(content, len, salt, &key)))
		return err;
	return add_keyed(df, &s, key.b);
}

err_t devicefile_add_with_key(struct devicefile *df, const struct slot_tag *tag, enum slot_kind kind,
    const uint8_t key[static SLOT_KEY_LEN], const uint8_t *params, size_t params_len)
{
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	err_t err;
	if ((err = begin_slot(df, kind, tag, &s)) || (err = bytes_append(&s.params, params, params_len)))
		return err;
	return add_keyed(df, &s, key);
}

err_t devicefile_add_held(struct devicefile *df, const struct slot_tag *tag, enum slot_kind kind,
    const uint8_t key[static SLOT_KEY_LEN], const uint8_t *params, size_t params_len)
{
	return kind == SLOT_SECRET_SERVICE || kind == SLOT_TPM ?
	    devicefile_add_with_key(df, tag, kind, key, params, params_len) : -EINVAL;
}

/* Recovery slots: to a public key, so that one can be added without the recovery key at hand. */

#define RECOVERY_CONTENT_LEN (HPKE_ENC_LEN + WRAPPED_LEN)

static err_t recovery_info(const struct devicefile *df, const struct slot *s, struct bytes *out)
{
	static const char label[] = "snugfs/1 recovery slot";
	err_t err;
	if ((err = bytes_append(out, label, sizeof(label) - 1)) ||
	    (err = bytes_append(out, df->vault_id, sizeof(df->vault_id))))
		return err;
	return bytes_append(out, s->tag.id, sizeof(s->tag.id));
}

static struct hpke_psk recovery_psk_of(const uint8_t *psk)
{
	static const char label[] = "snugfs/1 recovery";
	return (struct hpke_psk){psk, 32, (const uint8_t *)label, sizeof(label) - 1};
}

err_t devicefile_add_recovery(struct devicefile *df, const struct slot_tag *tag, const struct identity_public *recovery,
    const uint8_t psk[static 32])
{
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	CLEANUP(bytes_clear) struct bytes info = {0}, aad = {0};
	struct hpke_psk with = recovery_psk_of(psk);
	uint8_t member[IDENTITY_ID_LEN], content[RECOVERY_CONTENT_LEN];
	err_t err;
	if ((err = begin_slot(df, SLOT_RECOVERY, tag, &s)) || (err = identity_id(recovery, member)) ||
	    (err = cbor_put_map(&s.params, 1)) || (err = cbor_put_uint(&s.params, 0)) ||
	    (err = cbor_put_bytes(&s.params, member, sizeof(member))) || (err = recovery_info(df, &s, &info)) ||
	    (err = slot_aad(&s, &aad)) ||
	    (err = hpke_seal(recovery->box, &with, info.data, info.len, aad.data, aad.len, df->secret, DEVICE_SECRET_LEN,
	         content, content + HPKE_ENC_LEN)) ||
	    (err = bytes_append(&s.wrapped, content, sizeof(content))))
		return err;
	end_slot(df, &s);
	return 0;
}

/* Opening */

static err_t accept_from(struct devicefile *df, const struct slot *s, const uint8_t *secret)
{
	err_t err = devicefile_accept(df, secret);
	if (err == 0) {
		df->was_opened_by = true;
		memcpy(df->opened_by, s->tag.id, sizeof(df->opened_by));
	}
	return err;
}

/* -EKEYREJECTED: it is not this slot's key. */
static err_t open_keyed(struct devicefile *df, const struct slot *s, const uint8_t *slot_key)
{
	CLEANUP(key32_wipe) struct key32 key;
	CLEANUP(key32_wipe) struct key32 secret;
	if (df->anchor.exists && df->anchor.value == NULL)
		return -ENOKEY;
	if (s->wrapped.len != WRAPPED_LEN)
		return -EBADMSG;
	err_t err = message_key(df->anchor.value, slot_key, "snugfs/1 slot", s, &key);
	if (err == 0)
		err = open32(s, &key, &s->wrapped, &secret);
	if (err != 0)
		return err == -EBADMSG ? -EKEYREJECTED : err;
	return accept_from(df, s, secret.b);
}

static err_t get_params_head(struct cursor *c, const struct slot *s, size_t want_pairs, int64_t *last)
{
	*c = (struct cursor){s->params.data, s->params.len};
	size_t pair_count;
	*last = -1;
	err_t err = cbor_get_map(c, &pair_count);
	if (err != 0)
		return err;
	if (pair_count != want_pairs)
		return -EBADMSG;
	return cbor_key_is(c, last, 0);
}

static err_t get_cost(struct cursor *c, int64_t *last, uint64_t want, uint64_t *out)
{
	err_t err = cbor_key_is(c, last, want);
	return err != 0 ? err : cbor_get_uint(c, out);
}

/* The cost is refused before it is paid. */
static err_t passphrase_key(const struct slot *s, const void *pass, size_t pass_len, struct key32 *key_out)
{
	struct cursor c;
	uint8_t salt[SALT_LEN];
	uint64_t log_n, r, p;
	int64_t last;
	err_t err;
	if ((err = get_params_head(&c, s, 4, &last)) || (err = cbor_get_bytes_exact(&c, salt, sizeof(salt))) ||
	    (err = get_cost(&c, &last, 1, &log_n)) || (err = get_cost(&c, &last, 2, &r)) ||
	    (err = get_cost(&c, &last, 3, &p)) || (err = cbor_end(&c)))
		return err;
	if (log_n > UINT8_MAX || r > UINT8_MAX || p > UINT8_MAX)
		return -EPROTO;
	err = scrypt_derive(pass, pass_len, salt, sizeof(salt), (unsigned)log_n, (unsigned)r, (unsigned)p, key_out->b);
	return err == -EINVAL ? -EPROTO : err;
}

static err_t file_key(const struct slot *s, const void *content, size_t len, struct key32 *key_out)
{
	struct cursor c;
	uint8_t salt[SALT_LEN];
	int64_t last;
	err_t err;
	if ((err = get_params_head(&c, s, 1, &last)) || (err = cbor_get_bytes_exact(&c, salt, sizeof(salt))) ||
	    (err = cbor_end(&c)))
		return err;
	return key_of_file(content, len, salt, key_out);
}

typedef err_t derive_fn(const struct slot *s, const void *from, size_t len, struct key32 *key_out);

static err_t open_derived(struct devicefile *df, enum slot_kind kind, derive_fn *derive, const void *from, size_t len)
{
	err_t result = -ENOENT;
	for (size_t i = 0; i < df->slot_count; i++) {
		const struct slot *s = &df->slots[i];
		if (s->kind != (uint64_t)kind)
			continue;
		CLEANUP(key32_wipe) struct key32 key;
		err_t err = derive(s, from, len, &key);
		if (err == 0)
			err = open_keyed(df, s, key.b);
		if (err != -EKEYREJECTED)
			return err;
		result = err;
	}
	return result;
}

err_t devicefile_open_passphrase(struct devicefile *df, const void *pass, size_t pass_len)
{
	return open_derived(df, SLOT_PASSPHRASE, passphrase_key, pass, pass_len);
}

err_t devicefile_open_key_file(struct devicefile *df, const void *content, size_t len)
{
	return open_derived(df, SLOT_KEY_FILE, file_key, content, len);
}

err_t devicefile_open_held(struct devicefile *df, size_t i, const uint8_t key[static SLOT_KEY_LEN])
{
	return i < df->slot_count && df->slots[i].escrow.len > 0 ? open_keyed(df, &df->slots[i], key) : -ENOENT;
}

err_t devicefile_open_plain(struct devicefile *df)
{
	for (size_t i = 0; i < df->slot_count; i++) {
		if (df->slots[i].kind == SLOT_PLAIN)
			return accept_from(df, &df->slots[i], df->slots[i].plain);
	}
	return -ENOENT;
}

static err_t open_recovery_slot(struct devicefile *df, const struct slot *s, const struct identity *recovery,
    const struct hpke_psk *psk)
{
	CLEANUP(bytes_clear) struct bytes info = {0}, aad = {0};
	CLEANUP(key32_wipe) struct key32 secret;
	err_t err;
	if (s->wrapped.len != RECOVERY_CONTENT_LEN)
		return -EBADMSG;
	if ((err = recovery_info(df, s, &info)) || (err = slot_aad(s, &aad)))
		return err;
	err = hpke_open(identity_box_secret(recovery), s->wrapped.data, psk, info.data, info.len, aad.data, aad.len,
	    s->wrapped.data + HPKE_ENC_LEN, WRAPPED_LEN, secret.b);
	if (err != 0)
		return err == -EBADMSG ? -EKEYREJECTED : err;
	return accept_from(df, s, secret.b);
}

err_t devicefile_open_recovery(struct devicefile *df, const struct identity *recovery)
{
	CLEANUP(key32_wipe) struct key32 psk;
	err_t err = identity_derive(recovery, "recovery psk", psk.b);
	if (err != 0)
		return err;
	struct hpke_psk with = recovery_psk_of(psk.b);
	err_t result = -ENOENT;
	for (size_t i = 0; i < df->slot_count; i++) {
		if (df->slots[i].kind != SLOT_RECOVERY)
			continue;
		err = open_recovery_slot(df, &df->slots[i], recovery, &with);
		if (err != -EKEYREJECTED)
			return err;
		result = err;
	}
	return result;
}

err_t devicefile_open_secret(struct devicefile *df, const uint8_t secret[static DEVICE_SECRET_LEN])
{
	return devicefile_accept(df, secret);
}
