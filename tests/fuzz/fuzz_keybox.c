/*
 * Fuzzes the key box.  First byte 0: an object as it is; 1: slots, to which the header and the padding are added here;
 * 2: a number of members to seal for.
 */
#include <string.h>

#include "fuzz.h"
#include "keybox.h"
#include "padme.h"

#define MEMBERS_MAX 24

static struct identity *me;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0);
	FUZZ_REQUIRE(identity_from_device_secret(fuzz_secret, &me) == 0);
	return 0;
}

static err_t try_object(const uint8_t *object, size_t len, struct keybox_secrets *out)
{
	struct keybox_secrets before = *out;
	err_t err = keybox_open(object, len, fuzz_vault_id, FUZZ_EPOCH, me, false, fuzz_psk, out);
	if (err != 0)
		FUZZ_REQUIRE(memcmp(&before, out, sizeof(before)) == 0);
	return err;
}

static void try_slots(const uint8_t *slots, size_t len)
{
	const uint8_t header[8] = {1, 4, 1, 0, 0, 0, 0, FUZZ_EPOCH};
	size_t object_len = (size_t)padme_size(sizeof(header) + len);
	uint8_t *object = calloc(1, object_len);
	struct keybox_secrets secrets = {{0}, {0}, {0}};
	FUZZ_REQUIRE(object != NULL);
	memcpy(object, header, sizeof(header));
	memcpy(object + sizeof(header), slots, len);
	(void)!try_object(object, object_len, &secrets);
	free(object);
}

/* The one that is us stands at `where`, if that is among them. */
static void try_members(unsigned count, unsigned where)
{
	struct keybox_member members[MEMBERS_MAX];
	struct keybox_secrets secrets = {{1}, {2}, {3}}, got = {{0}, {0}, {0}};
	memcpy(secrets.link_secret, fuzz_psk, 32);
	for (unsigned i = 0; i < count; i++) {
		members[i].pub = *identity_public(me);
		members[i].is_recovery = i != where;
	}
	struct bytes box = {0};
	FUZZ_REQUIRE(keybox_seal(fuzz_vault_id, FUZZ_EPOCH, &secrets, members, count, &box) == 0);
	FUZZ_REQUIRE(box.len == padme_size(box.len));
	err_t err = try_object(box.data, box.len, &got);
	FUZZ_REQUIRE((err == 0) == (where < count));
	if (err == 0)
		FUZZ_REQUIRE(memcmp(&got, &secrets, sizeof(got)) == 0);
	bytes_clear(&box);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct keybox_secrets secrets = {{0}, {0}, {0}};
	if (len == 0)
		return 0;
	if (data[0] == 0)
		(void)!try_object(data + 1, len - 1, &secrets);
	else if (data[0] == 1)
		try_slots(data + 1, len - 1);
	else if (data[0] == 2 && len >= 3)
		try_members(data[1] % (MEMBERS_MAX + 1), data[2]);
	return 0;
}
