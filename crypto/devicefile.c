/*
 * devicefile.c: the device file as bytes: a list of key slots, maybe an anchor, and an HMAC over all of it under a key that
 * the slots protect.
 *
 *   file := CBOR map { 0: "snugfs device file", 1: version, 2: vault id, 3: [ slot, ... ], ? 4: anchor, 5: HMAC }
 *   slot := map { 0: kind, 1: id (8), 2: label, 3: made at, in seconds, 4: parameters (bytes that hold CBOR),
 *                 5: wrapped secret (bytes), ? 6: the slot's key, sealed under the device secret (bytes) }
 *   anchor := map { 0: kind of slot that keeps it, 1: place (bytes), 2: place of the one before (bytes, may be empty) }
 *   HMAC: HMAC-SHA-256 under HKDF(device secret, no salt, "snugfs/1 device file") over the encoded pairs 0 to 4, without
 *   the map's head
 */
#include "devicefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cborio.h"
#include "devicefile_internal.h"
#include "hash.h"
#include "kdf.h"
#include "secmem.h"

#define MAGIC "snugfs device file"
#define VERSION 2

void devicefile_free(struct devicefile *df)
{
	if (df == NULL)
		return;
	for (size_t i = 0; i < df->slot_count; i++)
		slot_clear(&df->slots[i]);
	bytes_clear(&df->anchor.place);
	bytes_clear(&df->anchor.previous);
	secmem_free(df->anchor.value);
	secmem_free(df->secret);
	free(df);
}

void devicefile_free_ptr(struct devicefile **df)
{
	devicefile_free(*df);
}

err_t devicefile_copy_secret(const uint8_t *secret, uint8_t **out)
{
	uint8_t *copy = secmem_new(DEVICE_SECRET_LEN);
	if (copy == NULL)
		return -ENOMEM;
	secmem_copy(copy, secret, DEVICE_SECRET_LEN);
	*out = copy;
	return 0;
}

err_t devicefile_new(const uint8_t secret[static DEVICE_SECRET_LEN], const uint8_t vault_id[static 32],
    struct devicefile **out)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = calloc(1, sizeof(*df));
	if (df == NULL)
		return -ENOMEM;
	err_t err = devicefile_copy_secret(secret, &df->secret);
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
	if ((err = cbor_put_map(b, s->escrow.len > 0 ? 7 : 6)) || (err = cbor_put_uint(b, 0)) ||
	    (err = cbor_put_uint(b, s->kind)) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_bytes(b, s->tag.id, sizeof(s->tag.id))) || (err = cbor_put_uint(b, 2)) ||
	    (err = cbor_put_text(b, s->tag.label)) || (err = cbor_put_uint(b, 3)) ||
	    (err = cbor_put_uint(b, s->tag.created_s)) || (err = cbor_put_uint(b, 4)) ||
	    (err = cbor_put_bytes(b, s->params.data, s->params.len)) || (err = cbor_put_uint(b, 5)) ||
	    (err = cbor_put_bytes(b, content, content_len)) || s->escrow.len == 0)
		return err;
	err = cbor_put_uint(b, 6);
	return err != 0 ? err : cbor_put_bytes(b, s->escrow.data, s->escrow.len);
}

static err_t put_anchor(struct bytes *b, const struct devicefile *df)
{
	err_t err;
	if ((err = cbor_put_uint(b, 4)) || (err = cbor_put_map(b, 3)) || (err = cbor_put_uint(b, 0)) ||
	    (err = cbor_put_uint(b, df->anchor.kind)) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_bytes(b, df->anchor.place.data, df->anchor.place.len)) || (err = cbor_put_uint(b, 2)))
		return err;
	return cbor_put_bytes(b, df->anchor.previous.data, df->anchor.previous.len);
}

/* The pairs 0 to 4: what the HMAC covers.  The reader takes one form only, so this gives back what was read. */
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
	return df->anchor.exists ? put_anchor(b, df) : 0;
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

/* Ways in that do not need the recovery key. */
static size_t way_count(const struct devicefile *df)
{
	size_t count = 0;
	for (size_t i = 0; i < df->slot_count; i++)
		count += df->slots[i].kind != SLOT_RECOVERY;
	return count;
}

err_t devicefile_serialize(const struct devicefile *df, struct bytes *out)
{
	if (df->secret == NULL || way_count(df) == 0)
		return -EINVAL;
	CLEANUP(bytes_clear) struct bytes covered = {0};
	CLEANUP(bytes_clear) struct bytes file = {0};
	uint8_t hmac[HASH_LEN];
	err_t err;
	if ((err = put_covered(&covered, df)) || (err = covered_hmac(df->secret, &covered, hmac)) ||
	    (err = cbor_put_map(&file, df->anchor.exists ? 6 : 5)) ||
	    (err = bytes_append(&file, covered.data, covered.len)) || (err = cbor_put_uint(&file, 5)) ||
	    (err = cbor_put_bytes(&file, hmac, sizeof(hmac))))
		return err;
	if (file.len > DEVICEFILE_MAX_LEN)
		return -E2BIG;
	return bytes_append(out, file.data, file.len);
}

/* Reading */

static err_t get_string(struct cursor *c, struct bytes *out)
{
	const uint8_t *data;
	size_t len;
	err_t err = cbor_get_bytes(c, &data, &len);
	return err != 0 ? err : bytes_append(out, data, len);
}

static err_t get_magic_and_version(struct cursor *c, size_t *pair_count_out, int64_t *last)
{
	const char *magic;
	size_t magic_len;
	uint64_t version;
	err_t err;
	if ((err = cbor_get_map(c, pair_count_out)) || (err = cbor_key_is(c, last, 0)) ||
	    (err = cbor_get_text(c, &magic, &magic_len)))
		return err;
	if (magic_len != strlen(MAGIC) || memcmp(magic, MAGIC, magic_len) != 0)
		return -EBADMSG;
	if ((err = cbor_key_is(c, last, 1)) || (err = cbor_get_uint(c, &version)))
		return err;
	return version == VERSION ? 0 : -EPROTO;
}

static err_t get_tag(struct cursor *c, int64_t *last, struct slot_tag *out)
{
	err_t err;
	if ((err = cbor_key_is(c, last, 1)) || (err = cbor_get_bytes_exact(c, out->id, sizeof(out->id))) ||
	    (err = cbor_key_is(c, last, 2)) || (err = slot_get_label(c, out->label)) || (err = cbor_key_is(c, last, 3)))
		return err;
	return cbor_get_uint(c, &out->created_s);
}

/* Where the secret stands in the clear it goes into secret memory. */
static err_t get_content(struct cursor *c, struct slot *s)
{
	const uint8_t *content;
	size_t len;
	err_t err = cbor_get_bytes(c, &content, &len);
	if (err != 0)
		return err;
	if (s->kind != SLOT_PLAIN)
		return bytes_append(&s->wrapped, content, len);
	return len == DEVICE_SECRET_LEN ? devicefile_copy_secret(content, &s->plain) : -EBADMSG;
}

static err_t get_slot(struct cursor *c, struct slot *out)
{
	CLEANUP(slot_clear) struct slot s = {.kind = 0};
	size_t pair_count;
	int64_t last = -1;
	err_t err;
	if ((err = cbor_get_map(c, &pair_count)))
		return err;
	if (pair_count != 6 && pair_count != 7)
		return -EBADMSG;
	if ((err = cbor_key_is(c, &last, 0)) || (err = cbor_get_uint(c, &s.kind)) || (err = get_tag(c, &last, &s.tag)) ||
	    (err = cbor_key_is(c, &last, 4)) || (err = get_string(c, &s.params)) || (err = cbor_key_is(c, &last, 5)) ||
	    (err = get_content(c, &s)))
		return err;
	if (pair_count == 7) {
		if ((err = cbor_key_is(c, &last, 6)) || (err = get_string(c, &s.escrow)))
			return err;
		if (s.escrow.len == 0 || s.kind == SLOT_PLAIN || s.kind == SLOT_RECOVERY)
			return -EBADMSG;
	}
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
		for (size_t i = 0; i < df->slot_count; i++) {
			if (memcmp(df->slots[i].tag.id, df->slots[df->slot_count].tag.id, SLOT_ID_LEN) == 0) {
				df->slot_count++;
				return -EBADMSG;
			}
		}
	}
	return 0;
}

static err_t get_anchor(struct cursor *c, struct devicefile *df)
{
	size_t pair_count;
	int64_t last = -1;
	err_t err = cbor_get_map(c, &pair_count);
	if (err != 0)
		return err;
	if (pair_count != 3)
		return -EBADMSG;
	df->anchor.exists = true;
	if ((err = cbor_key_is(c, &last, 0)) || (err = cbor_get_uint(c, &df->anchor.kind)) || (err = cbor_key_is(c, &last, 1)) ||
	    (err = get_string(c, &df->anchor.place)) || (err = cbor_key_is(c, &last, 2)))
		return err;
	return get_string(c, &df->anchor.previous);
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
	if (pair_count != 5 && pair_count != 6)
		return -EBADMSG;
	if ((err = cbor_key_is(&c, &last, 2)) || (err = cbor_get_bytes_exact(&c, df->vault_id, sizeof(df->vault_id))) ||
	    (err = cbor_key_is(&c, &last, 3)) || (err = get_slots(&c, df)) ||
	    (pair_count == 6 && ((err = cbor_key_is(&c, &last, 4)) || (err = get_anchor(&c, df)))) ||
	    (err = cbor_key_is(&c, &last, 5)) || (err = cbor_get_bytes_exact(&c, df->hmac, sizeof(df->hmac))) ||
	    (err = cbor_end(&c)))
		return err;
	*out = STEAL(df);
	return 0;
}

err_t devicefile_accept(struct devicefile *df, const uint8_t *secret)
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
	return devicefile_copy_secret(secret, &df->secret);
}

/* Looking */

size_t devicefile_slot_count(const struct devicefile *df)
{
	return df->slot_count;
}

struct slot_view devicefile_slot_at(const struct devicefile *df, size_t i)
{
	const struct slot *s = &df->slots[i];
	return (struct slot_view){s->kind, &s->tag, s->params.data, s->params.len};
}

bool devicefile_has_slot(const struct devicefile *df, enum slot_kind kind)
{
	for (size_t i = 0; i < df->slot_count; i++) {
		if (df->slots[i].kind == (uint64_t)kind)
			return true;
	}
	return false;
}

const uint8_t *devicefile_secret(const struct devicefile *df)
{
	return df->secret;
}

const uint8_t *devicefile_vault_id(const struct devicefile *df)
{
	return df->vault_id;
}

static struct slot *find_slot(struct devicefile *df, const uint8_t id[static SLOT_ID_LEN])
{
	for (size_t i = 0; i < df->slot_count; i++) {
		if (memcmp(df->slots[i].tag.id, id, SLOT_ID_LEN) == 0)
			return &df->slots[i];
	}
	return NULL;
}

const struct slot_tag *devicefile_opened_by(const struct devicefile *df)
{
	if (!df->was_opened_by)
		return NULL;
	for (size_t i = 0; i < df->slot_count; i++) {
		if (memcmp(df->slots[i].tag.id, df->opened_by, SLOT_ID_LEN) == 0)
			return &df->slots[i].tag;
	}
	return NULL;
}

err_t devicefile_drop_slot(struct devicefile *df, const uint8_t id[static SLOT_ID_LEN])
{
	struct slot *s = find_slot(df, id);
	if (df->secret == NULL)
		return -EINVAL;
	if (s == NULL)
		return -ENOENT;
	if (s->kind != SLOT_RECOVERY && way_count(df) == 1)
		return -EINVAL;
	slot_clear(s);
	size_t at = (size_t)(s - df->slots);
	memmove(s, s + 1, (df->slot_count - at - 1) * sizeof(*s));
	df->slots[--df->slot_count] = (struct slot){.kind = 0};
	return 0;
}

/* The anchor */

bool devicefile_get_anchor(const struct devicefile *df, struct anchor_view *out)
{
	if (df->anchor.exists)
		*out = (struct anchor_view){(enum slot_kind)df->anchor.kind, df->anchor.place.data, df->anchor.place.len,
		    df->anchor.previous.data, df->anchor.previous.len};
	return df->anchor.exists;
}

err_t devicefile_give_anchor(struct devicefile *df, const uint8_t value[static DEVICEFILE_ANCHOR_LEN])
{
	uint8_t *copy;
	if (!df->anchor.exists)
		return -EINVAL;
	_Static_assert(DEVICEFILE_ANCHOR_LEN == DEVICE_SECRET_LEN, "an anchor is copied like a secret");
	err_t err = devicefile_copy_secret(value, &copy);
	if (err != 0)
		return err;
	secmem_free(df->anchor.value);
	df->anchor.value = copy;
	return 0;
}

err_t devicefile_set_anchor(struct devicefile *df, const struct anchor_view *anchor, const uint8_t *value)
{
	if (df->secret == NULL)
		return -EINVAL;
	__typeof__(df->anchor) was = df->anchor, now = {.exists = anchor != NULL};
	err_t err = 0;
	if (anchor != NULL) {
		now.kind = anchor->kind;
		if ((err = bytes_append(&now.place, anchor->place, anchor->place_len)) == 0 &&
		    (err = bytes_append(&now.previous, anchor->previous, anchor->previous_len)) == 0)
			err = devicefile_copy_secret(value, &now.value);
	}
	if (err == 0) {
		df->anchor = now;
		err = devicefile_wrap_slots(df);
		if (err == 0)
			now = was; /* what is thrown away below */
		else
			df->anchor = was;
	}
	bytes_clear(&now.place);
	bytes_clear(&now.previous);
	secmem_free(now.value);
	return err;
}
