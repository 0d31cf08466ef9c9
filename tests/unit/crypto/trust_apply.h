/*
 * trust_apply.h: devices, and applying what they state, for the tests of trust.h.
 */
#ifndef SNUGFS_TEST_TRUST_APPLY_H
#define SNUGFS_TEST_TRUST_APPLY_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "trust.h"

#define BOX "k/0-00112233445566778899aabbccddeeff"

static const uint8_t box_hash[32] = {0xb0};

static inline struct identity *device(uint8_t seed)
{
	const uint8_t secret[DEVICE_SECRET_LEN] = {seed};
	struct identity *id = NULL;
	assert_int_equal(identity_from_device_secret(secret, &id), 0);
	return id;
}

/* Applies; a refused statement must leave the state as it was. */
static inline err_t apply(struct trust *t, struct bytes *statement)
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

#endif
