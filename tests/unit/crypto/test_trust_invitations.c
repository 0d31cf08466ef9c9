/* Invitations: what somebody with a token may say, when, and that it is said once. */
#include "trust_apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "secmem.h"
#include "statement.h"

#define EXPIRES 10000

/* A vault of a device and a recovery key at epoch 0, and an invitation that is open. */
struct fixture {
	struct identity *first, *newcomer, *other, *recovery, *guest, *guest2;
	struct trust *t;
};

static struct identity *invitation(uint8_t seed)
{
	const uint8_t secret[INVITATION_SECRET_LEN] = {seed};
	struct identity *id = NULL;
	assert_int_equal(identity_from_invitation(secret, &id), 0);
	return id;
}

static err_t add(struct trust *t, const struct identity *issuer, enum member_kind kind, const struct identity *who,
    uint64_t time_ns)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_add(t, issuer, kind, identity_public(who), "a name", time_ns, &b), 0);
	return apply(t, &b);
}

static err_t invite(struct trust *t, const struct identity *issuer, const struct identity *guest, uint64_t time_ns)
{
	struct bytes b = {0};
	err_t err = trust_make_invite(t, issuer, identity_public(guest), "phone", EXPIRES, BOX, box_hash, time_ns, &b);
	assert_int_equal(err, 0);
	return apply(t, &b);
}

static err_t drop(struct trust *t, const struct identity *issuer, const struct identity *who, uint64_t time_ns)
{
	struct bytes b = {0};
	uint8_t id[IDENTITY_ID_LEN];
	assert_int_equal(identity_id(identity_public(who), id), 0);
	assert_int_equal(trust_make_remove(t, issuer, id, time_ns, &b), 0);
	return apply(t, &b);
}

static err_t epoch(struct trust *t, const struct identity *issuer, uint32_t number)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_epoch(t, issuer, number, BOX, box_hash, 3000, &b), 0);
	return apply(t, &b);
}

static err_t call(struct trust *t, const struct identity *issuer, const struct identity *who)
{
	struct bytes b = {0};
	uint8_t id[IDENTITY_ID_LEN];
	assert_int_equal(identity_id(identity_public(who), id), 0);
	assert_int_equal(trust_make_rename(t, issuer, id, "mine", 3000, &b), 0);
	return apply(t, &b);
}

static int setup(void **state)
{
	static const uint8_t key[RECOVERY_KEY_LEN] = {9};
	struct fixture *f = calloc(1, sizeof(*f));
	assert_int_equal(identity_from_recovery_key(key, &f->recovery), 0);
	f->first = device(1);
	f->newcomer = device(2);
	f->other = device(3);
	f->guest = invitation(1);
	f->guest2 = invitation(2);
	struct bytes b = {0};
	assert_int_equal(trust_new(&f->t), 0);
	assert_int_equal(trust_make_genesis(f->first, "laptop", f->recovery, 500, &b), 0);
	assert_int_equal(apply(f->t, &b), 0);
	assert_int_equal(epoch(f->t, f->first, 0), 0);
	assert_int_equal(invite(f->t, f->first, f->guest, 1000), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct identity *ids[] = {f->first, f->newcomer, f->other, f->recovery, f->guest, f->guest2};
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		identity_free(ids[i]);
	trust_free(f->t);
	free(f);
	return 0;
}

static void an_invitation_derives_other_keys_than_a_recovery_key_of_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	static const uint8_t bytes[RECOVERY_KEY_LEN] = {1};
	struct identity *recovery;
	assert_int_equal(RECOVERY_KEY_LEN, INVITATION_SECRET_LEN);
	assert_int_equal(identity_from_recovery_key(bytes, &recovery), 0);
	assert_memory_not_equal(identity_public(recovery), identity_public(f->guest), sizeof(struct identity_public));
	identity_free(recovery);
}

static void an_invitation_is_a_member_with_its_end_and_its_key_box(void **state)
{
	struct fixture *f = *state;
	const struct trust_member *m = trust_member_at(f->t, 2);
	assert_int_equal(m->kind, MEMBER_INVITATION);
	assert_int_equal(m->expires_ns, EXPIRES);
	assert_string_equal(m->box_name, BOX);
	assert_memory_equal(m->box_sha256, box_hash, 32);
	assert_string_equal(m->name, "phone");
	assert_false(m->removed);
	assert_false(trust_needs_epoch(f->t)); /* nobody was removed: nothing has to be sealed anew */
}

static void a_device_comes_in_its_place_and_a_new_epoch_begins(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, EXPIRES), 0);
	assert_true(trust_needs_epoch(f->t));
	assert_int_equal(drop(f->t, f->guest, f->guest, EXPIRES), 0);
	assert_true(trust_needs_epoch(f->t));
	assert_true(trust_member_at(f->t, 2)->removed);
	assert_int_equal(epoch(f->t, f->newcomer, 1), 0);
	assert_false(trust_needs_epoch(f->t));
	assert_int_equal(trust_member_at(f->t, 3)->kind, MEMBER_DEVICE);
	assert_memory_equal(trust_member_at(f->t, 3)->added_by, trust_member_at(f->t, 2)->id, IDENTITY_ID_LEN);
}

static void it_is_good_for_one_device(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 2000), 0);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->other, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->guest, f->guest, 2000), 0);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->other, 2000), -EPERM);
}

/* Whoever is added must not go on while the invitation still stands, and nobody may speak in between. */
static void nothing_stands_between_the_device_and_the_end_of_the_invitation(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 2000), 0);
	assert_int_equal(epoch(f->t, f->newcomer, 1), -EPERM);
	assert_int_equal(epoch(f->t, f->first, 1), -EPERM);
	assert_int_equal(drop(f->t, f->first, f->guest, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->newcomer, f->guest, 2000), -EPERM);
	assert_int_equal(call(f->t, f->first, f->newcomer), -EPERM);
	assert_int_equal(add(f->t, f->recovery, MEMBER_DEVICE, f->other, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->guest, f->guest, 2000), 0);
	assert_int_equal(epoch(f->t, f->newcomer, 1), 0);
}

static void it_may_say_nothing_else(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(invite(f->t, f->guest, f->guest2, 2000), -EPERM);
	assert_int_equal(add(f->t, f->guest, MEMBER_RECOVERY, f->other, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->guest, f->first, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->guest, f->recovery, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->guest, f->guest, 2000), -EPERM); /* before it has let somebody in */
	assert_int_equal(epoch(f->t, f->guest, 1), -EPERM);
	assert_int_equal(call(f->t, f->guest, f->first), -EPERM);
	assert_int_equal(call(f->t, f->guest, f->guest), -EPERM);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 2000), 0);
	assert_int_equal(drop(f->t, f->guest, f->first, 2000), -EPERM);
	assert_int_equal(drop(f->t, f->guest, f->newcomer, 2000), -EPERM);
}

static void after_its_time_it_may_say_nothing_at_all(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, EXPIRES + 1), -EPERM);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, EXPIRES), 0);
	assert_int_equal(drop(f->t, f->guest, f->guest, EXPIRES + 1), -EPERM);
}

static void one_that_has_expired_already_is_not_given_out(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(invite(f->t, f->first, f->guest2, EXPIRES), -EPERM);
	assert_int_equal(invite(f->t, f->first, f->guest2, EXPIRES - 1), 0);
}

static void devices_and_the_recovery_key_give_out_and_withdraw_invitations(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(invite(f->t, f->recovery, f->guest2, 2000), 0);
	assert_int_equal(drop(f->t, f->first, f->guest2, 2000), 0);
	assert_true(trust_needs_epoch(f->t)); /* who saw the token may have the key of this epoch */
	assert_int_equal(epoch(f->t, f->first, 1), 0);
	assert_int_equal(drop(f->t, f->recovery, f->guest, 2000), 0);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 2000), -EPERM);
}

static void one_that_was_withdrawn_does_not_come_back(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(drop(f->t, f->first, f->guest, 2000), 0);
	assert_int_equal(epoch(f->t, f->first, 1), 0);
	assert_int_equal(invite(f->t, f->first, f->guest, 2000), -EPERM);
}

static void an_invitation_is_no_way_in_that_would_let_the_last_one_go(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(drop(f->t, f->recovery, f->recovery, 2000), 0);
	assert_int_equal(epoch(f->t, f->first, 1), 0);
	assert_int_equal(drop(f->t, f->first, f->first, 2000), -EPERM);
}

/* Else a device that is to be removed would give out one to itself before. */
static void with_a_device_go_the_invitations_that_it_gave_out(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->other, 2000), 0);
	assert_int_equal(invite(f->t, f->other, f->guest2, 2000), 0);
	assert_int_equal(drop(f->t, f->recovery, f->first, 3000), 0);
	assert_true(trust_member_at(f->t, 2)->removed);
	assert_int_equal(trust_member_at(f->t, 2)->removed_ns, 3000);
	assert_false(trust_member_at(f->t, 4)->removed);
	assert_int_equal(epoch(f->t, f->other, 1), 0);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 4000), -EPERM);
	assert_int_equal(add(f->t, f->guest2, MEMBER_DEVICE, f->newcomer, 4000), 0);
}

/* Where devices may add nobody, their invitations let nobody in either, not even those from before. */
static void an_invitation_may_do_no_more_than_who_gave_it_out(void **state)
{
	struct fixture *f = *state;
	const struct trust_policy strict = {.format_floor = 1, .cipher_floor = 1, .devices_may_add = false};
	struct bytes b = {0};
	assert_int_equal(trust_make_policy(f->t, f->first, &strict, 2000, &b), 0);
	assert_int_equal(apply(f->t, &b), 0);
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 3000), -EPERM);
	assert_int_equal(invite(f->t, f->first, f->guest2, 3000), -EPERM);
	assert_int_equal(invite(f->t, f->recovery, f->guest2, 3000), 0);
	assert_int_equal(add(f->t, f->guest2, MEMBER_DEVICE, f->newcomer, 3000), 0);
}

static void invitations_have_no_names_to_be_changed(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(call(f->t, f->first, f->guest), -EPERM);
	assert_int_equal(call(f->t, f->recovery, f->guest), -EPERM);
}

static void before_the_first_epoch_there_is_nothing_to_be_invited_to(void **state)
{
	struct fixture *f = *state;
	struct trust *t;
	struct bytes b = {0};
	assert_int_equal(trust_new(&t), 0);
	assert_int_equal(trust_make_genesis(f->first, "laptop", f->recovery, 500, &b), 0);
	assert_int_equal(apply(t, &b), 0);
	assert_int_equal(invite(t, f->first, f->guest2, 2000), -EPERM);
	trust_free(t);
}

/* A clone in the middle of it goes on as the original does. */
static void a_copy_knows_that_an_invitation_is_being_used(void **state)
{
	struct fixture *f = *state;
	struct trust *copy;
	assert_int_equal(add(f->t, f->guest, MEMBER_DEVICE, f->newcomer, 2000), 0);
	assert_int_equal(trust_clone(f->t, &copy), 0);
	assert_int_equal(epoch(copy, f->newcomer, 1), -EPERM);
	assert_int_equal(drop(copy, f->guest, f->guest, 2000), 0);
	assert_int_equal(epoch(copy, f->newcomer, 1), 0);
	trust_free(copy);
}

static void every_flipped_byte_and_every_cut_of_an_invitation_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes b = {0};
	assert_int_equal(trust_make_invite(f->t, f->first, identity_public(f->guest2), "x", EXPIRES, BOX, box_hash, 1, &b), 0);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= (uint8_t)(1u << (i % 8));
		assert_int_not_equal(trust_apply(f->t, b.data, b.len), 0);
		b.data[i] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(trust_apply(f->t, b.data, len), -EBADMSG);
	assert_int_equal(apply(f->t, &b), 0);
}

/* What belongs to an invitation may be with nobody else, and must be with it. */
static void a_member_of_the_wrong_form_is_refused(void **state)
{
	struct fixture *f = *state;
	struct statement s = {.kind = TRUST_ADD, .number = trust_statement_count(f->t), .time_ns = 1};
	struct bytes b = {0};
	memcpy(s.previous, trust_head(f->t), 32);
	s.member = (struct statement_member){.kind = MEMBER_INVITATION, .pub = *identity_public(f->guest2), .name = "x",
	    .expires_ns = EXPIRES};
	assert_int_equal(statement_write(&s, f->first, NULL, trust_vault_id(f->t), &b), 0); /* without the name of a box */
	assert_int_equal(apply(f->t, &b), -EBADMSG);
	s.member.kind = (enum member_kind)3;
	assert_int_equal(statement_write(&s, f->first, NULL, trust_vault_id(f->t), &b), 0);
	assert_int_equal(apply(f->t, &b), -EPROTO);
	assert_int_equal(trust_make_add(f->t, f->first, MEMBER_INVITATION, identity_public(f->guest2), "x", 1, &b), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(an_invitation_derives_other_keys_than_a_recovery_key_of_the_same_bytes),
	    T(an_invitation_is_a_member_with_its_end_and_its_key_box),
	    T(a_device_comes_in_its_place_and_a_new_epoch_begins),
	    T(it_is_good_for_one_device),
	    T(nothing_stands_between_the_device_and_the_end_of_the_invitation),
	    T(it_may_say_nothing_else),
	    T(after_its_time_it_may_say_nothing_at_all),
	    T(one_that_has_expired_already_is_not_given_out),
	    T(devices_and_the_recovery_key_give_out_and_withdraw_invitations),
	    T(one_that_was_withdrawn_does_not_come_back),
	    T(an_invitation_is_no_way_in_that_would_let_the_last_one_go),
	    T(with_a_device_go_the_invitations_that_it_gave_out),
	    T(an_invitation_may_do_no_more_than_who_gave_it_out),
	    T(invitations_have_no_names_to_be_changed),
	    T(before_the_first_epoch_there_is_nothing_to_be_invited_to),
	    T(a_copy_knows_that_an_invitation_is_being_used),
	    T(every_flipped_byte_and_every_cut_of_an_invitation_is_refused),
	    T(a_member_of_the_wrong_form_is_refused),
	};
	if (secmem_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
