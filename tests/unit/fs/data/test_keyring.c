/* keyring: the newest epoch is current, file keys open under their own epoch and under no other. */
#include "fixture.h"

static int
ring_setup(void **state)
{
	struct keyring *k;

	assert_int_equal(secmem_init(), 0);
	assert_int_equal(keyring_new(&k), 0);
	*state = k;
	return 0;
}

static int
ring_teardown(void **state)
{
	keyring_free(*state);
	return 0;
}

static void
an_empty_ring_has_no_current_epoch(void **state)
{
	struct file_key fk = {.version = 99};
	struct key32 key;
	uint32_t epoch = 5;

	assert_int_equal(keyring_current(*state, &epoch), -ENOENT);
	assert_int_equal(keyring_get(*state, 1, &key), -ENOENT);
	assert_int_equal(keyring_new_file_key(*state, 1, &fk), -ENOENT);
	assert_int_equal(fk.version, 99);
	assert_int_equal(epoch, 5);
}

static void
the_highest_epoch_is_current_in_whatever_order_they_come(void **state)
{
	static const uint32_t order[] = {3, 1, 7, 2};
	uint32_t epoch = 0;

	for (size_t n = 0; n < ARRAY_LEN(order); n++) {
		uint8_t key[32] = {(uint8_t)order[n]};

		assert_int_equal(keyring_add(*state, order[n], key), 0);
	}
	assert_int_equal(keyring_current(*state, &epoch), 0);
	assert_int_equal(epoch, 7);
	for (size_t n = 0; n < ARRAY_LEN(order); n++) {
		struct key32 got;

		assert_int_equal(keyring_get(*state, order[n], &got), 0);
		assert_int_equal(got.b[0], order[n]);
	}
}

static void
an_epoch_keeps_its_first_key(void **state)
{
	struct key32 got;

	assert_int_equal(keyring_add(*state, 1, EPOCH_KEYS[1]), 0);
	assert_int_equal(keyring_add(*state, 1, EPOCH_KEYS[1]), 0);
	assert_int_equal(keyring_add(*state, 1, EPOCH_KEYS[2]), -EEXIST);
	assert_int_equal(keyring_get(*state, 1, &got), 0);
	assert_memory_equal(got.b, EPOCH_KEYS[1], 32);
}

static void
file_keys_are_fresh_and_open_again_in_another_ring(void **state)
{
	struct file_key a, b;
	struct key32 ka, kb, again;
	struct keyring *other;

	assert_int_equal(keyring_add(*state, 1, EPOCH_KEYS[1]), 0);
	assert_int_equal(keyring_new_file_key(*state, 4, &a), 0);
	assert_int_equal(keyring_new_file_key(*state, 4, &b), 0);
	assert_int_equal(a.version, 4);
	assert_int_equal(a.epoch, 1);
	assert_int_equal(keyring_open_file_key(*state, &a, &ka), 0);
	assert_int_equal(keyring_open_file_key(*state, &b, &kb), 0);
	assert_memory_not_equal(ka.b, kb.b, 32);

	assert_int_equal(keyring_new(&other), 0);
	assert_int_equal(keyring_add(other, 1, EPOCH_KEYS[1]), 0);
	for (unsigned n = 0; n < 2; n++) { /* unwrapped, then remembered */
		assert_int_equal(keyring_open_file_key(other, &a, &again), 0);
		assert_memory_equal(again.b, ka.b, 32);
	}
	keyring_free(other);
}

static void
a_file_key_of_an_unknown_epoch_or_with_any_flipped_byte_does_not_open(void **state)
{
	struct file_key fk, bad;
	struct key32 key;

	assert_int_equal(keyring_add(*state, 1, EPOCH_KEYS[1]), 0);
	assert_int_equal(keyring_add(*state, 2, EPOCH_KEYS[2]), 0);
	assert_int_equal(keyring_new_file_key(*state, 1, &fk), 0);
	assert_int_equal(fk.epoch, 2);
	bad = fk;
	bad.epoch = 3;
	assert_int_equal(keyring_open_file_key(*state, &bad, &key), -ENOENT);
	bad.epoch = 1;
	assert_int_equal(keyring_open_file_key(*state, &bad, &key), -EBADMSG);
	for (size_t n = 0; n < KEYWRAP_LEN; n++) {
		bad = fk;
		bad.wrapped[n] ^= 1;
		assert_int_equal(keyring_open_file_key(*state, &bad, &key), -EBADMSG);
	}
	assert_int_equal(keyring_open_file_key(*state, &fk, &key), 0);
}

static void
more_file_keys_than_are_remembered_open_rightly(void **state)
{
	enum { COUNT = 1000 };
	static struct file_key fks[COUNT];
	static struct key32 keys[COUNT];

	assert_int_equal(keyring_add(*state, 1, EPOCH_KEYS[1]), 0);
	for (unsigned n = 0; n < COUNT; n++) {
		assert_int_equal(keyring_new_file_key(*state, 1, &fks[n]), 0);
		assert_int_equal(keyring_open_file_key(*state, &fks[n], &keys[n]), 0);
	}
	for (unsigned n = 0; n < COUNT; n++) {
		struct key32 got;

		assert_int_equal(keyring_open_file_key(*state, &fks[n], &got), 0);
		assert_memory_equal(got.b, keys[n].b, 32);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_empty_ring_has_no_current_epoch, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(the_highest_epoch_is_current_in_whatever_order_they_come, ring_setup,
		    ring_teardown),
		cmocka_unit_test_setup_teardown(an_epoch_keeps_its_first_key, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(file_keys_are_fresh_and_open_again_in_another_ring, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(a_file_key_of_an_unknown_epoch_or_with_any_flipped_byte_does_not_open,
		    ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(more_file_keys_than_are_remembered_open_rightly, ring_setup, ring_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
