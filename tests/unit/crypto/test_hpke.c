/*
 * test_hpke.c: HPKE against the vectors of RFC 9180, and what it must refuse.
 *
 * RFC 9180's appendix has no X25519 suite with AES-256-GCM.  So mode_psk is checked with appendix A.1.2 (AES-128-GCM)
 * through the key schedule that hpke_seal and hpke_open use, and the whole of them, in mode_base, with the vector for
 * exactly our suite from the test-vectors.json that the RFC's authors published with it.
 */
#include "vectors.h"

#include <errno.h>
#include <stdio.h>

#include "curve25519.h"
#include "hpke.h"
#include "hpke_setup.h"
#include "secmem.h"

#define INFO_HEX "4f6465206f6e2061204772656369616e2055726e"
#define PT_HEX "4265617574792069732074727574682c20747275746820626561757479"
#define PT_LEN 29

static void
mode_psk_derives_the_key_and_nonce_of_rfc_9180_a_1_2(void **state)
{
	uint8_t ephemeral[32], recipient[32], recipient_pub[32], psk_bytes[32], psk_id[32], info[32], enc[HPKE_ENC_LEN];
	size_t info_len = unhex(INFO_HEX, info, sizeof(info));
	struct hpke_context ctx = {0};

	(void)state;
	unhex("463426a9ffb42bb17dbe6044b9abd1d4e4d95f9041cef0e99d7824eef2b6f588", ephemeral, 32);
	unhex("c5eb01eb457fe6c6f57577c5413b931550a162c71a03ac8d196babbd4e5ce0fd", recipient, 32);
	unhex("9fed7e8c17387560e92cc6462a68049657246a09bfa8ade7aefe589672016366", recipient_pub, 32);
	unhex("0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82", psk_bytes, 32);

	const struct hpke_psk psk = {psk_bytes, sizeof(psk_bytes), psk_id,
	    unhex("456e6e796e20447572696e206172616e204d6f726961", psk_id, sizeof(psk_id))};

	assert_int_equal(hpke_setup_sender(HPKE_AES_128_GCM, ephemeral, recipient_pub, &psk, info, info_len, enc, &ctx), 0);
	assert_hex(enc, sizeof(enc), "0ad0950d9fb9588e59690b74f1237ecdf1d775cd60be2eca57af5a4b0471c91b");
	assert_hex(ctx.key, 16, "15026dba546e3ae05836fc7de5a7bb26");
	assert_hex(ctx.base_nonce, sizeof(ctx.base_nonce), "9518635eba129d5ce0914555");

	memset(&ctx, 0, sizeof(ctx));
	assert_int_equal(hpke_setup_recipient(HPKE_AES_128_GCM, recipient, enc, &psk, info, info_len, &ctx), 0);
	assert_hex(ctx.key, 16, "15026dba546e3ae05836fc7de5a7bb26");
	assert_hex(ctx.base_nonce, sizeof(ctx.base_nonce), "9518635eba129d5ce0914555");
}

static void
mode_base_gives_the_key_and_ciphertext_of_the_published_vector_for_our_suite(void **state)
{
	uint8_t ephemeral[32], recipient[32], recipient_pub[32], info[32], pt[PT_LEN];
	uint8_t enc[HPKE_ENC_LEN], ct[PT_LEN + 16], back[PT_LEN];
	size_t info_len = unhex(INFO_HEX, info, sizeof(info));
	struct hpke_context ctx = {0};

	(void)state;
	unhex("179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11", ephemeral, 32);
	unhex("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d", recipient, 32);
	unhex("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c", recipient_pub, 32);
	unhex(PT_HEX, pt, sizeof(pt));

	assert_int_equal(hpke_setup_recipient(HPKE_AES_256_GCM, recipient,
	    (const uint8_t[]){0x6c, 0x93, 0xe0, 0x98, 0x69, 0xdf, 0x34, 0x02, 0xd7, 0xbf, 0x23, 0x1b, 0xf5, 0x40, 0xfa, 0xdd,
	    0x35, 0xcd, 0x56, 0xbe, 0x14, 0xf9, 0x71, 0x78, 0xf0, 0x95, 0x4d, 0xb9, 0x4b, 0x7f, 0xc2, 0x56},
	    NULL, info, info_len, &ctx), 0);
	assert_hex(ctx.key, sizeof(ctx.key), "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f");
	assert_hex(ctx.base_nonce, sizeof(ctx.base_nonce), "151d9929e2449747889bc923");

	assert_int_equal(hpke_seal_with_ephemeral(ephemeral, recipient_pub, NULL, info, info_len, "Count-0", 7, pt, PT_LEN,
	    enc, ct), 0);
	assert_hex(enc, sizeof(enc), "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256");
	assert_hex(ct, sizeof(ct),
	    "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a");
	assert_int_equal(hpke_open(recipient, enc, NULL, info, info_len, "Count-0", 7, ct, sizeof(ct), back), 0);
	assert_memory_equal(back, pt, PT_LEN);
}

/* One message in mode_psk. */
struct letter {
	uint8_t secret[32], pub[32], psk_bytes[32];
	struct hpke_psk psk;
	uint8_t enc[HPKE_ENC_LEN];
	uint8_t ct[6 + 16];
};

static void
write_letter(struct letter *l)
{
	memset(l->secret, 0x42, sizeof(l->secret));
	memset(l->psk_bytes, 0x17, sizeof(l->psk_bytes));
	l->psk = (struct hpke_psk){l->psk_bytes, sizeof(l->psk_bytes), (const uint8_t *)"id", 2};
	assert_int_equal(x25519_public(l->secret, l->pub), 0);
	assert_int_equal(hpke_seal(l->pub, &l->psk, "info", 4, "aad", 3, "letter", 6, l->enc, l->ct), 0);
}

static err_t
read_letter(const struct letter *l, const struct hpke_psk *psk, const char *info, const char *aad, size_t ct_len)
{
	uint8_t pt[6];
	err_t e = hpke_open(l->secret, l->enc, psk, info, strlen(info), aad, strlen(aad), l->ct, ct_len, pt);

	if (!e)
		assert_memory_equal(pt, "letter", 6);
	return e;
}

static void
what_was_sealed_with_the_psk_opens_with_it(void **state)
{
	struct letter l;

	(void)state;
	write_letter(&l);
	assert_int_equal(read_letter(&l, &l.psk, "info", "aad", sizeof(l.ct)), 0);
}

static void
two_letters_to_the_same_recipient_have_nothing_in_common(void **state)
{
	struct letter one, two;

	(void)state;
	write_letter(&one);
	write_letter(&two);
	assert_memory_not_equal(one.enc, two.enc, sizeof(one.enc));
	assert_memory_not_equal(one.ct, two.ct, sizeof(one.ct));
}

static void
no_letter_opens_without_its_psk_info_and_aad(void **state)
{
	struct letter l;
	uint8_t wrong[32] = {0};

	(void)state;
	write_letter(&l);

	const struct hpke_psk other_psk = {wrong, sizeof(wrong), l.psk.psk_id, l.psk.psk_id_len};
	const struct hpke_psk other_id = {l.psk_bytes, sizeof(l.psk_bytes), (const uint8_t *)"ID", 2};

	assert_int_equal(read_letter(&l, NULL, "info", "aad", sizeof(l.ct)), -EBADMSG);
	assert_int_equal(read_letter(&l, &other_psk, "info", "aad", sizeof(l.ct)), -EBADMSG);
	assert_int_equal(read_letter(&l, &other_id, "info", "aad", sizeof(l.ct)), -EBADMSG);
	assert_int_equal(read_letter(&l, &l.psk, "other", "aad", sizeof(l.ct)), -EBADMSG);
	assert_int_equal(read_letter(&l, &l.psk, "info", "AAD", sizeof(l.ct)), -EBADMSG);
	l.secret[5] ^= 1;
	assert_int_equal(read_letter(&l, &l.psk, "info", "aad", sizeof(l.ct)), -EBADMSG);
}

static void
no_letter_opens_with_a_flipped_byte_or_truncated(void **state)
{
	struct letter l;

	(void)state;
	write_letter(&l);
	for (size_t i = 0; i < sizeof(l.enc); i++) {
		l.enc[i] ^= 0x01;
		assert_int_equal(read_letter(&l, &l.psk, "info", "aad", sizeof(l.ct)), -EBADMSG);
		l.enc[i] ^= 0x01;
	}
	for (size_t i = 0; i < sizeof(l.ct); i++) {
		l.ct[i] ^= 0x80;
		assert_int_equal(read_letter(&l, &l.psk, "info", "aad", sizeof(l.ct)), -EBADMSG);
		l.ct[i] ^= 0x80;
	}
	for (size_t len = 0; len < sizeof(l.ct); len++)
		assert_int_equal(read_letter(&l, &l.psk, "info", "aad", len), -EBADMSG);
}

static void
a_psk_that_is_short_or_has_no_id_is_refused(void **state)
{
	struct letter l;
	uint8_t enc[HPKE_ENC_LEN], ct[6 + 16];

	(void)state;
	write_letter(&l);

	const struct hpke_psk short_psk = {l.psk_bytes, 31, (const uint8_t *)"id", 2};
	const struct hpke_psk no_id = {l.psk_bytes, 32, NULL, 0};

	assert_int_equal(hpke_seal(l.pub, &short_psk, "", 0, "", 0, "letter", 6, enc, ct), -EINVAL);
	assert_int_equal(hpke_seal(l.pub, &no_id, "", 0, "", 0, "letter", 6, enc, ct), -EINVAL);
	assert_int_equal(read_letter(&l, &short_psk, "info", "aad", sizeof(l.ct)), -EINVAL);
}

static void
keys_of_small_order_are_refused_on_both_sides(void **state)
{
	struct letter l;
	const uint8_t zeros[32] = {0};
	uint8_t enc[HPKE_ENC_LEN], ct[6 + 16];

	(void)state;
	write_letter(&l);
	assert_int_equal(hpke_seal(zeros, &l.psk, "", 0, "", 0, "letter", 6, enc, ct), -EBADMSG);
	memset(l.enc, 0, sizeof(l.enc));
	assert_int_equal(read_letter(&l, &l.psk, "info", "aad", sizeof(l.ct)), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mode_psk_derives_the_key_and_nonce_of_rfc_9180_a_1_2),
		cmocka_unit_test(mode_base_gives_the_key_and_ciphertext_of_the_published_vector_for_our_suite),
		cmocka_unit_test(what_was_sealed_with_the_psk_opens_with_it),
		cmocka_unit_test(two_letters_to_the_same_recipient_have_nothing_in_common),
		cmocka_unit_test(no_letter_opens_without_its_psk_info_and_aad),
		cmocka_unit_test(no_letter_opens_with_a_flipped_byte_or_truncated),
		cmocka_unit_test(a_psk_that_is_short_or_has_no_id_is_refused),
		cmocka_unit_test(keys_of_small_order_are_refused_on_both_sides),
	};

	if (secmem_init()) {
		fputs("secmem_init failed\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
