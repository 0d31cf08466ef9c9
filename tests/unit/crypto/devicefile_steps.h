/*
 * devicefile_steps.h: device files, and what opens them, for the tests of devicefile.h.
 */
#ifndef SNUGFS_TEST_DEVICEFILE_STEPS_H
#define SNUGFS_TEST_DEVICEFILE_STEPS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devicefile.h"

static const uint8_t secret[DEVICE_SECRET_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
static const uint8_t vault_id[32] = {0xaa, 0xbb};
static const char pass[] = "correct horse";

enum {
	WITH_PLAIN = 1,
	WITH_PASSPHRASE = 2, /* at the lowest cost */
};

static inline struct devicefile *new_file(unsigned slots)
{
	struct devicefile *df;
	assert_int_equal(devicefile_new(secret, vault_id, &df), 0);
	if (slots & WITH_PLAIN)
		assert_int_equal(devicefile_add_plain(df, NULL), 0);
	if (slots & WITH_PASSPHRASE)
		assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 14), 0);
	return df;
}

/* The first slot of that kind. */
static inline err_t drop(struct devicefile *df, enum slot_kind kind)
{
	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);
		if (s.kind == kind)
			return devicefile_drop_slot(df, s.tag->id);
	}
	fail();
	return 0;
}

#endif
