/* The trust fold: who is in follows from what members said in order, and from nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "secmem.h"
#include "statement.h"
#include "trust.h"

#define BOX "k/0-00112233445566778899aabbccddeeff"

static const uint8_t box_hash[32] = {0xb0};

/* A vault of a device, a recovery key and a second device, at epoch 0; a stranger; and the second recovery key. */
struct fixture {
	struct identity *first, *second, *third, *stranger, *recovery, *recovery2;
	struct trust *t;
};

static struct identity *device(uint8_t seed)
{
	const uint8_t secret[DEVICE_SECRET_LEN] = {seed};
	struct identity *id = NULL;
	assert_int_equal(identity_from_device_secret(secret, &id), 0);
	return id;
}

static struct identity *recovery_key(uint8_t seed)
{
	const uint8_t key[RECOVERY_KEY_LEN] = {seed};
	struct identity *id = NULL;
	assert_int_equal(identity_from_recovery_key(key, &id), 0);
	return id;
}

struct id {
	uint8_t b[IDENTITY_ID_LEN];
};

static struct id id_of(const struct identity *identity)
{
	struct id id;
	assert_int_equal(identity_id(identity_public(identity), id.b), 0);
	return id;
}

/* Applies; a refused statement must leave the state as it was. */
static err_t apply(struct trust *t, struct bytes *statement)
{
	size_t statements = trust_statement_count(t), members = trust_member_count(t);
	bool needs_epoch = trust_needs_epoch(t);
	uint32_t epoch = 77, epoch_after = 77;
	const char *name;
	uint8_t hash[32];
	err_t had_epoch = trust_epoch(t, &epoch, &name, hash);
	err_t err = trust_apply(t, statement->data, statement->len);
	if (err != 0) {
		assert_int_equal(trust_statement_count(t), statements);
		assert_int_equal(trust_member_count(t), members);
		assert_int_equal(trust_needs_epoch(t), needs_epoch);
		assert_int_equal(trust_epoch(t, &epoch_after, &name, hash), had_epoch);
		assert_int_equal(epoch_after, epoch);
	} else {
		assert_int_equal(trust_statement_count(t), statements + 1);
	}
	bytes_clear(statement);
	return err;
}

static err_t add(struct trust *t, const struct identity *issuer, enum member_kind kind, const struct identity *who)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_add(t, issuer, kind, identity_public(who), "a name", 1000, &b), 0);
	return apply(t, &b);
}

static err_t drop(struct trust *t, const struct identity *issuer, const struct identity *who)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_remove(t, issuer, id_of(who).b, 2000, &b), 0);
	return apply(t, &b);
}

static err_t epoch(struct trust *t, const struct identity *issuer, uint32_t number)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_epoch(t, issuer, number, BOX, box_hash, 3000, &b), 0);
	return apply(t, &b);
}

static err_t call(struct trust *t, const struct identity *issuer, const struct identity *who, const char *name)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_rename(t, issuer, id_of(who).b, name, 4000, &b), 0);
	return apply(t, &b);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->first = device(1);
	f->second = device(2);
	f->third = device(3);
	f->stranger = device(4);
	f->recovery = recovery_key(5);
	f->recovery2 = recovery_key(6);
	struct bytes b = {0};
	assert_int_equal(trust_new(&f->t), 0);
	assert_null(trust_vault_id(f->t));
	assert_int_equal(trust_make_genesis(f->first, "laptop", f->recovery, 500, &b), 0);
	assert_int_equal(apply(f->t, &b), 0);
	assert_int_equal(epoch(f->t, f->first, 0), 0);
	assert_int_equal(add(f->t, f->first, MEMBER_DEVICE, f->second), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct identity *ids[] = {f->first, f->second, f->third, f->stranger, f->recovery, f->recovery2};
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		identity_free(ids[i]);
	trust_free(f->t);
	free(f);
	return 0;
}

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
