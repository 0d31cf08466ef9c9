/* Statements that are forged, changed, replayed, reordered or of another vault: none is taken. */
#include "trust_steps.h"

#include <errno.h>
#include <string.h>

#include "hash.h"
#include "secmem.h"
#include "statement.h"

static void every_flipped_byte_of_every_kind_of_statement_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes all[5] = {{0}};
	struct trust *empty;
	assert_int_equal(trust_new(&empty), 0);
	assert_int_equal(trust_make_genesis(f->first, "x", f->recovery, 1, &all[0]), 0);
	assert_int_equal(
	    trust_make_add(f->t, f->first, MEMBER_DEVICE, identity_public(f->third), "x", 1, &all[1]), 0);
	assert_int_equal(trust_make_remove(f->t, f->first, id_of(f->second).b, 1, &all[2]), 0);
	assert_int_equal(trust_make_epoch(f->t, f->first, 1, BOX, box_hash, 1, &all[3]), 0);
	assert_int_equal(trust_make_rename(f->t, f->first, id_of(f->second).b, "x", 1, &all[4]), 0);
	for (size_t k = 0; k < 5; k++) {
		struct trust *t = k == 0 ? empty : f->t;
		size_t before = trust_statement_count(t);
		for (size_t i = 0; i < all[k].len; i++) {
			uint8_t mask = (uint8_t)(1u << (i % 8));
			all[k].data[i] ^= mask;
			assert_int_not_equal(trust_apply(t, all[k].data, all[k].len), 0);
			all[k].data[i] ^= mask;
		}
		for (size_t len = 0; len < all[k].len; len++)
			assert_int_equal(trust_apply(t, all[k].data, len), -EBADMSG);
		assert_int_equal(bytes_append_u8(&all[k], 0), 0);
		assert_int_equal(trust_apply(t, all[k].data, all[k].len), -EBADMSG);
		assert_int_equal(trust_statement_count(t), before);
		assert_int_equal(trust_apply(t, all[k].data, all[k].len - 1), 0);
		if (k > 0) { /* back to where the others were made for */
			struct trust *back;
			assert_int_equal(trust_new(&back), 0);
			for (size_t i = 0; i < before; i++) {
				const uint8_t *data;
				size_t len;
				trust_statement_at(f->t, i, &data, &len);
				assert_int_equal(trust_apply(back, data, len), 0);
			}
			trust_free(f->t);
			f->t = back;
		}
		bytes_clear(&all[k]);
	}
	trust_free(empty);
}

static void a_statement_can_not_be_replayed(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < trust_statement_count(f->t); i++) {
		const uint8_t *data;
		size_t len;
		trust_statement_at(f->t, i, &data, &len);
		uint8_t *copy = malloc(len);
		memcpy(copy, data, len);
		assert_int_equal(trust_apply(f->t, copy, len), -EBADMSG);
		free(copy);
	}
}

static void statements_can_not_be_reordered_or_left_out(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->second, MEMBER_DEVICE, f->third), 0);
	for (size_t left_out = 0; left_out + 1 < trust_statement_count(f->t); left_out++) {
		struct trust *t;
		assert_int_equal(trust_new(&t), 0);
		for (size_t i = 0; i < trust_statement_count(f->t); i++) {
			const uint8_t *data;
			size_t len;
			if (i == left_out)
				continue;
			trust_statement_at(f->t, i, &data, &len);
			assert_int_equal(trust_apply(t, data, len), i < left_out ? 0 : -EBADMSG);
		}
		assert_int_equal(trust_statement_count(t), left_out);
		trust_free(t);
	}
}

static void of_two_statements_for_one_place_only_the_first_is_taken(void **state)
{
	struct fixture *f = *state;
	struct bytes a = {0}, b = {0};
	assert_int_equal(trust_make_add(f->t, f->first, MEMBER_DEVICE, identity_public(f->third), "a", 1, &a), 0);
	assert_int_equal(trust_make_add(f->t, f->second, MEMBER_DEVICE, identity_public(f->stranger), "b", 1, &b), 0);
	assert_int_equal(apply(f->t, &a), 0);
	assert_int_equal(apply(f->t, &b), -EBADMSG);
}

/* The same keys in another vault: the chain hash alone would refuse it, so the signature is tried on its own, too. */
static void a_statement_of_another_vault_is_refused(void **state)
{
	struct fixture *f = *state;
	struct trust *other;
	struct bytes b = {0};
	assert_int_equal(trust_new(&other), 0);
	assert_int_equal(trust_make_genesis(f->first, "laptop", f->recovery, 501, &b), 0);
	assert_int_equal(apply(other, &b), 0);
	assert_int_equal(epoch(other, f->first, 0), 0);
	assert_int_equal(add(other, f->first, MEMBER_DEVICE, f->second), 0);
	assert_int_equal(trust_make_add(other, f->first, MEMBER_DEVICE, identity_public(f->third), "x", 1, &b), 0);
	assert_int_equal(apply(f->t, &b), -EBADMSG);

	const uint8_t *last;
	size_t len;
	struct statement s = {.kind = TRUST_REMOVE, .number = trust_statement_count(f->t)};
	trust_statement_at(f->t, trust_statement_count(f->t) - 1, &last, &len);
	assert_int_equal(hash_sha256(last, len, s.previous), 0);
	memcpy(s.subject, id_of(f->second).b, sizeof(s.subject));
	assert_int_equal(statement_write(&s, f->first, NULL, trust_vault_id(other), &b), 0);
	assert_int_equal(apply(f->t, &b), -EBADMSG);
	assert_int_equal(statement_write(&s, f->first, NULL, trust_vault_id(f->t), &b), 0);
	assert_int_equal(apply(f->t, &b), 0);
	trust_free(other);
}

static void a_wrong_number_or_previous_hash_is_refused(void **state)
{
	struct fixture *f = *state;
	const uint8_t *last;
	size_t len;
	struct bytes b = {0};
	struct statement s = {.kind = TRUST_REMOVE, .number = trust_statement_count(f->t)};
	trust_statement_at(f->t, trust_statement_count(f->t) - 1, &last, &len);
	assert_int_equal(hash_sha256(last, len, s.previous), 0);
	memcpy(s.subject, id_of(f->second).b, sizeof(s.subject));
	static const int64_t off_by[] = {-1, 1, 1ll << 32};
	for (size_t i = 0; i < ARRAY_LEN(off_by); i++) {
		struct statement wrong = s;
		wrong.number += (uint64_t)off_by[i];
		assert_int_equal(statement_write(&wrong, f->first, NULL, trust_vault_id(f->t), &b), 0);
		assert_int_equal(apply(f->t, &b), -EBADMSG);
	}
	struct statement wrong = s;
	wrong.previous[31] ^= 1;
	assert_int_equal(statement_write(&wrong, f->first, NULL, trust_vault_id(f->t), &b), 0);
	assert_int_equal(apply(f->t, &b), -EBADMSG);
}

static void a_ghost_can_not_let_itself_or_anybody_in(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(add(f->t, f->stranger, MEMBER_DEVICE, f->stranger), -EPERM);
	assert_int_equal(add(f->t, f->stranger, MEMBER_DEVICE, f->third), -EPERM);
	assert_int_equal(drop(f->t, f->stranger, f->first), -EPERM);
	assert_int_equal(epoch(f->t, f->stranger, 1), -EPERM);
	assert_int_equal(call(f->t, f->stranger, f->first, "mine"), -EPERM);
}

/* A statement in a member's name: signed by somebody else, not signed, with a signature cut off or one too many. */
static void signatures_that_are_forged_or_stripped_are_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes good = {0}, bad = {0}, input = {0};
	assert_int_equal(
	    trust_make_add(f->t, f->first, MEMBER_DEVICE, identity_public(f->stranger), "x", 1, &good), 0);
	size_t body_len = good.len - 66; /* where the signature's two bytes of head stand */
	assert_int_equal(good.data[1], 0x58);
	assert_int_equal(bytes_append(&input, "snugfs/1 statement", 18), 0);
	assert_int_equal(bytes_append(&input, trust_vault_id(f->t), 32), 0);
	assert_int_equal(bytes_append(&input, good.data + 3, body_len - 3), 0);
	uint8_t signature[IDENTITY_SIG_LEN];
	assert_int_equal(identity_sign(f->first, input.data, input.len, signature), 0);
	assert_memory_equal(signature, good.data + body_len + 2, sizeof(signature)); /* so the input is the right one */

	assert_int_equal(identity_sign(f->stranger, input.data, input.len, signature), 0);
	assert_int_equal(bytes_append(&bad, good.data, good.len), 0);
	memcpy(bad.data + body_len + 2, signature, sizeof(signature));
	assert_int_equal(apply(f->t, &bad), -EBADMSG);
	bytes_clear(&input);

	assert_int_equal(bytes_append(&bad, good.data, good.len), 0);
	memset(bad.data + body_len + 2, 0, IDENTITY_SIG_LEN);
	assert_int_equal(apply(f->t, &bad), -EBADMSG);

	assert_int_equal(bytes_append(&bad, good.data, body_len), 0);
	bad.data[0] = 0x81;
	assert_int_equal(apply(f->t, &bad), -EBADMSG);

	assert_int_equal(bytes_append(&bad, good.data, good.len), 0);
	assert_int_equal(bytes_append(&bad, good.data + body_len, 66), 0);
	bad.data[0] = 0x83;
	assert_int_equal(apply(f->t, &bad), -EBADMSG);
	assert_int_equal(apply(f->t, &good), 0);
}

static void a_genesis_needs_both_signatures(void **state)
{
	struct fixture *f = *state;
	struct trust *t;
	struct bytes good = {0}, bad = {0};
	assert_int_equal(trust_new(&t), 0);
	assert_int_equal(trust_make_genesis(f->first, "x", f->recovery, 1, &good), 0);

	assert_int_equal(bytes_append(&bad, good.data, good.len - 66), 0);
	bad.data[0] = 0x82;
	assert_int_equal(apply(t, &bad), -EBADMSG);

	/* the device's signature twice, and the two exchanged */
	assert_int_equal(bytes_append(&bad, good.data, good.len), 0);
	memcpy(bad.data + bad.len - 66, good.data + good.len - 132, 66);
	assert_int_equal(apply(t, &bad), -EBADMSG);
	assert_int_equal(bytes_append(&bad, good.data, good.len - 132), 0);
	assert_int_equal(bytes_append(&bad, good.data + good.len - 66, 66), 0);
	assert_int_equal(bytes_append(&bad, good.data + good.len - 132, 66), 0);
	assert_int_equal(apply(t, &bad), -EBADMSG);

	assert_int_equal(trust_statement_count(t), 0);
	assert_int_equal(apply(t, &good), 0);
	trust_free(t);
}

static void a_genesis_in_another_shape_is_refused(void **state)
{
	struct fixture *f = *state;
	struct trust *t;
	struct bytes b = {0};
	assert_int_equal(trust_new(&t), 0);
	const uint8_t zeros[32] = {0};
	const struct statement good = {.kind = TRUST_GENESIS,
	    .member = {.kind = MEMBER_DEVICE, .pub = *identity_public(f->first), .name = "x"},
	    .recovery = {.kind = MEMBER_RECOVERY, .pub = *identity_public(f->recovery), .name = "y"}};

	struct statement s = good;
	s.member.kind = MEMBER_RECOVERY;
	assert_int_equal(statement_write(&s, f->first, f->recovery, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	s = good;
	s.recovery.kind = MEMBER_DEVICE;
	assert_int_equal(statement_write(&s, f->first, f->recovery, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	s = good;
	s.recovery.pub = s.member.pub;
	assert_int_equal(statement_write(&s, f->first, f->first, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	s = good;
	s.number = 1;
	assert_int_equal(statement_write(&s, f->first, f->recovery, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	s = good;
	s.previous[0] = 1;
	assert_int_equal(statement_write(&s, f->first, f->recovery, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	assert_int_equal(statement_write(&good, f->stranger, f->recovery, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	assert_int_equal(statement_write(&good, f->first, f->recovery, zeros, &b), 0);
	assert_int_equal(apply(t, &b), 0);
	trust_free(t);
}

static void nothing_is_taken_before_a_genesis_and_no_second_one(void **state)
{
	struct fixture *f = *state;
	struct trust *t;
	struct bytes b = {0};
	assert_int_equal(trust_new(&t), 0);
	const struct statement s = {.kind = TRUST_ADD,
	    .member = {.kind = MEMBER_DEVICE, .pub = *identity_public(f->first), .name = "x"}};
	const uint8_t zeros[32] = {0};
	assert_int_equal(statement_write(&s, f->first, NULL, zeros, &b), 0);
	assert_int_equal(apply(t, &b), -EBADMSG);
	assert_int_equal(trust_make_add(t, f->first, MEMBER_DEVICE, identity_public(f->second), "x", 1, &b), -EINVAL);
	trust_free(t);

	struct statement second = {.kind = TRUST_GENESIS, .number = trust_statement_count(f->t),
	    .member = {.kind = MEMBER_DEVICE, .pub = *identity_public(f->third), .name = "x"},
	    .recovery = {.kind = MEMBER_RECOVERY, .pub = *identity_public(f->recovery2), .name = "y"}};
	const uint8_t *last;
	size_t len;
	trust_statement_at(f->t, trust_statement_count(f->t) - 1, &last, &len);
	assert_int_equal(hash_sha256(last, len, second.previous), 0);
	assert_int_equal(statement_write(&second, f->third, f->recovery2, zeros, &b), 0);
	assert_int_equal(apply(f->t, &b), -EBADMSG);
}

static void an_unknown_kind_or_a_higher_format_is_told_as_such(void **state)
{
	struct fixture *f = *state;
	struct trust *t;
	struct bytes b = {0};
	assert_int_equal(trust_new(&t), 0);
	assert_int_equal(trust_make_genesis(f->first, "x", f->recovery, 1, &b), 0);
	/* The format floor is the body's last byte, in front of the two signatures. */
	uint8_t *floor = b.data + b.len - 2 * 66 - 1;
	assert_int_equal(*floor, 1);
	*floor = 2;
	assert_int_equal(apply(t, &b), -EPROTO);
	trust_free(t);

	assert_int_equal(trust_make_remove(f->t, f->first, id_of(f->second).b, 1, &b), 0);
	/* array, head of the body (2 bytes), map, key 0, kind */
	assert_int_equal(b.data[5], TRUST_REMOVE);
	b.data[5] = 23;
	assert_int_equal(apply(f->t, &b), -EPROTO);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(every_flipped_byte_of_every_kind_of_statement_is_refused),
		WITH_FIXTURE(a_statement_can_not_be_replayed),
		WITH_FIXTURE(statements_can_not_be_reordered_or_left_out),
		WITH_FIXTURE(of_two_statements_for_one_place_only_the_first_is_taken),
		WITH_FIXTURE(a_statement_of_another_vault_is_refused),
		WITH_FIXTURE(a_wrong_number_or_previous_hash_is_refused),
		WITH_FIXTURE(a_ghost_can_not_let_itself_or_anybody_in),
		WITH_FIXTURE(signatures_that_are_forged_or_stripped_are_refused),
		WITH_FIXTURE(a_genesis_needs_both_signatures),
		WITH_FIXTURE(a_genesis_in_another_shape_is_refused),
		WITH_FIXTURE(nothing_is_taken_before_a_genesis_and_no_second_one),
		WITH_FIXTURE(an_unknown_kind_or_a_higher_format_is_told_as_such),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
