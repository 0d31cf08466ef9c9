/*
 * statement.c: trust statements as bytes.  Parsing allocates nothing and believes nothing: who said it is checked after.
 */
#include "statement.h"

#include <errno.h>
#include <string.h>

#include "cborio.h"

#define SIGN_LABEL "snugfs/1 statement"
#define COMMON_PAIRS 5

/* Names */

/* Takes one character off valid UTF-8. */
static uint32_t next_character(const char **at)
{
	const unsigned char *p = (const unsigned char *)*at;
	unsigned more = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
	uint32_t c = more == 0 ? p[0] : p[0] & (0x3fu >> more);
	for (unsigned i = 1; i <= more; i++)
		c = c << 6 | (p[i] & 0x3fu);
	*at += more + 1;
	return c;
}

/* Control characters of both blocks, line and paragraph separators, and what reorders the text around it. */
static bool is_unprintable(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
	    c == 0x200e || c == 0x200f || c == 0xfeff;
}

static err_t get_name(struct cursor *c, char out[static TRUST_NAME_MAX + 1])
{
	const char *text;
	size_t len;
	err_t err = cbor_get_text(c, &text, &len);
	if (err != 0)
		return err;
	if (len == 0 || len > TRUST_NAME_MAX)
		return -EBADMSG;
	for (const char *at = text; at < text + len;) {
		if (is_unprintable(next_character(&at)))
			return -EBADMSG;
	}
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

/* Goes through the reader, so that what is written can be read. */
err_t statement_set_name(const char *name, char out[static TRUST_NAME_MAX + 1])
{
	if (strlen(name) > TRUST_NAME_MAX)
		return -EINVAL;
	CLEANUP(bytes_clear) struct bytes encoded = {0};
	err_t err = cbor_put_text(&encoded, name);
	if (err != 0)
		return err;
	struct cursor c = {encoded.data, encoded.len};
	return get_name(&c, out) == 0 ? 0 : -EINVAL;
}

/* A name that a store may be asked for, whoever wrote it. */
static bool is_box_name(const char *name, size_t len)
{
	if (len < 3 || len > TRUST_BOX_NAME_MAX || memcmp(name, "k/", 2) != 0)
		return false;
	for (size_t i = 2; i < len; i++) {
		char c = name[i];
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-'))
			return false;
	}
	return true;
}

static err_t get_box_name(struct cursor *c, char out[static TRUST_BOX_NAME_MAX + 1])
{
	const char *text;
	size_t len;
	err_t err = cbor_get_text(c, &text, &len);
	if (err != 0)
		return err;
	if (!is_box_name(text, len))
		return -EBADMSG;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

err_t statement_set_box_name(const char *name, char out[static TRUST_BOX_NAME_MAX + 1])
{
	size_t len = strlen(name);
	if (!is_box_name(name, len))
		return -EINVAL;
	memcpy(out, name, len + 1);
	return 0;
}

/* Reading */

static size_t member_pairs(enum member_kind kind)
{
	return kind == MEMBER_INVITATION ? 7 : 4;
}

static err_t get_invitation(struct cursor *c, int64_t *last, struct statement_member *out)
{
	err_t err;
	if ((err = cbor_key_is(c, last, 4)) || (err = cbor_get_uint(c, &out->expires_ns)) || (err = cbor_key_is(c, last, 5)) ||
	    (err = get_box_name(c, out->box_name)) || (err = cbor_key_is(c, last, 6)))
		return err;
	return cbor_get_bytes_exact(c, out->box_sha256, sizeof(out->box_sha256));
}

static err_t get_member(struct cursor *c, struct statement_member *out)
{
	int64_t last = -1;
	size_t pair_count;
	uint64_t kind;
	err_t err;
	if ((err = cbor_get_map(c, &pair_count)) || (err = cbor_key_is(c, &last, 0)) || (err = cbor_get_uint(c, &kind)))
		return err;
	if (kind > MEMBER_INVITATION)
		return -EPROTO;
	out->kind = (enum member_kind)kind;
	if (pair_count != member_pairs(out->kind))
		return -EBADMSG;
	if ((err = cbor_key_is(c, &last, 1)) || (err = cbor_get_bytes_exact(c, out->pub.sign, sizeof(out->pub.sign))) ||
	    (err = cbor_key_is(c, &last, 2)) || (err = cbor_get_bytes_exact(c, out->pub.box, sizeof(out->pub.box))) ||
	    (err = cbor_key_is(c, &last, 3)) || (err = get_name(c, out->name)))
		return err;
	return out->kind == MEMBER_INVITATION ? get_invitation(c, &last, out) : 0;
}

static err_t get_genesis(struct cursor *c, int64_t *last, struct statement *s)
{
	uint64_t format;
	err_t err;
	if ((err = cbor_key_is(c, last, 5)) || (err = get_member(c, &s->member)) || (err = cbor_key_is(c, last, 6)) ||
	    (err = get_member(c, &s->recovery)) || (err = cbor_key_is(c, last, 7)) || (err = cbor_get_uint(c, &format)))
		return err;
	return format == STATEMENT_FORMAT ? 0 : -EPROTO;
}

static err_t get_epoch(struct cursor *c, int64_t *last, struct statement *s)
{
	uint64_t epoch;
	err_t err;
	if ((err = cbor_key_is(c, last, 5)) || (err = cbor_get_uint_max(c, UINT32_MAX, &epoch)) ||
	    (err = cbor_key_is(c, last, 6)) || (err = get_box_name(c, s->box_name)) || (err = cbor_key_is(c, last, 7)) ||
	    (err = cbor_get_bytes_exact(c, s->box_sha256, sizeof(s->box_sha256))))
		return err;
	s->epoch = (uint32_t)epoch;
	return 0;
}

/* A floor above what this program knows: it can't read what will be written from now on. */
static err_t get_floor(struct cursor *c, int64_t *last, uint64_t key, uint32_t known, uint32_t *out)
{
	uint64_t floor;
	err_t err;
	if ((err = cbor_key_is(c, last, key)) || (err = cbor_get_uint_max(c, UINT32_MAX, &floor)))
		return err;
	if (floor == 0)
		return -EBADMSG;
	*out = (uint32_t)floor;
	return floor > known ? -EPROTO : 0;
}

static err_t get_policy(struct cursor *c, int64_t *last, struct statement *s)
{
	uint64_t may_add;
	err_t err;
	if ((err = get_floor(c, last, 5, STATEMENT_FORMAT, &s->policy.format_floor)) ||
	    (err = get_floor(c, last, 6, STATEMENT_CIPHER, &s->policy.cipher_floor)) || (err = cbor_key_is(c, last, 7)) ||
	    (err = cbor_get_uint_max(c, 1, &may_add)))
		return err;
	s->policy.devices_may_add = may_add == 1;
	return 0;
}

static err_t get_subject(struct cursor *c, int64_t *last, struct statement *s)
{
	err_t err = cbor_key_is(c, last, 5);
	return err != 0 ? err : cbor_get_bytes_exact(c, s->subject, sizeof(s->subject));
}

static err_t get_by_kind(struct cursor *c, int64_t *last, struct statement *s)
{
	err_t err;
	switch (s->kind) {
	case TRUST_GENESIS:
		return get_genesis(c, last, s);
	case TRUST_ADD:
		err = cbor_key_is(c, last, 5);
		return err != 0 ? err : get_member(c, &s->member);
	case TRUST_REMOVE:
		return get_subject(c, last, s);
	case TRUST_EPOCH:
		return get_epoch(c, last, s);
	case TRUST_RENAME:
		if ((err = get_subject(c, last, s)) || (err = cbor_key_is(c, last, 6)))
			return err;
		return get_name(c, s->name);
	case TRUST_POLICY:
		return get_policy(c, last, s);
	}
	return -EPROTO;
}

static size_t pairs_of(enum trust_kind kind)
{
	switch (kind) {
	case TRUST_GENESIS:
	case TRUST_EPOCH:
	case TRUST_POLICY:
		return COMMON_PAIRS + 3;
	case TRUST_RENAME:
		return COMMON_PAIRS + 2;
	case TRUST_ADD:
	case TRUST_REMOVE:
		break;
	}
	return COMMON_PAIRS + 1;
}

static err_t get_body(struct statement *s)
{
	struct cursor c = {s->body, s->body_len};
	size_t pair_count;
	uint64_t kind;
	int64_t last = -1;
	err_t err;
	if ((err = cbor_get_map(&c, &pair_count)) || (err = cbor_key_is(&c, &last, 0)) || (err = cbor_get_uint(&c, &kind)))
		return err;
	if (kind > TRUST_POLICY)
		return -EPROTO;
	s->kind = (enum trust_kind)kind;
	if (pair_count != pairs_of(s->kind))
		return -EBADMSG;
	if ((err = cbor_key_is(&c, &last, 1)) || (err = cbor_get_uint(&c, &s->number)) || (err = cbor_key_is(&c, &last, 2)) ||
	    (err = cbor_get_bytes_exact(&c, s->previous, sizeof(s->previous))) || (err = cbor_key_is(&c, &last, 3)) ||
	    (err = cbor_get_bytes_exact(&c, s->issuer, sizeof(s->issuer))) || (err = cbor_key_is(&c, &last, 4)) ||
	    (err = cbor_get_uint(&c, &s->time_ns)) || (err = get_by_kind(&c, &last, s)))
		return err;
	return cbor_end(&c);
}

err_t statement_parse(const uint8_t *data, size_t len, struct statement *out)
{
	struct statement s = {.number = 0};
	struct cursor c = {data, len};
	size_t count;
	err_t err;
	if ((err = cbor_get_array(&c, &count)) || (err = cbor_get_bytes(&c, &s.body, &s.body_len)) ||
	    (err = get_body(&s)))
		return err;
	if (count != (s.kind == TRUST_GENESIS ? 3 : 2))
		return -EBADMSG;
	err = cbor_get_bytes_exact(&c, s.signature, sizeof(s.signature));
	if (err == 0 && s.kind == TRUST_GENESIS)
		err = cbor_get_bytes_exact(&c, s.recovery_signature, sizeof(s.recovery_signature));
	if (err != 0 || (err = cbor_end(&c)))
		return err;
	*out = s;
	return 0;
}

/* Signatures */

static err_t put_signed(struct bytes *b, const uint8_t vault_id[static 32], const uint8_t *body, size_t body_len)
{
	err_t err;
	if ((err = bytes_append(b, SIGN_LABEL, sizeof(SIGN_LABEL) - 1)) || (err = bytes_append(b, vault_id, 32)))
		return err;
	return bytes_append(b, body, body_len);
}

err_t statement_verify(const struct statement *s, const uint8_t signature[static IDENTITY_SIG_LEN],
    const uint8_t vault_id[static 32], const uint8_t sign_pub[static 32])
{
	CLEANUP(bytes_clear) struct bytes input = {0};
	err_t err = put_signed(&input, vault_id, s->body, s->body_len);
	return err != 0 ? err : identity_verify(sign_pub, input.data, input.len, signature);
}

/* Writing */

static err_t put_member(struct bytes *b, uint64_t key, const struct statement_member *m)
{
	err_t err;
	if ((err = cbor_put_uint(b, key)) || (err = cbor_put_map(b, member_pairs(m->kind))) || (err = cbor_put_uint(b, 0)) ||
	    (err = cbor_put_uint(b, (uint64_t)m->kind)) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_bytes(b, m->pub.sign, sizeof(m->pub.sign))) || (err = cbor_put_uint(b, 2)) ||
	    (err = cbor_put_bytes(b, m->pub.box, sizeof(m->pub.box))) || (err = cbor_put_uint(b, 3)) ||
	    (err = cbor_put_text(b, m->name)))
		return err;
	if (m->kind != MEMBER_INVITATION)
		return 0;
	if ((err = cbor_put_uint(b, 4)) || (err = cbor_put_uint(b, m->expires_ns)) || (err = cbor_put_uint(b, 5)) ||
	    (err = cbor_put_text(b, m->box_name)) || (err = cbor_put_uint(b, 6)))
		return err;
	return cbor_put_bytes(b, m->box_sha256, sizeof(m->box_sha256));
}

static err_t put_subject(struct bytes *b, const struct statement *s)
{
	err_t err = cbor_put_uint(b, 5);
	return err != 0 ? err : cbor_put_bytes(b, s->subject, sizeof(s->subject));
}

static err_t put_by_kind(struct bytes *b, const struct statement *s)
{
	err_t err;
	switch (s->kind) {
	case TRUST_GENESIS:
		if ((err = put_member(b, 5, &s->member)) || (err = put_member(b, 6, &s->recovery)) ||
		    (err = cbor_put_uint(b, 7)))
			return err;
		return cbor_put_uint(b, STATEMENT_FORMAT);
	case TRUST_ADD:
		return put_member(b, 5, &s->member);
	case TRUST_REMOVE:
		return put_subject(b, s);
	case TRUST_EPOCH:
		if ((err = cbor_put_uint(b, 5)) || (err = cbor_put_uint(b, s->epoch)) || (err = cbor_put_uint(b, 6)) ||
		    (err = cbor_put_text(b, s->box_name)) || (err = cbor_put_uint(b, 7)))
			return err;
		return cbor_put_bytes(b, s->box_sha256, sizeof(s->box_sha256));
	case TRUST_RENAME:
		if ((err = put_subject(b, s)) || (err = cbor_put_uint(b, 6)))
			return err;
		return cbor_put_text(b, s->name);
	case TRUST_POLICY:
		if ((err = cbor_put_uint(b, 5)) || (err = cbor_put_uint(b, s->policy.format_floor)) ||
		    (err = cbor_put_uint(b, 6)) || (err = cbor_put_uint(b, s->policy.cipher_floor)) ||
		    (err = cbor_put_uint(b, 7)))
			return err;
		return cbor_put_uint(b, s->policy.devices_may_add ? 1 : 0);
	}
	return -EINVAL;
}

static err_t put_body(struct bytes *b, const struct statement *s, const uint8_t issuer[static IDENTITY_ID_LEN])
{
	err_t err;
	if ((err = cbor_put_map(b, pairs_of(s->kind))) || (err = cbor_put_uint(b, 0)) ||
	    (err = cbor_put_uint(b, (uint64_t)s->kind)) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_uint(b, s->number)) || (err = cbor_put_uint(b, 2)) ||
	    (err = cbor_put_bytes(b, s->previous, sizeof(s->previous))) || (err = cbor_put_uint(b, 3)) ||
	    (err = cbor_put_bytes(b, issuer, IDENTITY_ID_LEN)) || (err = cbor_put_uint(b, 4)) ||
	    (err = cbor_put_uint(b, s->time_ns)))
		return err;
	return put_by_kind(b, s);
}

static err_t put_signature(struct bytes *b, const struct identity *signer, const struct bytes *input)
{
	uint8_t signature[IDENTITY_SIG_LEN];
	err_t err = identity_sign(signer, input->data, input->len, signature);
	return err != 0 ? err : cbor_put_bytes(b, signature, sizeof(signature));
}

err_t statement_write(const struct statement *s, const struct identity *issuer, const struct identity *recovery,
    const uint8_t vault_id[static 32], struct bytes *out)
{
	CLEANUP(bytes_clear) struct bytes body = {0};
	CLEANUP(bytes_clear) struct bytes input = {0};
	CLEANUP(bytes_clear) struct bytes whole = {0};
	uint8_t id[IDENTITY_ID_LEN];
	err_t err;
	if ((err = identity_id(identity_public(issuer), id)) || (err = put_body(&body, s, id)) ||
	    (err = put_signed(&input, vault_id, body.data, body.len)) ||
	    (err = cbor_put_array(&whole, recovery != NULL ? 3 : 2)) ||
	    (err = cbor_put_bytes(&whole, body.data, body.len)) || (err = put_signature(&whole, issuer, &input)))
		return err;
	if (recovery != NULL && (err = put_signature(&whole, recovery, &input)))
		return err;
	return bytes_append(out, whole.data, whole.len);
}
