/*
 * devicefile.c: the device file: a list of key slots, and an HMAC over all of it under a key that the slots protect.
 *
 *   file := CBOR map { 0: "snugfs device file", 1: version, 2: vault id, 3: [ slot, ... ], 4: HMAC }
 *   slot := map { 0: kind, 1: parameters (bytes that hold CBOR), 2: wrapped secret (bytes) }
 *   parameters of a plain slot: {}; of a passphrase slot: { 0: salt (32), 1: log2 N, 2: r, 3: p }
 *   HMAC: HMAC-SHA-256 under HKDF(device secret, no salt, "snugfs/1 device file") over the encoded pairs 0 to 3, without
 *   the map's head
 */
#include "devicefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"
#include "cborio.h"
#include "hash.h"
#include "kdf.h"
#include "random.h"
#include "secmem.h"

#define MAGIC "snugfs device file"
#define VERSION 1
#define SALT_LEN 32
#define WRAPPED_LEN (DEVICE_SECRET_LEN + AEAD_TAG_LEN)

#define DEFAULT_LOG_N 17
#define MIN_LOG_N 14
#define SCRYPT_R 8
#define SCRYPT_P 1

struct slot {
	uint64_t kind;
	struct bytes params;
	struct bytes wrapped; /* empty for a plain slot: its content is the secret, and so stays in secret memory */
	uint8_t *plain;       /* plain slots only */
};

struct devicefile {
	uint8_t vault_id[32];
	struct slot slots[DEVICEFILE_MAX_SLOTS];
	size_t slot_count;
	uint8_t hmac[HASH_LEN]; /* as it was parsed; not looked at any more once the file is open */
	uint8_t *secret;        /* secret memory; NULL while closed */
};

static void slot_clear(struct slot *s)
{
	bytes_clear(&s->params);
	bytes_clear(&s->wrapped);
	secmem_free(s->plain);
	*s = (struct slot){.kind = 0};
}

void devicefile_free(struct devicefile *df)
{
	if (df == NULL)
		return;
	for (size_t i = 0; i < df->slot_count; i++)
		slot_clear(&df->slots[i]);
	secmem_free(df->secret);
	free(df);
}

void devicefile_free_ptr(struct devicefile **df)
{
	devicefile_free(*df);
}

static err_t secret_copy(const uint8_t *secret, uint8_t **out)
{
	uint8_t *copy = secmem_new(DEVICE_SECRET_LEN);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, secret, DEVICE_SECRET_LEN);
	*out = copy;
	return 0;
}

err_t devicefile_new(const uint8_t secret[static DEVICE_SECRET_LEN], const uint8_t vault_id[static 32],
    struct devicefile **out)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = calloc(1, sizeof(*df));
	if (df == NULL)
		return -ENOMEM;
	err_t err = secret_copy(secret, &df->secret);
	if (err != 0)
		return err;
	memcpy(df->vault_id, vault_id, 32);
	*out = STEAL(df);
	return 0;
}

/* Writing */

static err_t put_slot(struct bytes *b, const struct slot *s)
{
	const uint8_t *content = s->plain != NULL ? s->plain : s->wrapped.data;
	size_t content_len = s->plain != NULL ? DEVICE_SECRET_LEN : s->wrapped.len;
	err_t err;
	if ((err = cbor_put_map(b, 3)) || (err = cbor_put_uint(b, 0)) || (err = cbor_put_uint(b, s->kind)) ||
	    (err = cbor_put_uint(b, 1)) || (err = cbor_put_bytes(b, s->params.data, s->params.len)) ||
	    (err = cbor_put_uint(b, 2)) || (err = cbor_put_bytes(b, content, content_len)))
		return err;
	return 0;
}

/* The pairs 0 to 3: what the HMAC covers.  The reader takes one form only, so this gives back what was read. */
static err_t put_covered(struct bytes *b, const struct devicefile *df)
{
	err_t err;
	if ((err = cbor_put_uint(b, 0)) || (err = cbor_put_text(b, MAGIC)) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_uint(b, VERSION)) || (err = cbor_put_uint(b, 2)) ||
	    (err = cbor_put_bytes(b, df->vault_id, sizeof(df->vault_id))) || (err = cbor_put_uint(b, 3)) ||
	    (err = cbor_put_array(b, df->slot_count)))
		return err;
	for (size_t i = 0; i < df->slot_count; i++) {
		if ((err = put_slot(b, &df->slots[i])))
			return err;
	}
	return 0;
}

static err_t covered_hmac(const uint8_t *secret, const struct bytes *covered, uint8_t out[static HASH_LEN])
{
	CLEANUP(key32_wipe) struct key32 prk;
	CLEANUP(key32_wipe) struct key32 key;
	err_t err;
	if ((err = hkdf_extract(NULL, 0, secret, DEVICE_SECRET_LEN, prk.b)) ||
	    (err = hkdf_expand_label(prk.b, "snugfs/1 device file", NULL, 0, key.b, sizeof(key.b))))
		return err;
	return hmac_sha256(key.b, sizeof(key.b), covered->data, covered->len, out);
}

err_t devicefile_serialize(const struct devicefile *df, struct bytes *out)
{
	if (df->secret == NULL || df->slot_count == 0)
		return -EINVAL;
	CLEANUP(bytes_clear) struct bytes covered = {0};
	CLEANUP(bytes_clear) struct bytes file = {0};
	uint8_t hmac[HASH_LEN];
	err_t err;
	if ((err = put_covered(&covered, df)) || (err = covered_hmac(df->secret, &covered, hmac)) ||
	    (err = cbor_put_map(&file, 5)) || (err = bytes_append(&file, covered.data, covered.len)) ||
	    (err = cbor_put_uint(&file, 4)) || (err = cbor_put_bytes(&file, hmac, sizeof(hmac))))
		return err;
	if (file.len > DEVICEFILE_MAX_LEN)
		return -E2BIG;
	return bytes_append(out, file.data, file.len);
}

/* Reading */

static err_t get_key(struct cursor *c, int64_t *last, uint64_t want)
{
	uint64_t key;
	err_t err = cbor_key(c, last, &key);
	if (err != 0)
		return err;
	return key == want ? 0 : -EBADMSG;
}

static err_t get_magic_and_version(struct cursor *c, size_t *pair_count_out, int64_t *last)
{
	const char *magic;
	size_t magic_len;
	uint64_t version;
	err_t err;
	if ((err = cbor_get_map(c, pair_count_out)) || (err = get_key(c, last, 0)) ||
	    (err = cbor_get_text(c, &magic, &magic_len)))
		return err;
	if (magic_len != strlen(MAGIC) || memcmp(magic, MAGIC, magic_len) != 0)
		return -EBADMSG;
	if ((err = get_key(c, last, 1)) || (err = cbor_get_uint(c, &version)))
		return err;
	return version == VERSION ? 0 : -EPROTO;
}

static err_t get_slot(struct cursor *c, struct slot *out)
{
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	const uint8_t *params, *content;
	size_t pair_count, params_len, content_len;
	int64_t last = -1;
	err_t err;
	if ((err = cbor_get_map(c, &pair_count)))
		return err;
	if (pair_count != 3)
		return -EBADMSG;
	if ((err = get_key(c, &last, 0)) || (err = cbor_get_uint(c, &s.kind)) || (err = get_key(c, &last, 1)) ||
	    (err = cbor_get_bytes(c, &params, &params_len)) || (err = get_key(c, &last, 2)) ||
	    (err = cbor_get_bytes(c, &content, &content_len)) || (err = bytes_append(&s.params, params, params_len)))
		return err;
	if (s.kind == SLOT_PLAIN) {
		if (content_len != DEVICE_SECRET_LEN)
			return -EBADMSG;
		err = secret_copy(content, &s.plain);
	} else {
		err = bytes_append(&s.wrapped, content, content_len);
	}
	if (err != 0)
		return err;
	*out = s;
	s = (struct slot){.kind = 0};
	return 0;
}

static err_t get_slots(struct cursor *c, struct devicefile *df)
{
	size_t count;
	err_t err = cbor_get_array(c, &count);
	if (err != 0)
		return err;
	if (count == 0 || count > DEVICEFILE_MAX_SLOTS)
		return -EBADMSG;
	for (; df->slot_count < count; df->slot_count++) {
		err = get_slot(c, &df->slots[df->slot_count]);
		if (err != 0)
			return err;
	}
	return 0;
}

err_t devicefile_parse(const uint8_t *data, size_t len, struct devicefile **out)
{
	if (len > DEVICEFILE_MAX_LEN)
		return -EBADMSG;
	CLEANUP(devicefile_free_ptr) struct devicefile *df = calloc(1, sizeof(*df));
	if (df == NULL)
		return -ENOMEM;

	struct cursor c = {data, len};
	size_t pair_count;
	int64_t last = -1;
	err_t err = get_magic_and_version(&c, &pair_count, &last);
	if (err != 0)
		return err;
	if (pair_count != 5)
		return -EBADMSG;
	if ((err = get_key(&c, &last, 2)) || (err = cbor_get_bytes_exact(&c, df->vault_id, sizeof(df->vault_id))) ||
	    (err = get_key(&c, &last, 3)) || (err = get_slots(&c, df)) || (err = get_key(&c, &last, 4)) ||
	    (err = cbor_get_bytes_exact(&c, df->hmac, sizeof(df->hmac))) || (err = cbor_end(&c)))
		return err;
	*out = STEAL(df);
	return 0;
}

/* Slots */

static const struct slot *find_slot(const struct devicefile *df, enum slot_kind kind)
{
	for (size_t i = 0; i < df->slot_count; i++) {
		if (df->slots[i].kind == (uint64_t)kind)
			return &df->slots[i];
	}
	return NULL;
}

bool devicefile_has_slot(const struct devicefile *df, enum slot_kind kind)
{
	return find_slot(df, kind) != NULL;
}

/* The slot's own key is used for this one message, so nonce 0 is used once. */
static err_t slot_cipher(const struct slot *s, const struct key32 *key, struct bytes *aad, struct aead **out)
{
	err_t err;
	if ((err = cbor_put_uint(aad, s->kind)) || (err = cbor_put_bytes(aad, s->params.data, s->params.len)))
		return err;
	return aead_new(key->b, out);
}

static err_t slot_wrap(struct slot *s, const struct key32 *key, const uint8_t *secret)
{
	CLEANUP(bytes_clear) struct bytes aad = {0};
	CLEANUP(aead_free_ptr) struct aead *aead = NULL;
	uint8_t nonce[AEAD_NONCE_LEN], wrapped[WRAPPED_LEN];
	aead_nonce(0, nonce);
	err_t err;
	if ((err = slot_cipher(s, key, &aad, &aead)) ||
	    (err = aead_seal(aead, nonce, aad.data, aad.len, secret, DEVICE_SECRET_LEN, wrapped)))
		return err;
	return bytes_append(&s->wrapped, wrapped, sizeof(wrapped));
}

static err_t slot_unwrap(const struct slot *s, const struct key32 *key, struct key32 *secret_out)
{
	if (s->wrapped.len != WRAPPED_LEN)
		return -EBADMSG;
	CLEANUP(bytes_clear) struct bytes aad = {0};
	CLEANUP(aead_free_ptr) struct aead *aead = NULL;
	uint8_t nonce[AEAD_NONCE_LEN];
	aead_nonce(0, nonce);
	err_t err = slot_cipher(s, key, &aad, &aead);
	if (err != 0)
		return err;
	return aead_open(aead, nonce, aad.data, aad.len, s->wrapped.data, s->wrapped.len, secret_out->b);
}

static err_t add_slot(struct devicefile *df, struct slot *s)
{
	if (df->slot_count == DEVICEFILE_MAX_SLOTS)
		return -E2BIG;
	df->slots[df->slot_count++] = *s;
	*s = (struct slot){.kind = 0};
	return 0;
}

err_t devicefile_add_passphrase(struct devicefile *df, const void *pass, size_t pass_len, unsigned log_n)
{
	if (log_n == 0)
		log_n = DEFAULT_LOG_N;
	if (df->secret == NULL || log_n < MIN_LOG_N)
		return -EINVAL;
	CLEANUP(slot_clear) struct slot s = {.kind = SLOT_PASSPHRASE};
	CLEANUP(key32_wipe) struct key32 key;
	uint8_t salt[SALT_LEN];
	err_t err;
	if ((err = random_bytes(salt, sizeof(salt))) ||
	    (err = scrypt_derive(pass, pass_len, salt, sizeof(salt), log_n, SCRYPT_R, SCRYPT_P, key.b)) ||
	    (err = cbor_put_map(&s.params, 4)) || (err = cbor_put_uint(&s.params, 0)) ||
	    (err = cbor_put_bytes(&s.params, salt, sizeof(salt))) || (err = cbor_put_uint(&s.params, 1)) ||
	    (err = cbor_put_uint(&s.params, log_n)) || (err = cbor_put_uint(&s.params, 2)) ||
	    (err = cbor_put_uint(&s.params, SCRYPT_R)) || (err = cbor_put_uint(&s.params, 3)) ||
	    (err = cbor_put_uint(&s.params, SCRYPT_P)) || (err = slot_wrap(&s, &key, df->secret)))
		return err;
	return add_slot(df, &s);
}

err_t devicefile_add_plain(struct devicefile *df)
{
	if (df->secret == NULL)
		return -EINVAL;
	CLEANUP(slot_clear) struct slot s = {.kind = SLOT_PLAIN};
	err_t err;
	if ((err = cbor_put_map(&s.params, 0)) || (err = secret_copy(df->secret, &s.plain)))
		return err;
	return add_slot(df, &s);
}

err_t devicefile_drop_slots(struct devicefile *df, enum slot_kind kind)
{
	size_t kept = 0;
	for (size_t i = 0; i < df->slot_count; i++)
		kept += df->slots[i].kind != (uint64_t)kind;
	if (df->secret == NULL || kept == 0)
		return -EINVAL;
	size_t to = 0;
	for (size_t i = 0; i < df->slot_count; i++) {
		struct slot s = df->slots[i];
		df->slots[i] = (struct slot){.kind = 0};
		if (s.kind == (uint64_t)kind)
			slot_clear(&s);
		else
			df->slots[to++] = s;
	}
	df->slot_count = to;
	return 0;
}

/* Opening */

/* A slot gave this secret: the file is open if it authenticates all of the file. */
static err_t accept_secret(struct devicefile *df, const uint8_t *secret)
{
	if (df->secret != NULL)
		return secmem_equal(df->secret, secret, DEVICE_SECRET_LEN) ? 0 : -EBADMSG;
	CLEANUP(bytes_clear) struct bytes covered = {0};
	uint8_t hmac[HASH_LEN];
	err_t err;
	if ((err = put_covered(&covered, df)) || (err = covered_hmac(secret, &covered, hmac)))
		return err;
	if (!secmem_equal(hmac, df->hmac, sizeof(hmac)))
		return -EBADMSG;
	return secret_copy(secret, &df->secret);
}

/* The cost is refused before it is paid. */
static err_t passphrase_key(const struct slot *s, const void *pass, size_t pass_len, struct key32 *key_out)
{
	struct cursor c = {s->params.data, s->params.len};
	uint8_t salt[SALT_LEN];
	uint64_t log_n, r, p;
	size_t pair_count;
	int64_t last = -1;
	err_t err = cbor_get_map(&c, &pair_count);
	if (err != 0)
		return err;
	if (pair_count != 4)
		return -EBADMSG;
	if ((err = get_key(&c, &last, 0)) || (err = cbor_get_bytes_exact(&c, salt, sizeof(salt))) ||
	    (err = get_key(&c, &last, 1)) || (err = cbor_get_uint(&c, &log_n)) || (err = get_key(&c, &last, 2)) ||
	    (err = cbor_get_uint(&c, &r)) || (err = get_key(&c, &last, 3)) || (err = cbor_get_uint(&c, &p)) ||
	    (err = cbor_end(&c)))
		return err;
	if (log_n > UINT8_MAX || r > UINT8_MAX || p > UINT8_MAX)
		return -EPROTO;
	err = scrypt_derive(pass, pass_len, salt, sizeof(salt), (unsigned)log_n, (unsigned)r, (unsigned)p, key_out->b);
	return err == -EINVAL ? -EPROTO : err;
}

err_t devicefile_open_passphrase(struct devicefile *df, const void *pass, size_t pass_len)
{
	err_t result = -ENOENT;
	for (size_t i = 0; i < df->slot_count; i++) {
		const struct slot *s = &df->slots[i];
		if (s->kind != SLOT_PASSPHRASE)
			continue;
		CLEANUP(key32_wipe) struct key32 key;
		CLEANUP(key32_wipe) struct key32 secret;
		err_t err = passphrase_key(s, pass, pass_len, &key);
		if (err != 0)
			return err;
		err = slot_unwrap(s, &key, &secret);
		if (err == 0)
			return accept_secret(df, secret.b);
		if (err != -EBADMSG)
			return err;
		result = -EKEYREJECTED;
	}
	return result;
}

err_t devicefile_open_plain(struct devicefile *df)
{
	const struct slot *s = find_slot(df, SLOT_PLAIN);
	return s != NULL ? accept_secret(df, s->plain) : -ENOENT;
}

const uint8_t *devicefile_secret(const struct devicefile *df)
{
	return df->secret;
}

const uint8_t *devicefile_vault_id(const struct devicefile *df)
{
	return df->vault_id;
}
