/*
 * trust_steps.h: a vault with some members, and statements about it, for the tests of trust.h.
 */
#ifndef SNUGFS_TEST_TRUST_STEPS_H
#define SNUGFS_TEST_TRUST_STEPS_H

#include <stdlib.h>

#include "trust_apply.h"

/* A vault of a device, a recovery key and a second device, at epoch 0; a stranger; and the second recovery key. */
struct fixture {
	struct identity *first, *second, *third, *stranger, *recovery, *recovery2;
	struct trust *t;
};

static inline struct identity *recovery_key(uint8_t seed)
{
	const uint8_t key[RECOVERY_KEY_LEN] = {seed};
	struct identity *id = NULL;
	assert_int_equal(identity_from_recovery_key(key, &id), 0);
	return id;
}

struct id {
	uint8_t b[IDENTITY_ID_LEN];
};

static inline struct id id_of(const struct identity *identity)
{
	struct id id;
	assert_int_equal(identity_id(identity_public(identity), id.b), 0);
	return id;
}

static inline err_t add(struct trust *t, const struct identity *issuer, enum member_kind kind, const struct identity *who)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_add(t, issuer, kind, identity_public(who), "a name", 1000, &b), 0);
	return apply(t, &b);
}

static inline err_t drop(struct trust *t, const struct identity *issuer, const struct identity *who)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_remove(t, issuer, id_of(who).b, 2000, &b), 0);
	return apply(t, &b);
}

static inline err_t epoch(struct trust *t, const struct identity *issuer, uint32_t number)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_epoch(t, issuer, number, BOX, box_hash, 3000, &b), 0);
	return apply(t, &b);
}

static inline err_t call(struct trust *t, const struct identity *issuer, const struct identity *who, const char *name)
{
	struct bytes b = {0};
	assert_int_equal(trust_make_rename(t, issuer, id_of(who).b, name, 4000, &b), 0);
	return apply(t, &b);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	struct identity *ids[] = {f->first, f->second, f->third, f->stranger, f->recovery, f->recovery2};
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		identity_free(ids[i]);
	trust_free(f->t);
	free(f);
	return 0;
}

#endif
