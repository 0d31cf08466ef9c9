/* Device files that a security key opens. */
#include "devicefile_steps.h"

#include <errno.h>
#include <stdlib.h>

#include "cborio.h"
#include "secmem.h"

/* 0x40, 0x41, … is what the key makes of the salt 0x20, 0x21, …: tests/reader's primitives and snugfs-format(5) made this file. */
static const uint8_t golden[] = {
	0xa5, 0x00, 0x72, 0x73, 0x6e, 0x75, 0x67, 0x66, 0x73, 0x20, 0x64, 0x65, 0x76, 0x69, 0x63, 0x65, 0x20, 0x66, 0x69, 0x6c,
	0x65, 0x01, 0x02, 0x02, 0x58, 0x20, 0xaa, 0xbb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x81,
	0xa7, 0x00, 0x05, 0x01, 0x48, 0x73, 0x6c, 0x6f, 0x74, 0x20, 0x6e, 0x6f, 0x2e, 0x02, 0x64, 0x62, 0x6c, 0x75, 0x65, 0x03,
	0x1a, 0x65, 0x53, 0xf1, 0x00, 0x04, 0x58, 0x63, 0xa5, 0x00, 0x58, 0x20, 0x61, 0x6e, 0x20, 0x69, 0x64, 0x20, 0x74, 0x68,
	0x61, 0x74, 0x20, 0x6f, 0x6e, 0x6c, 0x79, 0x20, 0x74, 0x68, 0x65, 0x20, 0x6b, 0x65, 0x79, 0x20, 0x63, 0x61, 0x6e, 0x20,
	0x72, 0x65, 0x61, 0x64, 0x01, 0x66, 0x73, 0x6e, 0x75, 0x67, 0x66, 0x73, 0x02, 0x58, 0x20, 0x20, 0x21, 0x22, 0x23, 0x24,
	0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
	0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x03, 0xf5, 0x04, 0x50, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
	0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x05, 0x58, 0x30, 0x88, 0x3f, 0xbe, 0x2e, 0x82, 0xf8, 0x79, 0xd2, 0xac, 0xa7,
	0xad, 0x4d, 0x6b, 0x0b, 0xac, 0x56, 0xa7, 0x07, 0x1c, 0xed, 0x86, 0xc1, 0xd1, 0x77, 0xe3, 0x93, 0x2e, 0x53, 0xda, 0x26,
	0x90, 0x06, 0x22, 0x88, 0xb8, 0x21, 0x2e, 0xc9, 0x08, 0x4d, 0x2a, 0x34, 0x46, 0x37, 0xc4, 0xed, 0x63, 0x12, 0x06, 0x58,
	0x30, 0x38, 0x0e, 0x0e, 0xff, 0x2c, 0x70, 0x62, 0x72, 0x68, 0xcf, 0x26, 0x28, 0xf1, 0x1b, 0xc0, 0x5f, 0xb7, 0x1d, 0x32,
	0x8b, 0x65, 0xd5, 0xee, 0x3b, 0xad, 0xe5, 0x3a, 0x5e, 0x96, 0x2d, 0x8b, 0xda, 0xd7, 0x20, 0xdc, 0x43, 0x8e, 0x46, 0x8b,
	0xb2, 0x50, 0x1d, 0x67, 0x12, 0xc7, 0x05, 0xab, 0x5f, 0x05, 0x58, 0x20, 0x3d, 0x78, 0x59, 0x44, 0xe3, 0x89, 0x52, 0x9b,
	0x33, 0xac, 0xcb, 0xf3, 0xc3, 0x2b, 0xa7, 0xf3, 0xda, 0xef, 0xda, 0x63, 0x35, 0xe2, 0x5e, 0xf0, 0x4a, 0x9c, 0x94, 0x51,
	0x69, 0xc0, 0xc5, 0x15,
};

static void fill(uint8_t *out, size_t len, uint8_t first)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(first + i);
}

static struct fido2_slot how_of(size_t credential_len)
{
	struct fido2_slot how = {.credential_len = credential_len, .with_pin = true};
	memset(how.credential, 0xc0, sizeof(how.credential));
	fill(how.salt, sizeof(how.salt), 0x20);
	fill(how.aaguid, sizeof(how.aaguid), 0x10);
	return how;
}

static void make_output(uint8_t out[static FIDO2_OUTPUT_LEN])
{
	fill(out, FIDO2_OUTPUT_LEN, 0x40);
}

static void make_file(const struct fido2_slot *how, struct bytes *out)
{
	uint8_t output[FIDO2_OUTPUT_LEN];
	struct devicefile *df = new_file(0);
	make_output(output);
	assert_int_equal(devicefile_add_fido2(df, NULL, how, output), 0);
	assert_int_equal(devicefile_serialize(df, out), 0);
	devicefile_free(df);
}

/* Parses and opens by the first slot. */
static err_t try_file(const uint8_t *data, size_t len)
{
	uint8_t output[FIDO2_OUTPUT_LEN];
	struct devicefile *df = NULL;
	err_t err = devicefile_parse(data, len, &df);
	if (err != 0)
		return err;
	make_output(output);
	err = devicefile_open_fido2(df, 0, output);
	assert_int_equal(err == 0, devicefile_secret(df) != NULL);
	if (err == 0)
		assert_memory_equal(devicefile_secret(df), secret, sizeof(secret));
	devicefile_free(df);
	return err;
}

static void a_file_made_from_the_layout_alone_opens(void **state)
{
	(void)state;
	struct devicefile *df;
	struct fido2_slot how;
	assert_int_equal(try_file(golden, sizeof(golden)), 0);
	assert_int_equal(devicefile_parse(golden, sizeof(golden), &df), 0);
	assert_int_equal(devicefile_get_fido2(df, 0, &how), 0);
	assert_int_equal(how.credential_len, 32);
	assert_memory_equal(how.credential, "an id that only the key can read", 32);
	assert_true(how.with_pin);
	assert_int_equal(how.salt[0], 0x20);
	assert_int_equal(how.aaguid[15], 0x1f);
	devicefile_free(df);
}

static void what_was_added_is_given_back_at_every_size(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 23, 24, 64, 255, 256, FIDO2_CREDENTIAL_MAX};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct fido2_slot how = how_of(sizes[i]), back;
		struct bytes file = {0};
		struct devicefile *df;
		how.with_pin = i % 2 == 0;
		make_file(&how, &file);
		assert_int_equal(try_file(file.data, file.len), 0);
		assert_int_equal(devicefile_parse(file.data, file.len, &df), 0);
		assert_int_equal(devicefile_get_fido2(df, 0, &back), 0);
		assert_int_equal(back.credential_len, sizes[i]);
		assert_memory_equal(back.credential, how.credential, sizes[i]);
		assert_memory_equal(back.salt, how.salt, sizeof(how.salt));
		assert_memory_equal(back.aaguid, how.aaguid, sizeof(how.aaguid));
		assert_int_equal(back.with_pin, how.with_pin);
		devicefile_free(df);
		bytes_clear(&file);
	}
}

static void an_id_without_bytes_or_too_many_is_not_added(void **state)
{
	(void)state;
	uint8_t output[FIDO2_OUTPUT_LEN];
	struct devicefile *df = new_file(0);
	make_output(output);
	struct fido2_slot none = how_of(0), many = how_of(FIDO2_CREDENTIAL_MAX + 1);
	assert_int_equal(devicefile_add_fido2(df, NULL, &none, output), -EINVAL);
	assert_int_equal(devicefile_add_fido2(df, NULL, &many, output), -EINVAL);
	assert_int_equal(devicefile_slot_count(df), 0);
	devicefile_free(df);
}

static void what_another_key_makes_does_not_open(void **state)
{
	(void)state;
	uint8_t output[FIDO2_OUTPUT_LEN];
	struct devicefile *df;
	assert_int_equal(devicefile_parse(golden, sizeof(golden), &df), 0);
	make_output(output);
	output[31] ^= 1;
	assert_int_equal(devicefile_open_fido2(df, 0, output), -EKEYREJECTED);
	assert_int_equal(devicefile_open_fido2(df, 1, output), -ENOENT);
	assert_null(devicefile_secret(df));
	devicefile_free(df);
}

/* What the key made is not the slot's key: that would let one be used for the other. */
static void the_output_by_itself_is_no_slot_key(void **state)
{
	(void)state;
	uint8_t output[FIDO2_OUTPUT_LEN];
	struct devicefile *df;
	assert_int_equal(devicefile_parse(golden, sizeof(golden), &df), 0);
	make_output(output);
	assert_int_equal(devicefile_open_held(df, 0, output), -EKEYREJECTED);
	devicefile_free(df);
}

static void every_flipped_bit_is_refused(void **state)
{
	(void)state;
	uint8_t file[sizeof(golden)];
	memcpy(file, golden, sizeof(golden));
	for (size_t i = 0; i < sizeof(file); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			file[i] ^= (uint8_t)(1u << bit);
			assert_int_not_equal(try_file(file, sizeof(file)), 0);
			file[i] ^= (uint8_t)(1u << bit);
		}
	}
	assert_int_equal(try_file(file, sizeof(file)), 0);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(golden); len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1);
		memcpy(exact, golden, len);
		assert_int_equal(try_file(exact, len), -EBADMSG);
		free(exact);
	}
}

static err_t read_parameters(const uint8_t *params, size_t len)
{
	const uint8_t key[SLOT_KEY_LEN] = {0};
	struct bytes file = {0};
	struct devicefile *df = new_file(0), *again;
	struct fido2_slot how;
	/* The same with the kind's byte changed: parameters are read when they are needed, whoever wrote them. */
	assert_int_equal(devicefile_add_held(df, NULL, SLOT_TPM, key, params, len), 0);
	assert_int_equal(devicefile_serialize(df, &file), 0);
	uint8_t *slot = memmem(file.data, file.len, "\xa7\x00\x04\x01\x48", 5);
	assert_non_null(slot);
	slot[2] = SLOT_FIDO2;
	assert_int_equal(devicefile_parse(file.data, file.len, &again), 0);
	assert_int_equal(devicefile_get_fido2(df, 0, &how), -ENOENT);
	err_t err = devicefile_get_fido2(again, 0, &how);
	devicefile_free(again);
	devicefile_free(df);
	bytes_clear(&file);
	return err;
}

static void put_parameters(struct bytes *b, size_t pairs, size_t id_len, const char *party, size_t salt_len, size_t aaguid_len)
{
	static const uint8_t zero[FIDO2_CREDENTIAL_MAX + 1];
	bytes_reset(b);
	assert_int_equal(cbor_put_map(b, pairs), 0);
	assert_int_equal(cbor_put_uint(b, 0), 0);
	assert_int_equal(cbor_put_bytes(b, zero, id_len), 0);
	assert_int_equal(cbor_put_uint(b, 1), 0);
	assert_int_equal(cbor_put_text(b, party), 0);
	assert_int_equal(cbor_put_uint(b, 2), 0);
	assert_int_equal(cbor_put_bytes(b, zero, salt_len), 0);
	assert_int_equal(cbor_put_uint(b, 3), 0);
	assert_int_equal(cbor_put_boolean(b, true), 0);
	assert_int_equal(cbor_put_uint(b, 4), 0);
	assert_int_equal(cbor_put_bytes(b, zero, aaguid_len), 0);
}

static void parameters_outside_their_limits_are_refused(void **state)
{
	(void)state;
	static const struct {
		size_t pairs, id_len;
		const char *party;
		size_t salt_len, aaguid_len;
		err_t want;
	} cases[] = {
		{5, 1, "snugfs", 32, 16, 0},
		{5, FIDO2_CREDENTIAL_MAX, "snugfs", 32, 16, 0},
		{5, 0, "snugfs", 32, 16, -EBADMSG},
		{5, FIDO2_CREDENTIAL_MAX + 1, "snugfs", 32, 16, -EBADMSG},
		{5, 1, "snugf", 32, 16, -EBADMSG},
		{5, 1, "snugfs.example", 32, 16, -EBADMSG},
		{5, 1, "snugfs", 31, 16, -EBADMSG},
		{5, 1, "snugfs", 33, 16, -EBADMSG},
		{5, 1, "snugfs", 32, 15, -EBADMSG},
		{4, 1, "snugfs", 32, 16, -EBADMSG},
		{6, 1, "snugfs", 32, 16, -EBADMSG},
	};
	struct bytes b = {0};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_parameters(&b, cases[i].pairs, cases[i].id_len, cases[i].party, cases[i].salt_len, cases[i].aaguid_len);
		assert_int_equal(read_parameters(b.data, b.len), cases[i].want);
	}
	put_parameters(&b, 5, 1, "snugfs", 32, 16);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(read_parameters(b.data, len), -EBADMSG);
	assert_int_equal(bytes_append_u8(&b, 0), 0);
	assert_int_equal(read_parameters(b.data, b.len), -EBADMSG);
	bytes_clear(&b);
}

static void an_anchored_file_needs_the_anchor_besides_the_key(void **state)
{
	(void)state;
	static const uint8_t value[DEVICEFILE_ANCHOR_LEN] = {0xa};
	const struct anchor_view anchor = {.kind = SLOT_TPM, .place = (const uint8_t *)"a", .place_len = 1};
	uint8_t output[FIDO2_OUTPUT_LEN];
	struct bytes file = {0};
	struct devicefile *df;
	assert_int_equal(devicefile_parse(golden, sizeof(golden), &df), 0);
	make_output(output);
	assert_int_equal(devicefile_open_fido2(df, 0, output), 0);
	assert_int_equal(devicefile_set_anchor(df, &anchor, value), 0);
	assert_int_equal(devicefile_serialize(df, &file), 0);
	devicefile_free(df);
	assert_int_equal(try_file(file.data, file.len), -ENOKEY);
	assert_int_equal(devicefile_parse(file.data, file.len, &df), 0);
	assert_int_equal(devicefile_give_anchor(df, value), 0);
	assert_int_equal(devicefile_open_fido2(df, 0, output), 0);
	devicefile_free(df);
	bytes_clear(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_made_from_the_layout_alone_opens),
		cmocka_unit_test(what_was_added_is_given_back_at_every_size),
		cmocka_unit_test(an_id_without_bytes_or_too_many_is_not_added),
		cmocka_unit_test(what_another_key_makes_does_not_open),
		cmocka_unit_test(the_output_by_itself_is_no_slot_key),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(parameters_outside_their_limits_are_refused),
		cmocka_unit_test(an_anchored_file_needs_the_anchor_besides_the_key),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
