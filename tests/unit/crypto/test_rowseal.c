/* test_rowseal.c: rows of the local database: sealed, opened in their place only, by many sessions and threads. */
#include "vectors.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "hash.h"
#include "kdf.h"
#include "rowseal.h"
#include "secmem.h"

static const uint8_t local_key[32] = {0x10, 0xca, 0x1};

static void
free_rowseal(struct rowseal **rs)
{
	rowseal_free(*rs);
}

static struct rowseal *
started(uint32_t session, uint8_t salt_out[static ROWSEAL_SALT_LEN])
{
	struct rowseal *rs = NULL;

	assert_int_equal(rowseal_new(local_key, &rs), 0);
	assert_int_equal(rowseal_start_session(rs, session, salt_out), 0);
	return rs;
}

static void
a_sealed_row_opens_in_its_place(void **state)
{
	uint8_t salt[ROWSEAL_SALT_LEN], text[1000];
	CLEANUP(free_rowseal) struct rowseal *rs = started(1, salt);

	(void)state;
	memset(text, 't', sizeof(text));
	for (size_t len = 0; len <= sizeof(text); len += 125) {
		CLEANUP(bytes_clear) struct bytes row = {0};
		CLEANUP(bytes_clear) struct bytes back = {0};

		assert_int_equal(rowseal_seal(rs, "inode 7", 7, text, len, &row), 0);
		assert_int_equal(row.len, len + ROWSEAL_OVERHEAD);
		assert_int_equal(rowseal_open(rs, "inode 7", 7, row.data, row.len, &back), 0);
		assert_int_equal(back.len, len);
		if (len)
			assert_memory_equal(back.data, text, len);
	}
}

static void
a_row_moved_to_another_place_does_not_open(void **state)
{
	uint8_t salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *rs = started(1, salt);
	CLEANUP(bytes_clear) struct bytes row = {0};
	CLEANUP(bytes_clear) struct bytes back = {0};

	(void)state;
	assert_int_equal(rowseal_seal(rs, "inode 7", 7, "secret", 6, &row), 0);
	assert_int_equal(bytes_append(&back, "before", 6), 0);
	assert_int_equal(rowseal_open(rs, "inode 8", 7, row.data, row.len, &back), -EBADMSG);
	assert_int_equal(rowseal_open(rs, "inode 7", 6, row.data, row.len, &back), -EBADMSG);
	assert_int_equal(back.len, 6);
	assert_memory_equal(back.data, "before", 6);
	assert_int_equal(rowseal_open(rs, "inode 7", 7, row.data, row.len, &back), 0);
	assert_int_equal(back.len, 12);
	assert_memory_equal(back.data, "beforesecret", 12);
}

static void
any_flipped_byte_and_any_truncation_is_noticed(void **state)
{
	uint8_t salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *rs = started(1, salt);
	CLEANUP(bytes_clear) struct bytes row = {0};
	CLEANUP(bytes_clear) struct bytes back = {0};

	(void)state;
	assert_int_equal(rowseal_seal(rs, "aad", 3, "secret", 6, &row), 0);
	for (size_t i = 0; i < row.len; i++) {
		row.data[i] ^= 0x02;
		assert_int_equal(rowseal_open(rs, "aad", 3, row.data, row.len, &back), -EBADMSG);
		row.data[i] ^= 0x02;
	}
	for (size_t len = 0; len < row.len; len++)
		assert_int_equal(rowseal_open(rs, "aad", 3, row.data, len, &back), -EBADMSG);
	assert_int_equal(back.len, 0);
}

static void
nothing_is_sealed_before_a_session_was_started(void **state)
{
	const uint8_t salt[ROWSEAL_SALT_LEN] = {1};
	CLEANUP(free_rowseal) struct rowseal *rs = NULL;
	CLEANUP(bytes_clear) struct bytes row = {0};

	(void)state;
	assert_int_equal(rowseal_new(local_key, &rs), 0);
	assert_int_equal(rowseal_add_session(rs, 1, salt), 0);
	assert_int_equal(rowseal_seal(rs, "", 0, "x", 1, &row), -EINVAL);
	assert_int_equal(row.len, 0);
}

static void
a_session_number_stands_for_one_salt(void **state)
{
	const uint8_t one[ROWSEAL_SALT_LEN] = {1}, two[ROWSEAL_SALT_LEN] = {2};
	uint8_t salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *rs = started(5, salt);

	(void)state;
	assert_int_equal(rowseal_add_session(rs, 1, one), 0);
	assert_int_equal(rowseal_add_session(rs, 1, one), 0);
	assert_int_equal(rowseal_add_session(rs, 1, two), -EEXIST);
	assert_int_equal(rowseal_start_session(rs, 1, salt), -EEXIST);
	assert_int_equal(rowseal_start_session(rs, 5, salt), -EEXIST);
}

static void
rows_of_an_earlier_session_open_once_it_is_known_and_not_with_another_key(void **state)
{
	const uint8_t other_key[32] = {9};
	uint8_t salt[ROWSEAL_SALT_LEN], later_salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *earlier = started(1, salt);
	CLEANUP(free_rowseal) struct rowseal *later = started(2, later_salt);
	CLEANUP(free_rowseal) struct rowseal *foreign = NULL;
	CLEANUP(bytes_clear) struct bytes row = {0};
	CLEANUP(bytes_clear) struct bytes back = {0};

	(void)state;
	assert_memory_not_equal(salt, later_salt, sizeof(salt));
	assert_int_equal(rowseal_seal(earlier, "aad", 3, "row", 3, &row), 0);
	assert_int_equal(rowseal_open(later, "aad", 3, row.data, row.len, &back), -EBADMSG);
	assert_int_equal(rowseal_add_session(later, 1, salt), 0);
	assert_int_equal(rowseal_open(later, "aad", 3, row.data, row.len, &back), 0);
	assert_memory_equal(back.data, "row", 3);
	assert_int_equal(rowseal_new(other_key, &foreign), 0);
	assert_int_equal(rowseal_add_session(foreign, 1, salt), 0);
	assert_int_equal(rowseal_open(foreign, "aad", 3, row.data, row.len, &back), -EBADMSG);
}

/* After a crash the counter starts anew; only the session's salt keeps key and nonce from coming twice. */
static void
the_same_number_started_twice_seals_under_two_keys(void **state)
{
	uint8_t salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *one = started(1, salt);
	CLEANUP(free_rowseal) struct rowseal *two = started(1, salt);
	CLEANUP(bytes_clear) struct bytes first = {0};
	CLEANUP(bytes_clear) struct bytes second = {0};

	(void)state;
	assert_int_equal(rowseal_seal(one, "aad", 3, "the same row", 12, &first), 0);
	assert_int_equal(rowseal_seal(two, "aad", 3, "the same row", 12, &second), 0);
	assert_memory_equal(first.data, second.data, 12);
	assert_memory_not_equal(first.data + 12, second.data + 12, 12);
}

static void
more_sessions_than_keys_are_kept_all_open(void **state)
{
	enum { SESSIONS = 200 };
	struct bytes rows[SESSIONS] = {{0}};
	uint8_t salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *rs = NULL;

	(void)state;
	assert_int_equal(rowseal_new(local_key, &rs), 0);
	for (uint32_t i = 0; i < SESSIONS; i++) {
		assert_int_equal(rowseal_start_session(rs, i * 3, salt), 0);
		assert_int_equal(rowseal_seal(rs, &i, sizeof(i), "row", 3, &rows[i]), 0);
	}
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < SESSIONS; i++) {
			CLEANUP(bytes_clear) struct bytes back = {0};

			assert_int_equal(rowseal_open(rs, &i, sizeof(i), rows[i].data, rows[i].len, &back), 0);
			assert_memory_equal(back.data, "row", 3);
		}
	}
	for (uint32_t i = 0; i < SESSIONS; i++)
		bytes_clear(&rows[i]);
}

enum { THREADS = 4, ROWS_EACH = 500 };

struct worker {
	struct rowseal *rs;
	struct bytes rows; /* ROWS_EACH rows, each of 8 bytes and the overhead */
	err_t error;
};

static void *
seal_rows(void *arg)
{
	struct worker *w = arg;
	CLEANUP(bytes_clear) struct bytes back = {0};

	for (unsigned i = 0; i < ROWS_EACH && !w->error; i++) {
		size_t start = w->rows.len;

		w->error = rowseal_seal(w->rs, "aad", 3, "8 bytes.", 8, &w->rows);
		if (!w->error)
			w->error = rowseal_open(w->rs, "aad", 3, w->rows.data + start, w->rows.len - start, &back);
	}
	return NULL;
}

static void
no_counter_comes_twice_from_many_threads(void **state)
{
	static uint8_t seen[THREADS * ROWS_EACH];
	uint8_t salt[ROWSEAL_SALT_LEN];
	CLEANUP(free_rowseal) struct rowseal *rs = started(1, salt);
	struct worker workers[THREADS] = {{0}};
	pthread_t threads[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		workers[i].rs = rs;
		assert_int_equal(pthread_create(&threads[i], NULL, seal_rows, &workers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(workers[i].error, 0);
		assert_int_equal(workers[i].rows.len, ROWS_EACH * (8 + ROWSEAL_OVERHEAD));
		for (size_t row = 0; row < ROWS_EACH; row++) {
			uint64_t counter = get_u64(workers[i].rows.data + row * (8 + ROWSEAL_OVERHEAD) + 4);

			assert_true(counter < sizeof(seen));
			assert_int_equal(seen[counter], 0);
			seen[counter] = 1;
		}
		bytes_clear(&workers[i].rows);
	}
}

/* Put together again from the primitives, by what rowseal.h says. */
static void
a_names_hash_is_the_front_of_its_hmac_without_the_sign(void **state)
{
	CLEANUP(free_rowseal) struct rowseal *rs = NULL;
	uint8_t names_key[32], digest[HASH_LEN];
	uint8_t input[] = {0, 0, 0, 0, 0, 0, 1, 2, 'n', 'a', 'm', 'e'};
	int64_t got = -1;

	(void)state;
	assert_int_equal(rowseal_new(local_key, &rs), 0);
	assert_int_equal(hkdf_expand(local_key, "snugfs/1 names", 14, names_key, sizeof(names_key)), 0);
	for (unsigned i = 0; i < 16; i++) {
		input[11] = (uint8_t)('a' + i);
		assert_int_equal(hmac_sha256(names_key, sizeof(names_key), input, sizeof(input), digest), 0);
		assert_int_equal(rowseal_name_hash(rs, 0x102, (const char *)input + 8, 4, &got), 0);
		assert_true(got >= 0);
		assert_true((uint64_t)got == (get_u64(digest) & INT64_MAX));
	}
}

static void
a_names_hash_depends_on_its_parent_and_its_key(void **state)
{
	const uint8_t other_key[32] = {9};
	CLEANUP(free_rowseal) struct rowseal *one = NULL;
	CLEANUP(free_rowseal) struct rowseal *two = NULL;
	int64_t a = 0, b = 0, c = 0;

	(void)state;
	assert_int_equal(rowseal_new(local_key, &one), 0);
	assert_int_equal(rowseal_new(other_key, &two), 0);
	assert_int_equal(rowseal_name_hash(one, 1, "name", 4, &a), 0);
	assert_int_equal(rowseal_name_hash(one, 2, "name", 4, &b), 0);
	assert_int_equal(rowseal_name_hash(two, 1, "name", 4, &c), 0);
	assert_true(a != b && a != c && b != c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sealed_row_opens_in_its_place),
		cmocka_unit_test(a_row_moved_to_another_place_does_not_open),
		cmocka_unit_test(any_flipped_byte_and_any_truncation_is_noticed),
		cmocka_unit_test(nothing_is_sealed_before_a_session_was_started),
		cmocka_unit_test(a_session_number_stands_for_one_salt),
		cmocka_unit_test(rows_of_an_earlier_session_open_once_it_is_known_and_not_with_another_key),
		cmocka_unit_test(the_same_number_started_twice_seals_under_two_keys),
		cmocka_unit_test(more_sessions_than_keys_are_kept_all_open),
		cmocka_unit_test(no_counter_comes_twice_from_many_threads),
		cmocka_unit_test(a_names_hash_is_the_front_of_its_hmac_without_the_sign),
		cmocka_unit_test(a_names_hash_depends_on_its_parent_and_its_key),
	};

	if (secmem_init()) {
		fputs("secmem_init failed\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
