/*
 * Fuzzes the envelope.  First byte 0: an object as it is; 1: the plaintext of an object, which is sealed here; 2: a body,
 * which envelope_seal seals.
 */
#include <string.h>

#include "aead.h"
#include "envelope.h"
#include "fuzz.h"
#include "kdf.h"
#include "padme.h"

static struct identity *author;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0);
	FUZZ_REQUIRE(identity_from_device_secret(fuzz_secret, &author) == 0);
	return 0;
}

static void try_object(const uint8_t *object, size_t len)
{
	uint32_t epoch;
	struct envelope_opened o = {.body = NULL};
	err_t known = envelope_epoch(object, len, &epoch);
	err_t err = envelope_open(object, len, ENVELOPE_COMMIT, FUZZ_SEQ, fuzz_vault_id, fuzz_epoch_key, &o);
	if (err != 0) {
		FUZZ_REQUIRE(o.plain.data == NULL && o.body == NULL);
		return;
	}
	FUZZ_REQUIRE(known == 0 && o.env.epoch == epoch && len == padme_size(len));
	FUZZ_REQUIRE(o.body >= o.plain.data && o.body + o.body_len + IDENTITY_SIG_LEN <= o.plain.data + o.plain.len);
	if (envelope_verify(&o, identity_public(author)->sign) == 0)
		FUZZ_REQUIRE(o.body_len <= len);
	envelope_opened_clear(&o);
}

/* Seals as a member would who has the key and bad intentions; a whole input is padded to where the check of sizes ends. */
static void try_plaintext(const uint8_t *plain, size_t len)
{
	uint8_t header[ENVELOPE_HEADER_LEN] = {1, ENVELOPE_COMMIT, 1, 0, 0, 0, 0, FUZZ_EPOCH};
	uint8_t info[1 + 32 + 8 + 32] = {ENVELOPE_COMMIT};
	memcpy(info + 1, fuzz_vault_id, 32);
	put_u64(info + 33, FUZZ_SEQ);

	size_t object_len = (size_t)padme_size(ENVELOPE_HEADER_LEN + len + AEAD_TAG_LEN);
	uint8_t *object = calloc(1, object_len), *inner = object + ENVELOPE_HEADER_LEN;
	uint8_t key[32], nonce[AEAD_NONCE_LEN] = {0};
	struct aead *aead;
	FUZZ_REQUIRE(object != NULL);
	memcpy(object, header, sizeof(header));
	memcpy(inner, plain, len);
	FUZZ_REQUIRE(hkdf_expand_label(fuzz_epoch_key, "snugfs/1 envelope", info, sizeof(info), key, 32) == 0);
	FUZZ_REQUIRE(aead_new(key, &aead) == 0);
	FUZZ_REQUIRE(aead_seal(aead, nonce, header, sizeof(header), inner,
	    object_len - ENVELOPE_HEADER_LEN - AEAD_TAG_LEN, inner) == 0);
	aead_free(aead);
	try_object(object, object_len);
	free(object);
}

static void try_body(const uint8_t *body, size_t len)
{
	struct envelope e = {.kind = ENVELOPE_BASE, .epoch = FUZZ_EPOCH, .seq = FUZZ_SEQ, .time_ns = len};
	struct bytes object = {0};
	struct envelope_opened o = {.body = NULL};
	FUZZ_REQUIRE(identity_id(identity_public(author), e.author) == 0);
	FUZZ_REQUIRE(envelope_seal(&e, fuzz_vault_id, fuzz_epoch_key, author, body, len, &object) == 0);
	FUZZ_REQUIRE(envelope_open(object.data, object.len, ENVELOPE_BASE, FUZZ_SEQ, fuzz_vault_id, fuzz_epoch_key, &o) ==
	    0);
	FUZZ_REQUIRE(envelope_verify(&o, identity_public(author)->sign) == 0);
	FUZZ_REQUIRE(o.body_len == len && (len == 0 || memcmp(o.body, body, len) == 0));
	envelope_opened_clear(&o);
	bytes_clear(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 0)
		try_object(data + 1, len - 1);
	else if (data[0] == 1)
		try_plaintext(data + 1, len - 1);
	else if (data[0] == 2)
		try_body(data + 1, len - 1);
	return 0;
}
