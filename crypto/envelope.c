/*
 * envelope.c: seals and opens the metadata objects.  The body is copied once, into the object, and encrypted there.
 */
#include "envelope.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "aead.h"
#include "hash.h"
#include "kdf.h"
#include "padme.h"
#include "random.h"
#include "secmem.h"

#define VERSION 1
#define SUITE_AES256GCM 1
#define SALT_LEN 32
#define SALT_OFFSET 8

/* What stands before the body inside: body length, previous, author, time. */
#define INNER_HEADER_LEN (8 + 32 + IDENTITY_ID_LEN + 8)
#define OVERHEAD (ENVELOPE_HEADER_LEN + INNER_HEADER_LEN + IDENTITY_SIG_LEN + AEAD_TAG_LEN)

#define SIGN_LABEL "snugfs/1 commit"
#define SIGN_LABEL_LEN (sizeof(SIGN_LABEL) - 1)
#define SIGN_INPUT_LEN sizeof(((struct envelope_opened *)NULL)->signed_hash_input)

static_assert(SALT_OFFSET + SALT_LEN == ENVELOPE_HEADER_LEN, "the salt ends the header");
static_assert(SIGN_LABEL_LEN + 32 + 8 + 32 + 32 + IDENTITY_ID_LEN + 8 + 32 == SIGN_INPUT_LEN, "all that is signed");

static bool is_known_kind(unsigned kind)
{
	return kind == ENVELOPE_COMMIT || kind == ENVELOPE_BASE || kind == ENVELOPE_PART || kind == ENVELOPE_WITNESS;
}

/* The key of this one object, good for one message: the salt makes it so. */
static err_t object_key(const uint8_t *header, uint64_t seq, const uint8_t vault_id[static 32],
    const uint8_t epoch_key[static 32], struct key32 *key_out)
{
	uint8_t context[1 + 32 + 8 + SALT_LEN];
	context[0] = header[1];
	memcpy(context + 1, vault_id, 32);
	put_u64(context + 33, seq);
	memcpy(context + 41, header + SALT_OFFSET, SALT_LEN);
	return hkdf_expand_label(epoch_key, "snugfs/1 envelope", context, sizeof(context), key_out->b,
	    sizeof(key_out->b));
}

static err_t signature_input(const struct envelope *e, const uint8_t vault_id[static 32], const uint8_t *header,
    const uint8_t *body, size_t body_len, uint8_t out[static SIGN_INPUT_LEN])
{
	uint8_t *at = out;
	memcpy(at, SIGN_LABEL, SIGN_LABEL_LEN);
	at += SIGN_LABEL_LEN;
	memcpy(at, vault_id, 32);
	put_u64(at + 32, e->seq);
	at += 40;
	err_t err = hash_sha256(header, ENVELOPE_HEADER_LEN, at);
	if (err != 0)
		return err;
	at += HASH_LEN;
	memcpy(at, e->previous, 32);
	memcpy(at + 32, e->author, IDENTITY_ID_LEN);
	at += 32 + IDENTITY_ID_LEN;
	put_u64(at, e->time_ns);
	return hash_sha256(body, body_len, at + 8);
}

static err_t fill_header(const struct envelope *e, uint8_t header[static ENVELOPE_HEADER_LEN])
{
	header[0] = VERSION;
	header[1] = (uint8_t)e->kind;
	header[2] = SUITE_AES256GCM;
	header[3] = 0;
	put_u32(header + 4, e->epoch);
	return random_bytes(header + SALT_OFFSET, SALT_LEN);
}

static err_t fill_plain(const struct envelope *e, const uint8_t vault_id[static 32], const uint8_t *header,
    const struct identity *author, const uint8_t *body, size_t body_len, uint8_t *plain, size_t plain_len)
{
	put_u64(plain, body_len);
	memcpy(plain + 8, e->previous, 32);
	memcpy(plain + 40, e->author, IDENTITY_ID_LEN);
	put_u64(plain + 40 + IDENTITY_ID_LEN, e->time_ns);
	if (body_len > 0)
		memcpy(plain + INNER_HEADER_LEN, body, body_len);

	uint8_t input[SIGN_INPUT_LEN];
	err_t err = signature_input(e, vault_id, header, body, body_len, input);
	if (err != 0)
		return err;
	uint8_t *signature = plain + INNER_HEADER_LEN + body_len;
	err = identity_sign(author, input, sizeof(input), signature);
	if (err != 0)
		return err;
	uint8_t *padding = signature + IDENTITY_SIG_LEN;
	memset(padding, 0, (size_t)(plain + plain_len - padding));
	return 0;
}

static err_t seal_into(const struct envelope *e, const uint8_t vault_id[static 32], const uint8_t epoch_key[static 32],
    const struct identity *author, const uint8_t *body, size_t body_len, uint8_t *object, size_t object_len)
{
	uint8_t *plain = object + ENVELOPE_HEADER_LEN;
	size_t plain_len = object_len - ENVELOPE_HEADER_LEN - AEAD_TAG_LEN;
	err_t err = fill_header(e, object);
	if (err != 0)
		return err;
	err = fill_plain(e, vault_id, object, author, body, body_len, plain, plain_len);
	if (err != 0)
		return err;

	CLEANUP(key32_wipe) struct key32 key;
	CLEANUP(aead_free_ptr) struct aead *aead = NULL;
	err = object_key(object, e->seq, vault_id, epoch_key, &key);
	if (err == 0)
		err = aead_new(key.b, &aead);
	if (err != 0)
		return err;
	uint8_t nonce[AEAD_NONCE_LEN];
	aead_nonce(0, nonce);
	return aead_seal(aead, nonce, object, ENVELOPE_HEADER_LEN, plain, plain_len, plain);
}

err_t envelope_seal(const struct envelope *e, const uint8_t vault_id[static 32], const uint8_t epoch_key[static 32],
    const struct identity *author, const uint8_t *body, size_t body_len, struct bytes *out)
{
	uint8_t id[IDENTITY_ID_LEN];
	err_t err = identity_id(identity_public(author), id);
	if (err != 0)
		return err;
	if (memcmp(id, e->author, sizeof(id)) != 0 || !is_known_kind(e->kind))
		return -EINVAL;
	if (body_len > ENVELOPE_MAX_LEN)
		return -E2BIG;
	uint64_t object_len = padme_size(body_len + OVERHEAD);
	if (object_len > ENVELOPE_MAX_LEN)
		return -E2BIG;

	size_t old_len = out->len;
	uint8_t *object;
	err = bytes_extend(out, (size_t)object_len, &object);
	if (err != 0)
		return err;
	err = seal_into(e, vault_id, epoch_key, author, body, body_len, object, (size_t)object_len);
	if (err != 0) {
		secmem_wipe(object, (size_t)object_len);
		out->len = old_len;
	}
	return err;
}

err_t envelope_epoch(const uint8_t *object, size_t len, uint32_t *epoch_out)
{
	if (len < ENVELOPE_HEADER_LEN)
		return -EBADMSG;
	if (object[0] != VERSION || !is_known_kind(object[1]) || object[2] != SUITE_AES256GCM || object[3] != 0)
		return -EPROTO;
	*epoch_out = get_u32(object + 4);
	return 0;
}

void envelope_opened_clear(struct envelope_opened *o)
{
	bytes_clear(&o->plain);
	*o = (struct envelope_opened){.body = NULL};
}

static err_t decrypt(const uint8_t *object, size_t len, uint64_t seq, const uint8_t vault_id[static 32],
    const uint8_t epoch_key[static 32], struct bytes *plain)
{
	CLEANUP(key32_wipe) struct key32 key;
	CLEANUP(aead_free_ptr) struct aead *aead = NULL;
	err_t err = object_key(object, seq, vault_id, epoch_key, &key);
	if (err == 0)
		err = aead_new(key.b, &aead);
	if (err != 0)
		return err;
	uint8_t *to;
	err = bytes_extend(plain, len - ENVELOPE_HEADER_LEN - AEAD_TAG_LEN, &to);
	if (err != 0)
		return err;
	uint8_t nonce[AEAD_NONCE_LEN];
	aead_nonce(0, nonce);
	return aead_open(aead, nonce, object, ENVELOPE_HEADER_LEN, object + ENVELOPE_HEADER_LEN,
	    len - ENVELOPE_HEADER_LEN, to);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Takes o->plain apart.  The size must be the one that sealing gives this body: there is one form only. */
static err_t parse_plain(struct envelope_opened *o, size_t object_len)
{
	struct cursor c = {o->plain.data, o->plain.len};
	uint64_t body_len, time_ns;
	err_t err;
	if ((err = cursor_u64(&c, &body_len)) || (err = cursor_copy(&c, o->env.previous, 32)) ||
	    (err = cursor_copy(&c, o->env.author, IDENTITY_ID_LEN)) || (err = cursor_u64(&c, &time_ns)))
		return err;
	if (body_len > c.len || padme_size(body_len + OVERHEAD) != object_len)
		return -EBADMSG;
	o->env.time_ns = time_ns;
	o->body_len = (size_t)body_len;
	if ((err = cursor_take(&c, o->body_len, &o->body)) || (err = cursor_copy(&c, o->signature, IDENTITY_SIG_LEN)))
		return err;
	return is_zero(c.p, c.len) ? 0 : -EBADMSG;
}

err_t envelope_open(const uint8_t *object, size_t len, enum envelope_kind kind, uint64_t seq,
    const uint8_t vault_id[static 32], const uint8_t epoch_key[static 32], struct envelope_opened *out)
{
	CLEANUP(envelope_opened_clear) struct envelope_opened o = {.env = {.kind = kind, .seq = seq}};
	err_t err = envelope_epoch(object, len, &o.env.epoch);
	if (err != 0)
		return err;
	if (object[1] != (uint8_t)kind || len < OVERHEAD || len > ENVELOPE_MAX_LEN)
		return -EBADMSG;
	if ((err = decrypt(object, len, seq, vault_id, epoch_key, &o.plain)) || (err = parse_plain(&o, len)) ||
	    (err = signature_input(&o.env, vault_id, object, o.body, o.body_len, o.signed_hash_input)))
		return err;
	*out = o;
	o.plain = (struct bytes){.data = NULL};
	return 0;
}

err_t envelope_verify(const struct envelope_opened *o, const uint8_t sign_pub[static 32])
{
	return identity_verify(sign_pub, o->signed_hash_input, sizeof(o->signed_hash_input), o->signature);
}
