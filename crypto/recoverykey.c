/*
 * recoverykey.c: the recovery key's written form: Crockford base 32 and the Reed-Solomon code that finds a typo.
 */
#include "recoverykey.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "secmem.h"

/*
 * The code.  Symbols are elements of GF(32) = GF(2)[x] / (x^5 + x^2 + 1), the bits of a symbol being the coefficients and
 * a = x (the number 2) a primitive element.  The symbols c[0] .. c[27], in the order in which they are written, are the
 * coefficients of c(x) = c[0] x^27 + c[1] x^26 + ... + c[27], and a key is well-formed if c(a) = c(a^2) = 0: the
 * generator polynomial is (x - a)(x - a^2) = x^2 + (a + a^2) x + a^3.  c[0] .. c[25] are the 128 bits of the key, first
 * bit highest, and two zero bits; c[26] and c[27] make the roots come out.
 */
#define SYMBOLS 28u
#define DATA_SYMBOLS 26u
#define GROUP_LEN 4u
#define FILLER_MASK 3u /* the bits of c[25] that are always zero */

#define GF_A 2u
#define GF_A2 4u
#define GENERATOR_1 (GF_A ^ GF_A2) /* of x */
#define GENERATOR_0 8u             /* a^3, of 1 */

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

struct symbols {
	uint8_t c[SYMBOLS];
};

static void symbols_wipe(struct symbols *s)
{
	secmem_wipe(s, sizeof(*s));
}

static uint8_t gf_mul(unsigned a, unsigned b)
{
	unsigned product = 0;
	for (unsigned bit = 0; bit < 5; bit++) {
		if (b >> bit & 1)
			product ^= a << bit;
	}
	for (unsigned bit = 8; bit >= 5; bit--) {
		if (product >> bit & 1)
			product ^= 0x25u << (bit - 5);
	}
	return (uint8_t)product;
}

/* c(x), by Horner's rule. */
static uint8_t evaluate(const struct symbols *s, unsigned x)
{
	uint8_t sum = 0;
	for (unsigned i = 0; i < SYMBOLS; i++)
		sum = gf_mul(sum, x) ^ s->c[i];
	return sum;
}

/* Divides the data by the generator; the remainder is the check. */
static void add_check_symbols(struct symbols *s)
{
	uint8_t high = 0, low = 0;
	for (unsigned i = 0; i < DATA_SYMBOLS; i++) {
		uint8_t feedback = s->c[i] ^ high;
		high = low ^ gf_mul(feedback, GENERATOR_1);
		low = gf_mul(feedback, GENERATOR_0);
	}
	s->c[26] = high;
	s->c[27] = low;
}

/* Five bits of the key that begin at bit 5 * i; past its end they are zero. */
static uint8_t key_symbol(const uint8_t key[static RECOVERY_KEY_LEN], unsigned i)
{
	unsigned value = 0;
	for (unsigned bit = 5 * i; bit < 5 * i + 5; bit++) {
		unsigned set = bit < 8 * RECOVERY_KEY_LEN ? key[bit / 8] >> (7 - bit % 8) & 1u : 0;
		value = value << 1 | set;
	}
	return (uint8_t)value;
}

static void symbols_to_key(const struct symbols *s, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	memset(key_out, 0, RECOVERY_KEY_LEN);
	for (unsigned bit = 0; bit < 8 * RECOVERY_KEY_LEN; bit++) {
		unsigned set = s->c[bit / 5] >> (4 - bit % 5) & 1u;
		key_out[bit / 8] |= (uint8_t)(set << (7 - bit % 8));
	}
}

void recoverykey_format(const uint8_t key[static RECOVERY_KEY_LEN], char text_out[static RECOVERY_TEXT_LEN + 1])
{
	CLEANUP(symbols_wipe) struct symbols s = {{0}};
	for (unsigned i = 0; i < DATA_SYMBOLS; i++)
		s.c[i] = key_symbol(key, i);
	add_check_symbols(&s);

	char *at = text_out;
	for (unsigned i = 0; i < SYMBOLS; i++) {
		if (i > 0 && i % GROUP_LEN == 0)
			*at++ = '-';
		*at++ = alphabet[s.c[i]];
	}
	*at = '\0';
}

/* The value of what somebody typed, or -1. */
static int symbol_value(char typed)
{
	char c = typed >= 'a' && typed <= 'z' ? (char)(typed - 'a' + 'A') : typed;
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
	return at != NULL ? (int)(at - alphabet) : -1;
}

static bool is_separator(char c)
{
	return c == '-' || c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_filler_zero(const struct symbols *s)
{
	return (s->c[DATA_SYMBOLS - 1] & FILLER_MASK) == 0;
}

static unsigned group_of(unsigned i)
{
	return i / GROUP_LEN + 1;
}

/* An unusable character is told before a wrong count: it is often the reason for it. */
static err_t read_symbols(const char *text, struct symbols *s_out, struct recoverykey_fault *fault)
{
	unsigned count = 0;
	for (const char *p = text; *p != '\0'; p++) {
		if (is_separator(*p))
			continue;
		int value = symbol_value(*p);
		if (value < 0 && count < SYMBOLS) {
			fault->kind = RECOVERY_FAULT_CHARACTER;
			fault->group = group_of(count);
			fault->position = count % GROUP_LEN + 1;
			fault->character = *p;
			return -EINVAL;
		}
		if (count < SYMBOLS)
			s_out->c[count] = (uint8_t)value;
		count++;
	}
	if (count != SYMBOLS) {
		fault->kind = RECOVERY_FAULT_LENGTH;
		fault->count = count;
		return -EINVAL;
	}
	return 0;
}

/*
 * Corrects s to what was probably meant, and says where; nobody reads a key from it.
 * A single error of value e at the coefficient of x^j makes c(a) = e a^j and c(a^2) = e a^2j, so c(a^2) / c(a) = a^j names
 * the place and c(a) / a^j the error.  What fits no place in the 28, or leaves filler bits set, is more than one error.
 */
static void locate_error(struct symbols *s, uint8_t at_a, uint8_t at_a2, struct recoverykey_fault *fault)
{
	fault->kind = RECOVERY_FAULT_CHECKSUM;
	if (at_a == 0 || at_a2 == 0)
		return;
	uint8_t power = 1;
	for (unsigned j = 0; j < SYMBOLS; j++, power = gf_mul(power, GF_A)) {
		if (gf_mul(at_a, power) != at_a2)
			continue;
		unsigned i = SYMBOLS - 1 - j;
		uint8_t error = 1;
		while (gf_mul(error, power) != at_a)
			error++;
		s->c[i] ^= error;
		if (!is_filler_zero(s))
			return;
		fault->kind = RECOVERY_FAULT_TYPO;
		fault->group = group_of(i);
		fault->position = i % GROUP_LEN + 1;
		fault->expected = alphabet[s->c[i]];
		return;
	}
}

err_t recoverykey_parse(const char *text, uint8_t key_out[static RECOVERY_KEY_LEN], struct recoverykey_fault *fault)
{
	*fault = (struct recoverykey_fault){.kind = RECOVERY_FAULT_NONE};
	CLEANUP(symbols_wipe) struct symbols s = {{0}};
	err_t err = read_symbols(text, &s, fault);
	if (err != 0)
		return err;

	uint8_t at_a = evaluate(&s, GF_A), at_a2 = evaluate(&s, GF_A2);
	if (at_a != 0 || at_a2 != 0) {
		locate_error(&s, at_a, at_a2, fault);
		return -EINVAL;
	}
	if (!is_filler_zero(&s)) {
		fault->kind = RECOVERY_FAULT_CHECKSUM;
		return -EINVAL;
	}
	symbols_to_key(&s, key_out);
	return 0;
}
