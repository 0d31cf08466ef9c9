/* invitation.c: the token.  Everything on the way between its text and its fields is as secret as they are. */
#include "invitation.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "cborio.h"
#include "hash.h"
#include "secmem.h"

#define PREFIX "SNUGFS"
#define VERSION_PREFIX PREFIX "1-"
#define CHECK_LABEL "snugfs/1 invitation token"
#define CHECK_LEN 5

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void text_free(char **text)
{
	secmem_free(*text);
}

/* The check of the map: data[0..len). */
static err_t make_check(const uint8_t *data, size_t len, uint8_t out[static CHECK_LEN])
{
	CLEANUP(bytes_clear) struct bytes input = {0};
	uint8_t digest[HASH_LEN];
	err_t err;
	if ((err = bytes_append(&input, CHECK_LABEL, sizeof(CHECK_LABEL) - 1)) || (err = bytes_append(&input, data, len)) ||
	    (err = hash_sha256(input.data, input.len, digest)))
		return err;
	memcpy(out, digest, CHECK_LEN);
	return 0;
}

/* Writing */

static err_t put_credentials(struct bytes *b, const struct invitation *inv)
{
	bool session = inv->session_token[0] != '\0';
	err_t err;
	if ((err = cbor_put_array(b, session ? 3 : 2)) || (err = cbor_put_text(b, inv->access_key)) || (err = cbor_put_text(b, inv->secret_key)))
		return err;
	return session ? cbor_put_text(b, inv->session_token) : 0;
}

static err_t put_map(struct bytes *b, const struct invitation *inv)
{
	bool credentials = inv->access_key[0] != '\0';
	err_t err;
	if ((err = cbor_put_map(b, credentials ? 8 : 7)) || (err = cbor_put_uint(b, 0)) ||
	    (err = cbor_put_bytes(b, inv->vault_id, sizeof(inv->vault_id))) || (err = cbor_put_uint(b, 1)) ||
	    (err = cbor_put_uint(b, inv->head_seq)) || (err = cbor_put_uint(b, 2)) ||
	    (err = cbor_put_bytes(b, inv->head_hash, sizeof(inv->head_hash))) || (err = cbor_put_uint(b, 3)) ||
	    (err = cbor_put_bytes(b, inv->link_secret, sizeof(inv->link_secret))) || (err = cbor_put_uint(b, 4)) ||
	    (err = cbor_put_bytes(b, inv->secret, sizeof(inv->secret))) || (err = cbor_put_uint(b, 5)) ||
	    (err = cbor_put_uint(b, inv->expires_ns)) || (err = cbor_put_uint(b, 6)) || (err = cbor_put_text(b, inv->url)))
		return err;
	if (!credentials)
		return 0;
	return (err = cbor_put_uint(b, 7)) ? err : put_credentials(b, inv);
}

/* Five bits a character, first bit highest, zero bits at the end. */
static void put_symbols(const uint8_t *data, size_t len, char *out)
{
	for (size_t bit = 0; bit < len * 8; bit += 5) {
		unsigned value = (unsigned)data[bit / 8] << 8 | (bit / 8 + 1 < len ? data[bit / 8 + 1] : 0u);
		*out++ = alphabet[value >> (11 - bit % 8) & 31u];
	}
	*out = '\0';
}

err_t invitation_format(const struct invitation *inv, char **text_out)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	uint8_t check[CHECK_LEN];
	err_t err;
	if ((err = put_map(&b, inv)) || (err = make_check(b.data, b.len, check)) ||
	    (err = bytes_append(&b, check, sizeof(check))))
		return err;
	size_t symbols = (b.len * 8 + 4) / 5;
	char *text = secmem_new(sizeof(VERSION_PREFIX) + symbols);
	if (text == NULL)
		return -ENOMEM;
	memcpy(text, VERSION_PREFIX, sizeof(VERSION_PREFIX) - 1);
	put_symbols(b.data, b.len, text + sizeof(VERSION_PREFIX) - 1);
	*text_out = text;
	return 0;
}

/* Reading */

/* Upper case, without what people put between characters.  -EINVAL: longer than any. */
static err_t normalize(const char *text, char **out)
{
	CLEANUP(text_free) char *clean = secmem_new(INVITATION_TEXT_MAX + 1);
	if (clean == NULL)
		return -ENOMEM;
	size_t len = 0;
	for (const char *p = text; *p != '\0'; p++) {
		if (isspace((unsigned char)*p) || *p == '-')
			continue;
		if (len == INVITATION_TEXT_MAX)
			return -EINVAL;
		clean[len++] = (char)toupper((unsigned char)*p);
	}
	*out = STEAL(clean);
	return 0;
}

static int symbol_value(char c)
{
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	const char *at = strchr(alphabet, c);
	return at != NULL ? (int)(at - alphabet) : -1;
}

static err_t get_symbols(const char *text, struct bytes *out)
{
	unsigned bits = 0, value = 0;
	for (const char *p = text; *p != '\0'; p++) {
		int symbol = symbol_value(*p);
		if (symbol < 0)
			return -EINVAL;
		value = (value << 5 | (unsigned)symbol) & 0xfff;
		bits += 5;
		if (bits < 8)
			continue;
		bits -= 8;
		err_t err = bytes_append_u8(out, (uint8_t)(value >> bits));
		if (err != 0)
			return err;
	}
	return bits < 5 && (value & ((1u << bits) - 1)) == 0 ? 0 : -EBADMSG;
}

static err_t get_text(struct cursor *c, char *out, size_t max)
{
	const char *text;
	size_t len;
	err_t err = cbor_get_text(c, &text, &len);
	if (err != 0)
		return err;
	if (len == 0 || len > max)
		return -EBADMSG;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

static err_t get_credentials(struct cursor *c, struct invitation *inv)
{
	size_t count;
	err_t err = cbor_get_array(c, &count);
	if (err != 0)
		return err;
	if (count != 2 && count != 3)
		return -EBADMSG;
	if ((err = get_text(c, inv->access_key, INVITATION_KEY_MAX)) || (err = get_text(c, inv->secret_key, INVITATION_KEY_MAX)))
		return err;
	return count == 3 ? get_text(c, inv->session_token, INVITATION_SESSION_MAX) : 0;
}

static err_t get_map(struct cursor *c, struct invitation *inv)
{
	int64_t last = -1;
	size_t pairs;
	err_t err = cbor_get_map(c, &pairs);
	if (err != 0)
		return err;
	if (pairs != 7 && pairs != 8)
		return -EBADMSG;
	if ((err = cbor_key_is(c, &last, 0)) || (err = cbor_get_bytes_exact(c, inv->vault_id, sizeof(inv->vault_id))) ||
	    (err = cbor_key_is(c, &last, 1)) || (err = cbor_get_uint(c, &inv->head_seq)) || (err = cbor_key_is(c, &last, 2)) ||
	    (err = cbor_get_bytes_exact(c, inv->head_hash, sizeof(inv->head_hash))) || (err = cbor_key_is(c, &last, 3)) ||
	    (err = cbor_get_bytes_exact(c, inv->link_secret, sizeof(inv->link_secret))) || (err = cbor_key_is(c, &last, 4)) ||
	    (err = cbor_get_bytes_exact(c, inv->secret, sizeof(inv->secret))) || (err = cbor_key_is(c, &last, 5)) ||
	    (err = cbor_get_uint(c, &inv->expires_ns)) || (err = cbor_key_is(c, &last, 6)) ||
	    (err = get_text(c, inv->url, INVITATION_URL_MAX)))
		return err;
	if (pairs == 8 && ((err = cbor_key_is(c, &last, 7)) || (err = get_credentials(c, inv))))
		return err;
	return cbor_end(c);
}

static err_t check_prefix(const char *clean, const char **rest_out)
{
	size_t len = sizeof(PREFIX) - 1;
	if (strncmp(clean, PREFIX, len) != 0)
		return -EINVAL;
	if (clean[len] != '1')
		return clean[len] >= '2' && clean[len] <= '9' ? -EPROTO : -EINVAL;
	*rest_out = clean + len + 1;
	return 0;
}

err_t invitation_parse(const char *text, struct invitation **out)
{
	CLEANUP(text_free) char *clean = NULL;
	CLEANUP(bytes_clear) struct bytes b = {0};
	CLEANUP(secmem_free_ptr) struct invitation *inv = secmem_new(sizeof(*inv));
	uint8_t check[CHECK_LEN];
	const char *symbols;
	err_t err;
	if (inv == NULL)
		return -ENOMEM;
	if ((err = normalize(text, &clean)) || (err = check_prefix(clean, &symbols)) || (err = get_symbols(symbols, &b)))
		return err;
	if (b.len <= CHECK_LEN)
		return -EBADMSG;
	size_t len = b.len - CHECK_LEN;
	if ((err = make_check(b.data, len, check)))
		return err;
	if (memcmp(check, b.data + len, CHECK_LEN) != 0)
		return -EBADMSG;
	if ((err = get_map(&(struct cursor){b.data, len}, inv)))
		return err;
	*out = STEAL(inv);
	return 0;
}

/* Between processes */

#define LINK_INFO "snugfs/1 link secret"
#define CREDENTIALS_INFO "snugfs/1 store credentials"
#define CREDENTIALS_MAX (2 * INVITATION_KEY_MAX + INVITATION_SESSION_MAX + 16)

static struct hpke_psk way_psk(const uint8_t vault_id[static 32], const char *info)
{
	return (struct hpke_psk){.psk = vault_id, .psk_len = 32, .psk_id = (const uint8_t *)info, .psk_id_len = strlen(info)};
}

/* out: HPKE_ENC_LEN + len + 16 bytes */
static err_t seal_for(const uint8_t vault_id[static 32], const uint8_t guest_box[static 32], const char *info,
    const uint8_t *data, size_t len, uint8_t *out)
{
	struct hpke_psk psk = way_psk(vault_id, info);
	return hpke_seal(guest_box, &psk, info, strlen(info), NULL, 0, data, len, out, out + HPKE_ENC_LEN);
}

static err_t open_as(const uint8_t vault_id[static 32], const struct identity *guest, const char *info, const uint8_t *sealed,
    size_t len, uint8_t *out)
{
	struct hpke_psk psk = way_psk(vault_id, info);
	return hpke_open(identity_box_secret(guest), sealed, &psk, info, strlen(info), NULL, 0, sealed + HPKE_ENC_LEN,
	    len - HPKE_ENC_LEN, out);
}

err_t invitation_seal_link(const uint8_t vault_id[static 32], const uint8_t guest_box[static 32],
    const uint8_t link_secret[static 32], uint8_t out[static INVITATION_SEALED_LEN])
{
	return seal_for(vault_id, guest_box, LINK_INFO, link_secret, 32, out);
}

err_t invitation_open_link(const uint8_t vault_id[static 32], const struct identity *guest,
    const uint8_t sealed[static INVITATION_SEALED_LEN], uint8_t link_secret_out[static 32])
{
	return open_as(vault_id, guest, LINK_INFO, sealed, INVITATION_SEALED_LEN, link_secret_out);
}

err_t invitation_seal_credentials(const uint8_t vault_id[static 32], const uint8_t guest_box[static 32],
    const struct invitation *inv, struct bytes *out)
{
	CLEANUP(bytes_clear) struct bytes plain = {0};
	CLEANUP(bytes_clear) struct bytes sealed = {0};
	uint8_t *at;
	err_t err;
	if (inv->access_key[0] == '\0' || inv->secret_key[0] == '\0')
		return -EINVAL;
	if ((err = put_credentials(&plain, inv)) || (err = bytes_extend(&sealed, HPKE_ENC_LEN + plain.len + 16, &at)) ||
	    (err = seal_for(vault_id, guest_box, CREDENTIALS_INFO, plain.data, plain.len, at)))
		return err;
	return bytes_append(out, sealed.data, sealed.len);
}

err_t invitation_open_credentials(const uint8_t vault_id[static 32], const struct identity *guest, const uint8_t *sealed,
    size_t len, struct invitation *inv)
{
	CLEANUP(secmem_free_ptr) uint8_t *plain = secmem_new(CREDENTIALS_MAX);
	CLEANUP(secmem_free_ptr) struct invitation *read = secmem_new(sizeof(*read));
	err_t err;
	if (plain == NULL || read == NULL)
		return -ENOMEM;
	if (len < HPKE_ENC_LEN + 16 || len > HPKE_ENC_LEN + 16 + CREDENTIALS_MAX)
		return -EBADMSG;
	if ((err = open_as(vault_id, guest, CREDENTIALS_INFO, sealed, len, plain)))
		return err;
	struct cursor c = {plain, len - HPKE_ENC_LEN - 16};
	if ((err = get_credentials(&c, read)) || (err = cbor_end(&c)))
		return err;
	memcpy(inv->access_key, read->access_key, sizeof(inv->access_key));
	memcpy(inv->secret_key, read->secret_key, sizeof(inv->secret_key));
	memcpy(inv->session_token, read->session_token, sizeof(inv->session_token));
	return 0;
}
