/*
 * Fuzzes the text of an invitation.  First byte 0: the text; 1: the map in it, to which the check and the letters are added here, as
 * whoever makes invitations could.  2: the store's credentials as they come sealed from another process; 3: the same, sealed here.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "fuzz.h"
#include "hash.h"
#include "hpke.h"
#include "invitation.h"

static struct identity *guest;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && identity_from_invitation(fuzz_secret, &guest) == 0);
	return 0;
}

#define CHECK_LEN 5

static void check_text(const char *text)
{
	struct invitation *inv = NULL, *same = NULL;
	char *again = NULL;
	err_t err = invitation_parse(text, &inv);

	FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -EBADMSG || err == -EPROTO);
	FUZZ_REQUIRE((err == 0) == (inv != NULL));
	if (err != 0)
		return;
	FUZZ_REQUIRE(strlen(inv->url) <= INVITATION_URL_MAX && strlen(inv->secret_key) <= INVITATION_KEY_MAX);
	FUZZ_REQUIRE(invitation_format(inv, &again) == 0 && invitation_parse(again, &same) == 0);
	FUZZ_REQUIRE(memcmp(inv, same, sizeof(*inv)) == 0);
	secmem_free(inv);
	secmem_free(same);
	secmem_free(again);
}

static char *encode(const struct bytes *b)
{
	static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char *text = malloc(16 + b->len * 2), *to = text + 8;
	uint32_t held = 0, bits = 0;

	FUZZ_REQUIRE(text != NULL);
	memcpy(text, "SNUGFS1-", 8);
	for (size_t i = 0; i < b->len; i++) {
		held = held << 8 | b->data[i];
		for (bits += 8; bits >= 5; bits -= 5)
			*to++ = letters[held >> (bits - 5) & 31];
	}
	if (bits > 0)
		*to++ = letters[held << (5 - bits) & 31];
	*to = '\0';
	return text;
}

static void check_map(const uint8_t *map, size_t len)
{
	static const char label[] = "snugfs/1 invitation token";
	struct bytes whole = {0}, hashed = {0};
	uint8_t hash[32];
	char *text;

	FUZZ_REQUIRE(bytes_append(&hashed, label, sizeof(label) - 1) == 0 && bytes_append(&hashed, map, len) == 0);
	FUZZ_REQUIRE(hash_sha256(hashed.data, hashed.len, hash) == 0);
	FUZZ_REQUIRE(bytes_append(&whole, map, len) == 0 && bytes_append(&whole, hash, CHECK_LEN) == 0);
	text = encode(&whole);
	check_text(text);
	free(text);
	bytes_clear(&whole);
	bytes_clear(&hashed);
}

static void check_credentials(const uint8_t *sealed, size_t len)
{
	struct invitation *inv = secmem_new(sizeof(*inv));
	err_t err;

	FUZZ_REQUIRE(inv != NULL);
	err = invitation_open_credentials(fuzz_vault_id, guest, sealed, len, inv);
	FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
	if (err == 0) {
		FUZZ_REQUIRE(strlen(inv->access_key) <= INVITATION_KEY_MAX && strlen(inv->secret_key) <= INVITATION_KEY_MAX);
		FUZZ_REQUIRE(strlen(inv->session_token) <= INVITATION_SESSION_MAX);
	} else {
		FUZZ_REQUIRE(inv->access_key[0] == '\0' && inv->secret_key[0] == '\0');
	}
	secmem_free(inv);
}

static void check_plain_credentials(const uint8_t *plain, size_t len)
{
	static const char info[] = "snugfs/1 store credentials";
	const struct hpke_psk psk = {fuzz_vault_id, sizeof(fuzz_vault_id), (const uint8_t *)info, sizeof(info) - 1};
	uint8_t *sealed = malloc(HPKE_ENC_LEN + len + 16);

	FUZZ_REQUIRE(sealed != NULL);
	FUZZ_REQUIRE(hpke_seal(identity_public(guest)->box, &psk, info, sizeof(info) - 1, NULL, 0, plain, len, sealed,
	    sealed + HPKE_ENC_LEN) == 0);
	check_credentials(sealed, HPKE_ENC_LEN + len + 16);
	free(sealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text;

	if (len == 0)
		return 0;
	if (data[0] == 1) {
		check_map(data + 1, len - 1);
		return 0;
	}
	if (data[0] == 2 || data[0] == 3) {
		(data[0] == 2 ? check_credentials : check_plain_credentials)(data + 1, len - 1);
		return 0;
	}
	text = malloc(len);
	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';
	check_text(text);
	free(text);
	return 0;
}
