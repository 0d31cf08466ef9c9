/* The key box: each member finds its slot, nobody else finds anything, and the box tells nothing of how many there are. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "keybox.h"
#include "padme.h"
#include "secmem.h"

#define MEMBERS 11
#define RECOVERY 10 /* the index of the one that is a recovery key */
#define SLOT_LEN 144

static const uint8_t vault_id[32] = {1, 2, 3};

struct fixture {
	struct identity *ids[MEMBERS];
	struct identity *stranger;
	struct keybox_member members[MEMBERS];
	struct keybox_secrets *secrets;
	struct bytes box;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	for (unsigned i = 0; i < MEMBERS; i++) {
		const uint8_t secret[DEVICE_SECRET_LEN] = {(uint8_t)(i + 1)};
		err_t err = i == RECOVERY ? identity_from_recovery_key(secret, &f->ids[i])
					  : identity_from_device_secret(secret, &f->ids[i]);
		if (err != 0)
			return -1;
		f->members[i].pub = *identity_public(f->ids[i]);
		f->members[i].is_recovery = i == RECOVERY;
	}
	const uint8_t strange[DEVICE_SECRET_LEN] = {0xff};
	f->secrets = secmem_new(sizeof(*f->secrets));
	if (f->secrets == NULL || identity_from_device_secret(strange, &f->stranger) != 0)
		return -1;
	memset(f->secrets->epoch_key, 0x11, 32);
	memset(f->secrets->link_secret, 0x22, 32);
	memset(f->secrets->recovery_psk, 0x33, 32);
	*state = f;
	return keybox_seal(vault_id, 5, f->secrets, f->members, MEMBERS, &f->box);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < MEMBERS; i++)
		identity_free(f->ids[i]);
	identity_free(f->stranger);
	secmem_free(f->secrets);
	bytes_clear(&f->box);
	free(f);
	return 0;
}

/* Opens as member i; what comes out must be all of the secrets or nothing. */
static err_t open_as(const struct fixture *f, unsigned i, const uint8_t *box, size_t len)
{
	struct keybox_secrets got, untouched;
	memset(&got, 0xee, sizeof(got));
	memset(&untouched, 0xee, sizeof(untouched));
	bool is_recovery = i == RECOVERY;
	err_t err = keybox_open(box, len, vault_id, 5, f->ids[i], is_recovery,
	    is_recovery ? f->secrets->recovery_psk : f->secrets->link_secret, &got);
	assert_memory_equal(&got, err == 0 ? f->secrets : &untouched, sizeof(got));
	return err;
}

static void each_member_opens_the_box(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < MEMBERS; i++)
		assert_int_equal(open_as(f, i, f->box.data, f->box.len), 0);
}

static void a_stranger_with_the_link_secret_does_not(void **state)
{
	struct fixture *f = *state;
	struct keybox_secrets got;
	assert_int_equal(keybox_open(f->box.data, f->box.len, vault_id, 5, f->stranger, false, f->secrets->link_secret,
	    &got), -EKEYREJECTED);
}

static void a_member_without_the_link_secret_does_not(void **state)
{
	struct fixture *f = *state;
	struct keybox_secrets got;
	const uint8_t wrong[32] = {1};
	assert_int_equal(
	    keybox_open(f->box.data, f->box.len, vault_id, 5, f->ids[0], false, wrong, &got), -EKEYREJECTED);
	assert_int_equal(keybox_open(f->box.data, f->box.len, vault_id, 5, f->ids[0], false, f->secrets->recovery_psk,
	    &got), -EKEYREJECTED);
}

static void the_two_kinds_of_psk_are_not_exchangeable(void **state)
{
	struct fixture *f = *state;
	struct keybox_secrets got;
	const uint8_t *p = f->box.data;
	size_t len = f->box.len;
	const uint8_t *link = f->secrets->link_secret, *recovery = f->secrets->recovery_psk;
	assert_int_equal(keybox_open(p, len, vault_id, 5, f->ids[RECOVERY], true, link, &got), -EKEYREJECTED);
	assert_int_equal(keybox_open(p, len, vault_id, 5, f->ids[RECOVERY], false, link, &got), -EKEYREJECTED);
	assert_int_equal(keybox_open(p, len, vault_id, 5, f->ids[RECOVERY], false, recovery, &got), -EKEYREJECTED);
	assert_int_equal(keybox_open(p, len, vault_id, 5, f->ids[0], true, link, &got), -EKEYREJECTED);
}

static void a_box_of_another_vault_or_epoch_is_refused(void **state)
{
	struct fixture *f = *state;
	struct keybox_secrets got;
	const uint8_t other[32] = {9}, *link = f->secrets->link_secret;
	assert_int_equal(
	    keybox_open(f->box.data, f->box.len, other, 5, f->ids[0], false, link, &got), -EKEYREJECTED);
	assert_int_equal(
	    keybox_open(f->box.data, f->box.len, vault_id, 6, f->ids[0], false, link, &got), -EBADMSG);
	put_u32(f->box.data + 4, 6); /* nor does it help to change what the header says */
	assert_int_equal(
	    keybox_open(f->box.data, f->box.len, vault_id, 6, f->ids[0], false, link, &got), -EKEYREJECTED);
}

static void another_version_kind_or_cipher_is_refused(void **state)
{
	struct fixture *f = *state;
	static const err_t expected[] = {-EPROTO, -EBADMSG, -EPROTO, -EPROTO};
	for (size_t i = 0; i < 4; i++) {
		f->box.data[i] ^= 2;
		assert_int_equal(open_as(f, 0, f->box.data, f->box.len), expected[i]);
		f->box.data[i] ^= 2;
	}
}

/* Every byte of one slot matters, its enc's top bit (which X25519 itself ignores) included. */
static void a_flip_anywhere_in_a_slot_closes_just_that_slot(void **state)
{
	struct fixture *f = *state;
	struct bytes box = {0};
	assert_int_equal(keybox_seal(vault_id, 5, f->secrets, f->members, 1, &box), 0);
	size_t mine = 0;
	for (size_t slot = 0; slot < 8; slot++) {
		uint8_t *at = box.data + 8 + slot * SLOT_LEN;
		at[143] ^= 1;
		if (open_as(f, 0, box.data, box.len) != 0)
			mine = slot;
		at[143] ^= 1;
	}
	uint8_t *at = box.data + 8 + mine * SLOT_LEN;
	for (size_t i = 0; i < SLOT_LEN; i++) {
		uint8_t mask = i == 31 ? 0x80 : (uint8_t)(1u << (i % 8));
		at[i] ^= mask;
		assert_int_equal(open_as(f, 0, box.data, box.len), -EKEYREJECTED);
		at[i] ^= mask;
	}
	for (size_t i = 8; i < box.len; i++) {
		if (i < 8 + mine * SLOT_LEN || i >= 8 + (mine + 1) * SLOT_LEN)
			box.data[i] ^= 0xff;
	}
	assert_int_equal(open_as(f, 0, box.data, box.len), 0);
	bytes_clear(&box);
}

static void every_truncation_is_refused(void **state)
{
	struct fixture *f = *state;
	for (size_t len = 0; len < f->box.len; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, f->box.data, len);
		assert_int_equal(open_as(f, 0, exact, len), -EBADMSG);
		free(exact);
	}
}

static void slots_of_degenerate_points_are_passed_over(void **state)
{
	struct fixture *f = *state;
	struct bytes box = {0};
	assert_int_equal(keybox_seal(vault_id, 5, f->secrets, f->members, 1, &box), 0);
	for (size_t slot = 0; slot < 8; slot++) {
		uint8_t saved[32], *enc = box.data + 8 + slot * SLOT_LEN;
		memcpy(saved, enc, 32);
		for (unsigned low_order = 0; low_order < 2; low_order++) {
			memset(enc, 0, 32);
			enc[0] = (uint8_t)low_order;
			err_t err = open_as(f, 0, box.data, box.len);
			assert_true(err == 0 || err == -EKEYREJECTED);
		}
		memcpy(enc, saved, 32);
	}
	bytes_clear(&box);
}

static void boxes_have_padded_sizes_that_hide_the_members(void **state)
{
	struct fixture *f = *state;
	for (size_t count = 0; count <= MEMBERS; count++) {
		struct bytes box = {0};
		assert_int_equal(keybox_seal(vault_id, 5, f->secrets, f->members, count, &box), 0);
		assert_int_equal(box.len, padme_size(8 + (count <= 8 ? 8 : 16) * SLOT_LEN));
		assert_int_equal(box.len, 4096);
		bytes_clear(&box);
	}
	struct keybox_member *many = calloc(100, sizeof(*many));
	for (size_t i = 0; i < 100; i++)
		many[i] = f->members[i % MEMBERS];
	struct bytes box = {0};
	assert_int_equal(keybox_seal(vault_id, 5, f->secrets, many, 100, &box), 0);
	assert_int_equal(box.len, padme_size(8 + 104 * SLOT_LEN));
	assert_int_equal(open_as(f, 3, box.data, box.len), 0);
	bytes_clear(&box);
	free(many);
	assert_int_equal(keybox_seal(vault_id, 5, f->secrets, f->members, SIZE_MAX / 2, &box), -E2BIG);
}

/* A public key has no bit 255, so a dummy made of random bytes would stand out; so would a slot with a fixed place. */
static void dummies_look_like_slots_and_places_are_random(void **state)
{
	struct fixture *f = *state;
	bool seen[8] = {false};
	for (unsigned round = 0; round < 40; round++) {
		struct bytes box = {0};
		assert_int_equal(keybox_seal(vault_id, 5, f->secrets, f->members, 1, &box), 0);
		for (size_t slot = 0; slot < 8; slot++) {
			uint8_t *at = box.data + 8 + slot * SLOT_LEN;
			assert_int_equal(at[31] & 0x80, 0);
			at[140] ^= 1;
			if (open_as(f, 0, box.data, box.len) != 0)
				seen[slot] = true;
			at[140] ^= 1;
		}
		bytes_clear(&box);
	}
	unsigned places = 0;
	for (size_t slot = 0; slot < 8; slot++)
		places += seen[slot];
	assert_true(places >= 4); /* fewer than four places in forty draws of eight: below one in 10^10 */
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(each_member_opens_the_box),
		WITH_FIXTURE(a_stranger_with_the_link_secret_does_not),
		WITH_FIXTURE(a_member_without_the_link_secret_does_not),
		WITH_FIXTURE(the_two_kinds_of_psk_are_not_exchangeable),
		WITH_FIXTURE(a_box_of_another_vault_or_epoch_is_refused),
		WITH_FIXTURE(another_version_kind_or_cipher_is_refused),
		WITH_FIXTURE(a_flip_anywhere_in_a_slot_closes_just_that_slot),
		WITH_FIXTURE(every_truncation_is_refused),
		WITH_FIXTURE(slots_of_degenerate_points_are_passed_over),
		WITH_FIXTURE(boxes_have_padded_sizes_that_hide_the_members),
		WITH_FIXTURE(dummies_look_like_slots_and_places_are_random),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
