/* The metadata objects: nothing but the very object that was sealed, asked for under its own number, opens. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"
#include "envelope.h"
#include "hash.h"
#include "kdf.h"
#include "padme.h"
#include "secmem.h"

#define OVERHEAD (40 + 64 + 64 + 16)

static const uint8_t vault_id[32] = {1, 2, 3};
static const uint8_t epoch_key[32] = {4, 5, 6};
static const uint8_t body[] = "the body of a commit";

struct fixture {
	struct identity *author;
	struct identity *other;
	struct envelope env;
	struct bytes object;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const uint8_t secret[DEVICE_SECRET_LEN] = {7}, other_secret[DEVICE_SECRET_LEN] = {8};
	if (identity_from_device_secret(secret, &f->author) != 0 ||
	    identity_from_device_secret(other_secret, &f->other) != 0)
		return -1;
	f->env = (struct envelope){.kind = ENVELOPE_COMMIT, .epoch = 3, .seq = 42, .time_ns = 1700000000123456789u};
	memset(f->env.previous, 0x5c, sizeof(f->env.previous));
	if (identity_id(identity_public(f->author), f->env.author) != 0)
		return -1;
	*state = f;
	return envelope_seal(&f->env, vault_id, epoch_key, f->author, body, sizeof(body), &f->object);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	identity_free(f->author);
	identity_free(f->other);
	bytes_clear(&f->object);
	free(f);
	return 0;
}

/* Opens as the fixture's object and forgets the result. */
static err_t try_open(const uint8_t *object, size_t len)
{
	struct envelope_opened o = {.body = NULL};
	err_t err = envelope_open(object, len, ENVELOPE_COMMIT, 42, vault_id, epoch_key, &o);
	if (err != 0)
		assert_null(o.plain.data);
	envelope_opened_clear(&o);
	return err;
}

static void an_envelope_gives_back_what_was_sealed(void **state)
{
	struct fixture *f = *state;
	uint32_t epoch = 0;
	assert_int_equal(envelope_epoch(f->object.data, f->object.len, &epoch), 0);
	assert_int_equal(epoch, 3);

	struct envelope_opened o = {.body = NULL};
	assert_int_equal(envelope_open(f->object.data, f->object.len, ENVELOPE_COMMIT, 42, vault_id, epoch_key, &o), 0);
	assert_int_equal(o.env.kind, ENVELOPE_COMMIT);
	assert_int_equal(o.env.epoch, 3);
	assert_int_equal(o.env.seq, 42);
	assert_int_equal(o.env.time_ns, f->env.time_ns);
	assert_memory_equal(o.env.previous, f->env.previous, 32);
	assert_memory_equal(o.env.author, f->env.author, IDENTITY_ID_LEN);
	assert_int_equal(o.body_len, sizeof(body));
	assert_memory_equal(o.body, body, sizeof(body));
	assert_int_equal(envelope_verify(&o, identity_public(f->author)->sign), 0);
	envelope_opened_clear(&o);
}

static void sealing_appends_behind_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct bytes b = {0};
	assert_int_equal(bytes_append(&b, "front", 5), 0);
	assert_int_equal(envelope_seal(&f->env, vault_id, epoch_key, f->author, body, sizeof(body), &b), 0);
	assert_memory_equal(b.data, "front", 5);
	assert_int_equal(try_open(b.data + 5, b.len - 5), 0);
	bytes_clear(&b);
}

static void sealing_twice_shares_no_bytes_but_the_plain_header(void **state)
{
	struct fixture *f = *state;
	struct bytes b = {0};
	assert_int_equal(envelope_seal(&f->env, vault_id, epoch_key, f->author, body, sizeof(body), &b), 0);
	assert_int_equal(b.len, f->object.len);
	assert_memory_equal(b.data, f->object.data, 8);
	for (size_t at = 8; at + 16 <= b.len; at += 16)
		assert_memory_not_equal(b.data + at, f->object.data + at, 16);
	bytes_clear(&b);
}

static void every_flipped_byte_is_refused(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < f->object.len; i++) {
		uint8_t mask = (uint8_t)(1u << (i % 8));
		f->object.data[i] ^= mask;
		err_t err = try_open(f->object.data, f->object.len);
		assert_true(err == -EBADMSG || (i < 4 && err == -EPROTO));
		f->object.data[i] ^= mask;
	}
	assert_int_equal(try_open(f->object.data, f->object.len), 0);
}

static void every_truncation_is_refused(void **state)
{
	struct fixture *f = *state;
	for (size_t len = 0; len < f->object.len; len++) {
		uint8_t *exact = malloc(len > 0 ? len : 1); /* so that reading past it is seen */
		memcpy(exact, f->object.data, len);
		assert_int_equal(try_open(exact, len), -EBADMSG);
		free(exact);
	}
}

static void an_extended_object_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t *more;
	assert_int_equal(bytes_extend(&f->object, 256, &more), 0);
	memset(more, 0, 256);
	assert_int_equal(try_open(f->object.data, f->object.len), -EBADMSG);
	assert_int_equal(try_open(f->object.data, f->object.len - 255), -EBADMSG);
}

static void another_number_kind_vault_or_key_is_refused(void **state)
{
	struct fixture *f = *state;
	const uint8_t *p = f->object.data;
	size_t len = f->object.len;
	const uint8_t other[32] = {9};
	struct envelope_opened o = {.body = NULL};
	assert_int_equal(envelope_open(p, len, ENVELOPE_COMMIT, 43, vault_id, epoch_key, &o), -EBADMSG);
	assert_int_equal(envelope_open(p, len, ENVELOPE_COMMIT, 42 + (1ull << 32), vault_id, epoch_key, &o), -EBADMSG);
	assert_int_equal(envelope_open(p, len, ENVELOPE_BASE, 42, vault_id, epoch_key, &o), -EBADMSG);
	assert_int_equal(envelope_open(p, len, ENVELOPE_PART, 42, vault_id, epoch_key, &o), -EBADMSG);
	assert_int_equal(envelope_open(p, len, ENVELOPE_COMMIT, 42, other, epoch_key, &o), -EBADMSG);
	assert_int_equal(envelope_open(p, len, ENVELOPE_COMMIT, 42, vault_id, other, &o), -EBADMSG);
}

static void an_unknown_version_kind_or_cipher_is_told_as_such(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < 4; i++) {
		uint8_t was = f->object.data[i];
		f->object.data[i] = 99;
		uint32_t epoch;
		assert_int_equal(envelope_epoch(f->object.data, f->object.len, &epoch), -EPROTO);
		assert_int_equal(try_open(f->object.data, f->object.len), -EPROTO);
		f->object.data[i] = was;
	}
	uint32_t epoch;
	assert_int_equal(envelope_epoch(f->object.data, 39, &epoch), -EBADMSG);
}

static void a_signature_by_somebody_else_is_refused(void **state)
{
	struct fixture *f = *state;
	struct envelope_opened o = {.body = NULL};
	assert_int_equal(envelope_open(f->object.data, f->object.len, ENVELOPE_COMMIT, 42, vault_id, epoch_key, &o), 0);
	assert_int_equal(envelope_verify(&o, identity_public(f->other)->sign), -EBADMSG);
	o.signature[10] ^= 1;
	assert_int_equal(envelope_verify(&o, identity_public(f->author)->sign), -EBADMSG);
	envelope_opened_clear(&o);
}

static void sealing_in_the_name_of_another_is_refused(void **state)
{
	struct fixture *f = *state;
	size_t len = f->object.len;
	assert_int_equal(
	    envelope_seal(&f->env, vault_id, epoch_key, f->other, body, sizeof(body), &f->object), -EINVAL);
	assert_int_equal(f->object.len, len);
}

static void a_body_past_the_maximum_is_refused(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(envelope_seal(&f->env, vault_id, epoch_key, f->author, body, ENVELOPE_MAX_LEN, &f->object),
	    -E2BIG);
	assert_int_equal(envelope_seal(&f->env, vault_id, epoch_key, f->author, body, SIZE_MAX - 50, &f->object), -E2BIG);
}

static void bodies_of_every_size_come_back_and_objects_have_padded_sizes_only(void **state)
{
	struct fixture *f = *state;
	static const size_t sizes[] = {0, 1, 2, 63, 64, 65, 3911, 3912, 3913, 3914, 4095, 4096, 4097, 65536, 100001,
	    (1u << 20) - OVERHEAD, (1u << 20) - OVERHEAD + 1};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t *big = malloc(sizes[i] + 1);
		for (size_t k = 0; k < sizes[i]; k++)
			big[k] = (uint8_t)(k * 31 + i);
		struct bytes b = {0};
		assert_int_equal(envelope_seal(&f->env, vault_id, epoch_key, f->author, big, sizes[i], &b), 0);
		assert_int_equal(b.len, padme_size(sizes[i] + OVERHEAD));
		assert_int_equal(b.len, padme_size(b.len));

		struct envelope_opened o = {.body = NULL};
		assert_int_equal(envelope_open(b.data, b.len, ENVELOPE_COMMIT, 42, vault_id, epoch_key, &o), 0);
		assert_int_equal(o.body_len, sizes[i]);
		assert_true(sizes[i] == 0 || memcmp(o.body, big, sizes[i]) == 0);
		assert_int_equal(envelope_verify(&o, identity_public(f->author)->sign), 0);
		envelope_opened_clear(&o);
		bytes_clear(&b);
		free(big);
	}
}

static void each_kind_opens_as_itself_only(void **state)
{
	struct fixture *f = *state;
	static const enum envelope_kind kinds[] = {ENVELOPE_COMMIT, ENVELOPE_BASE, ENVELOPE_PART, ENVELOPE_WITNESS};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct bytes b = {0};
		f->env.kind = kinds[i];
		assert_int_equal(envelope_seal(&f->env, vault_id, epoch_key, f->author, body, sizeof(body), &b), 0);
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			struct envelope_opened o = {.body = NULL};
			err_t err = envelope_open(b.data, b.len, kinds[k], 42, vault_id, epoch_key, &o);
			assert_int_equal(err, i == k ? 0 : -EBADMSG);
			envelope_opened_clear(&o);
			b.data[1] = (uint8_t)kinds[k]; /* a header that was changed to fit does not help */
			if (i != k)
				assert_int_equal(envelope_open(b.data, b.len, kinds[k], 42, vault_id, epoch_key, &o), -EBADMSG);
			b.data[1] = (uint8_t)kinds[i];
		}
		bytes_clear(&b);
	}
}

/* An object made from the layout alone, as another member with the epoch key could make it: plain is sealed as it is. */
static void craft(const uint8_t *plain, size_t plain_len, struct bytes *out)
{
	uint8_t header[40] = {1, ENVELOPE_COMMIT, 1, 0, 0, 0, 0, 3, 0xaa, 0xbb};
	uint8_t info[1 + 32 + 8 + 32] = {ENVELOPE_COMMIT}, key[32], nonce[AEAD_NONCE_LEN] = {0};
	memcpy(info + 1, vault_id, 32);
	put_u64(info + 33, 42);
	memcpy(info + 41, header + 8, 32);
	assert_int_equal(hkdf_expand_label(epoch_key, "snugfs/1 envelope", info, sizeof(info), key, 32), 0);
	struct aead *aead;
	assert_int_equal(aead_new(key, &aead), 0);
	uint8_t *ct;
	assert_int_equal(bytes_append(out, header, sizeof(header)), 0);
	assert_int_equal(bytes_extend(out, plain_len + AEAD_TAG_LEN, &ct), 0);
	assert_int_equal(aead_seal(aead, nonce, header, sizeof(header), plain, plain_len, ct), 0);
	aead_free(aead);
}

static err_t open_crafted(const uint8_t *plain, size_t plain_len)
{
	struct bytes object = {0};
	craft(plain, plain_len, &object);
	err_t err = try_open(object.data, object.len);
	bytes_clear(&object);
	return err;
}

static void an_object_made_from_the_layout_alone_opens(void **state)
{
	struct fixture *f = *state;
	uint8_t plain[4096 - 56] = {0};
	put_u64(plain, 5);
	memcpy(plain + 40, f->env.author, 16);
	put_u64(plain + 56, 7);
	memcpy(plain + 64, "hello", 5);

	uint8_t header[40] = {1, ENVELOPE_COMMIT, 1, 0, 0, 0, 0, 3, 0xaa, 0xbb};
	uint8_t input[175] = "snugfs/1 commit";
	memcpy(input + 15, vault_id, 32);
	put_u64(input + 47, 42);
	assert_int_equal(hash_sha256(header, sizeof(header), input + 55), 0);
	memcpy(input + 119, f->env.author, 16);
	put_u64(input + 135, 7);
	assert_int_equal(hash_sha256("hello", 5, input + 143), 0);
	assert_int_equal(identity_sign(f->author, input, sizeof(input), plain + 69), 0);

	struct bytes object = {0};
	struct envelope_opened o = {.body = NULL};
	craft(plain, sizeof(plain), &object);
	assert_int_equal(
	    envelope_open(object.data, object.len, ENVELOPE_COMMIT, 42, vault_id, epoch_key, &o), 0);
	assert_int_equal(o.body_len, 5);
	assert_memory_equal(o.body, "hello", 5);
	assert_int_equal(envelope_verify(&o, identity_public(f->author)->sign), 0);
	envelope_opened_clear(&o);
	bytes_clear(&object);
}

static void padding_that_is_not_zero_is_refused(void **state)
{
	(void)state;
	uint8_t plain[4096 - 56] = {0};
	assert_int_equal(open_crafted(plain, sizeof(plain)), 0);
	for (size_t i = 64 + 64; i < sizeof(plain); i += 97) {
		plain[i] = 1;
		assert_int_equal(open_crafted(plain, sizeof(plain)), -EBADMSG);
		plain[i] = 0;
	}
	plain[sizeof(plain) - 1] = 0x80;
	assert_int_equal(open_crafted(plain, sizeof(plain)), -EBADMSG);
}

static void padding_of_another_size_than_the_steps_is_refused(void **state)
{
	(void)state;
	static uint8_t plain[8192];
	assert_int_equal(open_crafted(plain, 128), -EBADMSG);
	assert_int_equal(open_crafted(plain, 4096 - 56 - 1), -EBADMSG);
	assert_int_equal(open_crafted(plain, 4096 - 56 + 1), -EBADMSG);
	assert_int_equal(open_crafted(plain, 8192 - 56), -EBADMSG);
}

static void a_body_length_that_lies_is_refused(void **state)
{
	(void)state;
	static const uint64_t lies[] = {4096 - 56 - 127, 4096, 1u << 20, UINT32_MAX, UINT64_MAX, UINT64_MAX - 127,
	    UINT64_MAX - OVERHEAD, UINT64_MAX - OVERHEAD + 1, 1ull << 63};
	uint8_t plain[4096 - 56] = {0};
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		put_u64(plain, lies[i]);
		assert_int_equal(open_crafted(plain, sizeof(plain)), -EBADMSG);
	}
	for (size_t len = 0; len < 128; len++)
		assert_int_equal(open_crafted(plain, len), -EBADMSG);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(an_envelope_gives_back_what_was_sealed),
		WITH_FIXTURE(sealing_appends_behind_what_is_there),
		WITH_FIXTURE(sealing_twice_shares_no_bytes_but_the_plain_header),
		WITH_FIXTURE(every_flipped_byte_is_refused),
		WITH_FIXTURE(every_truncation_is_refused),
		WITH_FIXTURE(an_extended_object_is_refused),
		WITH_FIXTURE(another_number_kind_vault_or_key_is_refused),
		WITH_FIXTURE(an_unknown_version_kind_or_cipher_is_told_as_such),
		WITH_FIXTURE(a_signature_by_somebody_else_is_refused),
		WITH_FIXTURE(sealing_in_the_name_of_another_is_refused),
		WITH_FIXTURE(a_body_past_the_maximum_is_refused),
		WITH_FIXTURE(bodies_of_every_size_come_back_and_objects_have_padded_sizes_only),
		WITH_FIXTURE(each_kind_opens_as_itself_only),
		WITH_FIXTURE(an_object_made_from_the_layout_alone_opens),
		WITH_FIXTURE(padding_that_is_not_zero_is_refused),
		WITH_FIXTURE(padding_of_another_size_than_the_steps_is_refused),
		WITH_FIXTURE(a_body_length_that_lies_is_refused),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
