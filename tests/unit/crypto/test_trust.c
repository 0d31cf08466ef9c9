/* The statements about members: what they say, and who may say what. */
#include "trust_steps.h"

#include <errno.h>
#include <string.h>

#include "hash.h"
#include "secmem.h"
#include "statement.h"

static void the_vault_id_is_the_hash_of_the_genesis(void **state)
{
	struct fixture *f = *state;
	const uint8_t *data;
	size_t len;
	uint8_t hash[32];
	trust_statement_at(f->t, 0, &data, &len);
	assert_int_equal(hash_sha256(data, len, hash), 0);
	assert_memory_equal(trust_vault_id(f->t), hash, 32);
}

static void members_get_numbers_in_order_and_keep_them(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(drop(f->t, f->first, f->second), 0);
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->third), 0);
	const struct identity *order[] = {f->first, f->recovery, f->second, f->third};
	assert_int_equal(trust_member_count(f->t), 4);
	for (size_t i = 0; i < 4; i++) {
		const struct trust_member *m = trust_member_at(f->t, i);
		assert_int_equal(m->number, i);
		assert_memory_equal(m->id, id_of(order[i]).b, IDENTITY_ID_LEN);
		assert_memory_equal(&m->pub, identity_public(order[i]), sizeof(m->pub));
		assert_ptr_equal(trust_member_find(f->t, id_of(order[i]).b), m);
	}
	assert_null(trust_member_at(f->t, 4));
	assert_null(trust_member_find(f->t, id_of(f->stranger).b));
}

static void members_carry_who_added_them_when_and_whether_they_are_out(void **state)
{
	struct fixture *f = *state;
	const struct trust_member *first = trust_member_at(f->t, 0), *second = trust_member_at(f->t, 2);
	assert_string_equal(first->name, "laptop");
	assert_int_equal(first->added_ns, 500);
	assert_int_equal(first->kind, MEMBER_DEVICE);
	assert_int_equal(trust_member_at(f->t, 1)->kind, MEMBER_RECOVERY);
	assert_ptr_equal(trust_recovery(f->t), trust_member_at(f->t, 1));
	assert_memory_equal(second->added_by, id_of(f->first).b, IDENTITY_ID_LEN);
	assert_int_equal(second->added_ns, 1000);
	assert_false(second->removed);
	assert_int_equal(drop(f->t, f->first, f->second), 0);
	assert_true(second->removed);
	assert_int_equal(second->removed_ns, 2000);
}

static void replaying_all_statements_gives_the_same_state(void **state)
{
	struct fixture *f = *state;
	struct trust *again;
	assert_int_equal(trust_new(&again), 0);
	for (size_t i = 0; i < trust_statement_count(f->t); i++) {
		const uint8_t *data;
		size_t len;
		trust_statement_at(f->t, i, &data, &len);
		assert_int_equal(trust_apply(again, data, len), 0);
	}
	assert_memory_equal(trust_vault_id(again), trust_vault_id(f->t), 32);
	assert_int_equal(trust_member_count(again), trust_member_count(f->t));
	for (size_t i = 0; i < trust_member_count(again); i++)
		assert_memory_equal(trust_member_at(again, i), trust_member_at(f->t, i), sizeof(struct trust_member));
	trust_free(again);
}

static void a_clone_goes_its_own_way(void **state)
{
	struct fixture *f = *state;
	struct trust *clone;
	assert_int_equal(trust_clone(f->t, &clone), 0);
	assert_int_equal(add(clone, f->first, MEMBER_DEVICE, f->third), 0);
	assert_int_equal(drop(clone, f->first, f->second), 0);
	assert_int_equal(epoch(clone, f->first, 1), 0);
	assert_int_equal(trust_member_count(f->t), 3);
	assert_false(trust_member_find(f->t, id_of(f->second).b)->removed);
	assert_int_equal(trust_member_count(clone), 4);
	assert_memory_equal(trust_vault_id(clone), trust_vault_id(f->t), 32);
	trust_free(clone);

	struct trust *empty, *empty_clone;
	assert_int_equal(trust_new(&empty), 0);
	assert_int_equal(trust_clone(empty, &empty_clone), 0);
	assert_null(trust_vault_id(empty_clone));
	trust_free(empty);
	trust_free(empty_clone);
}

static void a_removed_member_has_no_say(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(drop(f->t, f->first, f->second), 0);
	assert_int_equal(add(f->t, f->second, MEMBER_DEVICE, f->third), -EPERM);
	assert_int_equal(drop(f->t, f->second, f->first), -EPERM);
	assert_int_equal(epoch(f->t, f->second, 1), -EPERM);
	assert_int_equal(call(f->t, f->second, f->second, "me"), -EPERM);
	assert_int_equal(drop(f->t, f->first, f->second), -EPERM);
	assert_int_equal(call(f->t, f->first, f->second, "late"), -EPERM);
}

static void keys_that_were_ever_in_are_not_added_again(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->second), -EPERM);
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->recovery), -EPERM);
	assert_int_equal(drop(f->t, f->first, f->second), 0);
	assert_int_equal(epoch(f->t, f->first, 1), 0);
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->second), -EPERM);
	assert_int_equal(add(f->t, f->recovery, MEMBER_RECOVERY, f->second), -EPERM);

	/* nor one half of them beside something new, which is another id */
	struct bytes b = {0};
	struct identity_public mixed = *identity_public(f->third);
	memcpy(mixed.box, identity_public(f->second)->box, 32);
	assert_int_equal(trust_make_add(f->t, f->first, MEMBER_DEVICE, &mixed, "x", 1, &b), 0);
	assert_int_equal(apply(f->t, &b), -EPERM);
	mixed = *identity_public(f->third);
	memcpy(mixed.sign, identity_public(f->second)->sign, 32);
	assert_int_equal(trust_make_add(f->t, f->first, MEMBER_DEVICE, &mixed, "x", 1, &b), 0);
	assert_int_equal(apply(f->t, &b), -EPERM);
}

static void a_device_can_not_touch_the_recovery_key(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(drop(f->t, f->first, f->recovery), -EPERM);
	assert_int_equal(add(f->t, f->first, MEMBER_RECOVERY, f->recovery2), -EPERM);
	assert_int_equal(call(f->t, f->first, f->recovery, "mine"), -EPERM);
	assert_memory_equal(trust_recovery(f->t)->id, id_of(f->recovery).b, IDENTITY_ID_LEN);
}

static void the_recovery_key_adds_and_removes_devices(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->recovery, MEMBER_DEVICE, f->third), 0);
	assert_int_equal(drop(f->t, f->recovery, f->first), 0);
	assert_int_equal(epoch(f->t, f->recovery, 1), 0);
	assert_true(trust_member_find(f->t, id_of(f->first).b)->removed);
}

static void the_recovery_key_replaces_itself_and_only_itself(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->recovery, MEMBER_RECOVERY, f->recovery2), 0);
	assert_memory_equal(trust_recovery(f->t)->id, id_of(f->recovery2).b, IDENTITY_ID_LEN);
	assert_int_equal(drop(f->t, f->recovery2, f->recovery), -EPERM);
	assert_int_equal(drop(f->t, f->recovery, f->recovery2), -EPERM);
	assert_int_equal(drop(f->t, f->recovery, f->recovery), 0);
	assert_memory_equal(trust_recovery(f->t)->id, id_of(f->recovery2).b, IDENTITY_ID_LEN);
	assert_true(trust_needs_epoch(f->t));
	assert_int_equal(add(f->t, f->recovery, MEMBER_DEVICE, f->third), -EPERM);
	assert_int_equal(epoch(f->t, f->recovery2, 1), 0);
}

static void the_last_way_in_can_not_be_removed(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(drop(f->t, f->first, f->second), 0);
	assert_int_equal(drop(f->t, f->first, f->first), 0); /* leaves the recovery key */
	assert_int_equal(drop(f->t, f->recovery, f->recovery), -EPERM);
	assert_int_equal(epoch(f->t, f->recovery, 1), 0);
	assert_int_equal(add(f->t, f->recovery, MEMBER_DEVICE, f->third), 0);
	assert_int_equal(drop(f->t, f->recovery, f->recovery), 0);
	assert_null(trust_recovery(f->t));
	assert_int_equal(drop(f->t, f->third, f->third), -EPERM);
	assert_int_equal(add(f->t, f->third, MEMBER_RECOVERY, f->recovery2), -EPERM);
}

static void epochs_follow_one_another(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(epoch(f->t, f->first, 0), -EPERM);
	assert_int_equal(epoch(f->t, f->first, 2), -EPERM);
	assert_int_equal(epoch(f->t, f->first, UINT32_MAX), -EPERM);
	struct bytes b = {0};
	const uint8_t other_hash[32] = {0xc1};
	assert_int_equal(trust_make_epoch(f->t, f->second, 1, "k/1-ff", other_hash, 1, &b), 0);
	assert_int_equal(apply(f->t, &b), 0);

	uint32_t current = 0;
	const char *name;
	uint8_t hash[32];
	assert_int_equal(trust_epoch(f->t, &current, &name, hash), 0);
	assert_int_equal(current, 1);
	assert_string_equal(name, "k/1-ff");
	assert_memory_equal(hash, other_hash, 32);
	assert_int_equal(trust_epoch_at(f->t, 0, &name, hash), 0);
	assert_string_equal(name, BOX);
	assert_memory_equal(hash, box_hash, 32);
	assert_int_equal(trust_epoch_at(f->t, 2, &name, hash), -ENOENT);
}

static void the_first_epoch_is_zero_and_before_it_there_is_none(void **state)
{
	struct fixture *f = *state;
	struct trust *t;
	struct bytes b = {0};
	uint32_t current;
	const char *name;
	uint8_t hash[32];
	assert_int_equal(trust_new(&t), 0);
	assert_int_equal(trust_make_genesis(f->first, "x", f->recovery, 1, &b), 0);
	assert_int_equal(apply(t, &b), 0);
	assert_int_equal(trust_epoch(t, &current, &name, hash), -ENOENT);
	assert_int_equal(epoch(t, f->first, 1), -EPERM);
	assert_int_equal(epoch(t, f->first, 0), 0);
	trust_free(t);
}

static void a_removal_asks_for_an_epoch_until_one_comes(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->third), 0);
	assert_false(trust_needs_epoch(f->t));
	assert_int_equal(drop(f->t, f->first, f->second), 0);
	assert_true(trust_needs_epoch(f->t));
	assert_int_equal(drop(f->t, f->first, f->third), 0);
	assert_true(trust_needs_epoch(f->t));
	struct trust *clone;
	assert_int_equal(trust_clone(f->t, &clone), 0);
	assert_true(trust_needs_epoch(clone));
	trust_free(clone);
	assert_int_equal(epoch(f->t, f->first, 1), 0);
	assert_false(trust_needs_epoch(f->t));
}

static void members_are_renamed(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(call(f->t, f->first, f->second, "K\xc3\xbc" "che \xf0\x9f\x8d\xb2"), 0);
	assert_string_equal(trust_member_at(f->t, 2)->name, "K\xc3\xbc" "che \xf0\x9f\x8d\xb2");
	assert_int_equal(call(f->t, f->recovery, f->recovery, "in the safe"), 0);
	assert_string_equal(trust_recovery(f->t)->name, "in the safe");
	assert_int_equal(call(f->t, f->first, f->stranger, "nobody"), -EPERM);
}

#define SIXTY_FOUR "0123456789012345678901234567890123456789012345678901234567890123"

static void names_are_checked_when_said_and_when_heard(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", (SIXTY_FOUR "4"), "a\nb", "\x1b[31m", "\x7f", "\xc2\x85", "\xff", "\xc3",
	    "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x80\xae" "evil", "\xe2\x80\xa8", "\xe2\x81\xa6"};
	struct bytes b = {0};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(trust_make_rename(f->t, f->first, id_of(f->second).b, bad[i], 1, &b), -EINVAL);
		assert_int_equal(
		    trust_make_add(f->t, f->first, MEMBER_DEVICE, identity_public(f->third), bad[i], 1, &b), -EINVAL);
		assert_int_equal(trust_make_genesis(f->first, bad[i], f->recovery, 1, &b), -EINVAL);
		assert_int_equal(b.len, 0);
		if (strlen(bad[i]) > TRUST_NAME_MAX)
			continue;

		const uint8_t *last;
		size_t len;
		struct statement s = {.kind = TRUST_RENAME, .number = trust_statement_count(f->t)};
		trust_statement_at(f->t, trust_statement_count(f->t) - 1, &last, &len);
		assert_int_equal(hash_sha256(last, len, s.previous), 0);
		memcpy(s.subject, id_of(f->second).b, sizeof(s.subject));
		strcpy(s.name, bad[i]);
		assert_int_equal(statement_write(&s, f->first, NULL, trust_vault_id(f->t), &b), 0);
		assert_int_equal(apply(f->t, &b), -EBADMSG);
	}
	assert_int_equal(call(f->t, f->first, f->second, SIXTY_FOUR), 0);
	assert_int_equal(call(f->t, f->first, f->second, "x"), 0);
}

static void a_box_name_that_could_lead_elsewhere_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", "k", "k/", "c/1", "k/../v", "k/a/b", "k/A", "/k/0-a", "k/0-a\n", "k/ ",
	    ("k/" SIXTY_FOUR)};
	struct bytes b = {0};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(trust_make_epoch(f->t, f->first, 1, bad[i], box_hash, 1, &b), -EINVAL);
		if (strlen(bad[i]) > TRUST_BOX_NAME_MAX)
			continue;
		const uint8_t *last;
		size_t len;
		struct statement s = {.kind = TRUST_EPOCH, .number = trust_statement_count(f->t), .epoch = 1};
		trust_statement_at(f->t, trust_statement_count(f->t) - 1, &last, &len);
		assert_int_equal(hash_sha256(last, len, s.previous), 0);
		strcpy(s.box_name, bad[i]);
		assert_int_equal(statement_write(&s, f->first, NULL, trust_vault_id(f->t), &b), 0);
		assert_int_equal(apply(f->t, &b), -EBADMSG);
	}
}

static void what_was_lent_out_stays_valid_through_later_statements(void **state)
{
	struct fixture *f = *state;
	const struct trust_member *first = trust_member_at(f->t, 0);
	const uint8_t *genesis;
	const char *box;
	size_t len;
	uint8_t hash[32];
	uint32_t current;
	trust_statement_at(f->t, 0, &genesis, &len);
	assert_int_equal(trust_epoch(f->t, &current, &box, hash), 0);
	for (uint8_t i = 0; i < 40; i++) {
		struct identity *id = device((uint8_t)(100 + i));
		assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, id), 0);
		assert_int_equal(epoch(f->t, f->first, i + 1u), 0);
		identity_free(id);
	}
	assert_ptr_equal(first, trust_member_at(f->t, 0));
	assert_string_equal(first->name, "laptop");
	assert_string_equal(box, BOX);
	assert_int_equal(hash_sha256(genesis, len, hash), 0);
	assert_memory_equal(hash, trust_vault_id(f->t), 32);
	assert_int_equal(trust_member_at(f->t, 42)->number, 42);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(the_vault_id_is_the_hash_of_the_genesis),
		WITH_FIXTURE(members_get_numbers_in_order_and_keep_them),
		WITH_FIXTURE(members_carry_who_added_them_when_and_whether_they_are_out),
		WITH_FIXTURE(replaying_all_statements_gives_the_same_state),
		WITH_FIXTURE(a_clone_goes_its_own_way),
		WITH_FIXTURE(a_removed_member_has_no_say),
		WITH_FIXTURE(keys_that_were_ever_in_are_not_added_again),
		WITH_FIXTURE(a_device_can_not_touch_the_recovery_key),
		WITH_FIXTURE(the_recovery_key_adds_and_removes_devices),
		WITH_FIXTURE(the_recovery_key_replaces_itself_and_only_itself),
		WITH_FIXTURE(the_last_way_in_can_not_be_removed),
		WITH_FIXTURE(epochs_follow_one_another),
		WITH_FIXTURE(the_first_epoch_is_zero_and_before_it_there_is_none),
		WITH_FIXTURE(a_removal_asks_for_an_epoch_until_one_comes),
		WITH_FIXTURE(members_are_renamed),
		WITH_FIXTURE(names_are_checked_when_said_and_when_heard),
		WITH_FIXTURE(a_box_name_that_could_lead_elsewhere_is_refused),
		WITH_FIXTURE(what_was_lent_out_stays_valid_through_later_statements),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
