/*
 * cborio.c: libcbor's streaming encoder and decoder, one item at a time.  Every item goes through next_token, which
 * records what libcbor saw and insists that the same head would be written again.
 */
#include "cborio.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <cbor.h>
#include <openssl/asn1.h>

#define HEAD_MAX 9

static size_t
encode_head(cbor_type type, uint64_t v, uint8_t out[static HEAD_MAX])
{
	switch (type) {
	case CBOR_TYPE_UINT:
		return cbor_encode_uint(v, out, HEAD_MAX);
	case CBOR_TYPE_NEGINT:
		return cbor_encode_negint(v, out, HEAD_MAX);
	case CBOR_TYPE_BYTESTRING:
		return cbor_encode_bytestring_start(v, out, HEAD_MAX);
	case CBOR_TYPE_STRING:
		return cbor_encode_string_start(v, out, HEAD_MAX);
	case CBOR_TYPE_ARRAY:
		return cbor_encode_array_start(v, out, HEAD_MAX);
	case CBOR_TYPE_MAP:
		return cbor_encode_map_start(v, out, HEAD_MAX);
	case CBOR_TYPE_FLOAT_CTRL:
		return cbor_encode_bool(v != 0, out, HEAD_MAX);
	case CBOR_TYPE_TAG:
		break;
	}
	return 0;
}

static err_t
put(struct bytes *b, cbor_type type, uint64_t v, const void *content, size_t content_len)
{
	uint8_t head[HEAD_MAX];
	size_t head_len = encode_head(type, v, head);
	uint8_t *at = NULL;

	if (content_len > SIZE_MAX - head_len)
		return -ENOMEM;

	err_t e = bytes_extend(b, head_len + content_len, &at);

	if (e)
		return e;
	memcpy(at, head, head_len);
	if (content_len)
		memcpy(at + head_len, content, content_len);
	return 0;
}

err_t
cbor_put_uint(struct bytes *b, uint64_t v)
{
	return put(b, CBOR_TYPE_UINT, v, NULL, 0);
}

err_t
cbor_put_signed(struct bytes *b, int64_t v)
{
	/* A negative v is written as -1 - v, which is its complement. */
	return v >= 0 ? put(b, CBOR_TYPE_UINT, (uint64_t)v, NULL, 0) : put(b, CBOR_TYPE_NEGINT, ~(uint64_t)v, NULL, 0);
}

err_t
cbor_put_bytes(struct bytes *b, const void *data, size_t len)
{
	return put(b, CBOR_TYPE_BYTESTRING, len, data, len);
}

err_t
cbor_put_text(struct bytes *b, const char *text)
{
	size_t len = strlen(text);

	return put(b, CBOR_TYPE_STRING, len, text, len);
}

err_t
cbor_put_array(struct bytes *b, size_t count)
{
	return put(b, CBOR_TYPE_ARRAY, count, NULL, 0);
}

err_t
cbor_put_map(struct bytes *b, size_t pair_count)
{
	return put(b, CBOR_TYPE_MAP, pair_count, NULL, 0);
}

err_t
cbor_put_boolean(struct bytes *b, bool v)
{
	return put(b, CBOR_TYPE_FLOAT_CTRL, v, NULL, 0);
}

/* One item's head, and for a string its content (value: its length). */
struct token {
	bool known; /* false for what no snugfs document has: tags, floats, null, indefinite lengths */
	cbor_type type;
	uint64_t value;
	const uint8_t *content;
};

static void
record(void *token, cbor_type type, uint64_t value, const uint8_t *content)
{
	struct token *t = token;

	*t = (struct token){true, type, value, content};
}

static void
on_uint8(void *token, uint8_t v)
{
	record(token, CBOR_TYPE_UINT, v, NULL);
}

static void
on_uint16(void *token, uint16_t v)
{
	record(token, CBOR_TYPE_UINT, v, NULL);
}

static void
on_uint32(void *token, uint32_t v)
{
	record(token, CBOR_TYPE_UINT, v, NULL);
}

static void
on_uint64(void *token, uint64_t v)
{
	record(token, CBOR_TYPE_UINT, v, NULL);
}

static void
on_negint8(void *token, uint8_t v)
{
	record(token, CBOR_TYPE_NEGINT, v, NULL);
}

static void
on_negint16(void *token, uint16_t v)
{
	record(token, CBOR_TYPE_NEGINT, v, NULL);
}

static void
on_negint32(void *token, uint32_t v)
{
	record(token, CBOR_TYPE_NEGINT, v, NULL);
}

static void
on_negint64(void *token, uint64_t v)
{
	record(token, CBOR_TYPE_NEGINT, v, NULL);
}

static void
on_bytes(void *token, cbor_data content, size_t len)
{
	record(token, CBOR_TYPE_BYTESTRING, len, content);
}

static void
on_string(void *token, cbor_data content, size_t len)
{
	record(token, CBOR_TYPE_STRING, len, content);
}

static void
on_array(void *token, size_t count)
{
	record(token, CBOR_TYPE_ARRAY, count, NULL);
}

static void
on_map(void *token, size_t count)
{
	record(token, CBOR_TYPE_MAP, count, NULL);
}

static void
on_bool(void *token, bool v)
{
	record(token, CBOR_TYPE_FLOAT_CTRL, v, NULL);
}

static struct cbor_callbacks
recorders(void)
{
	struct cbor_callbacks callbacks = cbor_empty_callbacks;

	callbacks.uint8 = on_uint8;
	callbacks.uint16 = on_uint16;
	callbacks.uint32 = on_uint32;
	callbacks.uint64 = on_uint64;
	callbacks.negint8 = on_negint8;
	callbacks.negint16 = on_negint16;
	callbacks.negint32 = on_negint32;
	callbacks.negint64 = on_negint64;
	callbacks.byte_string = on_bytes;
	callbacks.string = on_string;
	callbacks.array_start = on_array;
	callbacks.map_start = on_map;
	callbacks.boolean = on_bool;
	return callbacks;
}

/* Reads the item at the front of c; *rest_out is what follows its head (and string content). */
static err_t
next_token(const struct cursor *c, struct token *out, struct cursor *rest_out)
{
	struct token t = {0};

	if (!c->len)
		return -EBADMSG;

	const struct cbor_callbacks callbacks = recorders();
	struct cbor_decoder_result r = cbor_stream_decode(c->p, c->len, &callbacks, &t);

	if (r.status != CBOR_DECODER_FINISHED || !t.known || r.read > c->len)
		return -EBADMSG;

	uint8_t head[HEAD_MAX];
	size_t head_len = encode_head(t.type, t.value, head);

	if (head_len > c->len || memcmp(head, c->p, head_len) != 0)
		return -EBADMSG;
	*out = t;
	*rest_out = (struct cursor){c->p + r.read, c->len - r.read};
	return 0;
}

static err_t
next_of(const struct cursor *c, cbor_type type, struct token *out, struct cursor *rest_out)
{
	struct token t = {0};
	struct cursor rest = {NULL, 0};
	err_t e = next_token(c, &t, &rest);

	if (e)
		return e;
	if (t.type != type)
		return -EBADMSG;
	*out = t;
	*rest_out = rest;
	return 0;
}

err_t
cbor_get_uint_max(struct cursor *c, uint64_t max, uint64_t *out)
{
	struct token t = {0};
	struct cursor rest = {NULL, 0};
	err_t e = next_of(c, CBOR_TYPE_UINT, &t, &rest);

	if (e)
		return e;
	if (t.value > max)
		return -EBADMSG;
	*out = t.value;
	*c = rest;
	return 0;
}

err_t
cbor_get_uint(struct cursor *c, uint64_t *out)
{
	return cbor_get_uint_max(c, UINT64_MAX, out);
}

err_t
cbor_get_signed(struct cursor *c, int64_t *out)
{
	struct token t = {0};
	struct cursor rest = {NULL, 0};
	err_t e = next_token(c, &t, &rest);

	if (e)
		return e;
	if ((t.type != CBOR_TYPE_UINT && t.type != CBOR_TYPE_NEGINT) || t.value > INT64_MAX)
		return -EBADMSG;
	*out = t.type == CBOR_TYPE_UINT ? (int64_t)t.value : -1 - (int64_t)t.value;
	*c = rest;
	return 0;
}

err_t
cbor_get_bytes(struct cursor *c, const uint8_t **data_out, size_t *len_out)
{
	struct token t = {0};
	err_t e = next_of(c, CBOR_TYPE_BYTESTRING, &t, c);

	if (e)
		return e;
	*data_out = t.content;
	*len_out = t.value;
	return 0;
}

err_t
cbor_get_bytes_exact(struct cursor *c, uint8_t *out, size_t len)
{
	struct token t = {0};
	struct cursor rest = {NULL, 0};
	err_t e = next_of(c, CBOR_TYPE_BYTESTRING, &t, &rest);

	if (e)
		return e;
	if (t.value != len)
		return -EBADMSG;
	if (len)
		memcpy(out, t.content, len);
	*c = rest;
	return 0;
}

static bool
is_text(const uint8_t *s, size_t len)
{
	if (len > INT_MAX)
		return false;
	for (size_t i = 0; i < len;) {
		unsigned long character = 0;
		int n = UTF8_getc(s + i, (int)(len - i), &character);

		if (n <= 0 || character == 0 || character > 0x10FFFF)
			return false;
		i += (size_t)n;
	}
	return true;
}

err_t
cbor_get_text(struct cursor *c, const char **text_out, size_t *len_out)
{
	struct token t = {0};
	struct cursor rest = {NULL, 0};
	err_t e = next_of(c, CBOR_TYPE_STRING, &t, &rest);

	if (e)
		return e;
	if (!is_text(t.content, t.value))
		return -EBADMSG;
	*text_out = (const char *)t.content;
	*len_out = t.value;
	*c = rest;
	return 0;
}

/* Each element takes min_len bytes at least, so a count that can't fit is refused here, before anybody loops or allocates. */
static err_t
get_count(struct cursor *c, cbor_type type, size_t min_len, size_t *out)
{
	struct token t = {0};
	struct cursor rest = {NULL, 0};
	err_t e = next_of(c, type, &t, &rest);

	if (e)
		return e;
	if (t.value > rest.len / min_len)
		return -EBADMSG;
	*out = t.value;
	*c = rest;
	return 0;
}

err_t
cbor_get_array(struct cursor *c, size_t *count_out)
{
	return get_count(c, CBOR_TYPE_ARRAY, 1, count_out);
}

err_t
cbor_get_map(struct cursor *c, size_t *pair_count_out)
{
	return get_count(c, CBOR_TYPE_MAP, 2, pair_count_out);
}

err_t
cbor_get_boolean(struct cursor *c, bool *out)
{
	struct token t = {0};
	err_t e = next_of(c, CBOR_TYPE_FLOAT_CTRL, &t, c);

	if (e)
		return e;
	*out = t.value != 0;
	return 0;
}

err_t
cbor_key(struct cursor *c, int64_t *last, uint64_t *key_out)
{
	struct cursor rest = *c;
	uint64_t key = 0;
	err_t e = cbor_get_uint_max(&rest, INT64_MAX, &key);

	if (e)
		return e;
	if ((int64_t)key <= *last)
		return -EBADMSG;
	*last = (int64_t)key;
	*key_out = key;
	*c = rest;
	return 0;
}

err_t
cbor_key_is(struct cursor *c, int64_t *last, uint64_t want)
{
	struct cursor rest = *c;
	int64_t at = *last;
	uint64_t key = 0;
	err_t e = cbor_key(&rest, &at, &key);

	if (e)
		return e;
	if (key != want)
		return -EBADMSG;
	*last = at;
	*c = rest;
	return 0;
}

err_t
cbor_end(const struct cursor *c)
{
	return c->len ? -EBADMSG : 0;
}
