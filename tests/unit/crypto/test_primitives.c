/* test_primitives.c: each primitive against the vectors of the document that defines it. */
#include "vectors.h"

#include <errno.h>
#include <stdio.h>

#include "aead.h"
#include "curve25519.h"
#include "hash.h"
#include "identity.h"
#include "kdf.h"
#include "keywrap.h"
#include "padme.h"
#include "random.h"
#include "secmem.h"

static void
sha256_gives_the_digests_of_fips_180_4(void **state)
{
	static const struct {
		const char *msg, *digest;
	} cases[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	uint8_t out[HASH_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(hash_sha256(cases[i].msg, strlen(cases[i].msg), out), 0);
		assert_hex(out, sizeof(out), cases[i].digest);
	}
}

static void
a_running_hash_of_a_million_letters_is_that_of_fips_180_4(void **state)
{
	CLEANUP(hash_free_ptr) struct hash *h = NULL;
	char letters[1000];
	uint8_t out[HASH_LEN];

	(void)state;
	memset(letters, 'a', sizeof(letters));
	assert_int_equal(hash_new(&h), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(hash_update(h, letters, sizeof(letters)), 0);
	assert_int_equal(hash_final(h, out), 0);
	assert_hex(out, sizeof(out), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void
hmac_gives_the_results_of_rfc_4231(void **state)
{
	static const char long_key_msg[] =
	    "This is a test using a larger than block-size key and a larger than block-size data. "
	    "The key needs to be hashed before being used by the HMAC algorithm.";
	uint8_t key[131], data[50], out[HASH_LEN];

	(void)state;
	memset(key, 0x0b, 20);
	assert_int_equal(hmac_sha256(key, 20, "Hi There", 8, out), 0);
	assert_hex(out, sizeof(out), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

	assert_int_equal(hmac_sha256((const uint8_t *)"Jefe", 4, "what do ya want for nothing?", 28, out), 0);
	assert_hex(out, sizeof(out), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	assert_int_equal(hmac_sha256(key, 20, data, 50, out), 0);
	assert_hex(out, sizeof(out), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");

	assert_int_equal(hmac_sha256(key, sizeof(key), long_key_msg, sizeof(long_key_msg) - 1, out), 0);
	assert_hex(out, sizeof(out), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

static void
hmac_of_pieces_is_hmac_of_the_whole(void **state)
{
	static const struct hmac_part parts[] = {{"what do ", 8}, {NULL, 0}, {"ya want", 7}, {" for nothing?", 13}};
	uint8_t out[HASH_LEN];

	(void)state;
	assert_int_equal(hmac_sha256_parts((const uint8_t *)"Jefe", 4, parts, ARRAY_LEN(parts), out), 0);
	assert_hex(out, sizeof(out), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

/* OpenSSL takes "no key" for "the key of before". */
static void
an_empty_hmac_key_is_not_the_key_of_before(void **state)
{
	uint8_t out[HASH_LEN];

	(void)state;
	assert_int_equal(hmac_sha256((const uint8_t *)"Jefe", 4, "x", 1, out), 0);
	assert_int_equal(hmac_sha256(NULL, 0, "", 0, out), 0);
	assert_hex(out, sizeof(out), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void
a_kept_hmac_key_serves_one_message_after_the_other(void **state)
{
	static const struct hmac_part parts[] = {{"what do ya ", 11}, {"want for nothing?", 17}};
	static const struct hmac_part other = {"x", 1};
	uint8_t out[HASH_LEN];
	struct hmac *h;

	(void)state;
	assert_int_equal(hmac_new((const uint8_t *)"Jefe", 4, &h), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(hmac_parts(h, parts, ARRAY_LEN(parts), out), 0);
		assert_hex(out, sizeof(out), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
		assert_int_equal(hmac_parts(h, &other, 1, out), 0);
	}
	hmac_free(h);
	assert_int_equal(hmac_new(out, 0, &h), -EINVAL);
}

static void
check_hkdf(const char *ikm_hex, const char *salt_hex, const char *info_hex, const char *prk_hex, const char *okm_hex)
{
	uint8_t ikm[80], salt[80], info[80], prk[32], okm[82];
	size_t ikm_len = unhex(ikm_hex, ikm, sizeof(ikm));
	size_t salt_len = unhex(salt_hex, salt, sizeof(salt));
	size_t info_len = unhex(info_hex, info, sizeof(info));
	size_t okm_len = strlen(okm_hex) / 2;

	assert_int_equal(hkdf_extract(salt_len ? salt : NULL, salt_len, ikm, ikm_len, prk), 0);
	assert_hex(prk, sizeof(prk), prk_hex);
	assert_int_equal(hkdf_expand(prk, info, info_len, okm, okm_len), 0);
	assert_hex(okm, okm_len, okm_hex);
}

static void
hkdf_gives_the_results_of_rfc_5869_appendix_a(void **state)
{
	(void)state;
	check_hkdf("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
	    "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
	    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
	check_hkdf("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
	    "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
	    "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f8081828384858687"
	    "88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
	    "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
	    "d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	    "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
	    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
	    "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
	check_hkdf("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	    "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
	    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

static void
expanding_with_a_label_is_expanding_label_and_context(void **state)
{
	const uint8_t prk[32] = {7};
	uint8_t whole[40], labelled[40];

	(void)state;
	assert_int_equal(hkdf_expand(prk, "snugfs/1 testABC", 16, whole, sizeof(whole)), 0);
	assert_int_equal(hkdf_expand_label(prk, "snugfs/1 test", "ABC", 3, labelled, sizeof(labelled)), 0);
	assert_memory_equal(whole, labelled, sizeof(whole));
}

static void
hkdf_expand_gives_255_blocks_and_no_more(void **state)
{
	const uint8_t prk[32] = {7};
	static uint8_t out[255 * 32 + 1];

	(void)state;
	assert_int_equal(hkdf_expand(prk, "", 0, out, 255 * 32), 0);
	assert_int_equal(hkdf_expand(prk, "", 0, out, 255 * 32 + 1), -EINVAL);
}

/* The RFC's result has 64 bytes; PBKDF2's blocks are 32 bytes, so ours is its first half. */
static void
scrypt_gives_the_result_of_rfc_7914(void **state)
{
	uint8_t out[32];

	(void)state;
	assert_int_equal(scrypt_derive("pleaseletmein", 13, (const uint8_t *)"SodiumChloride", 14, 14, 8, 1, out), 0);
	assert_hex(out, sizeof(out), "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

static void
scrypt_refuses_costs_outside_the_permitted_range(void **state)
{
	static const unsigned costs[][3] = {{13, 8, 1}, {23, 8, 1}, {14, 0, 1}, {14, 33, 1}, {14, 8, 0}, {14, 8, 17},
	    {22, 8, 1}};
	const uint8_t salt[16] = {0};
	uint8_t out[32] = {0x55};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(costs); i++)
		assert_int_equal(scrypt_derive("p", 1, salt, 16, costs[i][0], costs[i][1], costs[i][2], out), -EINVAL);
	assert_int_equal(out[0], 0x55);
}

static void
check_gcm(const char *key_hex, const char *nonce_hex, const char *aad_hex, const char *pt_hex, const char *ct_hex)
{
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	uint8_t key[32], nonce[12], aad[32], pt[64], out[80], back[64];
	size_t aad_len = unhex(aad_hex, aad, sizeof(aad));
	size_t pt_len = unhex(pt_hex, pt, sizeof(pt));

	unhex(key_hex, key, sizeof(key));
	unhex(nonce_hex, nonce, sizeof(nonce));
	assert_int_equal(aead_new(key, &a), 0);
	assert_int_equal(aead_seal(a, nonce, aad, aad_len, pt, pt_len, out), 0);
	assert_hex(out, pt_len + AEAD_TAG_LEN, ct_hex);
	assert_int_equal(aead_open(a, nonce, aad, aad_len, out, pt_len + AEAD_TAG_LEN, back), 0);
	assert_memory_equal(back, pt, pt_len);
	/* Turning back from opening to sealing. */
	assert_int_equal(aead_seal(a, nonce, aad, aad_len, pt, pt_len, out), 0);
	assert_hex(out, pt_len + AEAD_TAG_LEN, ct_hex);
}

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define ZEROS_16 "00000000000000000000000000000000"

static void
aes_256_gcm_gives_the_results_of_test_cases_13_to_16(void **state)
{
	(void)state;
	check_gcm(ZEROS_16 ZEROS_16, "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b");
	check_gcm(ZEROS_16 ZEROS_16, "000000000000000000000000", "", ZEROS_16,
	    "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
	check_gcm(GCM_KEY, "cafebabefacedbaddecaf888", "",
	    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
	    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
	    "b094dac5d93471bdec1a502270e3cc6c");
	check_gcm(GCM_KEY, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
	    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
	    "76fc6ece0f4e1768cddf8853bb2d551b");
}

static void
aead_works_in_place(void **state)
{
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	const uint8_t key[32] = {1}, nonce[12] = {2};
	uint8_t buf[100 + AEAD_TAG_LEN], pt[100];

	(void)state;
	memset(pt, 0x5a, sizeof(pt));
	memcpy(buf, pt, sizeof(pt));
	assert_int_equal(aead_new(key, &a), 0);
	assert_int_equal(aead_seal(a, nonce, "aad", 3, buf, sizeof(pt), buf), 0);
	assert_memory_not_equal(buf, pt, sizeof(pt));
	assert_int_equal(aead_open(a, nonce, "aad", 3, buf, sizeof(buf), buf), 0);
	assert_memory_equal(buf, pt, sizeof(pt));
}

static void
aead_refuses_any_flipped_bit_and_any_shorter_message_and_wipes(void **state)
{
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	const uint8_t key[32] = {1}, nonce[12] = {2}, zeros[20] = {0};
	uint8_t ct[20 + AEAD_TAG_LEN], out[20];

	(void)state;
	assert_int_equal(aead_new(key, &a), 0);
	assert_int_equal(aead_seal(a, nonce, "aad", 3, "twenty bytes of text", 20, ct), 0);
	for (size_t bit = 0; bit < 8 * sizeof(ct); bit++) {
		ct[bit / 8] ^= (uint8_t)(1 << bit % 8);
		memset(out, 0x55, sizeof(out));
		assert_int_equal(aead_open(a, nonce, "aad", 3, ct, sizeof(ct), out), -EBADMSG);
		assert_memory_equal(out, zeros, sizeof(out));
		ct[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(ct); len++)
		assert_int_equal(aead_open(a, nonce, "aad", 3, ct, len, out), -EBADMSG);
	assert_int_equal(aead_open(a, nonce, "abd", 3, ct, sizeof(ct), out), -EBADMSG);
	assert_int_equal(aead_open(a, nonce, "aad", 3, ct, sizeof(ct), out), 0);
	assert_memory_equal(out, "twenty bytes of text", 20);
}

static void
a_context_with_another_key_seals_under_that_key(void **state)
{
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	CLEANUP(aead_free_ptr) struct aead *b = NULL;
	const uint8_t one[32] = {1}, two[32] = {2}, nonce[12] = {3};
	uint8_t by_a[4 + AEAD_TAG_LEN], by_b[4 + AEAD_TAG_LEN];

	(void)state;
	assert_int_equal(aead_new(one, &a), 0);
	assert_int_equal(aead_new(two, &b), 0);
	assert_int_equal(aead_rekey(a, two), 0);
	assert_int_equal(aead_seal(a, nonce, NULL, 0, "text", 4, by_a), 0);
	assert_int_equal(aead_seal(b, nonce, NULL, 0, "text", 4, by_b), 0);
	assert_memory_equal(by_a, by_b, sizeof(by_a));
}

struct message {
	uint8_t nonce[AEAD_NONCE_LEN];
	uint8_t ct[4 + AEAD_TAG_LEN];
};

static err_t
open_message(struct aead *a, const uint8_t *nonce, const struct message *m)
{
	uint8_t out[4];
	err_t e = aead_open(a, nonce, "aad", 3, m->ct, sizeof(m->ct), out);

	if (!e)
		assert_memory_equal(out, "text", sizeof(out));
	return e;
}

/* What begins with four zeros is a counter; the others are not. */
static void
seal_messages(struct aead *a, struct message m[static 5])
{
	static const uint8_t others[2][AEAD_NONCE_LEN] = {{0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 0, 0, 0, 0, 1}, {0, 0, 0, 1}};

	aead_nonce(0, m[0].nonce);
	aead_nonce(1, m[1].nonce);
	aead_nonce(UINT64_MAX, m[2].nonce);
	memcpy(m[3].nonce, others[0], sizeof(m[3].nonce));
	memcpy(m[4].nonce, others[1], sizeof(m[4].nonce));
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(aead_seal(a, m[i].nonce, "aad", 3, "text", 4, m[i].ct), 0);
}

static void
each_message_opens_under_its_own_nonce_alone_whatever_came_before(void **state)
{
	CLEANUP(aead_free_ptr) struct aead *a = NULL;
	CLEANUP(aead_free_ptr) struct aead *sealer = NULL;
	const uint8_t key[32] = {1}, other_key[32] = {2};
	struct message m[5], again[5];

	(void)state;
	assert_int_equal(aead_new(key, &a), 0);
	assert_int_equal(aead_new(key, &sealer), 0);
	seal_messages(sealer, m);
	for (size_t i = 0; i < 5; i++) {
		for (size_t j = 0; j < 5; j++) {
			assert_int_equal(open_message(a, m[i].nonce, &m[i]), 0);
			assert_int_equal(open_message(a, m[i].nonce, &m[j]), i == j ? 0 : -EBADMSG);
			assert_int_equal(open_message(a, m[j].nonce, &m[j]), 0);
			assert_int_equal(open_message(a, m[i].nonce, &m[i]), 0);
			seal_messages(a, again);
			assert_memory_equal(again, m, sizeof(m));
			assert_int_equal(open_message(a, m[j].nonce, &m[j]), 0);
			assert_int_equal(aead_rekey(a, other_key), 0);
			assert_int_equal(open_message(a, m[i].nonce, &m[i]), -EBADMSG);
			assert_int_equal(aead_rekey(a, key), 0);
		}
	}
}

static void
a_nested_acquire_does_not_touch_the_outer_context(void **state)
{
	const uint8_t one[32] = {1}, two[32] = {2}, nonce[12] = {3};
	uint8_t before[4 + AEAD_TAG_LEN], after[4 + AEAD_TAG_LEN], inner_out[4 + AEAD_TAG_LEN];
	struct aead *outer = aead_acquire(one);

	(void)state;
	assert_non_null(outer);
	assert_int_equal(aead_seal(outer, nonce, NULL, 0, "text", 4, before), 0);

	struct aead *inner = aead_acquire(two);

	assert_non_null(inner);
	assert_ptr_not_equal(inner, outer);
	assert_int_equal(aead_seal(inner, nonce, NULL, 0, "text", 4, inner_out), 0);
	aead_release(inner);
	assert_int_equal(aead_seal(outer, nonce, NULL, 0, "text", 4, after), 0);
	aead_release(outer);
	assert_memory_equal(before, after, sizeof(before));
	assert_memory_not_equal(before, inner_out, sizeof(before));
}

static void
the_nonce_of_a_counter_is_big_endian_after_four_zeros(void **state)
{
	uint8_t nonce[AEAD_NONCE_LEN];

	(void)state;
	aead_nonce(UINT64_C(0x0102030405060708), nonce);
	assert_hex(nonce, sizeof(nonce), "000000000102030405060708");
}

static void
key_wrap_gives_the_result_of_rfc_3394_section_4_6_and_refuses_any_other(void **state)
{
	uint8_t kek[32], key[32], wrapped[KEYWRAP_LEN], back[32];

	(void)state;
	unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", kek, sizeof(kek));
	unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f", key, sizeof(key));
	assert_int_equal(keywrap_wrap(kek, key, wrapped), 0);
	assert_hex(wrapped, sizeof(wrapped),
	    "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
	assert_int_equal(keywrap_unwrap(kek, wrapped, back), 0);
	assert_memory_equal(back, key, sizeof(key));
	for (size_t i = 0; i < sizeof(wrapped); i++) {
		memset(back, 0x55, sizeof(back));
		wrapped[i] ^= 0x10;
		assert_int_equal(keywrap_unwrap(kek, wrapped, back), -EBADMSG);
		assert_int_equal(back[0], 0x55);
		wrapped[i] ^= 0x10;
	}
}

static void
check_ed25519(const char *seed_hex, const char *pub_hex, const char *msg_hex, const char *sig_hex)
{
	uint8_t seed[32], pub[32], msg[8], sig[64];
	size_t len = unhex(msg_hex, msg, sizeof(msg));

	unhex(seed_hex, seed, sizeof(seed));
	assert_int_equal(ed25519_public(seed, pub), 0);
	assert_hex(pub, sizeof(pub), pub_hex);
	assert_int_equal(ed25519_sign(seed, msg, len, sig), 0);
	assert_hex(sig, sizeof(sig), sig_hex);
	assert_int_equal(ed25519_verify(pub, msg, len, sig), 0);
	for (size_t i = 0; i < sizeof(sig); i++) {
		sig[i] ^= 0x01;
		assert_int_equal(ed25519_verify(pub, msg, len, sig), -EBADMSG);
		sig[i] ^= 0x01;
	}
}

static void
ed25519_gives_the_results_of_rfc_8032(void **state)
{
	(void)state;
	check_ed25519("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
	    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
	    "d25bf5f0595bbe24655141438e7a100b");
	check_ed25519("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
	    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
	    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
	    "4a7c15e9716ed28dc027beceea1ec40a");
}

static void
x25519_gives_the_results_of_rfc_7748_section_6_1(void **state)
{
	uint8_t alice[32], bob[32], alice_pub[32], bob_pub[32], shared[32];

	(void)state;
	unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", alice, sizeof(alice));
	unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", bob, sizeof(bob));
	assert_int_equal(x25519_public(alice, alice_pub), 0);
	assert_int_equal(x25519_public(bob, bob_pub), 0);
	assert_hex(alice_pub, 32, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
	assert_hex(bob_pub, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	assert_int_equal(x25519_shared(alice, bob_pub, shared), 0);
	assert_hex(shared, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
	assert_int_equal(x25519_shared(bob, alice_pub, shared), 0);
	assert_hex(shared, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

static void
x25519_refuses_points_of_small_order(void **state)
{
	/* 0, 1, the two points of order 8 (RFC 7748's "may check" is our "must"). */
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	};
	const uint8_t secret[32] = {9};
	uint8_t point[32], shared[32] = {0x55};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		unhex(points[i], point, sizeof(point));
		assert_int_equal(x25519_shared(secret, point, shared), -EBADMSG);
	}
	assert_int_equal(shared[0], 0x55);
}

/* Computed apart from this program, with Python's hmac and cryptography, from what identity.h says. */
static void
an_identity_is_derived_as_the_format_says(void **state)
{
	CLEANUP(identity_free_ptr) struct identity *device = NULL;
	CLEANUP(identity_free_ptr) struct identity *recovery = NULL;
	uint8_t secret[DEVICE_SECRET_LEN], id[IDENTITY_ID_LEN], own[32];

	(void)state;
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	assert_int_equal(identity_from_device_secret(secret, &device), 0);
	assert_hex(identity_public(device)->sign, 32, "14daa59dea7dc2c88df5bc7820f12f44db7b70d41f3101e60a2a99071be3ecbc");
	assert_hex(identity_public(device)->box, 32, "e6817203ab5969aa2e7d0277b859ec445a3780bc1fe7c4efcc62416b145a9e31");
	assert_int_equal(identity_id(identity_public(device), id), 0);
	assert_hex(id, sizeof(id), "8b02518c7fe3576a0a8133b573ecfbf7");
	assert_int_equal(identity_derive(device, "local", own), 0);
	assert_hex(own, sizeof(own), "f510e1ec2ab966698f17a64d812e830c564f8f0a2348ab62b97cf46b4c8a7b63");

	assert_int_equal(identity_from_recovery_key(secret, &recovery), 0);
	assert_hex(identity_public(recovery)->sign, 32, "5490a555887bf2a81f2d43fef3f53ad3b9de08448d78bb464b2fa6e51338e520");
	assert_hex(identity_public(recovery)->box, 32, "e1a7251739728fe55733f8886fc4532f4b43ead0cfc34fb7b20b32eddccdd265");
}

static void
an_identity_signs_and_only_its_own_key_verifies(void **state)
{
	CLEANUP(identity_free_ptr) struct identity *one = NULL;
	CLEANUP(identity_free_ptr) struct identity *two = NULL;
	const uint8_t first[DEVICE_SECRET_LEN] = {1}, second[DEVICE_SECRET_LEN] = {2};
	uint8_t sig[IDENTITY_SIG_LEN];

	(void)state;
	assert_int_equal(identity_from_device_secret(first, &one), 0);
	assert_int_equal(identity_from_device_secret(second, &two), 0);
	assert_int_equal(identity_sign(one, "message", 7, sig), 0);
	assert_int_equal(identity_verify(identity_public(one)->sign, "message", 7, sig), 0);
	assert_int_equal(identity_verify(identity_public(one)->sign, "massage", 7, sig), -EBADMSG);
	assert_int_equal(identity_verify(identity_public(one)->sign, "message", 6, sig), -EBADMSG);
	assert_int_equal(identity_verify(identity_public(two)->sign, "message", 7, sig), -EBADMSG);
}

static void
an_identitys_box_secret_belongs_to_its_box_key(void **state)
{
	CLEANUP(identity_free_ptr) struct identity *id = NULL;
	const uint8_t secret[DEVICE_SECRET_LEN] = {1};
	uint8_t pub[32];

	(void)state;
	assert_int_equal(identity_from_device_secret(secret, &id), 0);
	assert_int_equal(x25519_public(identity_box_secret(id), pub), 0);
	assert_memory_equal(pub, identity_public(id)->box, sizeof(pub));
}

static void
padme_sizes_are_those_of_the_papers_rule_and_never_below_the_floor(void **state)
{
	static const uint64_t cases[][2] = {
		{0, 4096}, {1, 4096}, {4096, 4096}, {4097, 4352}, {4352, 4352}, {4353, 4608}, {8192, 8192}, {8193, 8704},
		{65536, 65536}, {65537, 67584}, {1000000, 1015808}, {1048576, 1048576}, {1048577, 1081344},
		{(UINT64_C(1) << 62) - 1, UINT64_C(1) << 62}, {UINT64_C(1) << 62, UINT64_C(1) << 62},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(padme_size(cases[i][0]), cases[i][1]);
}

static void
padme_sizes_hold_their_content_are_steps_and_waste_at_most_a_sixteenth(void **state)
{
	(void)state;
	for (uint64_t len = PADME_FLOOR; len < (UINT64_C(1) << 40); len += len / 97 + 1) {
		uint64_t size = padme_size(len);

		assert_true(size >= len);
		assert_int_equal(padme_size(size), size);
		assert_true(size - len < len / 16 + 1);
	}
}

static void
random_bytes_differ_each_time(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0}, c[32] = {0};

	(void)state;
	assert_int_equal(random_bytes(a, sizeof(a)), 0);
	assert_int_equal(random_bytes(b, sizeof(b)), 0);
	assert_int_equal(random_secret(c, sizeof(c)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, c, sizeof(a));
	assert_memory_not_equal(b, c, sizeof(b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_gives_the_digests_of_fips_180_4),
		cmocka_unit_test(a_running_hash_of_a_million_letters_is_that_of_fips_180_4),
		cmocka_unit_test(hmac_gives_the_results_of_rfc_4231),
		cmocka_unit_test(hmac_of_pieces_is_hmac_of_the_whole),
		cmocka_unit_test(an_empty_hmac_key_is_not_the_key_of_before),
		cmocka_unit_test(a_kept_hmac_key_serves_one_message_after_the_other),
		cmocka_unit_test(hkdf_gives_the_results_of_rfc_5869_appendix_a),
		cmocka_unit_test(expanding_with_a_label_is_expanding_label_and_context),
		cmocka_unit_test(hkdf_expand_gives_255_blocks_and_no_more),
		cmocka_unit_test(scrypt_gives_the_result_of_rfc_7914),
		cmocka_unit_test(scrypt_refuses_costs_outside_the_permitted_range),
		cmocka_unit_test(aes_256_gcm_gives_the_results_of_test_cases_13_to_16),
		cmocka_unit_test(aead_works_in_place),
		cmocka_unit_test(each_message_opens_under_its_own_nonce_alone_whatever_came_before),
		cmocka_unit_test(aead_refuses_any_flipped_bit_and_any_shorter_message_and_wipes),
		cmocka_unit_test(a_context_with_another_key_seals_under_that_key),
		cmocka_unit_test(a_nested_acquire_does_not_touch_the_outer_context),
		cmocka_unit_test(the_nonce_of_a_counter_is_big_endian_after_four_zeros),
		cmocka_unit_test(key_wrap_gives_the_result_of_rfc_3394_section_4_6_and_refuses_any_other),
		cmocka_unit_test(ed25519_gives_the_results_of_rfc_8032),
		cmocka_unit_test(x25519_gives_the_results_of_rfc_7748_section_6_1),
		cmocka_unit_test(x25519_refuses_points_of_small_order),
		cmocka_unit_test(an_identity_is_derived_as_the_format_says),
		cmocka_unit_test(an_identity_signs_and_only_its_own_key_verifies),
		cmocka_unit_test(an_identitys_box_secret_belongs_to_its_box_key),
		cmocka_unit_test(padme_sizes_are_those_of_the_papers_rule_and_never_below_the_floor),
		cmocka_unit_test(padme_sizes_hold_their_content_are_steps_and_waste_at_most_a_sixteenth),
		cmocka_unit_test(random_bytes_differ_each_time),
	};

	if (secmem_init()) {
		fputs("secmem_init failed\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
