/* Device files: passphrases, and files that were changed or made from the layout alone. */
#include "devicefile_steps.h"

#include <errno.h>
#include <stdlib.h>

#include "cborio.h"
#include "hash.h"
#include "kdf.h"
#include "secmem.h"

static void make_file(unsigned slots, struct bytes *out)
{
	struct devicefile *df = new_file(slots);
	assert_int_equal(devicefile_serialize(df, out), 0);
	devicefile_free(df);
}

/* Parses and opens by the plain slot. */
static err_t try_plain(const uint8_t *data, size_t len)
{
	struct devicefile *df = NULL;
	err_t err = devicefile_parse(data, len, &df);
	if (err != 0) {
		assert_null(df);
		return err;
	}
	assert_null(devicefile_secret(df));
	err = devicefile_open_plain(df);
	assert_int_equal(err == 0, devicefile_secret(df) != NULL);
	devicefile_free(df);
	return err;
}

static err_t try_passphrase(const struct bytes *file, const char *with)
{
	struct devicefile *df = NULL;
	err_t err = devicefile_parse(file->data, file->len, &df);
	if (err != 0)
		return err;
	err = devicefile_open_passphrase(df, with, strlen(with));
	assert_int_equal(err == 0, devicefile_secret(df) != NULL);
	if (err == 0)
		assert_memory_equal(devicefile_secret(df), secret, sizeof(secret));
	devicefile_free(df);
	return err;
}

static bool contains(const struct bytes *b, const void *what, size_t len)
{
	return memmem(b->data, b->len, what, len) != NULL;
}

static void a_plain_file_opens_and_tells_its_vault(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PLAIN, &file);
	struct devicefile *df;
	assert_int_equal(devicefile_parse(file.data, file.len, &df), 0);
	assert_true(devicefile_has_slot(df, SLOT_PLAIN));
	assert_false(devicefile_has_slot(df, SLOT_PASSPHRASE));
	assert_null(devicefile_secret(df));
	assert_int_equal(devicefile_open_plain(df), 0);
	assert_memory_equal(devicefile_secret(df), secret, sizeof(secret));
	assert_memory_equal(devicefile_vault_id(df), vault_id, sizeof(vault_id));
	devicefile_free(df);
	bytes_clear(&file);
}

static void a_passphrase_opens_and_the_secret_is_not_in_the_file(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PASSPHRASE, &file);
	assert_false(contains(&file, secret, 16));
	assert_false(contains(&file, pass, strlen(pass)));
	assert_int_equal(try_passphrase(&file, pass), 0);
	bytes_clear(&file);
}

static void a_wrong_passphrase_is_told_as_such(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PASSPHRASE, &file);
	assert_int_equal(try_passphrase(&file, "correct horsf"), -EKEYREJECTED);
	assert_int_equal(try_passphrase(&file, ""), -EKEYREJECTED);
	bytes_clear(&file);
}

static void opening_by_a_slot_that_is_not_there_is_told_as_such(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PLAIN, &file);
	assert_int_equal(try_passphrase(&file, pass), -ENOENT);
	bytes_reset(&file);
	make_file(WITH_PASSPHRASE, &file);
	assert_int_equal(try_plain(file.data, file.len), -ENOENT);
	bytes_clear(&file);
}

static void either_of_two_passphrases_opens(void **state)
{
	(void)state;
	struct devicefile *df = new_file(WITH_PASSPHRASE);
	struct bytes file = {0};
	assert_int_equal(devicefile_add_passphrase(df, NULL, "second", 6, 14), 0);
	assert_int_equal(devicefile_serialize(df, &file), 0);
	devicefile_free(df);
	assert_int_equal(try_passphrase(&file, pass), 0);
	assert_int_equal(try_passphrase(&file, "second"), 0);
	assert_int_equal(try_passphrase(&file, "third"), -EKEYREJECTED);
	bytes_clear(&file);
}

static void an_open_file_checks_a_passphrase_again(void **state)
{
	(void)state;
	struct devicefile *df = new_file(WITH_PASSPHRASE | WITH_PLAIN);
	assert_int_equal(devicefile_open_passphrase(df, pass, strlen(pass)), 0);
	assert_int_equal(devicefile_open_passphrase(df, "no", 2), -EKEYREJECTED);
	assert_int_equal(devicefile_open_plain(df), 0);
	devicefile_free(df);
}

static void every_flipped_byte_of_a_plain_file_is_refused(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PLAIN, &file);
	for (size_t i = 0; i < file.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			file.data[i] ^= (uint8_t)(1u << bit);
			assert_int_not_equal(try_plain(file.data, file.len), 0);
			file.data[i] ^= (uint8_t)(1u << bit);
		}
	}
	assert_int_equal(try_plain(file.data, file.len), 0);
	bytes_clear(&file);
}

static void every_truncation_and_anything_behind_the_end_is_refused(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PLAIN | WITH_PASSPHRASE, &file);
	for (size_t len = 0; len < file.len; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, file.data, len);
		assert_int_equal(try_plain(exact, len), -EBADMSG);
		free(exact);
	}
	assert_int_equal(bytes_append_u8(&file, 0), 0);
	assert_int_equal(try_plain(file.data, file.len), -EBADMSG);
	bytes_clear(&file);
}

static void another_version_is_told_as_such_and_another_magic_as_damage(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PLAIN, &file);
	uint8_t *magic = memmem(file.data, file.len, "snugfs device file", 18);
	assert_non_null(magic);
	assert_int_equal(magic[18], 1); /* the key; the version follows */
	magic[19] = 1;
	assert_int_equal(try_plain(file.data, file.len), -EPROTO);
	magic[19] = 2;
	magic[0] = 'S';
	assert_int_equal(try_plain(file.data, file.len), -EBADMSG);
	bytes_clear(&file);
}

/* log2 N, r and p, as they stand in a file with one passphrase slot: each fits its head byte. */
static uint8_t *find_cost(const struct bytes *file)
{
	static const uint8_t cost[] = {1, 14, 2, 8, 3, 1};
	uint8_t *at = memmem(file->data, file->len, cost, sizeof(cost));
	assert_non_null(at);
	return at;
}

static void a_cost_outside_the_permitted_range_is_refused_unpaid(void **state)
{
	(void)state;
	static const struct {
		unsigned offset;
		uint8_t value;
	} costs[] = {{1, 13}, {1, 1}, {1, 0}, {1, 23}, {1, 22}, {1, 21}, {3, 0}, {5, 0}, {5, 17}, {5, 23}};
	struct bytes file = {0};
	make_file(WITH_PASSPHRASE, &file);
	uint8_t *at = find_cost(&file);
	for (size_t i = 0; i < ARRAY_LEN(costs); i++) {
		uint8_t was = at[costs[i].offset];
		at[costs[i].offset] = costs[i].value;
		assert_int_equal(try_passphrase(&file, pass), -EPROTO);
		at[costs[i].offset] = was;
	}
	bytes_clear(&file);
}

static void a_permitted_but_changed_cost_does_not_open(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PASSPHRASE, &file);
	uint8_t *at = find_cost(&file);
	at[3] = 4;
	assert_int_equal(try_passphrase(&file, pass), -EKEYREJECTED);
	bytes_clear(&file);
}

static void adding_at_too_low_a_cost_is_refused(void **state)
{
	(void)state;
	struct devicefile *df = new_file(0);
	assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 13), -EINVAL);
	assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 23), -EINVAL);
	assert_false(devicefile_has_slot(df, SLOT_PASSPHRASE));
	devicefile_free(df);
}

static void the_standard_cost_is_written_when_none_is_asked_for(void **state)
{
	(void)state;
	struct devicefile *df = new_file(0);
	struct bytes file = {0};
	static const uint8_t cost[] = {1, 17, 2, 8, 3, 1};
	assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 0), 0);
	assert_int_equal(devicefile_serialize(df, &file), 0);
	assert_true(contains(&file, cost, sizeof(cost)));
	assert_int_equal(try_passphrase(&file, pass), 0);
	devicefile_free(df);
	bytes_clear(&file);
}

static void a_dropped_slot_is_gone(void **state)
{
	(void)state;
	struct bytes file = {0};
	make_file(WITH_PLAIN | WITH_PASSPHRASE, &file);
	assert_true(contains(&file, secret, sizeof(secret)));
	struct devicefile *df;
	assert_int_equal(devicefile_parse(file.data, file.len, &df), 0);
	assert_int_equal(devicefile_open_plain(df), 0);
	assert_int_equal(drop(df, SLOT_PLAIN), 0);
	assert_false(devicefile_has_slot(df, SLOT_PLAIN));

	struct bytes rewritten = {0};
	assert_int_equal(devicefile_serialize(df, &rewritten), 0);
	assert_false(contains(&rewritten, secret, 16));
	assert_int_equal(try_plain(rewritten.data, rewritten.len), -ENOENT);
	assert_int_equal(try_passphrase(&rewritten, pass), 0);
	devicefile_free(df);
	bytes_clear(&rewritten);
	bytes_clear(&file);
}

static void the_last_way_in_can_not_be_dropped(void **state)
{
	(void)state;
	struct devicefile *df = new_file(WITH_PLAIN);
	assert_int_equal(devicefile_add_plain(df, NULL), 0);
	assert_int_equal(drop(df, SLOT_PLAIN), 0);
	assert_int_equal(drop(df, SLOT_PLAIN), -EINVAL);
	assert_true(devicefile_has_slot(df, SLOT_PLAIN));
	assert_int_equal(devicefile_drop_slot(df, (const uint8_t *)"no such"), -ENOENT);
	devicefile_free(df);
}

static void a_closed_file_can_not_be_changed_or_written(void **state)
{
	(void)state;
	struct bytes file = {0}, out = {0};
	make_file(WITH_PLAIN | WITH_PASSPHRASE, &file);
	struct devicefile *df;
	assert_int_equal(devicefile_parse(file.data, file.len, &df), 0);
	assert_int_equal(devicefile_serialize(df, &out), -EINVAL);
	assert_int_equal(devicefile_add_plain(df, NULL), -EINVAL);
	assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 14), -EINVAL);
	assert_int_equal(drop(df, SLOT_PLAIN), -EINVAL);
	devicefile_free(df);
	bytes_clear(&file);

	df = new_file(0);
	assert_int_equal(devicefile_serialize(df, &out), -EINVAL);
	devicefile_free(df);
}

static void the_slots_have_a_maximum(void **state)
{
	(void)state;
	struct devicefile *df = new_file(0);
	for (unsigned i = 0; i < DEVICEFILE_MAX_SLOTS; i++)
		assert_int_equal(devicefile_add_plain(df, NULL), 0);
	assert_int_equal(devicefile_add_plain(df, NULL), -E2BIG);
	struct bytes file = {0};
	assert_int_equal(devicefile_serialize(df, &file), 0);
	assert_int_equal(try_plain(file.data, file.len), 0);
	devicefile_free(df);
	bytes_clear(&file);
}

/* Files made from the layout alone */

/* Each with an id of its own. */
static void put_slot(struct bytes *b, uint64_t kind, const void *params, size_t params_len, const void *content,
    size_t content_len)
{
	static uint8_t id[SLOT_ID_LEN];
	id[7]++;
	assert_int_equal(cbor_put_map(b, 6), 0);
	assert_int_equal(cbor_put_uint(b, 0), 0);
	assert_int_equal(cbor_put_uint(b, kind), 0);
	assert_int_equal(cbor_put_uint(b, 1), 0);
	assert_int_equal(cbor_put_bytes(b, id, sizeof(id)), 0);
	assert_int_equal(cbor_put_uint(b, 2), 0);
	assert_int_equal(cbor_put_text(b, "a label"), 0);
	assert_int_equal(cbor_put_uint(b, 3), 0);
	assert_int_equal(cbor_put_uint(b, 1700000000), 0);
	assert_int_equal(cbor_put_uint(b, 4), 0);
	assert_int_equal(cbor_put_bytes(b, params, params_len), 0);
	assert_int_equal(cbor_put_uint(b, 5), 0);
	assert_int_equal(cbor_put_bytes(b, content, content_len), 0);
}

static void craft(const struct bytes *slots, size_t slot_count, struct bytes *out)
{
	struct bytes covered = {0};
	uint8_t prk[32], key[32], hmac[32];
	assert_int_equal(cbor_put_uint(&covered, 0), 0);
	assert_int_equal(cbor_put_text(&covered, "snugfs device file"), 0);
	assert_int_equal(cbor_put_uint(&covered, 1), 0);
	assert_int_equal(cbor_put_uint(&covered, 2), 0);
	assert_int_equal(cbor_put_uint(&covered, 2), 0);
	assert_int_equal(cbor_put_bytes(&covered, vault_id, sizeof(vault_id)), 0);
	assert_int_equal(cbor_put_uint(&covered, 3), 0);
	assert_int_equal(cbor_put_array(&covered, slot_count), 0);
	assert_int_equal(bytes_append(&covered, slots->data, slots->len), 0);
	assert_int_equal(hkdf_extract(NULL, 0, secret, sizeof(secret), prk), 0);
	assert_int_equal(hkdf_expand_label(prk, "snugfs/1 device file", NULL, 0, key, sizeof(key)), 0);
	assert_int_equal(hmac_sha256(key, sizeof(key), covered.data, covered.len, hmac), 0);
	assert_int_equal(cbor_put_map(out, 5), 0);
	assert_int_equal(bytes_append(out, covered.data, covered.len), 0);
	assert_int_equal(cbor_put_uint(out, 5), 0);
	assert_int_equal(cbor_put_bytes(out, hmac, sizeof(hmac)), 0);
	bytes_clear(&covered);
}

static void unknown_slots_are_kept_byte_for_byte(void **state)
{
	(void)state;
	struct bytes slots = {0}, file = {0}, again = {0};
	put_slot(&slots, 7, "\xa1\x00\x01", 3, "sealed by a chip", 16);
	size_t first_len = slots.len;
	put_slot(&slots, SLOT_PLAIN, "\xa0", 1, secret, sizeof(secret));
	size_t second_at = slots.len;
	put_slot(&slots, UINT64_MAX, "", 0, "", 0);
	craft(&slots, 3, &file);

	struct devicefile *df;
	assert_int_equal(devicefile_parse(file.data, file.len, &df), 0);
	assert_int_equal(devicefile_open_plain(df), 0);
	assert_int_equal(devicefile_serialize(df, &again), 0);
	assert_int_equal(again.len, file.len);
	assert_memory_equal(again.data, file.data, file.len);

	assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 14), 0);
	assert_int_equal(drop(df, SLOT_PLAIN), 0);
	bytes_reset(&again);
	assert_int_equal(devicefile_serialize(df, &again), 0);
	assert_true(contains(&again, slots.data, first_len));
	assert_true(contains(&again, slots.data + second_at, slots.len - second_at));
	assert_int_equal(try_passphrase(&again, pass), 0);
	devicefile_free(df);
	bytes_clear(&slots);
	bytes_clear(&file);
	bytes_clear(&again);
}

static void a_slot_from_an_older_file_can_not_be_put_back(void **state)
{
	(void)state;
	struct bytes slots = {0}, old = {0}, file = {0};
	put_slot(&slots, SLOT_PLAIN, "\xa0", 1, secret, sizeof(secret));
	craft(&slots, 1, &old);
	make_file(WITH_PASSPHRASE, &file);

	/* The slots' array follows the key 3 behind the vault id; one slot goes in front and the count is raised. */
	uint8_t *id = memmem(file.data, file.len, vault_id, sizeof(vault_id));
	assert_non_null(id);
	uint8_t *array = id + sizeof(vault_id) + 1;
	assert_int_equal(*array, 0x81);
	struct bytes spliced = {0};
	assert_int_equal(bytes_append(&spliced, file.data, (size_t)(array - file.data)), 0);
	assert_int_equal(bytes_append_u8(&spliced, 0x82), 0);
	assert_int_equal(bytes_append(&spliced, slots.data, slots.len), 0);
	assert_int_equal(bytes_append(&spliced, array + 1, file.len - (size_t)(array + 1 - file.data)), 0);
	assert_int_equal(try_plain(spliced.data, spliced.len), -EBADMSG);
	assert_int_equal(try_passphrase(&spliced, pass), -EBADMSG);
	bytes_clear(&slots);
	bytes_clear(&old);
	bytes_clear(&file);
	bytes_clear(&spliced);
}

static void absurd_slots_are_refused(void **state)
{
	(void)state;
	struct bytes slots = {0}, file = {0};
	craft(&slots, 0, &file);
	assert_int_equal(try_plain(file.data, file.len), -EBADMSG); /* none */

	for (unsigned i = 0; i <= DEVICEFILE_MAX_SLOTS; i++)
		put_slot(&slots, SLOT_PLAIN, "\xa0", 1, secret, sizeof(secret));
	bytes_reset(&file);
	craft(&slots, DEVICEFILE_MAX_SLOTS + 1, &file);
	assert_int_equal(try_plain(file.data, file.len), -EBADMSG); /* too many */

	bytes_reset(&slots);
	bytes_reset(&file);
	put_slot(&slots, SLOT_PLAIN, "\xa0", 1, secret, sizeof(secret) - 1);
	craft(&slots, 1, &file);
	assert_int_equal(try_plain(file.data, file.len), -EBADMSG); /* a secret that is too short */

	static const struct {
		const char *params;
		size_t len;
	} bad[] = {{"", 0}, {"\xa0", 1}, {"\xa1\x00\x40", 3}, {"\x80", 1}, {"\xff", 1},
	    {"\xa4\x00\x41z\x01\x0e\x02\x08\x03\x01", 10}};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		bytes_reset(&slots);
		bytes_reset(&file);
		put_slot(&slots, SLOT_PASSPHRASE, bad[i].params, bad[i].len, secret, sizeof(secret));
		craft(&slots, 1, &file);
		assert_int_equal(try_passphrase(&file, pass), -EBADMSG);
	}
	bytes_clear(&slots);
	bytes_clear(&file);
}

static void costs_of_any_width_are_refused(void **state)
{
	(void)state;
	static const uint64_t absurd[] = {24, 255, 256, 256 + 14, UINT32_MAX, (1ull << 32) + 14, UINT64_MAX};
	for (size_t i = 0; i < ARRAY_LEN(absurd); i++) {
		for (unsigned field = 1; field <= 3; field++) {
			struct bytes params = {0}, slots = {0}, file = {0};
			const uint8_t salt[32] = {0}, wrapped[48] = {0};
			assert_int_equal(cbor_put_map(&params, 4), 0);
			assert_int_equal(cbor_put_uint(&params, 0), 0);
			assert_int_equal(cbor_put_bytes(&params, salt, sizeof(salt)), 0);
			for (unsigned k = 1; k <= 3; k++) {
				static const uint64_t standard[] = {0, 18, 8, 1};
				assert_int_equal(cbor_put_uint(&params, k), 0);
				assert_int_equal(cbor_put_uint(&params, k == field ? absurd[i] : standard[k]), 0);
			}
			put_slot(&slots, SLOT_PASSPHRASE, params.data, params.len, wrapped, sizeof(wrapped));
			craft(&slots, 1, &file);
			if (!(field == 2 && absurd[i] == 24)) /* r = 24 is permitted */
				assert_int_equal(try_passphrase(&file, pass), -EPROTO);
			bytes_clear(&params);
			bytes_clear(&slots);
			bytes_clear(&file);
		}
	}
}

static void a_file_past_the_maximum_is_refused(void **state)
{
	(void)state;
	struct bytes slots = {0}, file = {0};
	uint8_t *big = calloc(1, DEVICEFILE_MAX_LEN);
	put_slot(&slots, SLOT_PLAIN, "\xa0", 1, secret, sizeof(secret));
	put_slot(&slots, 9, "", 0, big, DEVICEFILE_MAX_LEN - 1000);
	craft(&slots, 2, &file);
	assert_int_equal(try_plain(file.data, file.len), 0);
	bytes_reset(&slots);
	bytes_reset(&file);
	put_slot(&slots, SLOT_PLAIN, "\xa0", 1, secret, sizeof(secret));
	put_slot(&slots, 9, "", 0, big, DEVICEFILE_MAX_LEN);
	craft(&slots, 2, &file);
	assert_int_equal(try_plain(file.data, file.len), -EBADMSG);
	free(big);
	bytes_clear(&slots);
	bytes_clear(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_file_opens_and_tells_its_vault),
		cmocka_unit_test(a_passphrase_opens_and_the_secret_is_not_in_the_file),
		cmocka_unit_test(a_wrong_passphrase_is_told_as_such),
		cmocka_unit_test(opening_by_a_slot_that_is_not_there_is_told_as_such),
		cmocka_unit_test(either_of_two_passphrases_opens),
		cmocka_unit_test(an_open_file_checks_a_passphrase_again),
		cmocka_unit_test(every_flipped_byte_of_a_plain_file_is_refused),
		cmocka_unit_test(every_truncation_and_anything_behind_the_end_is_refused),
		cmocka_unit_test(another_version_is_told_as_such_and_another_magic_as_damage),
		cmocka_unit_test(a_cost_outside_the_permitted_range_is_refused_unpaid),
		cmocka_unit_test(a_permitted_but_changed_cost_does_not_open),
		cmocka_unit_test(adding_at_too_low_a_cost_is_refused),
		cmocka_unit_test(the_standard_cost_is_written_when_none_is_asked_for),
		cmocka_unit_test(a_dropped_slot_is_gone),
		cmocka_unit_test(the_last_way_in_can_not_be_dropped),
		cmocka_unit_test(a_closed_file_can_not_be_changed_or_written),
		cmocka_unit_test(the_slots_have_a_maximum),
		cmocka_unit_test(unknown_slots_are_kept_byte_for_byte),
		cmocka_unit_test(a_slot_from_an_older_file_can_not_be_put_back),
		cmocka_unit_test(absurd_slots_are_refused),
		cmocka_unit_test(costs_of_any_width_are_refused),
		cmocka_unit_test(a_file_past_the_maximum_is_refused),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
