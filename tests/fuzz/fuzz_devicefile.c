/*
 * Fuzzes the device file.  First byte 0: a file as it is; 1: the array of slots of a file, of which the rest (with a right
 * HMAC) is made here; 2: the parameters of a passphrase slot; 3: those of a security key's.
 */
#include <errno.h>
#include <string.h>

#include "cborio.h"
#include "devicefile.h"
#include "fuzz.h"
#include "hash.h"
#include "kdf.h"

FUZZ_INITIALIZE_SECMEM

/* Labels are shown before anything vouches for them. */
static void check_slots(const struct devicefile *df)
{
	FUZZ_REQUIRE(devicefile_slot_count(df) <= DEVICEFILE_MAX_SLOTS);
	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		const struct slot_view s = devicefile_slot_at(df, i);

		FUZZ_REQUIRE(strnlen(s.tag->label, sizeof(s.tag->label)) <= SLOT_LABEL_MAX);
		fuzz_require_tame(s.tag->label, strlen(s.tag->label));
	}
}

/* What parses and opens must be written again in just those bytes. */
static void try_file(const uint8_t *data, size_t len)
{
	struct devicefile *df = NULL;
	struct bytes again = {0};
	if (devicefile_parse(data, len, &df) != 0) {
		FUZZ_REQUIRE(df == NULL);
		return;
	}
	FUZZ_REQUIRE(devicefile_secret(df) == NULL && devicefile_vault_id(df) != NULL);
	FUZZ_REQUIRE(devicefile_serialize(df, &again) == -EINVAL);
	check_slots(df);
	err_t err = devicefile_open_plain(df);
	FUZZ_REQUIRE((err == 0) == (devicefile_secret(df) != NULL));
	FUZZ_REQUIRE((err != -ENOENT) == devicefile_has_slot(df, SLOT_PLAIN));
	if (err == 0) {
		FUZZ_REQUIRE(devicefile_serialize(df, &again) == 0);
		FUZZ_REQUIRE(again.len == len && memcmp(again.data, data, len) == 0);
	}
	bytes_clear(&again);
	devicefile_free(df);
}

static void make_file(const uint8_t *slots, size_t slots_len, struct bytes *file)
{
	struct bytes covered = {0};
	uint8_t prk[32], key[32], hmac[HASH_LEN];
	FUZZ_REQUIRE(cbor_put_uint(&covered, 0) == 0 && cbor_put_text(&covered, "snugfs device file") == 0);
	FUZZ_REQUIRE(cbor_put_uint(&covered, 1) == 0 && cbor_put_uint(&covered, 2) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&covered, 2) == 0 && cbor_put_bytes(&covered, fuzz_vault_id, 32) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&covered, 3) == 0 && bytes_append(&covered, slots, slots_len) == 0);
	FUZZ_REQUIRE(hkdf_extract(NULL, 0, fuzz_secret, sizeof(fuzz_secret), prk) == 0);
	FUZZ_REQUIRE(hkdf_expand_label(prk, "snugfs/1 device file", NULL, 0, key, sizeof(key)) == 0);
	FUZZ_REQUIRE(hmac_sha256(key, sizeof(key), covered.data, covered.len, hmac) == 0);
	FUZZ_REQUIRE(cbor_put_map(file, 5) == 0 && bytes_append(file, covered.data, covered.len) == 0);
	FUZZ_REQUIRE(cbor_put_uint(file, 5) == 0 && cbor_put_bytes(file, hmac, sizeof(hmac)) == 0);
	bytes_clear(&covered);
}

static void try_slots(const uint8_t *slots, size_t len)
{
	struct bytes file = {0};
	make_file(slots, len, &file);
	try_file(file.data, file.len);
	bytes_clear(&file);
}

/* The map's head, key 0, a string of 32 bytes and key 1 stand before log2 N. */
#define LOG_N_OFFSET 37

/* A file with a slot that nothing opens. */
static struct devicefile *file_with(enum slot_kind kind, const uint8_t *params, size_t len)
{
	struct bytes slots = {0}, file = {0};
	const uint8_t wrapped[48] = {0};
	FUZZ_REQUIRE(cbor_put_array(&slots, 1) == 0 && cbor_put_map(&slots, 6) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&slots, 0) == 0 && cbor_put_uint(&slots, (uint64_t)kind) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&slots, 1) == 0 && cbor_put_bytes(&slots, "slot id", 8) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&slots, 2) == 0 && cbor_put_text(&slots, "label") == 0);
	FUZZ_REQUIRE(cbor_put_uint(&slots, 3) == 0 && cbor_put_uint(&slots, 1) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&slots, 4) == 0 && cbor_put_bytes(&slots, params, len) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&slots, 5) == 0 && cbor_put_bytes(&slots, wrapped, sizeof(wrapped)) == 0);
	make_file(slots.data, slots.len, &file);

	struct devicefile *df = NULL;
	err_t err = devicefile_parse(file.data, file.len, &df);
	FUZZ_REQUIRE((err == 0) == (df != NULL));
	bytes_clear(&slots);
	bytes_clear(&file);
	return df;
}

/* What scrypt would really work on is left out: it would take all of the time. */
static void try_passphrase(const uint8_t *params, size_t len)
{
	if (len > LOG_N_OFFSET && params[LOG_N_OFFSET] >= 14 && params[LOG_N_OFFSET] <= 22)
		return;
	struct devicefile *df = file_with(SLOT_PASSPHRASE, params, len);
	if (df == NULL)
		return;
	err_t err = devicefile_open_passphrase(df, "pass", 4);
	FUZZ_REQUIRE(err == -EBADMSG || err == -EPROTO);
	devicefile_free(df);
}

static void try_fido2(const uint8_t *params, size_t len)
{
	const uint8_t output[FIDO2_OUTPUT_LEN] = {0};
	struct fido2_slot how;
	struct devicefile *df = file_with(SLOT_FIDO2, params, len);
	if (df == NULL)
		return;
	err_t err = devicefile_get_fido2(df, 0, &how);
	FUZZ_REQUIRE(err == -EBADMSG || (err == 0 && how.credential_len > 0 && how.credential_len <= FIDO2_CREDENTIAL_MAX));
	/* It has no slot's key sealed, so nothing can open it. */
	FUZZ_REQUIRE(devicefile_open_fido2(df, 0, output) == (err == 0 ? -ENOENT : err));
	devicefile_free(df);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 0)
		try_file(data + 1, len - 1);
	else if (data[0] == 1)
		try_slots(data + 1, len - 1);
	else if (data[0] == 2)
		try_passphrase(data + 1, len - 1);
	else if (data[0] == 3)
		try_fido2(data + 1, len - 1);
	return 0;
}
