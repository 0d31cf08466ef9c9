/* The policy in the chain: anybody tightens it, nobody but the recovery key loosens it. */
#include "trust_apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "secmem.h"

struct fixture {
	struct identity *device, *other, *recovery;
	struct trust *t;
};

static int setup(void **state)
{
	const uint8_t key[RECOVERY_KEY_LEN] = {9};
	struct fixture *f = calloc(1, sizeof(*f));
	struct bytes b = {0};
	f->device = device(1);
	f->other = device(2);
	assert_int_equal(identity_from_recovery_key(key, &f->recovery), 0);
	assert_int_equal(trust_new(&f->t), 0);
	assert_int_equal(trust_make_genesis(f->device, "laptop", f->recovery, 1, &b), 0);
	assert_int_equal(apply(f->t, &b), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	identity_free(f->device);
	identity_free(f->other);
	identity_free(f->recovery);
	trust_free(f->t);
	free(f);
	return 0;
}

static err_t say(struct fixture *f, const struct identity *issuer, uint32_t format, uint32_t cipher, bool may_add)
{
	const struct trust_policy p = {format, cipher, may_add};
	struct bytes b = {0};
	assert_int_equal(trust_make_policy(f->t, issuer, &p, 5, &b), 0);
	return apply(f->t, &b);
}

static err_t add(struct fixture *f, const struct identity *issuer, const struct identity *who)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_add(f->t, issuer, MEMBER_DEVICE, identity_public(who), "phone", 6, &b), 0);
	return apply(f->t, &b);
}

static void at_first_devices_may_let_others_in(void **state)
{
	struct fixture *f = *state;
	assert_true(trust_policy(f->t)->devices_may_add);
	assert_int_equal(trust_policy(f->t)->format_floor, 1);
	assert_int_equal(trust_policy(f->t)->cipher_floor, 1);
	assert_int_equal(add(f, f->device, f->other), 0);
}

static void a_device_tightens_and_then_only_the_recovery_key_adds(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(say(f, f->device, 1, 1, false), 0);
	assert_false(trust_policy(f->t)->devices_may_add);
	assert_int_equal(add(f, f->device, f->other), -EPERM);
	assert_int_equal(trust_member_count(f->t), 2);
	assert_int_equal(add(f, f->recovery, f->other), 0);
}

static void a_device_does_not_loosen_and_the_recovery_key_does(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(say(f, f->device, 1, 1, false), 0);
	assert_int_equal(say(f, f->device, 1, 1, true), -EPERM);
	assert_false(trust_policy(f->t)->devices_may_add);
	assert_int_equal(say(f, f->recovery, 1, 1, true), 0);
	assert_true(trust_policy(f->t)->devices_may_add);
	assert_int_equal(add(f, f->device, f->other), 0);
}

static void a_stranger_says_nothing_about_it(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(say(f, f->other, 1, 1, false), -EPERM);
	assert_true(trust_policy(f->t)->devices_may_add);
}

static void a_floor_above_what_is_known_asks_for_a_newer_program(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(say(f, f->recovery, 2, 1, true), -EPROTO);
	assert_int_equal(say(f, f->recovery, 1, 2, true), -EPROTO);
	assert_int_equal(trust_statement_count(f->t), 1);
}

static void a_floor_of_zero_is_never_said(void **state)
{
	struct fixture *f = *state;
	const struct trust_policy p = {0, 1, true};
	struct bytes b = {0};
	assert_int_equal(trust_make_policy(f->t, f->device, &p, 5, &b), -EINVAL);
}

static void a_clone_has_the_policy_and_goes_its_own_way(void **state)
{
	struct fixture *f = *state;
	CLEANUP(trust_free_ptr) struct trust *clone = NULL;
	assert_int_equal(say(f, f->device, 1, 1, false), 0);
	assert_int_equal(trust_clone(f->t, &clone), 0);
	assert_false(trust_policy(clone)->devices_may_add);
	assert_int_equal(say(f, f->recovery, 1, 1, true), 0);
	assert_false(trust_policy(clone)->devices_may_add);
}

static void every_flipped_byte_of_a_policy_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct trust_policy p = {1, 1, false};
	CLEANUP(bytes_clear) struct bytes b = {0};
	assert_int_equal(trust_make_policy(f->t, f->device, &p, 5, &b), 0);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= (uint8_t)(1u << (i % 8));
		assert_int_not_equal(trust_apply(f->t, b.data, b.len), 0);
		b.data[i] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t len = 0; len < b.len; len++)
		assert_int_not_equal(trust_apply(f->t, b.data, len), 0);
	assert_int_equal(trust_apply(f->t, b.data, b.len), 0);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	    WITH_FIXTURE(at_first_devices_may_let_others_in),
	    WITH_FIXTURE(a_device_tightens_and_then_only_the_recovery_key_adds),
	    WITH_FIXTURE(a_device_does_not_loosen_and_the_recovery_key_does),
	    WITH_FIXTURE(a_stranger_says_nothing_about_it),
	    WITH_FIXTURE(a_floor_above_what_is_known_asks_for_a_newer_program),
	    WITH_FIXTURE(a_floor_of_zero_is_never_said),
	    WITH_FIXTURE(a_clone_has_the_policy_and_goes_its_own_way),
	    WITH_FIXTURE(every_flipped_byte_of_a_policy_is_refused),
	};
	if (secmem_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
