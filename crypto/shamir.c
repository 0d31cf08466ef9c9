/* shamir.c: secret sharing over GF(256), without tables and without branches on secrets, and a share's written form. */
#include "shamir.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "random.h"
#include "secmem.h"

#define HEAD_LEN 4u
#define SHARE_LEN (HEAD_LEN + RECOVERY_KEY_LEN)
#define SET_MASK 0x3fffffu

static const struct codetext_form form = {.len = SHARE_LEN, .ways = 2};

/* In GF(2)[x] / (x^8 + x^4 + x^3 + x + 1). */
static uint8_t gf_mul(uint8_t a, uint8_t b)
{
	uint8_t product = 0;
	for (unsigned bit = 0; bit < 8; bit++) {
		product ^= a & (uint8_t) - (b >> bit & 1);
		a = (uint8_t)(a << 1) ^ (0x1b & (uint8_t) - (a >> 7));
	}
	return product;
}

/* a^254, which is 1/a for all but 0. */
static uint8_t gf_invert(uint8_t a)
{
	uint8_t power = a, result = 1;
	for (unsigned bit = 1; bit < 8; bit++) {
		power = gf_mul(power, power);
		result = gf_mul(result, power);
	}
	return result;
}

/* Coefficients above the constant one: a row for each power of x. */
struct coefficients {
	uint8_t row[SHAMIR_MAX_SHARES - 1][RECOVERY_KEY_LEN];
};

static void coefficients_wipe(struct coefficients *c)
{
	secmem_wipe(c, sizeof(*c));
}

/* The highest coefficient may well be zero: leaving that out would say something about the key. */
err_t shamir_split(const uint8_t key[static RECOVERY_KEY_LEN], unsigned threshold, unsigned count,
    struct shamir_share *shares_out)
{
	if (threshold < 2 || threshold > count || count > SHAMIR_MAX_SHARES)
		return -EINVAL;
	CLEANUP(coefficients_wipe) struct coefficients c;
	uint32_t set;
	err_t err;
	if ((err = random_secret(&c, sizeof(c))) || (err = random_bytes(&set, sizeof(set))))
		return err;
	for (unsigned s = 0; s < count; s++) {
		struct shamir_share *share = &shares_out[s];
		*share = (struct shamir_share){.set = set & SET_MASK, .threshold = threshold, .index = s + 1};
		for (unsigned b = 0; b < RECOVERY_KEY_LEN; b++) {
			uint8_t sum = 0;
			for (unsigned power = threshold - 1; power > 0; power--)
				sum = gf_mul(sum ^ c.row[power - 1][b], (uint8_t)share->index);
			share->value[b] = sum ^ key[b];
		}
	}
	return 0;
}

/* The value at x of the polynomial through the first `count` shares (Lagrange). */
static void interpolate(const struct shamir_share *shares, size_t count, uint8_t x, uint8_t out[static RECOVERY_KEY_LEN])
{
	memset(out, 0, RECOVERY_KEY_LEN);
	for (size_t i = 0; i < count; i++) {
		uint8_t weight = 1;
		for (size_t j = 0; j < count; j++) {
			uint8_t from = (uint8_t)shares[j].index;
			if (j != i)
				weight = gf_mul(weight, gf_mul(x ^ from, gf_invert((uint8_t)shares[i].index ^ from)));
		}
		for (unsigned b = 0; b < RECOVERY_KEY_LEN; b++)
			out[b] ^= gf_mul(weight, shares[i].value[b]);
	}
}

static err_t check_set(const struct shamir_share *shares, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		if (shares[i].set != shares[0].set || shares[i].threshold != shares[0].threshold)
			return -EXDEV;
		for (size_t j = 0; j < i; j++) {
			if (shares[j].index == shares[i].index)
				return -EEXIST;
		}
	}
	return count == 0 || count < shares[0].threshold ? -ENODATA : 0;
}

err_t shamir_combine(const struct shamir_share *shares, size_t count, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	err_t err = check_set(shares, count);
	if (err != 0)
		return err;
	CLEANUP(key32_wipe) struct key32 value;
	_Static_assert(RECOVERY_KEY_LEN <= sizeof(value.b), "a share's value fits a key");
	for (size_t i = shares[0].threshold; i < count; i++) {
		interpolate(shares, shares[0].threshold, (uint8_t)shares[i].index, value.b);
		if (!secmem_equal(value.b, shares[i].value, RECOVERY_KEY_LEN))
			return -EBADMSG;
	}
	interpolate(shares, shares[0].threshold, 0, key_out);
	return 0;
}

struct encoded {
	uint8_t b[SHARE_LEN];
};

static void encoded_wipe(struct encoded *e)
{
	secmem_wipe(e, sizeof(*e));
}

void shamir_format(const struct shamir_share *share, char text_out[static SHAMIR_TEXT_LEN + 1])
{
	CLEANUP(encoded_wipe) struct encoded e;
	put_u32(e.b, (share->set & SET_MASK) << 10 | (uint32_t)share->threshold << 5 | (uint32_t)share->index);
	memcpy(e.b + HEAD_LEN, share->value, RECOVERY_KEY_LEN);
	codetext_format(&form, e.b, text_out);
}

err_t shamir_parse(const char *text, struct shamir_share *out, struct codetext_fault *fault)
{
	CLEANUP(encoded_wipe) struct encoded e;
	err_t err = codetext_parse(&form, text, e.b, fault);
	if (err != 0)
		return err;
	uint32_t head = get_u32(e.b);
	unsigned threshold = head >> 5 & 31, index = head & 31;
	if (threshold < 2 || index == 0) {
		fault->kind = CODETEXT_FAULT_CHECKSUM;
		return -EINVAL;
	}
	*out = (struct shamir_share){.set = head >> 10, .threshold = threshold, .index = index};
	memcpy(out->value, e.b + HEAD_LEN, RECOVERY_KEY_LEN);
	return 0;
}
