/*
 * keybox.c: the key box: an epoch's secrets in HPKE slots, shuffled among dummies.
 *
 *   header: u8 version (1), u8 kind (4), u8 cipher suite (1), u8 zero, u32 epoch
 *   slots of 144 bytes, a multiple of 8: HPKE enc (32), ciphertext of the 96 bytes of secrets (112)
 *   random bytes up to the padding step
 */
#include "keybox.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "hpke.h"
#include "padme.h"
#include "random.h"
#include "secmem.h"

#define VERSION 1
#define KIND 4
#define SUITE_HPKE_X25519_SHA256_AES256GCM 1
#define HEADER_LEN 8
#define SECRETS_LEN sizeof(struct keybox_secrets)
#define SLOT_LEN (HPKE_ENC_LEN + SECRETS_LEN + 16)
#define SLOT_STEP 8

/* Bounds how many slots a reader can be made to try. */
#define MAX_LEN (1u << 20)

#define INFO_LABEL "snugfs/1 key box"
#define INFO_LABEL_LEN (sizeof(INFO_LABEL) - 1)
#define INFO_LEN (INFO_LABEL_LEN + 32 + 4)

static_assert(SECRETS_LEN == 96, "the secrets are sealed as they lie in memory, so nothing may lie between them");

static void fill_info(const uint8_t vault_id[static 32], uint32_t epoch, uint8_t info[static INFO_LEN])
{
	memcpy(info, INFO_LABEL, INFO_LABEL_LEN);
	memcpy(info + INFO_LABEL_LEN, vault_id, 32);
	put_u32(info + INFO_LABEL_LEN + 32, epoch);
}

static struct hpke_psk psk_for(bool is_recovery, const uint8_t psk[static 32])
{
	const char *id = is_recovery ? "snugfs/1 recovery" : "snugfs/1 link";
	return (struct hpke_psk){.psk = psk, .psk_len = 32, .psk_id = (const uint8_t *)id, .psk_id_len = strlen(id)};
}

/* Fisher-Yates.  Taking a 64-bit draw modulo a count below 2^14 is biased by less than 2^-50. */
static err_t shuffle(uint32_t *order, size_t count)
{
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	for (size_t left = count; left > 1; left--) {
		uint64_t draw;
		err_t err = random_bytes(&draw, sizeof(draw));
		if (err != 0)
			return err;
		size_t other = (size_t)(draw % left);
		uint32_t swapped = order[left - 1];
		order[left - 1] = order[other];
		order[other] = swapped;
	}
	return 0;
}

/* A slot that nobody opens.  Its enc is the public key of a thrown-away secret, since not every 32 bytes are one. */
static err_t fill_dummy(uint8_t *slot)
{
	CLEANUP(key32_wipe) struct key32 secret;
	CLEANUP(identity_free_ptr) struct identity *nobody = NULL;
	err_t err = random_secret(secret.b, sizeof(secret.b));
	if (err == 0)
		err = identity_from_device_secret(secret.b, &nobody);
	if (err != 0)
		return err;
	memcpy(slot, identity_public(nobody)->box, HPKE_ENC_LEN);
	return random_bytes(slot + HPKE_ENC_LEN, SLOT_LEN - HPKE_ENC_LEN);
}

static err_t fill_object(const uint8_t vault_id[static 32], uint32_t epoch, const struct keybox_secrets *secrets,
    const struct keybox_member *members, size_t member_count, size_t slot_count, uint8_t *object, size_t object_len)
{
	const uint8_t header[] = {VERSION, KIND, SUITE_HPKE_X25519_SHA256_AES256GCM, 0};
	memcpy(object, header, sizeof(header));
	put_u32(object + 4, epoch);
	uint8_t info[INFO_LEN];
	fill_info(vault_id, epoch, info);

	uint32_t order[(MAX_LEN - HEADER_LEN) / SLOT_LEN];
	err_t err = shuffle(order, slot_count);
	for (size_t i = 0; err == 0 && i < slot_count; i++) {
		uint8_t *slot = object + HEADER_LEN + order[i] * SLOT_LEN;
		if (i >= member_count) {
			err = fill_dummy(slot);
			continue;
		}
		struct hpke_psk psk = psk_for(members[i].is_recovery,
		    members[i].is_recovery ? secrets->recovery_psk : secrets->link_secret);
		err = hpke_seal(members[i].pub.box, &psk, info, sizeof(info), NULL, 0, secrets, SECRETS_LEN, slot,
		    slot + HPKE_ENC_LEN);
	}
	if (err != 0)
		return err;
	size_t used = HEADER_LEN + slot_count * SLOT_LEN;
	return random_bytes(object + used, object_len - used);
}

err_t keybox_seal(const uint8_t vault_id[static 32], uint32_t epoch, const struct keybox_secrets *secrets,
    const struct keybox_member *members, size_t member_count, struct bytes *out)
{
	if (member_count > MAX_LEN / SLOT_LEN)
		return -E2BIG;
	size_t slot_count = (member_count + SLOT_STEP - 1) / SLOT_STEP * SLOT_STEP;
	if (slot_count == 0)
		slot_count = SLOT_STEP;
	size_t object_len = (size_t)padme_size(HEADER_LEN + slot_count * SLOT_LEN);
	if (object_len > MAX_LEN)
		return -E2BIG;

	size_t old_len = out->len;
	uint8_t *object;
	err_t err = bytes_extend(out, object_len, &object);
	if (err != 0)
		return err;
	err = fill_object(vault_id, epoch, secrets, members, member_count, slot_count, object, object_len);
	if (err != 0)
		out->len = old_len;
	return err;
}

static err_t check_header(const uint8_t *object, size_t len, uint32_t epoch)
{
	if (len < HEADER_LEN + SLOT_LEN || len > MAX_LEN || padme_size(len) != len || object[1] != KIND)
		return -EBADMSG;
	if (object[0] != VERSION || object[2] != SUITE_HPKE_X25519_SHA256_AES256GCM || object[3] != 0)
		return -EPROTO;
	return get_u32(object + 4) == epoch ? 0 : -EBADMSG;
}

err_t keybox_open(const uint8_t *object, size_t len, const uint8_t vault_id[static 32], uint32_t epoch,
    const struct identity *me, bool is_recovery, const uint8_t psk[static 32], struct keybox_secrets *out)
{
	err_t err = check_header(object, len, epoch);
	if (err != 0)
		return err;
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	if (secrets == NULL)
		return -ENOMEM;
	uint8_t info[INFO_LEN];
	fill_info(vault_id, epoch, info);
	struct hpke_psk with_psk = psk_for(is_recovery, psk);

	/* How many slots there are is not said; what lies behind the last is random and opens for nobody. */
	for (size_t at = HEADER_LEN; at + SLOT_LEN <= len; at += SLOT_LEN) {
		err = hpke_open(identity_box_secret(me), object + at, &with_psk, info, sizeof(info), NULL, 0,
		    object + at + HPKE_ENC_LEN, SLOT_LEN - HPKE_ENC_LEN, (uint8_t *)secrets);
		if (err == 0) {
			secmem_copy(out, secrets, sizeof(*out));
			return 0;
		}
		if (err != -EBADMSG)
			return err;
	}
	return -EKEYREJECTED;
}
